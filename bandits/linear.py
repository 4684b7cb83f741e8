"""The logistic model of contextual duels: P(i beats j) = 1/(1 + exp(-theta . (x_i - x_j))).

Arms keep their features x [K, d] during a run, so the weighted wins [K, K] are all that its history
amounts to; memory and time per duel do not grow with the horizon. Plain loops: the same arithmetic
in Python and in compiled code.
"""

import math
from typing import Any

import numpy as np
from numba.extending import register_jitable


@register_jitable
def utilities(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """theta . x_i of every arm, [K]."""
    u = np.zeros(x.shape[0])
    for i in range(x.shape[0]):
        for a in range(x.shape[1]):
            u[i] += theta[a] * x[i, a]
    return u


@register_jitable
def best(u: np.ndarray, rng: Any) -> int:
    """argmax of u [K], ties random."""
    arm, ties = 0, 1
    for k in range(1, u.size):
        if u[k] > u[arm]:
            arm, ties = k, 1
        elif u[k] == u[arm]:
            ties += 1
            if rng.integers(ties) == 0:
                arm = k
    return arm


@register_jitable
def gradient(theta: np.ndarray, x: np.ndarray, wins: np.ndarray) -> np.ndarray:
    """Gradient [d] of the loss sum_ij wins_ij ln(1 + exp(-theta . (x_i - x_j)))."""
    K, d = x.shape
    u, g = utilities(theta, x), np.zeros(d)
    for i in range(K):
        for j in range(i):
            if wins[i, j] + wins[j, i] > 0:
                p = 1.0 / (1.0 + math.exp(u[j] - u[i]))
                slope = wins[j, i] * p - wins[i, j] * (1.0 - p)
                for a in range(d):
                    g[a] += slope * (x[i, a] - x[j, a])
    return g


@register_jitable
def hessian(theta: np.ndarray, x: np.ndarray, wins: np.ndarray) -> np.ndarray:
    """Hessian [d, d] of the same loss; its lower triangle only."""
    K, d = x.shape
    u, H = utilities(theta, x), np.zeros((d, d))
    for i in range(K):
        for j in range(i):
            n = wins[i, j] + wins[j, i]
            if n > 0:
                p = 1.0 / (1.0 + math.exp(u[j] - u[i]))
                curvature = n * p * (1.0 - p)
                for a in range(d):
                    scaled = curvature * (x[i, a] - x[j, a])
                    for b in range(a + 1):
                        H[a, b] += scaled * (x[i, b] - x[j, b])
    return H


@register_jitable
def loss(theta: np.ndarray, x: np.ndarray, wins: np.ndarray, ridge: float) -> float:
    """sum_ij wins_ij ln(1 + exp(-theta . (x_i - x_j))) + ridge/2 |theta|^2."""
    K, d = x.shape
    u, total = utilities(theta, x), 0.0
    for i in range(K):
        for j in range(K):
            if wins[i, j] > 0:
                margin = u[i] - u[j]  # ln(1 + e^-m) = max(0, -m) + ln(1 + e^-|m|)
                total += wins[i, j] * (max(0.0, -margin) + math.log1p(math.exp(-abs(margin))))
    for a in range(d):
        total += ridge / 2 * theta[a] * theta[a]
    return total


@register_jitable
def fit(theta: np.ndarray, x: np.ndarray, wins: np.ndarray, ridge: float) -> None:
    """Move theta [d] to the minimizer of `loss` (ridge > 0), by Newton steps halved as needed."""
    value, d = loss(theta, x, wins, ridge), theta.size
    trial = np.empty(d)
    for _ in range(100):
        g, H = gradient(theta, x, wins), hessian(theta, x, wins)
        for a in range(d):
            g[a] += ridge * theta[a]
            H[a, a] += ridge
        factor(H)
        step = solve(H, g)
        decrement = 0.0
        for a in range(d):
            decrement += step[a] * g[a]
        if decrement < 1e-10:
            return
        size = 1.0
        while size > 1e-10:
            for a in range(d):
                trial[a] = theta[a] - size * step[a]
            lower = loss(trial, x, wins, ridge)
            if lower < value:
                break
            size /= 2
        if not lower < value:  # the minimum, up to rounding
            return
        value = lower
        theta[:] = trial


@register_jitable
def factor(A: np.ndarray) -> None:
    """Replace the lower triangle of a positive definite A [d, d] by its Cholesky factor."""
    d = A.shape[0]
    for a in range(d):
        for b in range(a + 1):
            value = A[a, b]
            for c in range(b):
                value -= A[a, c] * A[b, c]
            A[a, b] = math.sqrt(value) if a == b else value / A[b, b]


@register_jitable
def solve(L: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The solution z [d] of L L^T z = y, for L of `factor`."""
    d = y.size
    z = y.copy()
    for a in range(d):
        for b in range(a):
            z[a] -= L[a, b] * z[b]
        z[a] /= L[a, a]
    for a in range(d - 1, -1, -1):
        for b in range(a + 1, d):
            z[a] -= L[b, a] * z[b]
        z[a] /= L[a, a]
    return z


@register_jitable
def add_contrast(inverse: np.ndarray, x: np.ndarray, i: int, j: int, weight: float) -> None:
    """Turn M^-1 [d, d] into (M + weight z z^T)^-1, z = x_i - x_j (Sherman and Morrison)."""
    d = x.shape[1]
    v, square = np.zeros(d), 0.0
    for a in range(d):
        for b in range(d):
            v[a] += inverse[a, b] * (x[i, b] - x[j, b])
        square += v[a] * (x[i, a] - x[j, a])
    share = weight / (1.0 + weight * square)
    for a in range(d):
        for b in range(d):
            inverse[a, b] -= share * v[a] * v[b]


@register_jitable
def lengths(inverse: np.ndarray, x: np.ndarray) -> np.ndarray:
    """||x_i|| in the norm of M^-1 for every arm, [K]."""
    K, d = x.shape
    out = np.zeros(K)
    for i in range(K):
        square = 0.0
        for a in range(d):
            for b in range(d):
                square += x[i, a] * inverse[a, b] * x[i, b]
        out[i] = math.sqrt(max(0.0, square))
    return out


@register_jitable
def set_widths(width: np.ndarray, inverse: np.ndarray, x: np.ndarray) -> None:
    """Write ||x_i - x_j|| in the norm of M^-1 into width [K, K], exactly 0 for i = j."""
    K, d = x.shape
    y = np.zeros((K, d))
    for i in range(K):
        for a in range(d):
            for b in range(d):
                y[i, a] += inverse[a, b] * x[i, b]
    for i in range(K):
        for j in range(i + 1):
            square = 0.0
            for a in range(d):
                square += (x[i, a] - x[j, a]) * (y[i, a] - y[j, a])
            width[i, j] = width[j, i] = math.sqrt(max(0.0, square))


@register_jitable
def max_pair(
    u: np.ndarray, width: np.ndarray, beta: float, active: np.ndarray, rng: Any
) -> tuple[int, int]:
    """The pair of active arms, possibly i = j, with the largest u_i + u_j + beta width_ij."""
    highest, x, y, ties = -np.inf, 0, 0, 0
    for i in range(u.size):
        for j in range(i + 1):
            if active[i] and active[j]:
                score = u[i] + u[j] + beta * width[i, j]
                if score > highest:
                    highest, x, y, ties = score, i, j, 1
                elif score == highest:
                    ties += 1
                    if rng.integers(ties) == 0:
                        x, y = i, j
    return x, y


@register_jitable
def wide_pair(width: np.ndarray, active: np.ndarray, least: float, rng: Any) -> tuple[int, int]:
    """A uniformly random pair of active arms wider apart than `least`; (0, 0) if there is none."""
    x, y, count = 0, 0, 0
    for i in range(active.size):
        for j in range(i):
            if active[i] and active[j] and width[i, j] > least:
                count += 1
                if rng.integers(count) == 0:
                    x, y = i, j
    return x, y


@register_jitable
def keep_best(u: np.ndarray, active: np.ndarray, margin: float) -> None:
    """Deactivate the arms more than `margin` below the best active one."""
    highest = -np.inf
    for i in range(u.size):
        if active[i]:
            highest = max(highest, u[i])
    for i in range(u.size):
        active[i] = active[i] and u[i] >= highest - margin


@register_jitable
def learn(
    x: np.ndarray,
    wins: np.ndarray,
    inverse: np.ndarray,
    width: np.ndarray,
    theta: np.ndarray,
    u: np.ndarray,
    winner: int,
    loser: int,
    weight: float,
    ridge: float,
) -> None:
    """Take in a duel of two different arms with its weight: all that is estimated is updated.

    That is the wins [K, K], M^-1 [d, d], the widths [K, K], theta [d] and the utilities u [K].
    """
    wins[winner, loser] += weight
    add_contrast(inverse, x, winner, loser, weight)
    set_widths(width, inverse, x)
    fit(theta, x, wins, ridge)
    u[:] = utilities(theta, x)
