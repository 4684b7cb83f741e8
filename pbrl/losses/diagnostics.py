"""What to watch while a preference loss falls; plain functions, no losses."""

import torch
from torch import Tensor

from .registry import require


def accuracy(score_first: Tensor, score_second: Tensor, labels: Tensor) -> Tensor:
    """Share of the decided pairs (label not 0.5) that the scores order as labeled; a scalar.

    Equal scores count as half, NaN labels (skipped pairs) not at all. NaN without a decided pair.
    """
    u = score_second - score_first
    right = torch.where(labels > 0.5, u > 0, u < 0).to(u.dtype)
    right = torch.where(u == 0, 0.5, right)
    decided = (labels != 0.5) & ~labels.isnan()
    return right[decided].mean()


def displacement(before: Tensor, after: Tensor) -> Tensor:
    """Share of chosen items whose log-probability fell; a scalar."""
    return (after < before).to(after.dtype).mean()


def ches(chosen_hidden: Tensor, rejected_hidden: Tensor, *, normalized: bool = False) -> Tensor:
    """CHES ⟨S_w, S_l⟩ - ‖S_w‖² of one pair, S = Σ_t h_t; high values foretell displacement.

    hidden [T, H]: states that predict the item (last of the prompt to the one before its last
    token). normalized: sums divided by the lengths. Unintentional unalignment, arXiv:2410.08847.
    """
    require(chosen_hidden.dim() == 2, "chosen_hidden", tuple(chosen_hidden.shape), "[T, H]")
    chosen, rejected = chosen_hidden.sum(0), rejected_hidden.sum(0)
    if normalized:
        chosen, rejected = chosen / len(chosen_hidden), rejected / len(rejected_hidden)
    return chosen @ rejected - chosen @ chosen
