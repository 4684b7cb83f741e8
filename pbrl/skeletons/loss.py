"""A loss on the scores of a preferred and another segment."""

from typing import Annotated

from torch import Tensor
from torch.nn import functional as F

from pbrl import registry
from pbrl.losses.registry import Range


@registry.loss("plugin-name", kind="pair", paper="where it comes from")
def smooth_hinge(
    chosen: Tensor, rejected: Tensor, *, margin: Annotated[float, Range(ge=0)] = 1.0
) -> Tensor:
    """softplus(margin - u), u = chosen - rejected: a hinge without a corner; one value per pair."""
    return F.softplus(margin - (chosen - rejected))
