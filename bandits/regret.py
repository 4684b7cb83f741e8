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
    utility_average u* - (u_i + u_j)/2            Ailon, Karnin & Joachims 2014
    utility_strong  u* - min(u_i, u_j)
    utility_weak    u* - max(u_i, u_j)            Saha 2021; Bengs, Saha & Hüllermeier 2022

The last three need the arms' utilities u; the contextual regret 2 u* - u_i - u_j of Saha 2021, with
u_i = x_i . theta, is twice utility_average. c and b are Copeland and Borda scores divided by K - 1.
The first six are NaN without a Condorcet winner. In a changing problem a duel is charged by the
matrix of its own segment (dynamic regret).
"""

import numpy as np

from bandits.winners import beats, borda_scores, copeland_scores

# What an arm is charged by. A problem with utilities adds what its arms lose of those.
GAP, OTHER, COPELAND, BORDA, UTILITY = range(5)
# How a pair is charged, given what its two arms are charged by.
MEAN, SUM, LARGER, SMALLER = range(4)

REGRETS = {
    "average": (GAP, MEAN),
    "unhalved": (GAP, SUM),
    "strong": (GAP, LARGER),
    "weak": (GAP, SMALLER),
    "binary_strong": (OTHER, LARGER),
    "binary_weak": (OTHER, SMALLER),
    "copeland": (COPELAND, MEAN),
    "borda": (BORDA, MEAN),
}
OF_UTILITIES = {
    "utility_average": (UTILITY, MEAN),
    "utility_strong": (UTILITY, LARGER),
    "utility_weak": (UTILITY, SMALLER),
}
NAMES = tuple(REGRETS)


def arm_values(p: np.ndarray, utilities: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """All that the regrets of p [..., K, K] are made of, in O(K) memory per matrix.

    Returns (values [..., V, K], base [..., V]), V = 4, or 5 with utilities [K]: the regret
    (what, how) of the duel (i, j) is base[what] + how(values[what, i], values[what, j]).
    """
    K, copeland, borda = p.shape[-1], copeland_scores(p), borda_scores(p)
    wins = beats(p).sum(axis=-1)
    winner = wins.argmax(axis=-1)[..., None]
    gap = np.take_along_axis(p, winner[..., None], axis=-2)[..., 0, :] - 0.5
    other = (np.arange(K) != winner).astype(np.float64)
    gap[wins.max(axis=-1) < K - 1] = np.nan
    other[wins.max(axis=-1) < K - 1] = np.nan
    none = np.zeros(p.shape[:-2])
    values, base = [gap, other, -copeland, -borda], [none, none, copeland.max(-1), borda.max(-1)]
    if utilities is not None:
        values.append(np.broadcast_to(-utilities, gap.shape))
        base.append(none + utilities.max())
    return np.stack(values, axis=-2), np.stack(base, axis=-1)


def tables(p: np.ndarray, utilities: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Regret of the duel (i, j) under p [..., K, K] for every name: float64, p's shape.

    With the arms' utilities [K] also in those: utility_average, utility_strong and utility_weak.
    """
    parts = arm_values(p, utilities)
    return {name: _table(*parts, *rule) for name, rule in rules(utilities).items()}


def rules(utilities: np.ndarray | None) -> dict[str, tuple[int, int]]:
    """name -> (what, how) of every regret of a problem with or without utilities."""
    return REGRETS if utilities is None else REGRETS | OF_UTILITIES


def table(p: np.ndarray, regret: str = "average") -> np.ndarray:
    """One of `tables`, float64 of the shape of p [..., K, K].

    Raises ValueError for an unknown regret.
    """
    return _table(*arm_values(p), *rule_of(regret))


def rule_of(regret: str) -> tuple[int, int]:
    """(what, how) of a regret that needs no utilities; ValueError for an unknown name."""
    if regret not in REGRETS:
        raise ValueError(f"unknown regret {regret!r}; expected one of {', '.join(NAMES)}")
    return REGRETS[regret]


def _table(values: np.ndarray, base: np.ndarray, what: int, how: int) -> np.ndarray:
    both = combined(how, values[..., what, :, None], values[..., what, None, :])
    return base[..., what, None, None] + both


def combined(how: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """What pairs are charged, given what their two arms are charged by (broadcast)."""
    if how == LARGER:
        return np.maximum(first, second)
    if how == SMALLER:
        return np.minimum(first, second)
    return (first + second) / (2 if how == MEAN else 1)


def policy_regret(matrices: np.ndarray, plays: np.ndarray) -> float:
    """Regret against the best arm in hindsight: max_k sum_t (p_t[k, x_t] + p_t[k, y_t] - 1)/2.

    plays [M, K] counts how many of the two slots of the duels under each of the matrices [M, K, K]
    went to each arm. It needs no Condorcet winner, but depends on the whole run, so duels have no
    table of it (Saha & Gaillard 2022).
    """
    best = sum(p @ slots - slots.sum() / 2 for p, slots in zip(matrices, plays, strict=True))
    return float(np.max(best) / 2)
