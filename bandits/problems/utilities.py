"""Utility models: every arm has a utility u, and P(i beats j) = F(u_i - u_j) for a link F."""

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt

from bandits.preferences import Problem, RandomProblem, complete, drawn, stationary
from bandits.registry import problem

FAMILIES = ("arith", "geom", "1good")


@problem("utility")
def utility(
    K: Annotated[int, Ge(2)] = 10,
    link: Literal["linear", "logit", "probit"] = "linear",
    family: Literal["arith", "geom", "1good", "uniform"] = "arith",
    scale: Annotated[float, Gt(0)] = 1.0,
    instance: Annotated[int, Ge(0)] | None = None,
) -> Problem | RandomProblem:
    """Utilities in [0, 1] compared through a link: linear, logit or probit.

    P(i beats j) with d = (u_i - u_j)/scale: linear (1 + d)/2, logit 1/(1 + e^-d), probit
    Phi(d/sqrt 2); scale is at least 1 for the linear link. Families, after Ailon, Karnin &
    Joachims 2014 (values unverified): arith from 0.8 down to 0.2 in equal steps, geom by equal
    factors, 1good 0.8 and the rest 0.2; uniform draws u from [0, 1], anew in each repetition unless
    `instance` gives a seed.
    """
    if link == "linear" and scale < 1:
        raise ValueError(f"utility: scale = {scale}; the linear link needs scale >= 1")
    if family == "uniform":
        return drawn(lambda rng: worth(rng.random(K), link, scale), instance)
    if instance is not None:
        raise ValueError(f"utility: instance = {instance}, but family {family!r} is not random")
    return worth(utilities(K, family), link, scale)


@problem("plackett-luce")
def plackett_luce(
    K: Annotated[int, Ge(2)] = 10,
    B: Annotated[float, Gt(0)] = 2.0,
    instance: Annotated[int, Ge(0)] | None = None,
) -> Problem | RandomProblem:
    """Plackett-Luce (Bradley-Terry) skills: p_ij = v_i/(v_i + v_j), ln v uniform on [0, B].

    Drawn anew in each repetition unless `instance` gives a seed.
    """
    return drawn(lambda rng: stationary(linked(B * rng.random(K), "logit")), instance)


def utilities(K: int, family: str) -> np.ndarray:
    """The utilities [K] of a family in FAMILIES, best first.

    Raises ValueError for another family.
    """
    if family == "arith":
        return np.linspace(0.8, 0.2, K)
    if family == "geom":
        return np.geomspace(0.8, 0.2, K)
    if family == "1good":
        return np.where(np.arange(K) == 0, 0.8, 0.2)
    raise ValueError(
        f"unknown family of utilities {family!r}; expected one of {', '.join(FAMILIES)}"
    )


def worth(u: np.ndarray, link: str, scale: float = 1.0) -> Problem:
    """The problem of arms with utilities u [K] compared through a link; it records them."""
    return stationary(linked(u, link, scale), utilities=u)


def linked(u: np.ndarray, link: str, scale: float = 1.0) -> np.ndarray:
    """The preference matrix [K, K] of utilities u [K] under a link.

    probit adds independent noise N(0, scale^2) to each utility (Thurstone), logit Gumbel noise
    (Bradley-Terry-Luce); linear needs utilities within `scale` of each other.

    Raises ValueError for an unknown link.
    """
    from scipy.special import expit, ndtr  # planning makes other problems of these modules

    d = np.subtract.outer(u, u) / scale
    if link == "linear":
        return complete((1 + d) / 2)
    if link == "logit":
        return complete(expit(d))
    if link == "probit":
        return complete(ndtr(d / np.sqrt(2)))
    raise ValueError(f"unknown link {link!r}; expected linear, logit or probit")
