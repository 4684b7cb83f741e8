"""Segment scores: one number per segment, higher is better; P(second) = link(s(second) - s(first)).

Every function takes per-step tensors [..., T] with a bool mask [..., T] of the steps that exist
and returns [...]. Leading axes are free, so a batched ensemble passes [members, N, T]. What stands
in a masked step never counts, not even NaN.
"""

import torch
from torch import Tensor


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over the steps that exist.

    Of rewards: the partial return of Christiano et al. 2017 and PEBBLE. Of advantages A*: the
    negated regret of Knox et al. 2024 (arXiv 2206.02231) for any dynamics.
    """
    return values.masked_fill(~mask, 0).sum(-1)


def myopic_sum(values: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """Sum of gamma^(H-t) v_t, t = 1..H: the last step has weight 1 (B-Pref, myopic teacher)."""
    steps_left = mask.sum(-1, keepdim=True) - mask.cumsum(-1)
    weight = torch.as_tensor(gamma, dtype=values.dtype, device=values.device)
    return masked_sum(values * weight ** steps_left.clamp(min=0), mask)


def discounts(mask: Tensor, gamma: float) -> Tensor:
    """gamma^t, float64 [..., T], of the t-th step that exists, t = 0..H-1: the first has weight 1.

    `masked_sum(values * discounts(mask, gamma), mask)` is a discounted return.
    """
    steps_on = (mask.cumsum(-1) - 1).clamp(min=0)
    return torch.as_tensor(gamma, dtype=torch.float64, device=mask.device) ** steps_on
