"""Pair losses with a tie as a third outcome of its own, not as half a win.

(chosen, rejected, label): label 1 chosen preferred, 0 rejected preferred, 0.5 tie; nothing between.
For ties as half a win give label 0.5 to any loss of `pairwise`.
"""

import math

import torch
from torch import Tensor

from .links import logistic
from .registry import NonNegative, loss, require


@loss("rao_kupper", kind="tie", evidence="C", link="Rao-Kupper", margin="α", aka="TODO",
      paper="Rao and Kupper 1967; TODO: Ternary Preferences")  # fmt: skip
def rao_kupper(
    chosen: Tensor, rejected: Tensor, label: Tensor | float = 1.0, *, alpha: NonNegative = 0.5
) -> Tensor:
    """Win ℓ(d-alpha), tie ℓ(d-alpha) + ℓ(-d-alpha) - log(e^(2 alpha) - 1), d = chosen - rejected.

    P(win) = σ(d - alpha), P(loss) = σ(-d - alpha), P(tie) the rest, at most tanh(alpha/2), at
    d = 0. alpha = 0: `sigmoid` without ties. TODO's code uses alpha 0.5, β 0.01.
    Raises ValueError for negative alpha, ties with alpha = 0, and labels other than 0, 0.5, 1.
    """
    d = chosen - rejected
    if not isinstance(label, Tensor) and label == 1.0:
        return logistic(d - alpha)
    win, lose = _outcomes(label, d)
    # A tie is neither: its likelihood is the product of both one-sided terms and a constant.
    value = win * logistic(d - alpha) + lose * logistic(-d - alpha)
    if alpha == 0:
        require(not bool((win * lose).any()), "alpha", alpha, "alpha > 0: the labels have ties")
        return value
    return value - win * lose * (2 * alpha + math.log(-math.expm1(-2 * alpha)))


@loss("davidson", kind="tie", evidence="M", link="Davidson", margin="ν",
      paper="Davidson 1970")  # fmt: skip
def davidson(
    chosen: Tensor, rejected: Tensor, label: Tensor | float = 1.0, *, nu: NonNegative = 1.0
) -> Tensor:
    """-log of P(win) : P(loss) : P(tie) = e^(d/2) : e^(-d/2) : nu, d = chosen - rejected.

    P(tie) is at most nu/(2+nu), at d = 0; nu = e^alpha - 1 matches Rao-Kupper there. nu = 0:
    `sigmoid` without ties. The model is standard, written from memory; the default is ours.
    Raises ValueError for negative nu, ties with nu = 0, and labels other than 0, 0.5, 1.
    """
    half = (chosen - rejected) / 2
    win, lose = _outcomes(label, half)
    ahead = (win - lose) * half
    if nu == 0:
        require(not bool((win * lose).any()), "nu", nu, "nu > 0: the labels have ties")
        return logistic(2 * ahead)
    # log(e^h + e^-h + nu) with h = |d|/2, the largest exponent taken out.
    h = half.abs()
    rest = torch.exp(-h)
    # h - ahead is exactly 0 for a clear winner: added first, large scores would round the rest off.
    return torch.log1p(rest * (rest + nu)) + (h - ahead) - win * lose * math.log(nu)


def _outcomes(label: Tensor | float, like: Tensor) -> tuple[Tensor, Tensor]:
    """1 where the label is a win or a tie, and 1 where it is a loss or a tie."""
    if not isinstance(label, Tensor):
        label = torch.full_like(like, label, requires_grad=False)
    return (label >= 0.5).to(like.dtype), (label <= 0.5).to(like.dtype)
