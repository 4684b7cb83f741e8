"""Pair losses that know more about a pair than which item won: gaps, lengths, safety, weights.

Each takes (chosen, rejected, ...) with the further data as tensors of the same shape and is one
line of `pair_loss`: the data become a margin, a scale, a soft label, a weight or a target.
"""

from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from .grid import Number, pair_loss
from .links import logistic, square
from .registry import NonNegative, Positive, Range, Real, loss, require


@loss("odpo", kind="informed", evidence="C", margin="α log gap",
      paper="DPO with an Offset")  # fmt: skip
def odpo(chosen: Tensor, rejected: Tensor, gap: Tensor, *, alpha: NonNegative = 1.0) -> Tensor:
    """ODPO: ℓ(u - alpha log(gap)), gap = rating of chosen minus rating of rejected, > 0.

    alpha = 0 or gap = 1: `sigmoid`. For another increasing offset f(gap) use `sigmoid` with a
    margin. Repository: alpha 0.5 to 1. Raises ValueError for a gap that is not positive.
    """
    low = float(gap.min())
    require(low > 0, "gap", f"{low:g} at its smallest", "gap > 0, the log of it is the margin")
    return pair_loss(logistic, chosen, rejected, margin=alpha * gap.log())


@loss("mmpo", kind="informed", evidence="C", label="σ(γ gap)",
      paper="Margin Matching Preference Optimization")  # fmt: skip
def mmpo(chosen: Tensor, rejected: Tensor, gap: Tensor, *, gamma: NonNegative = 2.2) -> Tensor:
    """MMPO: p ℓ(u) + (1-p) ℓ(-u) with p = σ(gamma · gap), so that u* = gamma · gap.

    gap = rating of chosen minus rating of rejected (any sign). Serves policies and reward models.
    """
    return pair_loss(logistic, chosen, rejected, torch.sigmoid(gamma * gap))


@loss("mappo", kind="informed", evidence="P", scale="gap",
      paper="MaPPO: Maximum a Posteriori Preference Optimization")  # fmt: skip
def mappo(chosen: Tensor, rejected: Tensor, gap: Tensor) -> Tensor:
    """MaPPO (not the multi-agent PPO): ℓ(chosen - gap · rejected), gap in [0, 1] of rewards.

    gap = 1: `sigmoid`; gap -> 0: only the chosen item is raised.
    Raises ValueError for a gap outside [0, 1].
    """
    low, high = (float(x) for x in gap.aminmax())
    require(low >= 0 and high <= 1, "gap", f"in [{low:g}, {high:g}]", "gaps in [0, 1]")
    return pair_loss(logistic, chosen, rejected, rejected_scale=gap)


@loss("r_dpo", kind="informed", evidence="2", margin="α(n_l-n_w)",
      paper="Disentangling Length from Quality in DPO, arXiv:2403.19159")  # fmt: skip
def r_dpo(
    chosen: Tensor,
    rejected: Tensor,
    chosen_length: Tensor,
    rejected_length: Tensor,
    *,
    alpha: Real = 0.01,
) -> Tensor:
    """Length-regularized DPO: ℓ(u + alpha (n_chosen - n_rejected)).

    The sign follows from max E[r - alpha n] - β KL, whose reward is r = βρ + alpha n: a longer
    winner needs less of a margin. XTuner has this sign and alpha 0.2; other code has the opposite
    one. The default is from memory and unverified.
    """
    longer = chosen_length - rejected_length
    return pair_loss(logistic, chosen, rejected, margin=-alpha * longer)


@loss("spo_sequential", kind="informed", evidence="2", score="βρ to stage n-1", margin="Σ μᵢMᵢ",
      paper="SPO: Multi-Dimensional Preference Sequential Alignment")  # fmt: skip
def spo_sequential(
    chosen: Tensor, rejected: Tensor, earlier_margin: Tensor, *, mu: NonNegative = 0.5
) -> Tensor:
    """Sequential SPO: ℓ(u - mu · M), M the implicit-reward margin of the earlier dimensions.

    The scores refer to the policy of the stage before; M is a constant, those models being frozen.
    The structure is confirmed, the loss derived. mu = 0: DPO against the stage before.
    """
    return pair_loss(logistic, chosen, rejected, margin=mu * earlier_margin)


@loss("wpo", kind="informed", evidence="C", weight="ω", trl="use_weighting",
      paper="WPO, arXiv:2406.11827")  # fmt: skip
def wpo(chosen: Tensor, rejected: Tensor, weight: Tensor) -> Tensor:
    """WPO (eq. 2): ω ℓ(u) with ω how likely the policy itself is to write the pair; constant.

    `tokens.wpo_weight` gives the factor of each item; their product is ω. ω = 1: `sigmoid`.
    """
    return pair_loss(logistic, chosen, rejected, weight=weight.detach())


@loss("tdpo1", kind="informed", evidence="C", score="ρ", margin="K_l-K_w", temperature="β",
      paper="Token-level DPO")  # fmt: skip
def tdpo1(
    chosen: Tensor,
    rejected: Tensor,
    chosen_kl: Tensor,
    rejected_kl: Tensor,
    *,
    beta: Positive = 0.1,
) -> Tensor:
    """TDPO₁: ℓ(beta (u + K_chosen - K_rejected)), K = Σ_t KL(π_ref(.|s_t) || π(.|s_t)) of an item.

    Scores are log-ratios not multiplied by beta.
    Raises ValueError unless beta > 0.
    """
    margin = rejected_kl - chosen_kl
    return pair_loss(logistic, chosen, rejected, margin=margin, temperature=beta)


@loss("tdpo2", kind="informed", evidence="C", score="ρ", margin="α(K_l-sg K_w)",
      temperature="β",      paper="Token-level DPO")  # fmt: skip
def tdpo2(
    chosen: Tensor,
    rejected: Tensor,
    chosen_kl: Tensor,
    rejected_kl: Tensor,
    *,
    beta: Positive = 0.1,
    alpha: NonNegative = 0.5,
) -> Tensor:
    """TDPO₂: ℓ(beta (u + alpha (sg[K_chosen] - K_rejected))), sg a stop of the gradient.

    K as in `tdpo1`; alpha = 0: DPO. Scores are log-ratios not multiplied by beta.
    Raises ValueError unless beta > 0.
    """
    margin = alpha * (rejected_kl - chosen_kl.detach())
    return pair_loss(logistic, chosen, rejected, margin=margin, temperature=beta)


@loss("bfpo", kind="informed", evidence="C", score="ρ", link="(u-c)²",
      paper="Bi-Factorial Preference Optimization")  # fmt: skip
def bfpo(
    chosen: Tensor,
    rejected: Tensor,
    chosen_safe: Tensor,
    rejected_safe: Tensor,
    *,
    beta: Positive = 0.1,
    b1: Annotated[float, Range(gt=1)] = 3.0,
    alpha: Real = 0.5,
) -> Tensor:
    """BFPO: (u - [b1 b3 S_chosen - b3 S_rejected - alpha]/beta)², b3 = 1/(b1-1), S = 1 if safe.

    `chosen` is the more helpful item. Both safe: IPO; of two unsafe ones the less helpful wins.
    Scores are log-ratios not multiplied by beta. Raises ValueError unless b1 > 1 and beta > 0.
    """
    b3 = 1 / (b1 - 1)
    safe = [x.to(chosen.dtype) for x in (chosen_safe, rejected_safe)]
    target = (b1 * b3 * safe[0] - b3 * safe[1] - alpha) / beta
    return pair_loss(partial(square, target=target), chosen, rejected)


@loss("egpo", kind="informed", evidence="C", score="ρ", link="(u-c)²",
      paper="Extragradient Preference Optimization")  # fmt: skip
def egpo(
    chosen: Tensor,
    rejected: Tensor,
    chosen_wins: Number,
    rejected_wins: Number,
    *,
    beta: Positive = 0.1,
) -> Tensor:
    """EGPO's regression: (u - (chosen_wins - rejected_wins)/beta)², P(item beats a third, y'').

    With P(chosen beats rejected) and 1/2 it is the form of less variance; with 1 and 1/2, IPO. The
    extragradient step around it is the trainer's. Scores are log-ratios not multiplied by beta.
    """
    target = (chosen_wins - rejected_wins) / beta
    return pair_loss(partial(square, target=target), chosen, rejected)
