"""Pair losses that judge each score against zero as well as against the other one.

(chosen, rejected) -> one value per pair. Adding a constant to both scores changes these losses:
zero is the reference policy, or the boundary between good and bad. They have no tie.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .links import logistic
from .registry import NonNegative, Positive, Real, loss


@loss("nca_pair", kind="pair", evidence="C", link="two-sided", trl="nca_pair",
      paper="NCA, arXiv:2402.05369")  # fmt: skip
def nca_pair(chosen: Tensor, rejected: Tensor) -> Tensor:
    """NCA of two items: ℓ(s_w) + ½ ℓ(-s_w) + ½ ℓ(-s_l); `nca` with K = 2 and a certain target."""
    # ℓ(-s) = ℓ(s) + s leaves one logarithm per score.
    return 1.5 * logistic(chosen) + 0.5 * (chosen + logistic(-rejected))


@loss("bco_pair", kind="pair", evidence="C", link="two-sided", margin="δ", trl="bco_pair",
      paper="BCO, arXiv:2404.04656")  # fmt: skip
def bco_pair(chosen: Tensor, rejected: Tensor, *, delta: Real = 0.0) -> Tensor:
    """BCO of two items: ℓ(s_w - delta) + ℓ(delta - s_l), an upper bound of DPO for every delta.

    BCO proper takes delta as the running mean of all scores; TRL's bco_pair has delta 0.
    """
    return logistic(chosen - delta) + logistic(delta - rejected)


@loss("sppo_hard", kind="pair", evidence="C", score="ρ", link="two-sided squares", trl="sppo_hard",
      paper="SPPO, arXiv:2405.00675")  # fmt: skip
def sppo_hard(chosen: Tensor, rejected: Tensor, *, beta: Positive = 1e-3) -> Tensor:
    """SPPO (eq. 4.7) with P = 1 and 0: (s_w - 1/(2 beta))² + (s_l + 1/(2 beta))², beta = 1/η.

    Scores are log-ratios not multiplied by beta. Raises ValueError unless beta > 0.
    """
    return (chosen - 0.5 / beta).square() + (rejected + 0.5 / beta).square()


@loss("sppo", kind="informed", evidence="C", score="ρ", link="two-sided squares",
      paper="SPPO, arXiv:2405.00675")  # fmt: skip
def sppo(
    chosen: Tensor,
    rejected: Tensor,
    chosen_wins: Tensor,
    rejected_wins: Tensor,
    *,
    beta: Positive = 1e-3,
) -> Tensor:
    """SPPO: Σ over both items of (s - (P - 1/2)/beta)², P = P(item beats the current policy).

    P = 1 and 0: `sppo_hard`. The authors' code halves the sum, TRL does not. Scores are log-ratios
    not multiplied by beta. Raises ValueError unless beta > 0.
    """
    of_chosen = (chosen - (chosen_wins - 0.5) / beta).square()
    return of_chosen + (rejected - (rejected_wins - 0.5) / beta).square()


@loss("apo_zero", kind="pair", evidence="C", link="two-sided MAE", trl="apo_zero",
      paper="APO, arXiv:2408.06266")  # fmt: skip
def apo_zero(chosen: Tensor, rejected: Tensor) -> Tensor:
    """APO-zero (eq. 7): [1 - σ(s_w)] + σ(s_l): chosen up, rejected down.

    For chosen items that are better than what the policy would do by itself.
    """
    return torch.sigmoid(-chosen) + torch.sigmoid(rejected)


@loss("apo_down", kind="pair", evidence="C", link="two-sided MAE", trl="apo_down",
      paper="APO, arXiv:2408.06266")  # fmt: skip
def apo_down(chosen: Tensor, rejected: Tensor) -> Tensor:
    """APO-down (eq. 8): σ(s_w) + [1 - σ(s_w - s_l)]: both down, the rejected one more.

    For chosen items that are worse than what the policy would do by itself.
    """
    return torch.sigmoid(chosen) + torch.sigmoid(rejected - chosen)


@loss("dpop", kind="pair", evidence="C", margin="λ max(0,-s_w)",
      paper="Smaug: DPO-Positive, arXiv:2402.13228")  # fmt: skip
def dpop(chosen: Tensor, rejected: Tensor, *, penalty: NonNegative = 50.0) -> Tensor:
    """DPO-Positive: ℓ(u - λ max(0, -s_w)), λ = penalty: the chosen item must not fall below zero.

    s_w >= 0: `sigmoid`. λ 50 as in XTuner and PaddleNLP; the paper tries 5, 50 and 500.
    Raises ValueError for a negative penalty.
    """
    return logistic(torch.sub(chosen - rejected, F.relu(-chosen), alpha=penalty))
