"""Links: what a loss makes of the margin u by which the preferred item is ahead.

Each takes u of any shape and returns a tensor of that shape, small where u is large. The pair
losses, tie losses and policy losses are these functions of differently built margins.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .registry import require


def logistic(u: Tensor) -> Tensor:
    """-log σ(u), the Bradley-Terry negative log-likelihood; exact for any finite u.

    Bradley and Terry 1952; DPO, arXiv 2305.18290, eq. 7.
    """
    return -F.logsigmoid(u)


def hinge(u: Tensor, margin: float = 1.0) -> Tensor:
    """max(0, margin - u): zero loss and gradient once u reaches the margin. SLiC, 2305.10425."""
    return F.relu(margin - u)


def square(u: Tensor, target: Tensor | float = 0.5) -> Tensor:
    """(u - target)²: u stops at the target even for certain preferences. IPO, 2310.12036."""
    return (u - target).square()


def exponential(u: Tensor) -> Tensor:
    """e^(-u), the AdaBoost loss; continued by its tangent for u < -50, where e^(-u) overflows."""
    return exp_linear(-u)


def box_cox(u: Tensor, q: float) -> Tensor:
    """(1 - σ(u)^q)/q for 0 < q <= 1: logistic as q -> 0, MAE at q = 1. NaPO."""
    require(0 < q <= 1, "q", q, "0 < q <= 1")
    return -torch.expm1(q * F.logsigmoid(u)) / q


def mae(u: Tensor) -> Tensor:
    """1 - σ(u) = σ(-u): bounded, and pairs far on the wrong side stop counting."""
    return torch.sigmoid(-u)


def discopop(u: Tensor, tau: float = 0.05) -> Tensor:
    """(1 - s) (-log σ(u)) + s e^(-u) with s = σ(u/tau), found by search. DiscoPOP, 2406.08414.

    The second term is computed as exp(log σ(u/tau) - u), which is safe for u -> -∞ while tau < 1.
    """
    require(0 < tau < 1, "tau", tau, "0 < tau < 1")
    scaled = u / tau
    return torch.sigmoid(-scaled) * logistic(u) + torch.exp(F.logsigmoid(scaled) - u)


def exo(u: Tensor, eps: float = 1e-3) -> Tensor:
    """KL((σ(u), σ(-u)) || (1-eps, eps)), the reverse of smoothed logistic. EXO, 2402.00856."""
    require(0 < eps < 0.5, "eps", eps, "0 < eps < 0.5 (eps = 0 makes the divergence infinite)")
    goal = math.log1p(-eps) - math.log(eps)
    # The four terms of the divergence, put together with log σ(-u) = log σ(u) - u.
    return torch.addcmul(F.logsigmoid(u) - math.log1p(-eps), torch.sigmoid(-u), goal - u)


def flipped(u: Tensor, wrong: float, wrong_other: float) -> Tensor:
    """-log[(1-wrong) σ(u) + wrong_other σ(-u)]: the label was flipped with a known chance.

    `wrong` is the chance that a label of this side is turned over, `wrong_other` that of the other;
    both >= 0 and their sum below 1.
    """
    if wrong_other == 0:
        return -F.logsigmoid(u) - math.log1p(-wrong)
    # = wrong_other + (1 - wrong - wrong_other) σ(u), which never comes near 0.
    return -torch.log(wrong_other + (1 - wrong - wrong_other) * torch.sigmoid(u))


def exp_linear(x: Tensor, limit: float = 50.0) -> Tensor:
    """e^x up to `limit` and its tangent line beyond, so that |x| = 1e4 stays finite in float32."""
    return torch.exp(x.clamp(max=limit)) * (1 + F.relu(x - limit))


def expm1_linear(x: Tensor, limit: float = 50.0) -> Tensor:
    """e^x - 1, exact for small x, up to `limit` and its tangent line beyond."""
    return torch.expm1(x.clamp(max=limit)) + math.exp(limit) * F.relu(x - limit)


def expm1_minus(x: Tensor) -> Tensor:
    """e^x - 1 - x >= 0, by its series near 0 and its tangent beyond 50: exact to rounding."""
    near = x.abs() < 1e-2
    small = torch.where(near, x, 0.0)
    # Six terms: the next one is below 2e-16 of the first at |x| = 0.01.
    series = small.square() * (
        1 / 2
        + small * (1 / 6 + small * (1 / 24 + small * (1 / 120 + small * (1 / 720 + small / 5040))))
    )
    large = torch.where(near, 1.0, x)
    return torch.where(near, series, expm1_linear(large) - large)


LINKS = {
    "logistic": logistic,
    "hinge": hinge,
    "square": square,
    "exponential": exponential,
    "mae": mae,
    "discopop": discopop,
    "exo": exo,
}
"""The links with no parameter left open, by the name that `pair` takes in a suite."""
