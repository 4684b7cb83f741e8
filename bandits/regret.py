"""The regret of one duel (i, j), under every definition in use, as K x K tables.

With a* the Condorcet winner and g_i = p[a*, i] - 1/2:

    average         (g_i + g_j)/2                 Yue et al. 2012; RUCB, RMED
    unhalved        g_i + g_j                     twice that, as in several papers' figures
    strong          max(g_i, g_j)                 Yue et al. 2012
    weak            min(g_i, g_j)                 Yue et al. 2012; Chen & Frazier 2017
    binary_strong   1 unless i = j = a*           Chen & Frazier 2017; Kolpaczki et al. 2022
    binary_weak     1 unless i = a* or j = a*     the same
    copeland        c* - (c_i + c_j)/2            Zoghi et al. 2015; Wu & Liu 2016
    borda           b* - (b_i + b_j)/2            Saha, Koren & Mansour 2021

c and b are Copeland and Borda scores divided by K - 1. The first six are NaN without a Condorcet
winner. In a changing problem a duel is charged by the matrix of its own segment (dynamic regret).
"""

import numpy as np

from bandits.preferences import Problem
from bandits.winners import borda_scores, copeland_scores

NAMES = (
    "average",
    "unhalved",
    "strong",
    "weak",
    "binary_strong",
    "binary_weak",
    "copeland",
    "borda",
)


def tables(p: np.ndarray) -> dict[str, np.ndarray]:
    """Regret of the duel (i, j) under p [..., K, K] for every name: float64, p's shape."""
    copeland, borda = copeland_scores(p), borda_scores(p)
    wins = (p > 0.5).sum(axis=-1)
    winner = wins.argmax(axis=-1)[..., None]
    exists = wins.max(axis=-1)[..., None] == p.shape[-1] - 1
    row = np.take_along_axis(p, winner[..., None], axis=-2)[..., 0, :]
    g = np.where(exists, row - 0.5, np.nan)
    other = np.where(exists, np.arange(p.shape[-1]) != winner, np.nan)
    return {
        "average": (_first(g) + _second(g)) / 2,
        "unhalved": _first(g) + _second(g),
        "strong": np.maximum(_first(g), _second(g)),
        "weak": np.minimum(_first(g), _second(g)),
        "binary_strong": np.maximum(_first(other), _second(other)),
        "binary_weak": np.minimum(_first(other), _second(other)),
        "copeland": _below_best(copeland),
        "borda": _below_best(borda),
    }


def table(p: np.ndarray, regret: str = "average") -> np.ndarray:
    """One of `tables`, float64 of the shape of p [..., K, K].

    Raises ValueError for an unknown regret.
    """
    if regret not in NAMES:
        raise ValueError(f"unknown regret {regret!r}; expected one of {', '.join(NAMES)}")
    return tables(p)[regret]


def utility_tables(utilities: np.ndarray) -> dict[str, np.ndarray]:
    """Regret of (i, j) in the arms' own utilities [K]: utility_average, _strong and _weak.

    utility_average is u* - (u_i + u_j)/2, as in Ailon, Karnin & Joachims 2014. The contextual
    regret 2 u* - u_i - u_j of Saha 2021 and Bengs, Saha & Hüllermeier 2022, u_i = x_i . theta, is
    twice that; utility_weak is their weak regret.
    """
    lost = utilities.max() - utilities
    return {
        "utility_average": _below_best(utilities),
        "utility_strong": np.maximum(_first(lost), _second(lost)),
        "utility_weak": np.minimum(_first(lost), _second(lost)),
    }


def policy_regret(matrices: np.ndarray, plays: np.ndarray) -> float:
    """Regret against the best arm in hindsight: max_k sum_t (p_t[k, x_t] + p_t[k, y_t] - 1)/2.

    matrices [S, K, K] holds the matrix of each segment, plays [S, K] how many of the two slots of
    its duels went to each arm (Saha & Gaillard 2022).
    """
    return float(np.einsum("skj,sj->k", matrices - 0.5, plays).max() / 2)


def uniform_regret(p: np.ndarray, regret: str = "average", *, distinct: bool) -> float:
    """Exact expected regret per duel of a uniformly random pair, with i != j if `distinct`.

    Raises ValueError for an unknown regret, and for distinct pairs of a single arm.
    """
    costs = table(p, regret)
    if not distinct:
        return float(costs.mean())
    K = len(p)
    if K == 1:
        raise ValueError("one arm has no distinct pair; expected K >= 2, or distinct=False")
    return float((costs.sum() - np.trace(costs)) / (K * (K - 1)))


def uniform_dynamic_regret(
    problem: Problem, T: int, regret: str = "average", *, distinct: bool
) -> float:
    """Exact expected regret of T duels of uniformly random pairs on a changing problem."""
    ends = np.append(problem.starts[1:], T).clip(max=T)
    lengths = (ends - problem.starts).clip(min=0)
    per_duel = np.array([uniform_regret(p, regret, distinct=distinct) for p in problem.truth])
    return float(lengths @ per_duel[problem.order])


def _first(scores: np.ndarray) -> np.ndarray:
    return scores[..., :, None]


def _second(scores: np.ndarray) -> np.ndarray:
    return scores[..., None, :]


def _below_best(scores: np.ndarray) -> np.ndarray:
    """How far the mean score of a pair (i, j) lies below the best score, [..., K, K]."""
    best = scores.max(axis=-1)[..., None, None]
    return best - (_first(scores) + _second(scores)) / 2
