"""Small numerics that several algorithms share; usable in Python and inside compiled code."""

import math
from typing import Any

import numpy as np
from numba.extending import register_jitable


@register_jitable
def permutation(K: int, rng: Any) -> np.ndarray:
    """The arms 0..K-1 in uniformly random order, int64 [K]."""
    order = np.arange(K)
    for last in range(K - 1, 0, -1):
        k = rng.integers(last + 1)
        order[last], order[k] = order[k], order[last]
    return order


@register_jitable
def pick(member: np.ndarray, rng: Any) -> int:
    """An index of `member` (bool [K], at least one true), uniformly among the true ones."""
    count = 0
    for k in range(member.size):
        count += member[k]
    nth = rng.integers(count) if count > 1 else 0
    for k in range(member.size):
        if member[k]:
            if nth == 0:
                return k
            nth -= 1
    return -1


@register_jitable
def kl(x: float, y: float) -> float:
    """d(x, y) = x ln(x/y) + (1-x) ln((1-x)/(1-y)), divergence of Bernoulli laws; 0 < y < 1."""
    value = 0.0
    if x > 0.0:
        value += x * math.log(x / y)
    if x < 1.0:
        value += (1.0 - x) * math.log((1.0 - x) / (1.0 - y))
    return value


@register_jitable
def kl_bound(mean: float, level: float, side: int) -> float:
    """The x farthest above (side 1) or below (side -1) the mean with d(mean, x) <= level."""
    inside, outside = mean, 1.0 if side > 0 else 0.0
    for _ in range(40):
        x = (inside + outside) / 2
        if kl(mean, min(max(x, 1e-15), 1 - 1e-15)) <= level:
            inside = x
        else:
            outside = x
    return inside


@register_jitable
def record_rivals(
    W: np.ndarray, mean: np.ndarray, width: np.ndarray, i: int, j: int, won: bool
) -> float:
    """Count a duel of i != j in W; returns p_ij.

    Keeps, for rival j against champion c, at [c, j] (read in order by `strongest_rival`) the mean
    p_jc and the width 1/sqrt(N_jc). Start them at 1 and 0: then U = 1 for a pair that never met.
    """
    W[i, j] += won
    W[j, i] += not won
    n = W[i, j] + W[j, i]
    # Both by division, not as 1 - p: equal counts must give equal bounds, so that ties are seen.
    mean[j, i], mean[i, j] = W[i, j] / n, W[j, i] / n
    width[j, i] = width[i, j] = 1.0 / math.sqrt(n)
    return mean[j, i]


@register_jitable
def strongest_rival(mean: np.ndarray, width: np.ndarray, c: int, scale: float, rng: Any) -> int:
    """argmax_j of U_jc = mean[c, j] + scale width[c, j], U_cc = 1/2; ties random, never to c."""
    best, d, ties = 0.5, c, 0
    for j in range(len(mean)):
        if j != c:
            u = mean[c, j] + scale * width[c, j]
            if u > best or (u == best and ties == 0):
                best, d, ties = u, j, 1
            elif u == best:
                ties += 1
                if rng.integers(ties) == 0:
                    d = j
    return d


@register_jitable
def sides(K: int) -> np.ndarray:
    """What P(theta_ij > 1/2) is followed by, theta_ij ~ Beta(1 + wins of i, 1 + wins of j), [K, K].

    At [i, j], i < j, stands that probability; at [j, i] the factor g = Gamma(a + b) 2^-(a + b)/
    (Gamma(a) Gamma(b)) of its next change, a and b the parameters. Integrating by parts, a win of i
    (a -> a + 1) raises the probability by g/a, a loss (b -> b + 1) lowers it by g/b.
    """
    side = np.empty((K, K))
    for i in range(K):
        for j in range(K):
            side[i, j] = 0.5 if i < j else 0.25
    return side


@register_jitable
def beats(side: np.ndarray, i: int, j: int, rng: Any) -> bool:
    """Whether theta_ij > 1/2 in a sample, drawn from the probability of it."""
    if i < j:
        return rng.random() < side[i, j]
    return rng.random() >= side[j, i]


@register_jitable
def record_side(side: np.ndarray, W: np.ndarray, winner: int, loser: int) -> None:
    """Follow a duel that is not yet counted in W."""
    a, b = W[winner, loser] + 1.0, W[loser, winner] + 1.0
    low, high = min(winner, loser), max(winner, loser)
    g = side[high, low]
    side[low, high] += g / a if winner == low else -g / a
    side[high, low] = factor_of_change(g * (a + b) / (2.0 * a), a + 1.0, b)


@register_jitable
def forget_side(side: np.ndarray, W: np.ndarray, winner: int, loser: int) -> None:
    """Undo `record_side` of a duel that is still counted in W."""
    a, b = W[winner, loser] + 0.0, W[loser, winner] + 1.0
    low, high = min(winner, loser), max(winner, loser)
    g = factor_of_change(side[high, low] * 2.0 * a / (a + b), a, b)
    side[low, high] -= g / a if winner == low else -g / a
    side[high, low] = g


@register_jitable
def factor_of_change(g: float, a: float, b: float) -> float:
    """g, or where it is about to underflow, and so might not grow again, g from its definition."""
    if g > 1e-280:
        return g
    return math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) - 0.6931471805599453 * (a + b)
    )


@register_jitable
def draw(weights: np.ndarray, rng: Any) -> int:
    """An index with probability proportional to its weight (non-negative [K], positive sum)."""
    rest = rng.random() * weights.sum()
    last = 0
    for k in range(weights.size):
        if weights[k] > 0.0:
            last = k
            rest -= weights[k]
            if rest < 0.0:
                return k
    return last


@register_jitable
def mix(q: np.ndarray, scores: np.ndarray, scale: float, gamma: float) -> None:
    """Make q [K] the softmax of scale * scores, mixed with a share gamma of the uniform law."""
    K, top, total = q.size, scores.max(), 0.0
    for k in range(K):
        q[k] = math.exp(scale * (scores[k] - top))
        total += q[k]
    for k in range(K):
        q[k] = (1 - gamma) * q[k] / total + gamma / K
