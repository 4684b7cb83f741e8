"""Arrays on their way to a device."""

import numpy as np
import torch
from torch import Tensor


def sent(array: np.ndarray, device: torch.device) -> Tensor:
    """The array on the device, without waiting for what a GPU still computes.

    On the CPU it is the array's own memory. A GPU gets the values of now: they go through pinned
    memory, which torch keeps until they have arrived.
    """
    here = torch.from_numpy(array)
    if device.type != "cuda":
        return here.to(device)
    return here.pin_memory().to(device, non_blocking=True)
