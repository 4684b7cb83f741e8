"""Logistic regression on pairs: duplicates aggregated with weights, solved by L-BFGS or Newton."""

from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import expit

from envs.tabular.world import Dynamics
from pbrl.tabular.walks import Pairs, Walks


def aggregated(rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(index of one of each kind of row, its mean label, how often it is there).

    `rows` [N, k] of whole numbers; the sum of losses over the kinds, weighted, is that over N.
    """
    _, index, inverse, often = np.unique(
        rows, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    return index, np.bincount(inverse.ravel(), weights=labels) / often, often.astype(np.float64)


def kinds(world: Dynamics, pairs: Pairs) -> np.ndarray:
    """[N, 2 T]: the same numbers for pairs that take the same actions in the same states."""
    sides = []
    for walks in (pairs.first, pairs.second):
        taken, mask = walks.counts(world)
        sides.append(np.where(mask, taken, -1))
    return np.concatenate(sides, axis=1)


def counts(world: Dynamics, walks: Walks, gamma: float = 1.0) -> csr_array:
    """[N, S A]: how often each walk takes each action in each state, step t counting gamma^t."""
    taken, mask = walks.counts(world)
    rows = np.broadcast_to(np.arange(len(walks))[:, None], taken.shape)
    weight = np.broadcast_to(gamma ** np.arange(taken.shape[1]), taken.shape)
    shape = (len(walks), world.states * world.actions)
    return csr_array((weight[mask], (rows[mask], taken[mask])), shape=shape)


def cross_entropy(margins: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-[y log p + (1 - y) log(1 - p)] with p = logistic(margin), one value per pair."""
    return np.logaddexp(0, margins) - labels * margins


def fit(
    design: Any, labels: np.ndarray, weight: np.ndarray, *, l2: float, steps: int = 1000
) -> np.ndarray:
    """argmin over x of sum_i weight_i CE(label_i, logistic(design_i . x)) + l2 / 2 |x|^2.

    `design` [N, d], dense or sparse. Convex; with l2 > 0 the minimum exists also where labels can
    be separated. The gradient vanishes to 1e-6 of its size at 0, or `steps` steps were taken.
    """

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        margins = design @ x
        value = weight @ cross_entropy(margins, labels) + l2 / 2 * x @ x
        return value, design.T @ (weight * (expit(margins) - labels)) + l2 * x

    origin = np.zeros(design.shape[1])
    size = max(1e-12, float(np.abs(loss(origin)[1]).max()))
    found = minimize(
        loss,
        origin,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxcor": 20, "gtol": 1e-6 * size, "ftol": 1e-12},
    )
    return found.x
