"""Terms added to a loss: total = mean(loss) + coefficient · mean(term). One value per item."""

import torch
from torch import Tensor

from .links import expm1_minus
from .logprobs import LogProbs
from .registry import loss


@loss("nll", kind="regularizer", evidence="C", default="1", trl="sft; rpo_alpha (<=0.28)",
      paper="CPO, SLiC-HF, ORPO, iterative RPO")  # fmt: skip
def nll(item: LogProbs) -> Tensor:
    """-log π/n of one side, usually the chosen: keeps its likelihood from falling."""
    return item.nll


@loss("center_rewards", kind="regularizer", evidence="C", default="0.01",
      trl="center_rewards_coefficient",
      paper="Eisenstein et al., arXiv:2312.09244; TRL")  # fmt: skip
def center_rewards(chosen: Tensor, rejected: Tensor) -> Tensor:
    """(r_w + r_l)²: fixes the free constant of a reward model so that its mean is about 0."""
    return (chosen + rejected).square()


@loss("l2_rewards", kind="regularizer", evidence="C", default="λ",
      paper="align-anything")  # fmt: skip
def l2_rewards(chosen: Tensor, rejected: Tensor) -> Tensor:
    """r_w² + r_l²: keeps both rewards small."""
    return chosen.square() + rejected.square()


@loss("chi2", kind="regularizer", evidence="C", default="0.5",
      paper="Inverse Preference Learning")  # fmt: skip
def chi2(reward: Tensor) -> Tensor:
    """r² of the implicit reward r = Q(s,a) - γ V(s'); coefficient 0.5 bounds r to about ±2."""
    return reward.square()


@loss("behavior_cloning", kind="regularizer", evidence="C", default="0",
      paper="CPL, arXiv:2310.13639")  # fmt: skip
def behavior_cloning(log_prob: Tensor) -> Tensor:
    """-log π(a|s) over all or the preferred segments; CPL warms up with it (200k steps)."""
    return -log_prob


@loss("xpo", kind="regularizer", evidence="C", default="1e-5", trl="xpo alpha (<=0.28)",
      paper="XPO, arXiv:2405.21046")  # fmt: skip
def xpo(log_prob: Tensor) -> Tensor:
    """log π of samples of the reference policy: optimism, it lowers what is already known."""
    return log_prob.clone()  # adding to the result in place must not change the argument


@loss("kl_k3", kind="regularizer", evidence="C", default="β",
      paper="Schulman 2020; DRPO")  # fmt: skip
def kl_k3(log_ratio: Tensor) -> Tensor:
    """e^d - d - 1, d = log π_ref - log π = -log_ratio, on samples of π: estimates KL(π || π_ref).

    Never negative, zero only where both agree, continued by its tangent for d > 50.
    """
    return expm1_minus(-log_ratio)


@loss("anchor_cosine", kind="regularizer", evidence="C", default="α", shape="any",
      paper="LoRe: Low-Rank Reward Modeling")  # fmt: skip
def anchor_cosine(value: Tensor, reference: Tensor) -> Tensor:
    """1 - cos(V, V_ref) over the last axis: keeps a basis near the one it started from."""
    return 1 - torch.cosine_similarity(value, reference, dim=-1)
