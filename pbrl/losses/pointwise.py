"""Losses of single items, each marked good or bad: no pairs.

(score, desirable, ...) -> one value per item. `desirable` is a bool tensor of the shape of `score`;
a paired data set gives two items per pair.
"""

from typing import Literal

import torch
from torch import Tensor

from .grid import Number
from .links import logistic
from .logprobs import LogProbs
from .registry import NonNegative, Positive, Real, Share, loss, require, upcast


def kto_baseline(mismatched_ratio: Tensor) -> Tensor:
    """KTO's z = max(0, mean ρ), without gradient, over mismatched prompt and completion pairs.

    Text: completions rotated by one in the batch (a batch of one gives nothing). Segments have no
    mismatch; take all log-ratios of the batch, as Diffusion-KTO does, or a moving mean of them.
    """
    return upcast(mismatched_ratio).mean().clamp(min=0).detach()


@loss("kto", kind="point", evidence="C", score="ρ", link="λ σ(-u)", margin="z",
      temperature="β", trl="kto",      paper="KTO, arXiv:2402.01306")  # fmt: skip
def kto(
    score: Tensor,
    desirable: Tensor,
    baseline: Number,
    *,
    beta: Positive = 0.1,
    desirable_weight: NonNegative = 1.0,
    undesirable_weight: NonNegative = 1.0,
) -> Tensor:
    """KTO (eq. 7): λ_D [1 - σ(beta (ρ - z))] for good, λ_U [1 - σ(beta (z - ρ))] for bad items.

    Scores are log-ratios not multiplied by beta, z = `kto_baseline`; values lie in (0, λ). Keep
    λ_D n_D/(λ_U n_U) in [1, 4/3].
    Raises ValueError unless beta > 0.
    """
    u = beta * (score - baseline)
    return torch.where(
        desirable, desirable_weight * torch.sigmoid(-u), undesirable_weight * torch.sigmoid(u)
    )


@loss("apo_zero_unpaired", kind="point", evidence="C", score="ρ", link="λ σ(-u)", temperature="β",
      trl="kto: apo_zero_unpaired", paper="APO, arXiv:2408.06266")  # fmt: skip
def apo_zero_unpaired(
    score: Tensor,
    desirable: Tensor,
    *,
    beta: Positive = 0.1,
    desirable_weight: NonNegative = 1.0,
    undesirable_weight: NonNegative = 1.0,
) -> Tensor:
    """KTO with z = 0: 1 - σ(beta ρ) for good and σ(beta ρ) for bad items, weighted by side.

    Raises ValueError unless beta > 0.
    """
    u = beta * score
    return torch.where(
        desirable, desirable_weight * torch.sigmoid(-u), undesirable_weight * torch.sigmoid(u)
    )


@loss("bco", kind="point", evidence="C", score="βρ", margin="δ",
      weight="density ratio of bad items", paper="BCO, arXiv:2404.04656")  # fmt: skip
def bco(score: Tensor, desirable: Tensor, delta: Number = 0.0, weight: Number = 1.0) -> Tensor:
    """BCO: ℓ(s - δ) for good, ℓ(δ - s) for bad items; δ = running mean of all scores, a constant.

    weight: for bad items p/(1-p) clipped to [0.5, 10], p a classifier's P(prompt is of the good
    source | x), 1 for good ones. One good and one bad item at the same δ: `bco_pair`.
    """
    u = score - delta
    return weight * logistic(torch.where(desirable, u, -u))


@loss("point_bce", kind="point", evidence="M", score="r",
      paper="A General Language Assistant as a Laboratory for Alignment")  # fmt: skip
def point_bce(score: Tensor, desirable: Tensor) -> Tensor:
    """Binary discrimination: ℓ(s) for good, ℓ(-s) for bad items. Unverified, from memory."""
    return logistic(torch.where(desirable, score, -score))


@loss("diffusion_kto", kind="point", evidence="C", score="β(mse_ref - mse)", link="1 - U(±u)",
      margin="batch mean", weight="ω",
      paper="Aligning Diffusion Models by Optimizing Human Utility")  # fmt: skip
def diffusion_kto(
    score: Tensor,
    desirable: Tensor,
    baseline: Number,
    weight: Number = 1.0,
    kl: Number = 0.0,
    *,
    utility: Literal["kto", "loss_averse", "risk_seeking"] = "kto",
) -> Tensor:
    """Diffusion-KTO: ω (1 - U(±(s - z))) + kl, s = β(error of reference - own), z = max(0, mean s).

    U(x): kto σ(x), loss_averse log σ(x), risk_seeking -log σ(-x). `kto` with z of the batch. The
    form of risk_seeking is from memory and unverified. kl: a divergence to the reference, [N].
    Raises ValueError for risk_seeking without one: alone it is unbounded below.
    """
    if utility == "risk_seeking":
        _check_kl("utility = 'risk_seeking'", score, kl)
    u = score - baseline
    u = torch.where(desirable, u, -u)
    forms = {
        "kto": lambda u: torch.sigmoid(-u),
        "loss_averse": lambda u: 1 + logistic(u),
        "risk_seeking": lambda u: 1 - logistic(-u),
    }
    require(utility in forms, "utility", repr(utility), "one of: " + ", ".join(forms))
    return weight * forms[utility](u) + kl


@loss("pmpo", kind="point", evidence="2", score="log π", link="±s",
      regularizer="β KL(π_ref ‖ π)",
      paper="Preference Optimization as Probabilistic Inference")  # fmt: skip
def pmpo(
    log_prob: Tensor,
    desirable: Tensor,
    kl: Number = 0.0,
    *,
    alpha: Share = 0.5,
    beta: NonNegative = 0.3,
) -> Tensor:
    """PMPO: -alpha mean log π over good + (1-alpha) mean log π over bad + beta KL(π_ref || π).

    One value per item, weighted so that their mean is this sum. alpha = 1, beta = 0: maximum
    likelihood of the good ones. Form, alpha and beta as in reimplementations of Dreamer 4, the
    paper itself not read. Raises ValueError unless 0 <= alpha <= 1, and for alpha < 1 with bad
    items and no KL term with a gradient: then it is unbounded below.
    """
    good = int(desirable.sum())
    bad = desirable.numel() - good
    if alpha < 1 and bad:
        case = f"alpha = {alpha} with {bad} undesirable items"
        require(beta > 0, "beta", beta, f"beta > 0: {case} is unbounded below without its KL")
        _check_kl(case, log_prob, kl)
    of_good = -alpha * log_prob.numel() / max(good, 1) * log_prob
    of_bad = (1 - alpha) * log_prob.numel() / max(bad, 1) * log_prob
    return torch.where(desirable, of_good, of_bad) + beta * kl


@loss("ulma", kind="point", evidence="C", score="βρ + c", link="NLL, ℓ or square",
      paper="ULMA: Demonstration and Point-wise Human Preference")  # fmt: skip
def ulma(
    item: LogProbs,
    demonstration: Tensor,
    rating: Tensor | None = None,
    *,
    beta: Positive = 0.1,
    log_z: Real = 0.0,
) -> Tensor:
    """ULMA: -log π/n for demonstrations; for others ℓ(-(beta ρ + c)) or (rating - beta ρ - c)².

    demonstration: bool [N]. c = log_z stands for log Z(x). Without `rating` the others are all bad.
    Raises ValueError unless beta > 0.
    """
    r = beta * item.ratio + log_z
    other = logistic(-r) if rating is None else (rating - r).square()
    return torch.where(demonstration, item.nll, other)


def _check_kl(case: str, score: Tensor, kl: Number) -> None:
    """A constant divergence bounds nothing: it must move with the scores."""
    moves = isinstance(kl, Tensor) and (kl.requires_grad or not score.requires_grad)
    found = "a tensor without gradient" if isinstance(kl, Tensor) else kl
    require(moves, "kl", found, f"a KL tensor that is differentiated: {case} is unbounded below")
