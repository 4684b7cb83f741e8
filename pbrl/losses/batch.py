"""Losses that compare across a batch: the value of one pair depends on the others.

Tensors are [N], the whole batch at once: splitting a batch (gradient accumulation) changes them.
"""

import torch
from torch import Tensor

from .grid import pair_loss
from .links import logistic
from .logprobs import LogProbs
from .registry import FlipRate, Positive, Share, loss, require, require_shape


@loss("aot", kind="batch", evidence="C", score="sorted margins", link="smoothed ℓ", trl="aot",
      paper="AOT, arXiv:2406.05882")  # fmt: skip
def aot(
    chosen: LogProbs, rejected: LogProbs, *, beta: Positive = 0.1, eps: FlipRate = 0.0
) -> Tensor:
    """AOT: ℓ(beta (sort(log π_w - log π_l) - sort(log π_ref,w - log π_ref,l))), smoothed by eps.

    The policy's margins are to dominate the reference's as a distribution. A batch of one: DPO.
    Raises ValueError unless 0 <= eps < 0.5 and beta > 0, and for two sides of different size.
    """
    require_shape("rejected.policy", rejected.policy, chosen.policy.shape)
    policy = _sorted(chosen.policy - rejected.policy)
    reference = _sorted(chosen.base - rejected.base)
    return _smoothed(policy, reference, beta, eps)


@loss("aot_unpaired", kind="batch", evidence="C", score="sorted ρ", link="smoothed ℓ",
      trl="aot_unpaired", paper="AOT, arXiv:2406.05882")  # fmt: skip
def aot_unpaired(
    chosen: LogProbs, rejected: LogProbs, *, beta: Positive = 0.1, eps: FlipRate = 0.0
) -> Tensor:
    """AOT unpaired: ℓ(beta (sort(ρ_w) - sort(ρ_l))), smoothed by eps; the pairing plays no part.

    Raises ValueError unless 0 <= eps < 0.5 and beta > 0, and for two sides of different size.
    """
    require_shape("rejected.policy", rejected.policy, chosen.policy.shape)
    return _smoothed(_sorted(chosen.ratio), _sorted(rejected.ratio), beta, eps)


@loss("relative_po", kind="batch", evidence="C", temperature="ω_ij",
      paper="Relative Preference Optimization")  # fmt: skip
def relative_po(chosen: Tensor, rejected: Tensor, weight: Tensor) -> Tensor:
    """Relative PO: mean_j ℓ(ω_ij (s_w,i - s_l,j)) for each chosen i, ω [N, M] inside as in code.

    `prompt_weights` builds ω; ω = 1 without prompts. chosen [N], rejected [M]; N = M = 1:
    `sigmoid`.
    """
    require_shape("weight", weight, (chosen.numel(), rejected.numel()))
    return logistic(weight * (chosen.unsqueeze(1) - rejected.unsqueeze(0))).mean(1)


@loss("relative_po_diagonal", kind="batch", evidence="C", weight="0.8 own, 0.2 others",
      paper="Relative Preference Optimization")  # fmt: skip
def relative_po_diagonal(chosen: Tensor, rejected: Tensor, *, diagonal: Share = 0.8) -> Tensor:
    """diagonal · ℓ(s_w,i - s_l,i) + (1 - diagonal) · mean over j ≠ i of ℓ(s_w,i - s_l,j).

    Raises ValueError for fewer than two pairs or lengths that differ.
    """
    n = chosen.numel()
    require_shape("rejected", rejected, (n,))
    require(n >= 2, "chosen", f"{n} pairs", "at least two pairs in the batch")
    every = logistic(chosen.unsqueeze(1) - rejected.unsqueeze(0))
    own = every.diagonal()
    return diagonal * own + (1 - diagonal) * (every.sum(1) - own) / (n - 1)


def prompt_weights(distance: Tensor, *, tau: float = 0.5) -> Tensor:
    """ω_ij = softmax_j(-distance_ij/tau), rows sum to 1; distance [N, M] cosine between prompts."""
    require(tau > 0, "tau", tau, "tau > 0")
    return (-distance / tau).softmax(-1)


def _sorted(x: Tensor) -> Tensor:
    require(x.dim() == 1, "chosen", f"shape {tuple(x.shape)}", "one batch, shape [N]")
    return torch.sort(x).values


def _smoothed(better: Tensor, worse: Tensor, beta: float, eps: float) -> Tensor:
    return pair_loss(logistic, better, worse, 1 - eps, temperature=beta)
