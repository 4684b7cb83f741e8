"""Losses of two scores of which one is preferred: the grid of link, margin, scale and weight.

Every function takes (chosen, rejected), scores of any one shape, and returns one value per pair.
Where a third argument `label` stands it is P(chosen preferred), 1 by default: 0.5 is a tie, other
values are soft labels. `select.segment_loss` turns the same functions into functions of
(first, second, labels).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .links import LINKS, logistic
from .registry import loss, require

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
    u = _margin(chosen, rejected, rejected_scale, margin, temperature)
    if isinstance(label, float) and label == 1.0:
        value = link(u)
    elif link is logistic and isinstance(rejected_scale, float) and rejected_scale == 1.0:
        # φ(-u) = φ(u) + u, so one logarithm does for both directions.
        target = label if isinstance(label, Tensor) else torch.full_like(u, label)
        value = F.binary_cross_entropy_with_logits(u, target.to(u.dtype), reduction="none")
    else:
        other = _margin(rejected, chosen, rejected_scale, -margin, temperature)
        value = label * link(u) + (1 - label) * link(other)
    return value if isinstance(weight, float) and weight == 1.0 else weight * value


def _margin(
    chosen: Tensor, rejected: Tensor, scale: Number, margin: Number, temperature: Number
) -> Tensor:
    # Steps at their neutral value are left out: each costs a pass over memory.
    if isinstance(scale, Tensor):
        u = chosen - scale * rejected
    else:
        u = torch.sub(chosen, rejected, alpha=scale)
    if isinstance(margin, Tensor) or margin != 0.0:
        u = u - margin
    if isinstance(temperature, Tensor) or temperature != 1.0:
        u = temperature * u
    return u


@loss(
    "pair", kind="pair", paper="", evidence="D", score="any", link="any", margin="any", scale="any"
)
def pair(
    chosen: Tensor,
    rejected: Tensor,
    label: Number = 1.0,
    *,
    link: str = "logistic",
    margin: float = 0.0,
    rejected_scale: float = 1.0,
    temperature: float = 1.0,
    weight: float = 1.0,
) -> Tensor:
    """Any point of the grid: a link by name with margin, rejected scale, temperature and weight.

    The numbers may also be tensors with one value per pair. Formula: `pair_loss`.
    Raises ValueError for an unknown link.
    """
    require(link in LINKS, "link", repr(link), "one of: " + ", ".join(LINKS))
    return pair_loss(
        LINKS[link],
        chosen,
        rejected,
        label,
        margin=margin,
        rejected_scale=rejected_scale,
        temperature=temperature,
        weight=weight,
    )


# --- functions of the difference of the scores ---------------------------------------------------


@loss("sigmoid", kind="pair", paper="2305.18290", evidence="C", link="logistic", trl="sigmoid")
def sigmoid(chosen: Tensor, rejected: Tensor, label: Number = 1.0, margin: Number = 0.0) -> Tensor:
    """Bradley-Terry: p ℓ(u) + (1-p) ℓ(-u), ℓ(u) = -log σ(u), u = chosen - rejected - margin.

    DPO (eq. 7) with scores β log π/π_ref; a reward model with scores r; PEBBLE with segment returns.
    A tie enters as p = 1/2. Minimiser u* = logit P(chosen preferred): not finite for certain
    preferences.
    """
    return pair_loss(logistic, chosen, rejected, label, margin=margin)


@loss("robust", kind="pair", paper="2403.00409", evidence="C", link="logistic", trl="robust")
def robust(chosen: Tensor, rejected: Tensor, label: Number = 1.0, *, eps: float = 0.1) -> Tensor:
    """rDPO: [(1-eps) ℓ(u) - eps ℓ(-u)] / (1 - 2 eps), unbiased when labels flip with rate eps.

    The logistic loss at the soft label (p - eps)/(1 - 2 eps), which lies outside [0, 1]: a pair always
    labelled the same way is unbounded below, so stop early and do not read its value as progress.
    Raises ValueError unless 0 <= eps < 0.5.
    """
    require(0 <= eps < 0.5, "eps", eps, "a flip rate in [0, 0.5)")
    return pair_loss(logistic, chosen, rejected, (label - eps) / (1 - 2 * eps))


@loss(
    "cpl",
    kind="pair",
    paper="2310.13639",
    evidence="C",
    link="logistic",
    scale="λ",
    score="α log π",
)
def cpl(
    chosen: Tensor, rejected: Tensor, label: Number = 1.0, *, rejected_scale: float = 0.5
) -> Tensor:
    """Contrastive preference learning: ℓ(chosen - λ rejected), λ = rejected_scale.

    Scores are α Σ_t γ^t log π(a_t | s_t) of a segment (code: α 0.1, γ 1, λ 0.5); λ < 1 pulls the
    policy to the data. With a tie each direction carries its own λ.
    Raises ValueError unless 0 < rejected_scale <= 1.
    """
    require(0 < rejected_scale <= 1, "rejected_scale", rejected_scale, "0 < rejected_scale <= 1")
    return pair_loss(logistic, chosen, rejected, label, rejected_scale=rejected_scale)
