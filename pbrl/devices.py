"""Which devices are here, as far as can be told without importing torch."""

import os
import re
import sys
from pathlib import Path

from pbrl.errors import ConfigError

PATTERN = re.compile(r"cpu|mps|cuda(:\d{1,3})?")


def checked(device: str, where: str) -> str:
    """The device if it can be one at all; whether it is here says `missing`."""
    if not PATTERN.fullmatch(device):
        raise ConfigError(f"{where}: found {device[:80]!r}; expected cpu, cuda, cuda:1 or mps")
    return device


def core(device: str) -> str:
    """What computes an agent there if its method does not say: compiled code is for the CPU."""
    return "compiled" if device == "cpu" else "torch"


def missing(device: str) -> str:
    """Why a device cannot be used on this machine, "" if nothing speaks against it."""
    if device == "mps" and sys.platform != "darwin":
        return "mps is for Apple computers"
    if not device.startswith("cuda"):
        return ""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU"
    if any(Path("/dev").glob(kind) for kind in ("dxg", "kfd", "nvhost-gpu")):
        return ""  # a GPU that is not counted as a file of its own
    here = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if sys.platform != "linux":
        return "there is no CUDA on Apple computers" if sys.platform == "darwin" else ""
    if not here:
        return "there is no GPU on this machine"
    count = min(here, len(visible.split(","))) if visible else here
    number = int(device.partition(":")[2] or 0)
    return "" if number < count else f"this machine shows {count} GPUs, cuda:0 to cuda:{count - 1}"
