"""Preferences that one score per item cannot say: cycles, and groups that disagree.

The last axis holds an item's embedding or its score in each group; the result has the leading
shape, one value per pair.
"""

import torch
from torch import Tensor

from .links import logistic
from .registry import Positive, loss, require, require_shape


def gpm_score(first: Tensor, second: Tensor, weight: Tensor | None = None) -> Tensor:
    """Skew-symmetric score Σ_b w_b (v¹_2b v²_2b+1 - v¹_2b+1 v²_2b) of embeddings [..., 2k].

    s(i, j) = -s(j, i), s(i, i) = 0; it can represent cycles. v = (r, 1) gives r_i - r_j. weight
    [..., k]: of the blocks, softmax of a linear map of the prompt. General preference model.
    """
    width = first.shape[-1]
    require(width % 2 == 0, "first", f"width {width}", "an even width, two numbers per block")
    require(first.shape == second.shape, "second", tuple(second.shape), str(tuple(first.shape)))
    a, b = first.unflatten(-1, (-1, 2)), second.unflatten(-1, (-1, 2))
    blocks = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    if weight is not None and weight.dim() > 1:  # else one number per block, for all pairs
        require_shape("weight", weight, blocks.shape)
    return (blocks if weight is None else weight * blocks).sum(-1)


@loss("gpm", kind="group", evidence="C", score="vᵢᵀRvⱼ", temperature="1/τ",
      paper="General Preference Modeling with Preference Representations")  # fmt: skip
def gpm(
    chosen: Tensor, rejected: Tensor, weight: Tensor | None = None, *, tau: Positive = 0.1
) -> Tensor:
    """GPM: ℓ(s(chosen, rejected)/tau), s the `gpm_score` of embeddings [..., 2k].

    Training normalizes the embeddings. tau 0.1 in the k-block class, 1 in the two-dimensional one.
    Raises ValueError unless tau > 0.
    """
    return logistic(gpm_score(chosen, rejected, weight) / tau)


@loss("gpm_regression", kind="group", evidence="C", score="vᵢᵀRvⱼ", link="½(u-10)²",
      paper="General Preference Modeling with Preference Representations")  # fmt: skip
def gpm_regression(
    chosen: Tensor, rejected: Tensor, weight: Tensor | None = None, *, tau: Positive = 0.1
) -> Tensor:
    """GPM's regression: ½ (s(chosen, rejected)/tau - 10)². Raises ValueError unless tau > 0."""
    return 0.5 * (gpm_score(chosen, rejected, weight) / tau - 10).square()


@loss("micro", kind="group", evidence="2", link="-log Σ w_k σ(u_k)",
      paper="MiCRo: Mixture Modeling and Context-aware Routing")  # fmt: skip
def micro(chosen: Tensor, rejected: Tensor, log_weight: Tensor) -> Tensor:
    """Mixture of K Bradley-Terry models: -log Σ_k w_k σ(r_k(w) - r_k(l)), scores [..., K].

    log_weight: log of the routing weights, [K] or [..., K]. K = 1: `sigmoid`.
    Raises ValueError for shapes that do not match and weights that do not sum to 1.
    """
    require_shape("rejected", rejected, chosen.shape)
    require_shape("log_weight", log_weight, chosen.shape[-max(log_weight.dim(), 1) :])
    low, high = (float(x) for x in log_weight.detach().exp().sum(-1).aminmax())
    # Weights of a bf16 router sum to 1 within about 1 %.
    found = f"of weights with sums in [{low:g}, {high:g}]"
    require(0.98 < low <= high < 1.02, "log_weight", found, "sum 1")
    return -torch.logsumexp(log_weight - logistic(chosen - rejected), dim=-1)
