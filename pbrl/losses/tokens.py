"""Losses whose scores weight the tokens (or steps) of an item, and losses of token logits."""

from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from .links import exp_linear, logistic
from .logprobs import LogProbs
from .registry import (
    NonNegative,
    Positive,
    Range,
    Real,
    Share,
    loss,
    require,
    require_shape,
    upcast,
)


class Tokens(NamedTuple):
    """Per-token log-probabilities [N, T] of one side; mask True on the item's own tokens."""

    policy: Tensor
    reference: Tensor
    mask: Tensor

    def score(self, weight: Tensor | float = 1.0) -> Tensor:
        """Σ_t weight_t ρ_t over the item's tokens, [N]."""
        return (weight * self.mask * (self.policy - self.reference)).sum(-1)

    def sums(self) -> LogProbs:
        """The sums and lengths that the losses of `policy` take."""
        policy, reference, mask = upcast(self)
        return LogProbs((policy * mask).sum(-1), (reference * mask).sum(-1), mask.sum(-1))


@loss("ld_dpo", kind="token", evidence="C", score="β Σ w_t ρ_t", trl="ld_alpha",
      paper="LD-DPO, arXiv:2409.06411")  # fmt: skip
def ld_dpo(chosen: Tokens, rejected: Tokens, *, beta: Positive = 0.1, alpha: Share = 0.5) -> Tensor:
    """LD-DPO: tokens past the shorter item's length count alpha, in policy and reference.

    alpha = 1: DPO; alpha = 0: both cut to one length. Raises ValueError unless 0 <= alpha <= 1.
    """
    _check_sides("mask", (chosen, chosen.mask), (rejected, rejected.mask))
    shared = torch.minimum(chosen.mask.sum(-1), rejected.mask.sum(-1)).unsqueeze(-1)
    scores = []
    for item in (chosen, rejected):
        tail = item.mask.cumsum(-1) > shared
        scores.append(item.score(~tail) + alpha * item.score(tail))
    return logistic(beta * (scores[0] - scores[1]))


@loss("bmc", kind="token", evidence="C", score="β Σ w_t ρ_t",
      paper="Bridging and Modeling Correlations in Pairwise Data for DPO")  # fmt: skip
def bmc(
    chosen: Tokens,
    rejected: Tokens,
    chosen_differs: Tensor,
    rejected_differs: Tensor,
    *,
    beta: Positive = 0.05,
    delta: NonNegative = 2.0,
) -> Tensor:
    """BMC: token weight 1 + min(delta, 1/π(token)) where the items differ, 1 elsewhere; constant.

    *_differs: bool [N, T], tokens not in the other item (difflib; stop words left out). delta 1.5
    to 3, beta 0.01 to 0.05; delta = 0: DPO. Bridging, the other half of the method, changes the
    data.
    Raises ValueError unless beta > 0.
    """
    sides = (chosen, chosen_differs), (rejected, rejected_differs)
    _check_sides("differs", *sides)
    scores = []
    for item, differs in sides:
        rarity = exp_linear(-item.policy.detach()).clamp(max=delta)
        scores.append(item.score(1 + differs * rarity))
    return logistic(beta * (scores[0] - scores[1]))


@loss("two_d_dpo", kind="token", evidence="M", score="β Σ w_t ρ_t",
      paper="2D-DPO: Inducing Robustness in a 2 Dimensional DPO Paradigm")  # fmt: skip
def two_d_dpo(
    chosen: Tokens,
    rejected: Tokens,
    chosen_value: Tensor,
    rejected_value: Tensor,
    *,
    beta: Positive = 0.1,
) -> Tensor:
    """2D-DPO: each token's log-ratio times the value [N, T] of its segment (0 leaves it out).

    The paper keeps the best segments of the chosen and the worst of the rejected item. One value
    everywhere: DPO with another beta. Unverified, from memory.
    Raises ValueError unless beta > 0.
    """
    _check_sides("value", (chosen, chosen_value), (rejected, rejected_value))
    return logistic(beta * (chosen.score(chosen_value) - rejected.score(rejected_value)))


class Gates(NamedTuple):
    """SparsePO's masks of one side, [N, T]: on the log-ratio, on the KL, and KL(π_ref || π)_t."""

    ratio: Tensor
    kl: Tensor
    divergence: Tensor


@loss("sparse_po", kind="token", evidence="C", score="β Σ m_t ρ_t",
      margin="β(Σ m' KL_l - Σ m' KL_w)", paper="SparsePO: Sparse Token Masks")  # fmt: skip
def sparse_po(
    chosen: Tokens,
    rejected: Tokens,
    chosen_gates: Gates,
    rejected_gates: Gates,
    *,
    beta: Positive = 0.1,
) -> Tensor:
    """SparsePO: ℓ(beta (u - d)), u = Σ m ρ_t, d = Σ m' (-KL_t), chosen minus rejected.

    The masks are learned (with an L1 term) or activations of the reference. m = 1, m' = 0: DPO;
    both 1: TDPO₁. beta 0.8 for summaries, 0.1 for dialogs.
    Raises ValueError unless beta > 0.
    """
    _check_sides("gates", (chosen, chosen_gates.ratio), (rejected, rejected_gates.ratio))
    u = chosen.score(chosen_gates.ratio) - rejected.score(rejected_gates.ratio)
    kl = [
        (gates.kl * gates.divergence * item.mask).sum(-1)
        for item, gates in ((chosen, chosen_gates), (rejected, rejected_gates))
    ]
    return logistic(beta * (u + kl[0] - kl[1]))


def _check_sides(argument: str, *sides: tuple[Tokens, Tensor]) -> None:
    # The two sides may be padded to different lengths, but have as many items.
    for side, (item, data) in zip(("chosen", "rejected"), sides, strict=True):
        require_shape(f"{side}_{argument}", data, (len(sides[0][1]), item.policy.shape[-1]))


def wpo_weight(log_prob: Tensor, log_sum_square: Tensor, mask: Tensor) -> Tensor:
    """exp(mean_t [log p_t - log Σ_v p(v)²]) of one item, [N], without gradient; WPO (eq. 2).

    log_sum_square = logsumexp(2 z) - 2 logsumexp(z) of the logits z. The average of p/Σp² under
    the policy is 1. All [N, T]; raises ValueError for an item without tokens.
    """
    length = mask.sum(-1)
    require(bool((length > 0).all()), "mask", "no token in some item", "at least one token")
    rarity = upcast(log_prob) - upcast(log_sum_square)
    return ((rarity * mask).sum(-1) / length).exp().detach()


@loss("cringe", kind="token", evidence="C", link="CE or top-k contrast",
      paper="CRINGE, arXiv:2211.05826")  # fmt: skip
def cringe(
    logits: Tensor,
    tokens: Tensor,
    mask: Tensor,
    positive: Tensor,
    *,
    k: Annotated[int, Range(ge=1)] = 5,
    alpha: NonNegative = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Binary CRINGE: token-mean NLL of positive items, alpha times a contrast on negative ones.

    On each token of a negative item draw s* by softmax among the k largest other logits; the
    contrast is -log(e^s*/(e^s* + e^s_token)). k = 1 draws nothing. logits [N, T, V], tokens and
    mask [N, T], positive bool [N]. Raises ValueError for k outside [1, V-1], for k > 1 without a
    generator and for shapes that do not match.
    """
    for argument, value in (("tokens", tokens), ("mask", mask)):
        require_shape(argument, value, logits.shape[:-1])
    require_shape("positive", positive, logits.shape[:1])
    count = mask.sum(-1)
    own = logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    likelihood = logits.logsumexp(-1) - own
    contrast = logistic(_rival(logits, tokens, k, generator) - own)
    per_token = torch.where(positive.unsqueeze(-1), likelihood, alpha * contrast)
    return (per_token * mask).sum(-1) / count


def _rival(logits: Tensor, tokens: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
    require(1 <= k < logits.shape[-1], "k", k, f"1 <= k < {logits.shape[-1]}, the vocabulary")
    others = logits.scatter(-1, tokens.unsqueeze(-1), torch.finfo(logits.dtype).min)
    top = others.topk(k, dim=-1).values
    if k == 1:
        return top[..., 0]
    chance = top.detach().softmax(-1).flatten(0, -2)
    require(generator is not None, "generator", None, f"a torch.Generator, as k = {k} draws tokens")
    drawn = torch.multinomial(chance, 1, generator=generator).view(*top.shape[:-1], 1)
    return top.gather(-1, drawn).squeeze(-1)


@loss("pairwise_cringe", kind="token", evidence="2", link="gated CRINGE", weight="σ((b-M)/τ)",
      paper="Some things are more CRINGE than others")  # fmt: skip
def pairwise_cringe(
    cringe_chosen: Tensor,
    cringe_rejected: Tensor,
    margin: Tensor,
    *,
    bias: Real = 0.0,
    temperature: Positive = 1.0,
) -> Tensor:
    """g · [CE(w) + α CR(l)] with g = σ((bias - M)/temperature), M = log π_w - log π_l, all [N].

    cringe_chosen, cringe_rejected: `cringe` of the two items; bias -> ∞ gives their sum. Gate and
    contrast are confirmed; the defaults and that the gate has no gradient are unverified.
    Raises ValueError unless temperature > 0.
    """
    require_shape("cringe_rejected", cringe_rejected, cringe_chosen.shape)
    require_shape("margin", margin, cringe_chosen.shape)
    gate = torch.sigmoid((bias - margin) / temperature).detach()
    return gate * (cringe_chosen + cringe_rejected)
