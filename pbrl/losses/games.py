"""Objectives of preference games and of values: what an online learner minimizes or rewards.

Each states its shapes; results are one value per item, for the caller to average.
"""

import math
from typing import Annotated, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .links import expm1_minus
from .logprobs import LogProbs
from .registry import NonNegative, Positive, Range, Real, loss, require, upcast


@loss("inpo", kind="game", evidence="2", score="log π mixed with two references", link="(u-1/2η)²",
      paper="INPO, arXiv:2407.00617")  # fmt: skip
def inpo(
    chosen: LogProbs,
    rejected: LogProbs,
    chosen_previous: Tensor,
    rejected_previous: Tensor,
    *,
    eta: Positive = 1.0,
    tau: Positive = 0.1,
) -> Tensor:
    """INPO: (h - 1/(2 eta))², h the margin of log π - (tau/eta) log π_ref - (1 - tau/eta) log π_t.

    *_previous: log π_t of the policy before this round. tau = eta: IPO. Confirmed in third-party
    code only; the defaults are ours. Raises ValueError unless eta > 0.
    """
    share = tau / eta
    scores = [
        x.policy - share * x.base - (1 - share) * previous
        for x, previous in ((chosen, chosen_previous), (rejected, rejected_previous))
    ]
    return (scores[0] - scores[1] - 0.5 / eta).square()


@loss("onpo", kind="game", evidence="P", score="log π/π'", link="(u-η/2)²",
      paper="General Preference Alignment via Optimistic Online Mirror Descent")  # fmt: skip
def onpo(chosen: LogProbs, rejected: LogProbs, *, eta: Positive = 100.0) -> Tensor:
    """ONPO's inner step: (u - eta/2)², u the margin of log π/π', π' the policy before it.

    Give log π' as reference; the paper has 1/eta 0.01. Raises ValueError unless eta > 0.
    """
    return (chosen.ratio - rejected.ratio - eta / 2).square()


@loss("gpo", kind="game", evidence="M", score="ρ", link="(ρ-s̄/β)²",
      paper="General Preference Modeling with Preference Representations")  # fmt: skip
def gpo(log_ratio: Tensor, advantage: Tensor, *, beta: Positive = 0.1) -> Tensor:
    """GPO: (ρ - s̄/beta)² for each item, s̄ its mean preference score over the policy's own items.

    Unverified, from memory. Raises ValueError unless beta > 0.
    """
    return (log_ratio - advantage / beta).square()


@loss("nash_md", kind="game", evidence="C", score="log π", regularizer="β KL",
      paper="Nash-MD, arXiv:2312.00886")  # fmt: skip
def nash_md(
    log_prob: Tensor, log_ratio: Tensor, win_probability: Tensor, *, beta: NonNegative = 0.1
) -> Tensor:
    """Nash-MD: -(P - ½) log π(y) + beta sg[ρ] log π(y), y ~ π; its gradient is the method.

    Items, or tokens with P the same for all of an item: their sum is TRL's form, whose KL pairs
    each token with its own ratio alone. P = P(y beats the opponent), the opponent drawn from
    `geometric_mixture` of π and π_ref.
    """
    return (beta * log_ratio.detach() - (win_probability - 0.5)) * log_prob


def geometric_mixture(logits: Tensor, reference_logits: Tensor, *, mixture: float = 0.5) -> Tensor:
    """Log-probabilities of π^(1-mixture) π_ref^mixture, normalized over the last axis; Nash-MD."""
    require(0 <= mixture <= 1, "mixture", mixture, "0 <= mixture <= 1")
    own, reference = (upcast(z).log_softmax(-1) for z in (logits, reference_logits))
    mixed = (1 - mixture) * own + mixture * reference
    return mixed.log_softmax(-1)


def win_rate_rewards(wins: Tensor) -> Tensor:
    """SPO (minimax): reward of item i = mean over j ≠ i of wins_ij, P(i beats j), [N, N] -> [N]."""
    n = wins.shape[-1]
    require(wins.dim() == 2 and wins.shape[0] == n and n >= 2, "wins", tuple(wins.shape), "[N, N]")
    return (wins.sum(-1) - wins.diagonal()) / (n - 1)


class Sampled(NamedTuple):
    """What DRPO draws from the policy for each prompt: y* ~ π and how it fares; all [N]."""

    log_prob: Tensor
    win_probability: Tensor
    log_ratio: Tensor


@loss("drpo_doubly", kind="game", evidence="C", weight="clip(π/π_ref)",
      regularizer="β KL k3", paper="Doubly Robust Alignment for Large Language Models")  # fmt: skip
def drpo_doubly(
    item: LogProbs,
    label: Tensor,
    win_probability: Tensor,
    sampled: Sampled,
    *,
    clip: Annotated[float, Range(ge=1)] = 10.0,
    beta: NonNegative = 0.1,
) -> Tensor:
    """DRPO: -clip(π/π_ref, 1/c, c)(z - ĝ) log π(y) - (ĝ* - ½) log π(y*) + beta KL.

    item: y of the data with label z = 1 if it won and ĝ = P̂(y wins); sampled: y* of the policy with
    its ĝ*. Weights and estimates are constants. The KL is `kl_k3` on y*, differentiated through
    sampled.log_ratio: its value estimates KL(π || π_ref), but its gradient, the draws of y* being
    fixed, that of KL(π_ref || π). Raises ValueError unless clip >= 1.
    """
    bound = math.log(clip)
    weight = item.ratio.detach().clamp(-bound, bound).exp()
    correction = weight * (label - win_probability.detach()) * item.policy
    direct = (sampled.win_probability.detach() - 0.5) * sampled.log_prob
    return beta * expm1_minus(-sampled.log_ratio) - correction - direct


def bnpo_parameters(mean_reward: Tensor) -> tuple[Tensor, Tensor]:
    """BNPO's α = max(1, 1 + a/3) and β = max(1, 1 + b/3), Beta(a, b) fitted to prompts' means [P].

    Moments with the unbiased variance; one prompt counts as mean 0, variance 1, as in the code.
    """
    if mean_reward.numel() == 1:
        mean, variance = torch.zeros_like(mean_reward[0]), torch.ones_like(mean_reward[0])
    else:
        mean, variance = mean_reward.mean(), mean_reward.var()
    common = mean * (1 - mean) / variance.clamp(min=1e-12) - 1
    alpha, beta = (1 + common * m / 3 for m in (mean, 1 - mean))
    return alpha.clamp(min=1), beta.clamp(min=1)


@loss("bnpo", kind="game", evidence="C", weight="(r-p)/Beta pdf(p)", shape="[prompts, samples]",
      paper="BNPO: Beta Normalization Policy Optimization")  # fmt: skip
def bnpo(log_prob: Tensor, reward: Tensor) -> Tensor:
    """BNPO: -A log π with A = (r - p)/Beta_pdf(p; α, β), p the mean 0/1 reward of a prompt.

    log_prob and reward [prompts, samples]; α, β from `bnpo_parameters`; 1/pdf at most 1e6, p = 0
    for one sample. α = β = 1: REINFORCE with baseline; 3/2: GRPO up to a factor.
    """
    require(reward.dim() == 2, "reward", f"shape {tuple(reward.shape)}", "[prompts, samples]")
    alone = reward.shape[1] == 1
    p = torch.zeros_like(reward[:, :1]) if alone else reward.mean(1, keepdim=True)
    return -bnpo_advantage(reward, p, *bnpo_parameters(p.squeeze(1))).detach() * log_prob


def bnpo_advantage(reward: Tensor, p: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """(r - p)/Beta_pdf(p; alpha, beta), 1/pdf at most 1e6."""
    log_pdf = (
        torch.xlogy(alpha - 1, p)
        + torch.xlogy(beta - 1, 1 - p)
        + torch.lgamma(alpha + beta)
        - torch.lgamma(alpha)
        - torch.lgamma(beta)
    )
    return (reward - p) * torch.exp((-log_pdf).clamp(max=math.log(1e6)))


@loss("lsc", kind="game", evidence="2", link="log σ",
      paper="Transforming and Combining Rewards for Aligning LLMs")  # fmt: skip
def lsc(reward: Tensor, reference: Tensor | float) -> Tensor:
    """Log-sigmoid-centered reward log σ(r - r_ref(x)): a transform to maximize, not a loss.

    Sum over reward models: log P(all good). r_ref: a quantile of base samples of the prompt, 85 %
    from memory and unverified.
    """
    return F.logsigmoid(reward - reference)


@loss("itakura_saito", kind="game", evidence="P", link="(e^αδ-αδ-1)/α²",
      paper="Risk-Averse Reinforcement Learning with Itakura-Saito Loss")  # fmt: skip
def itakura_saito(delta: Tensor, *, alpha: Real = 1.0) -> Tensor:
    """(e^(alpha δ) - alpha δ - 1)/alpha², δ = V(s) - r - V(s') with a constant target.

    Minimizer -log E[e^(-alpha X)]/alpha, the entropic value (alpha > 0 averse to risk); alpha -> 0:
    δ²/2. Continued by its tangent for alpha δ > 50. Raises ValueError for alpha = 0.
    """
    require(alpha != 0, "alpha", alpha, "not 0; use δ²/2")
    return expm1_minus(alpha * delta) / alpha**2
