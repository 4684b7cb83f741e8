"""Losses of two scores of which one is preferred: another link, label or scale in the grid.

Every function takes (chosen, rejected), scores of any one shape, and returns one value per pair.
Where a third argument `label` stands it is P(chosen preferred), 1 by default: 0.5 is a tie, other
values are soft labels. `select.segment_loss` turns the same functions into functions of
(first, second, labels).
"""

from functools import partial
from typing import Annotated

from torch import Tensor

from . import links
from .grid import Number, pair_loss
from .registry import FlipRate, Fraction, NonNegative, Positive, Range, loss, require

# --- another link or another label: functions of u = chosen - rejected ---------------------------


@loss("sigmoid", kind="pair", evidence="C", margin="m", trl="sigmoid",
      aka="DPO, Bradley-Terry, soft BCE, OSP", paper="DPO, arXiv:2305.18290")  # fmt: skip
def sigmoid(chosen: Tensor, rejected: Tensor, label: Number = 1.0, margin: Number = 0.0) -> Tensor:
    """Bradley-Terry: p ℓ(u) + (1-p) ℓ(-u) with ℓ(u) = -log σ(u), u = chosen - rejected - margin.

    DPO (eq. 7) with scores β log π/π_ref, a reward model with scores r and its data's `margin`,
    PEBBLE with returns of segments, OSP with the judged strength as label. A tie is p = 1/2.
    Minimizer u* = logit P(chosen preferred), infinite for a certain preference.
    """
    return pair_loss(links.logistic, chosen, rejected, label, margin=margin)


@loss("cdpo", kind="pair", evidence="C", label="1-ε", trl="cpo with label_smoothing",
      aka="label smoothing",
      paper="A note on DPO with noisy preferences, Mitchell 2023")  # fmt: skip
def cdpo(chosen: Tensor, rejected: Tensor, label: Number = 1.0, *, eps: FlipRate = 0.1) -> Tensor:
    """Conservative DPO: (1-eps) ℓ(u) + eps ℓ(-u), the logistic loss with smoothed labels.

    Minimizer of hard labels logit(1-eps): biased, but finite. HALOs uses eps 0.2; TRL dropped it
    from `sigmoid` in 0.29 and keeps it in CPO. Raises ValueError unless 0 <= eps < 0.5.
    """
    return pair_loss(links.logistic, chosen, rejected, label * (1 - 2 * eps) + eps)


@loss("robust", kind="pair", evidence="C", label="(p-ε)/(1-2ε)", trl="robust", aka="rDPO",
      paper="rDPO, arXiv:2403.00409")  # fmt: skip
def robust(chosen: Tensor, rejected: Tensor, label: Number = 1.0, *, eps: FlipRate = 0.1) -> Tensor:
    """rDPO: [(1-eps) ℓ(u) - eps ℓ(-u)] / (1 - 2 eps), unbiased when labels flip with rate eps.

    The logistic loss at the soft label (p-eps)/(1-2 eps), which lies outside [0, 1]: a pair always
    labeled one way is unbounded below, so stop early and do not read the value as progress.
    Raises ValueError unless 0 <= eps < 0.5.
    """
    return pair_loss(links.logistic, chosen, rejected, (label - eps) / (1 - 2 * eps))


@loss("flip_nll", kind="pair", evidence="D", link="-log[(1-ε)σ(u)+εσ(-u)]",
      paper="forward noise correction")  # fmt: skip
def flip_nll(
    chosen: Tensor, rejected: Tensor, label: Number = 1.0, *, eps: FlipRate = 0.1
) -> Tensor:
    """-log[(1-eps) σ(u) + eps σ(-u)]: the likelihood of a label that was flipped with rate eps.

    Bounded by -log eps, and very wrong pairs stop counting; minimizer logit of the clean P. It is
    what a teacher with a mistake rate implies. Raises ValueError unless 0 <= eps < 0.5.
    """
    return pair_loss(partial(links.flipped, wrong=eps, wrong_other=eps), chosen, rejected, label)


@loss("nbpo", kind="pair", evidence="2", link="-log[(1-γ⁻)σ(u)+γ⁺σ(-u)]",
      paper="Sampler Design for Implicit Feedback by Noisy-label Robust Learning")  # fmt: skip
def nbpo(
    chosen: Tensor,
    rejected: Tensor,
    label: Number = 1.0,
    *,
    gamma_minus: Annotated[float, Range(ge=0, lt=1)] = 0.1,
    gamma_plus: Annotated[float, Range(ge=0, lt=1)] = 0.1,
) -> Tensor:
    """-log P(label) with P(1) = (1-gamma_minus) σ(u) + gamma_plus σ(-u), P(0) = 1 - P(1).

    gamma_minus is the chance that a true preference is not shown (label 0), gamma_plus that a false
    one is; both 0: logistic, both equal: `flip_nll`. The structure is confirmed, defaults are ours.
    Raises ValueError unless both are >= 0 and gamma_minus + gamma_plus < 1.
    """
    total = gamma_minus + gamma_plus
    require(total < 1, "gamma_minus + gamma_plus", total, "less than 1")
    shown = links.flipped(chosen - rejected, gamma_minus, gamma_plus)
    if not isinstance(label, Tensor) and label == 1.0:
        return shown
    return label * shown + (1 - label) * links.flipped(rejected - chosen, gamma_plus, gamma_minus)


@loss("hinge", kind="pair", evidence="C", link="max(0, m-u)", trl="hinge",
      paper="SLiC-HF, arXiv:2305.10425; TRL")  # fmt: skip
def hinge(
    chosen: Tensor, rejected: Tensor, label: Number = 1.0, *, margin: NonNegative = 1.0
) -> Tensor:
    """max(0, margin - u): no gradient once ahead by the margin, which the link keeps on both sides.

    Minimizer u* = margin for any P > 1/2; a tie is flat on [-margin, margin].
    """
    return pair_loss(partial(links.hinge, margin=margin), chosen, rejected, label)


@loss("ipo", kind="pair", evidence="C", score="ρ", link="(u-1/2β)²", trl="ipo",
      paper="ΨPO, arXiv:2310.12036")  # fmt: skip
def ipo(chosen: Tensor, rejected: Tensor, label: Number = 1.0, *, beta: Positive = 0.1) -> Tensor:
    """IPO (eq. 17): (u - 1/(2 beta))², scores are log-ratios not multiplied by beta.

    Minimizer u* = (2P-1)/(2 beta), finite also for certain preferences. The paper, OpenRLHF and
    EasyLM sum the log-ratio over tokens, TRL and HALOs average it: for those give averages. The
    averaged optimum is a summed margin of n/(2 beta), so the same optimum needs a beta larger by
    the length n. Raises ValueError unless beta > 0.
    """
    return pair_loss(partial(links.square, target=0.5 / beta), chosen, rejected, label)


@loss("exo_pair", kind="pair", evidence="C", link="KL(σ(u) ‖ 1-ε)", trl="exo_pair",
      paper="EXO, arXiv:2402.00856")  # fmt: skip
def exo_pair(
    chosen: Tensor,
    rejected: Tensor,
    label: Number = 1.0,
    *,
    eps: Annotated[float, Range(gt=0, lt=0.5)] = 1e-3,
) -> Tensor:
    """EXO (eq. 16): KL((σ(u), σ(-u)) || (1-eps, eps)); eps is TRL's label_smoothing.

    Minimum 0 at σ(u) = 1-eps, the optimum of cDPO reached by the reverse divergence.
    Raises ValueError unless 0 < eps < 0.5.
    """
    return pair_loss(partial(links.exo, eps=eps), chosen, rejected, label)


@loss("discopop", kind="pair", evidence="C", link="(1-s)ℓ(u)+s·e^-u, s=σ(u/τ)", trl="discopop",
      paper="DiscoPOP, arXiv:2406.08414")  # fmt: skip
def discopop(
    chosen: Tensor,
    rejected: Tensor,
    label: Number = 1.0,
    *,
    tau: Annotated[float, Range(gt=0, lt=1)] = 0.05,
) -> Tensor:
    """DiscoPOP (eq. 5): (1-s) ℓ(u) + s e^(-u) with s = σ(u/tau); not monotone near 0.

    tau is TRL's discopop_tau. Raises ValueError unless 0 < tau < 1.
    """
    return pair_loss(partial(links.discopop, tau=tau), chosen, rejected, label)


@loss("napo", kind="pair", evidence="P", link="(1-σ(u)^q)/q",
      paper="Debiasing Multimodal LLMs via Noise-Aware Preference Optimization")  # fmt: skip
def napo(chosen: Tensor, rejected: Tensor, label: Number = 1.0, *, q: Fraction = 0.5) -> Tensor:
    """NaPO: the Box-Cox link (1 - σ(u)^q)/q, logistic as q -> 0 and `mae` at q = 1.

    Minimizer logit(P)/(1-q). The paper adapts q = 1 - σ(α · mean margin), clipped to [0.01, 1],
    α 0.5 for averaged and 0.01 for summed log-probs. Raises ValueError unless 0 < q <= 1.
    """
    return pair_loss(partial(links.box_cox, q=q), chosen, rejected, label)


@loss("mae", kind="pair", evidence="P", link="σ(-u)", paper="NaPO at q = 1")
def mae(chosen: Tensor, rejected: Tensor, label: Number = 1.0) -> Tensor:
    """1 - σ(u) = σ(-u): bounded by 1, pairs far on the wrong side stop counting.

    Minimizer ±∞, on the side of the majority. A tie is constant 1/2: it teaches nothing.
    """
    return pair_loss(links.mae, chosen, rejected, label)


@loss("exp", kind="pair", evidence="D", link="e^-u",
      paper="AdaBoost, Freund and Schapire 1997")  # fmt: skip
def exp(chosen: Tensor, rejected: Tensor, label: Number = 1.0) -> Tensor:
    """e^(-u), continued by its tangent for u < -50. Minimizer logit(P)/2."""
    return pair_loss(links.exponential, chosen, rejected, label)


@loss("smpo", kind="pair", evidence="C", temperature="2p-1",
      paper="Smoothed Preference Optimization via ReNoise Inversion")  # fmt: skip
def smpo(chosen: Tensor, rejected: Tensor, label: Number = 1.0) -> Tensor:
    """SmPO: ℓ((2p-1) u), the soft label inside the sigmoid as a temperature.

    A tie (p = 1/2) has no gradient; p = 1 is `sigmoid`. Labels outside [0, 1] are not checked here.
    """
    return pair_loss(links.logistic, chosen, rejected, temperature=2 * label - 1)


# --- another scale on the rejected score ----------------------------------------------------------


@loss("cpl", kind="pair", evidence="C", score="α log π", scale="λ",
      paper="CPL, arXiv:2310.13639")  # fmt: skip
def cpl(
    chosen: Tensor, rejected: Tensor, label: Number = 1.0, *, rejected_scale: Fraction = 0.5
) -> Tensor:
    """Contrastive preference learning: ℓ(chosen - λ rejected), λ = rejected_scale.

    Scores are α Σ_t γ^t log π(a_t|s_t) of a segment (code: α 0.1, γ 1, λ 0.5), or -‖π(s)-a‖² for a
    deterministic policy; λ < 1 keeps the policy near the data. In a tie each direction has its λ.
    Raises ValueError unless 0 < rejected_scale <= 1.
    """
    return pair_loss(links.logistic, chosen, rejected, label, rejected_scale=rejected_scale)


@loss("dppo", kind="pair", evidence="C", score="-distance", scale="λ", temperature="1/T",
      paper="Direct Preference-based Policy Optimization without Reward Modeling")  # fmt: skip
def dppo(
    chosen: Tensor,
    rejected: Tensor,
    label: Number = 1.0,
    *,
    temperature: Positive = 0.1,
    rejected_scale: Fraction = 1.0,
) -> Tensor:
    """DPPO: ℓ((λ d_rejected - d_chosen)/T) with score = -d, d = mean_t ‖π(s_t) - a_t‖.

    Raises ValueError unless T > 0 and 0 < rejected_scale <= 1.
    """
    return pair_loss(
        links.logistic,
        chosen,
        rejected,
        label,
        rejected_scale=rejected_scale,
        temperature=1 / temperature,
    )


@loss("dpo_shift", kind="pair", evidence="C", scale="λ", paper="DPO-Shift")
def dpo_shift(chosen: Tensor, rejected: Tensor, *, rejected_scale: Fraction = 0.95) -> Tensor:
    """DPO-Shift: ℓ(chosen - λ rejected); λ a constant or a linear ramp.

    λ 0.75 to 0.95, ramps between 0.5 and 1; λ = 1 is `sigmoid`. The gradients of rejected and
    chosen have the ratio λ. Raises ValueError unless 0 < rejected_scale <= 1.
    """
    return pair_loss(links.logistic, chosen, rejected, rejected_scale=rejected_scale)
