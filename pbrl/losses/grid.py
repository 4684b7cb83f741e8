"""The grid of pair losses: link x margin x rejected scale x temperature x label x weight.

Most named losses are one line of `pair_loss`; README.md shows which point each of them is.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from . import links
from .registry import NonNegative, Positive, Real, loss, require

Number = Tensor | float
Link = Callable[[Tensor], Tensor]


def pair_loss(
    link: Link,
    chosen: Tensor,
    rejected: Tensor,
    label: Number = 1.0,
    *,
    margin: Number = 0.0,
    rejected_scale: Number = 1.0,
    temperature: Number = 1.0,
    weight: Number = 1.0,
) -> Tensor:
    """weight · [p φ(u) + (1-p) φ(u')], where p = label and φ = link.

    u  = temperature · (chosen - rejected_scale · rejected - margin)
    u' = temperature · (rejected - rejected_scale · chosen + margin), which is -u at scale 1.

    Exchanging the items, negating the margin and putting 1 - p for p changes nothing.
    """
    if isinstance(label, Tensor):
        label = label.to(chosen.dtype)
    u = _margin(chosen, rejected, rejected_scale, margin, temperature)
    if _is(label, 1.0):
        value = link(u)
    elif link is links.logistic and _is(rejected_scale, 1.0):
        # φ(-u) = φ(u) + u, so one logarithm does for both directions.
        target = label if isinstance(label, Tensor) else torch.full_like(u, label)
        value = F.binary_cross_entropy_with_logits(u, target.to(u.dtype), reduction="none")
    else:
        other = _margin(rejected, chosen, rejected_scale, -margin, temperature)
        value = label * link(u) + (1 - label) * link(other)
    return value if _is(weight, 1.0) else weight * value


def _margin(
    chosen: Tensor, rejected: Tensor, scale: Number, margin: Number, temperature: Number
) -> Tensor:
    # Steps at their neutral value are left out: each costs a pass over memory.
    if isinstance(scale, Tensor):
        u = chosen - scale * rejected
    else:
        u = torch.sub(chosen, rejected, alpha=scale)
    if not _is(margin, 0.0):
        u = u - margin
    if not _is(temperature, 1.0):
        u = temperature * u
    return u


def _is(modifier: Number, neutral: float) -> bool:
    return not isinstance(modifier, Tensor) and modifier == neutral


@loss("pair", kind="pair", evidence="D", link="any", margin="any", scale="any", weight="any",
      paper="the grid itself")  # fmt: skip
def pair(
    chosen: Tensor,
    rejected: Tensor,
    label: Number = 1.0,
    *,
    link: Literal[
        "logistic", "hinge", "square", "exponential", "mae", "discopop", "exo"
    ] = "logistic",
    margin: Real = 0.0,
    rejected_scale: Real = 1.0,
    temperature: Positive = 1.0,
    weight: NonNegative = 1.0,
) -> Tensor:
    """Any point of the grid: a link by name with margin, rejected scale, temperature and weight.

    The links are at their default parameters; the numbers may also be tensors with one value per
    pair. Formula: `pair_loss`. Raises ValueError for an unknown link.
    """
    require(link in links.LINKS, "link", repr(link), "one of: " + ", ".join(links.LINKS))
    return pair_loss(
        links.LINKS[link],
        chosen,
        rejected,
        label,
        margin=margin,
        rejected_scale=rejected_scale,
        temperature=temperature,
        weight=weight,
    )
