"""Losses of a policy's log-probabilities: length-normalized, reference-free, with an NLL term.

Each takes (chosen, rejected), a `LogProbs` per side, and returns one value per pair. Every pair
loss of scores becomes one through `select.policy_loss`, which puts β log π/π_ref for the scores.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .grid import Number, pair_loss
from .links import expm1_linear, hinge, logistic, square
from .logprobs import LogProbs, log1mexp
from .registry import NonNegative, Positive, Real, loss, require

# --- another score in the logistic loss ----------------------------------------------------------


@loss("sigmoid_norm", kind="policy", evidence="C", score="βρ/n", trl="sigmoid_norm", aka="LN-DPO",
      paper="LN-DPO, The Hitchhiker's Guide to Human Alignment with *PO")  # fmt: skip
def sigmoid_norm(chosen: LogProbs, rejected: LogProbs, *, beta: Positive = 0.1) -> Tensor:
    """Length-normalized DPO: ℓ(beta (ρ_w/n_w - ρ_l/n_l)); wants beta larger by about the length.

    Raises ValueError unless beta > 0.
    """
    return pair_loss(logistic, chosen.mean_ratio, rejected.mean_ratio, temperature=beta)


@loss("h_dpo", kind="policy", evidence="2", score="αβ log π - β log π_ref",
      paper="Entropy Controllable DPO")  # fmt: skip
def h_dpo(
    chosen: LogProbs, rejected: LogProbs, *, beta: Positive = 0.1, alpha: Positive = 0.9
) -> Tensor:
    """H-DPO: the score is beta (alpha log π - log π_ref); alpha < 1 sharpens the policy.

    Optimum π ∝ π_ref^(1/alpha) exp(r/(alpha beta)); alpha = 1: DPO. Structure confirmed, derived
    here.
    Raises ValueError unless beta > 0.
    """
    scores = [x._replace(policy=alpha * x.policy).ratio for x in (chosen, rejected)]
    return pair_loss(logistic, *scores, temperature=beta)


@loss("f_dpo", kind="policy", evidence="C", score="β f'(π/π_ref)", trl="f_divergence_type",
      paper="f-DPO, arXiv:2309.16240")  # fmt: skip
def f_dpo(
    chosen: LogProbs,
    rejected: LogProbs,
    *,
    beta: Positive = 0.1,
    divergence: Literal[
        "reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"
    ] = "forward_kl",
    alpha: Real = 0.5,
) -> Tensor:
    """f-DPO: the score is beta f'(e^ρ) of the divergence that keeps the policy near the reference.

    reverse_kl ρ (DPO); forward_kl 1 - e^-ρ; js_divergence log 2 + log σ(ρ); alpha_divergence
    (e^((alpha-1)ρ) - 1)/(alpha-1), which is forward KL at alpha 0 and tends to reverse KL at 1.
    Raises ValueError unless beta > 0.
    """
    forms = {
        "reverse_kl": lambda ρ: ρ,
        "forward_kl": lambda ρ: -expm1_linear(-ρ),
        "js_divergence": F.logsigmoid,
        "alpha_divergence": lambda ρ: expm1_linear((alpha - 1) * ρ) / (alpha - 1),
    }
    require(divergence in forms, "divergence", repr(divergence), "one of: " + ", ".join(forms))
    require(divergence != "alpha_divergence" or alpha != 1, "alpha", 1, "not 1; use reverse_kl")
    score = forms[divergence]
    return pair_loss(logistic, score(chosen.ratio), score(rejected.ratio), temperature=beta)


@loss("mrpo", kind="policy", evidence="C", score="β log π/π̃",
      paper="Multi-Reference Preference Optimization")  # fmt: skip
def mrpo(
    chosen: LogProbs,
    rejected: LogProbs,
    chosen_second_reference: Tensor,
    rejected_second_reference: Tensor,
    *,
    beta: Positive = 0.1,
    clip: NonNegative = 0.1,
) -> Tensor:
    """MRPO: DPO against the harmonic mean of two references, 1/π̃ = a/π₁ + (1-a)/π₂.

    a = |m₂|/(|m₁|+|m₂|), m_k the margin of reference k. log π₂ is first clipped to
    (1 ± clip · share) log π₁, share the item's part of both references' log-probabilities of the
    pair. Equal references: DPO. All as in the authors' code.
    Raises ValueError unless beta > 0.
    """
    base = (chosen.base, rejected.base)
    second = (chosen_second_reference, rejected_second_reference)
    margin = [(x[0] - x[1]).abs() for x in (base, second)]
    a = margin[1] / (margin[0] + margin[1] + 1e-6)
    size = [(x + y).abs() for x, y in zip(base, second, strict=True)]
    # Both are 0 for a uniform reference of log-probability 0, where the share plays no part.
    share = size[0] / (size[0] + size[1]).clamp(min=1e-30)
    mixed = []
    for one, two, part in zip(base, second, (share, 1 - share), strict=True):
        reach = clip * part * one.abs()
        clipped = torch.minimum(torch.maximum(two, one - reach), one + reach)
        mixed.append(-torch.logaddexp(a.log() - one, torch.log1p(-a) - clipped))
    return pair_loss(
        logistic, chosen.policy - mixed[0], rejected.policy - mixed[1], temperature=beta
    )


# --- without a reference -------------------------------------------------------------------------


@loss("simpo", kind="policy", evidence="C", score="β log π/n", margin="γ", trl="cpo: simpo",
      paper="SimPO, arXiv:2405.14734")  # fmt: skip
def simpo(
    chosen: LogProbs,
    rejected: LogProbs,
    label: Number = 1.0,
    *,
    beta: Positive = 2.0,
    gamma: Real = 0.5,
) -> Tensor:
    """SimPO: ℓ(beta (log π_w/n_w - log π_l/n_l) - gamma); beta 2 to 10, gamma/beta 0 to 1.

    loss/beta -> `repo` with margin gamma/beta as beta grows. TRL's loss_type "simpo" still adds
    cpo_alpha · NLL. Its betas are not comparable with those of summed log-probabilities.
    Raises ValueError unless beta > 0.
    """
    margin = gamma / beta
    return pair_loss(logistic, chosen.mean, rejected.mean, label, margin=margin, temperature=beta)


@loss("repo", kind="policy", evidence="C", score="log π/n", link="max(0, γ-u)",
      paper="RePO: ReLU-based Preference Optimization")  # fmt: skip
def repo(chosen: LogProbs, rejected: LogProbs, *, gamma: NonNegative = 0.5) -> Tensor:
    """RePO: max(0, gamma - (log π_w/n_w - log π_l/n_l)); pairs ahead by gamma drop out.

    gamma 0.4 to 0.6; the repository calls it gamma_beta_ratio.
    """
    return pair_loss(partial(hinge, margin=gamma), chosen.mean, rejected.mean)


@loss("alphapo", kind="policy", evidence="C", score="β(1-p̄^-α)/α", margin="γ", trl="cpo: alpha",
      paper="AlphaPO, arXiv:2501.03884")  # fmt: skip
def alphapo(
    chosen: LogProbs,
    rejected: LogProbs,
    *,
    beta: Positive = 2.0,
    gamma: Real = 0.5,
    alpha: Real = 0.25,
) -> Tensor:
    """AlphaPO: SimPO with reward (1 - p̄^-alpha)/alpha, p̄ the geometric mean token probability.

    alpha -> 0: `simpo`. Raises ValueError for alpha = 0, beta <= 0 and p̄ > 1.
    """
    require(alpha != 0, "alpha", alpha, "not 0; use simpo")
    _check_probabilities(chosen, rejected)
    scores = [-expm1_linear(-alpha * x.mean) / alpha for x in (chosen, rejected)]
    return pair_loss(logistic, *scores, margin=gamma / beta, temperature=beta)


# --- with the negative log-likelihood of the chosen item -----------------------------------------


@loss("sft", kind="policy", evidence="C", score="log π/n", link="-s_w", trl="sft",
      paper="supervised fine-tuning")  # fmt: skip
def sft(chosen: LogProbs, rejected: LogProbs) -> Tensor:
    """-log π_w/n_w; the rejected item is not used.

    TRL averages over all tokens of the batch instead, so that long items weigh more.
    """
    return chosen.nll


@loss("dpo_nll", kind="policy", evidence="C", score="βρ", regularizer="α NLL", trl="sigmoid + sft",
      aka="RPO v3", paper="Iterative Reasoning Preference Optimization")  # fmt: skip
def dpo_nll(
    chosen: LogProbs, rejected: LogProbs, *, beta: Positive = 0.1, alpha: NonNegative = 1.0
) -> Tensor:
    """DPO + alpha NLL(chosen); TRL's loss_type ["sigmoid", "sft"], loss_weights [1, alpha].

    That iterative RPO divides by this count of tokens is from memory and unverified.
    Raises ValueError unless beta > 0.
    """
    dpo = pair_loss(logistic, chosen.ratio, rejected.ratio, temperature=beta)
    return dpo + alpha * chosen.nll


@loss("cpo", kind="policy", evidence="C", score="β log π", regularizer="α NLL", trl="cpo: sigmoid",
      paper="CPO, arXiv:2401.08417")  # fmt: skip
def cpo(
    chosen: LogProbs,
    rejected: LogProbs,
    label: Number = 1.0,
    *,
    beta: Positive = 0.1,
    alpha: NonNegative = 1.0,
) -> Tensor:
    """Contrastive preference optimization: ℓ(beta (log π_w - log π_l)) + alpha NLL(chosen).

    alpha (TRL: cpo_alpha) = 0: DPO with a uniform reference. TRL's hinge and ipo for CPO are
    `tpo_triple` with gold = chosen and that link. Raises ValueError unless beta > 0.
    """
    pair = pair_loss(logistic, chosen.policy, rejected.policy, label, temperature=beta)
    return pair + alpha * chosen.nll


@loss("slic", kind="policy", evidence="C", score="log π", link="max(0, δ-u)", regularizer="λ NLL",
      paper="SLiC-HF, arXiv:2305.10425")  # fmt: skip
def slic(
    chosen: LogProbs, rejected: LogProbs, *, delta: NonNegative = 1.0, nll_weight: NonNegative = 0.1
) -> Tensor:
    """SLiC-HF: max(0, delta - log π_w + log π_l) + nll_weight · NLL(chosen); HALOs: delta is β."""
    pair = pair_loss(partial(hinge, margin=delta), chosen.policy, rejected.policy)
    return pair + nll_weight * chosen.nll


@loss("orpo", kind="policy", evidence="C", score="log-odds of p̄",
      link="β ℓ", regularizer="NLL", trl="orpo", paper="ORPO, arXiv:2403.07691")  # fmt: skip
def orpo(chosen: LogProbs, rejected: LogProbs, *, beta: NonNegative = 0.1) -> Tensor:
    """ORPO: NLL(chosen) + beta ℓ(log odds(p̄_w) - log odds(p̄_l)), odds(p) = p/(1-p).

    beta is the paper's λ. The gradient of the log-odds is 1/(1-p̄): it explodes as p̄ -> 1, where
    1 - p̄ is kept at least 1e-7. Raises ValueError for p̄ > 1, as densities may be.
    """
    _check_probabilities(chosen, rejected)
    odds = [x.mean - log1mexp(x.mean) for x in (chosen, rejected)]
    return chosen.nll + beta * pair_loss(logistic, *odds)


@loss("tpo_triple", kind="policy", evidence="C", score="β log π",
      link="logistic, hinge or (u-1/2β)²", regularizer="α NLL(gold)", trl="tpo",
      paper="Triple Preference Optimization")  # fmt: skip
def tpo_triple(
    chosen: LogProbs,
    rejected: LogProbs,
    gold: LogProbs,
    *,
    beta: Positive = 0.2,
    alpha: NonNegative = 0.9,
    link: Literal["sigmoid", "hinge", "ipo"] = "sigmoid",
) -> Tensor:
    """TPO: the pair loss without reference + alpha NLL of a third, gold item; gold = chosen: `cpo`.

    ipo takes log-probabilities averaged over tokens, as TRL does. Repository: beta 0.2, alpha 0.9;
    TRL: beta 0.01, alpha (tpo_alpha) 1. Raises ValueError unless beta > 0.
    """
    require(link in ("sigmoid", "hinge", "ipo"), "link", repr(link), "sigmoid, hinge or ipo")
    if link == "ipo":
        pair = pair_loss(partial(square, target=0.5 / beta), chosen.mean, rejected.mean)
    else:
        form = hinge if link == "hinge" else logistic
        pair = pair_loss(form, chosen.policy, rejected.policy, temperature=beta)
    return pair + alpha * gold.nll


@loss("tpo_l", kind="policy", evidence="C", score="β log π/n", margin="γ",
      regularizer="α NLL(gold)", trl="tpo: tpo-l",
      paper="Triple Preference Optimization")  # fmt: skip
def tpo_l(
    chosen: LogProbs,
    rejected: LogProbs,
    gold: LogProbs,
    *,
    beta: Positive = 0.2,
    alpha: NonNegative = 0.9,
    gamma: Real = 0.5,
) -> Tensor:
    """TPO-L: `simpo` + alpha NLL of the gold item. Raises ValueError unless beta > 0."""
    pair = pair_loss(logistic, chosen.mean, rejected.mean, margin=gamma / beta, temperature=beta)
    return pair + alpha * gold.nll


def _check_probabilities(chosen: LogProbs, rejected: LogProbs) -> None:
    for side, item in (("chosen", chosen), ("rejected", rejected)):
        highest = float(item.mean.detach().max())
        expected = "log-probabilities, at most 0"
        require(highest <= 0, f"{side}.policy", f"{highest:g} per token at its highest", expected)
