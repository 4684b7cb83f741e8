"""Losses of K scores at once: rankings, soft targets and sets.

scores [..., K], any leading shape; the result has the leading shape, one value per list. `present`
(bool [..., K]) marks the items a shorter list really has, at least two.
"""

import torch
from torch import Tensor

from .links import logistic
from .registry import NonNegative, Positive, loss, require, require_shape


@loss("plackett_luce", kind="list", evidence="D", link="Plackett-Luce",
      paper="Plackett 1975; Luce 1959")  # fmt: skip
def plackett_luce(
    scores: Tensor, order: Tensor | None = None, present: Tensor | None = None
) -> Tensor:
    """-Σ_k [s_(k) - logsumexp(s_(k), ..., s_(K))], k from best to worst; K = 2: `sigmoid`.

    order [..., K]: indices of the items, best first; without it they stand in that order already.
    Absent items come last. Raises ValueError for an order that is no permutation.
    """
    scores, present = _check_list(scores, present, order)
    low = torch.finfo(scores.dtype).min / 4
    scores = torch.where(present, scores, low)
    if order is not None:
        places = torch.arange(order.shape[-1], device=order.device).expand_as(order)
        permuted = bool((order.sort(-1).values == places).all())
        require(permuted, "order", "an index twice or out of range", "each item of a list once")
        scores, present = scores.gather(-1, order), present.gather(-1, order)
        gap = present[..., 1:] & ~present[..., :-1]
        require(not bool(gap.any()), "order", "an absent item before a present one", "absent last")
    rest = scores.flip(-1).logcumsumexp(-1).flip(-1)
    return ((rest - scores) * present).sum(-1)


@loss("infonca", kind="list", evidence="C", link="cross-entropy of softmax",
      paper="InfoNCA, arXiv:2402.05369")  # fmt: skip
def infonca(
    scores: Tensor, rewards: Tensor, present: Tensor | None = None, *, alpha: Positive = 1.0
) -> Tensor:
    """-Σ_k t_k log softmax(s)_k with t = softmax(rewards/alpha); K = 2 with certain t: `sigmoid`.

    Authors' code: K 4, alpha 1e-3 by default. Raises ValueError unless alpha > 0.
    """
    scores, present = _check_list(scores, present, rewards)
    target = _masked(rewards / alpha, present).softmax(-1)
    return -(target * _masked(scores, present).log_softmax(-1)).sum(-1)


@loss("nca", kind="list", evidence="C", link="two-sided ℓ",
      paper="NCA, arXiv:2402.05369")  # fmt: skip
def nca(
    scores: Tensor, rewards: Tensor, present: Tensor | None = None, *, alpha: Positive = 1.0
) -> Tensor:
    """Σ_k [t_k ℓ(s_k) + ℓ(-s_k)/K] with t = softmax(rewards/alpha); K = 2, t = (1, 0): `nca_pair`.

    Authors' code as `infonca`. Raises ValueError unless alpha > 0.
    """
    scores, present = _check_list(scores, present, rewards)
    target = _masked(rewards / alpha, present).softmax(-1)
    noise = present.to(scores.dtype) / present.sum(-1, keepdim=True)
    return (target * logistic(scores) + noise * logistic(-scores)).sum(-1)


@loss("mpo_set", kind="list", evidence="2", link="softmax mass of the good set",
      weight="e^(α|g-ḡ|)", aka="W-MPO, AMPO on a chosen subset",
      paper="Multi-Preference Optimization")  # fmt: skip
def mpo_set(
    scores: Tensor, rewards: Tensor, present: Tensor | None = None, *, alpha: NonNegative = 1.0
) -> Tensor:
    """-log of Σ_good w e^s / Σ_all w e^s, good = reward above the mean, w = e^(alpha |g - ḡ|).

    alpha = 0: no weights; one against one: `sigmoid`. AMPO is this on a chosen subset: give it as
    `present`. The absolute deviation is confirmed, its exponent not.
    Raises ValueError for a list whose rewards are all equal.
    """
    scores, present = _check_list(scores, present, rewards)
    mean = (rewards * present).sum(-1, keepdim=True) / present.sum(-1, keepdim=True)
    good = present & (rewards > mean)
    empty = int((~good.any(-1)).sum())
    require(empty == 0, "rewards", f"all equal in {empty} lists", "a best and a worst in each list")
    weighted = scores + alpha * (rewards - mean).abs().detach()
    return _masked(weighted, present).logsumexp(-1) - _masked(weighted, good).logsumexp(-1)


@loss("lambda_rank", kind="list", evidence="M", link="Σ λ_ij ℓ", weight="λ_ij",
      paper="TPO: Multi-branch & Multi-step Preference Trees")  # fmt: skip
def lambda_rank(scores: Tensor, rewards: Tensor, present: Tensor | None = None) -> Tensor:
    """Σ over g_i > g_j of λ_ij ℓ(s_i - s_j), with the weights of LambdaRank.

    λ_ij = |2^g_i - 2^g_j| |1/log2(1+τ_i) - 1/log2(1+τ_j)|; τ is the rank by the present scores (1
    best), a constant. Unverified, from memory: the official repository's indices do not match a
    ranking objective.
    """
    scores, present = _check_list(scores, present, rewards)
    ranked = _masked(scores.detach(), present).argsort(-1, descending=True).argsort(-1)
    discount = 1 / torch.log2(2 + ranked.to(scores.dtype))
    gain = torch.exp2(rewards)
    weight = (_differences(gain) * _differences(discount)).abs()
    better = _better(rewards, present)
    return (better * weight * logistic(_differences(scores))).sum((-2, -1))


@loss("pairwise_mean", kind="list", evidence="D", link="mean of ℓ",
      aka="K-wise Bradley-Terry, LiPO pairwise", paper="InstructGPT, arXiv:2203.02155")  # fmt: skip
def pairwise_mean(scores: Tensor, rewards: Tensor, present: Tensor | None = None) -> Tensor:
    """Mean of ℓ(s_i - s_j) over all pairs of the list with g_i > g_j.

    Raises ValueError for a list whose rewards are all equal.
    """
    scores, present = _check_list(scores, present, rewards)
    better = _better(rewards, present)
    count = better.sum((-2, -1))
    empty = int((count == 0).sum())
    require(empty == 0, "rewards", f"all equal in {empty} lists", "a best and a worst in each list")
    return (better * logistic(_differences(scores))).sum((-2, -1)) / count


def _differences(x: Tensor) -> Tensor:
    return x.unsqueeze(-1) - x.unsqueeze(-2)


def _better(rewards: Tensor, present: Tensor) -> Tensor:
    return (_differences(rewards) > 0) & present.unsqueeze(-1) & present.unsqueeze(-2)


def _masked(x: Tensor, present: Tensor) -> Tensor:
    return torch.where(present, x, torch.finfo(x.dtype).min / 4)


def _check_list(
    scores: Tensor, present: Tensor | None, other: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Scores with absent ones at 0 and the mask of present ones, all shapes checked."""
    for name, tensor in (("present", present), ("rewards or order", other)):
        if tensor is not None:
            require_shape(name, tensor, scores.shape)
    if present is None:
        present = torch.ones_like(scores, dtype=torch.bool)
    fewest = int(present.sum(-1).min())
    require(fewest >= 2, "present", f"{fewest} items in the shortest list", "at least two")
    return torch.where(present, scores, 0.0), present
