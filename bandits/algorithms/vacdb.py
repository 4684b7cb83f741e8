"""Variance-aware contextual dueling bandits: VACDB and MaxPairUCB.

Di, Jin, Wu, Zhao, Farnoud & Gu, "Variance-Aware Regret Bounds for Stochastic Contextual Dueling
Bandits", ICLR 2024 (arXiv 2310.00968), Algorithm 1, with the constants of the authors' experiment
code. Following the paper (as remembered, unverified), the last layer's pairs teach nothing; the
code learns from some of them.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le

from bandits.compiled import compiled
from bandits.linear import keep_best, learn, max_pair, set_widths, wide_pair
from bandits.registry import algorithm


@algorithm("max-pair-ucb", features=True)
@compiled
class MaxPairUCB:
    """The pair with the largest (x_i + x_j).theta + beta |x_i - x_j|, one layer only.

    theta is the logistic estimate, the norm that of M^-1, M = ridge I + sum z z^T over the
    contrasts z played; beta = scale sqrt(d ln T). Needs a problem with features.
    State: 2 K^2 numbers.
    """

    scale: Annotated[float, Gt(0)] = 2.0
    ridge: Annotated[float, Gt(0)] = 1.0

    def __post_init__(self) -> None:
        self.features = np.zeros((1, 1))

    def start(self, K: int, T: int, rng: Any) -> None:
        d = self.features.shape[1]
        self.beta = self.scale * math.sqrt(d * math.log(T))
        self.theta = np.zeros(d)
        self.u = np.zeros(K)
        self.wins = np.zeros((K, K))
        self.inverse = np.eye(d) / self.ridge
        self.width = np.zeros((K, K))
        set_widths(self.width, self.inverse, self.features)
        self.all = np.ones(K, np.bool_)

    def choose(self, rng: Any) -> tuple[int, int]:
        return max_pair(self.u, self.width, self.beta, self.all, rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        if i != j:
            learn(
                self.features, self.wins, self.inverse, self.width, self.theta, self.u,
                i if won else j, j if won else i, 1.0, self.ridge,
            )  # fmt: skip

    def winner(self) -> int:
        return int(self.u.argmax())


@algorithm("vacdb", features=True)
@compiled
class VACDB:
    """Layers of ever finer estimates, in which a duel weighs the less the more it could tell.

    In layer l: while some pair of its arms has |x_i - x_j| > 2^-l, a random such pair is played
    and belongs to the layer, with weight 4^-l/|x_i - x_j|^2 in the logistic loss and in M_l; else
    arms more than 2^-l beta below the best are dropped and layer l + 1 decides. In the last of
    L layers the pair of MaxPairUCB is played. M_l starts at 4^-l I, the loss has the ridge
    2 kappa 4^-l, and beta = sqrt(d ln T)/(4 bound), where `bound` is the length of the true theta
    (known in the authors' experiments). Needs features.
    State: 2 K^2 numbers in every layer.
    """

    L: Annotated[int, Ge(1), Le(50)] = 5
    kappa: Annotated[float, Gt(0)] = 0.01
    bound: Annotated[float, Gt(0)] = 1.0

    def __post_init__(self) -> None:
        self.features = np.zeros((1, 1))

    def start(self, K: int, T: int, rng: Any) -> None:
        d, L = self.features.shape[1], self.L
        self.beta = math.sqrt(d * math.log(T)) / 4 / self.bound
        self.theta = np.zeros((L, d))
        self.u = np.zeros((L, K))
        self.wins = np.zeros((L, K, K))
        self.inverse = np.zeros((L, d, d))
        self.width = np.zeros((L, K, K))
        for k in range(L):  # k = l - 1
            self.inverse[k] = np.eye(d) * 4.0 ** (k + 1)
            set_widths(self.width[k], self.inverse[k], self.features)
        self.A = np.ones(K, np.bool_)
        self.layer = 0
        self.learn = False

    def choose(self, rng: Any) -> tuple[int, int]:
        self.A[:] = True
        for k in range(self.L):
            self.layer = k
            level = 2.0 ** -(k + 1)
            i, j = wide_pair(self.width[k], self.A, level, rng)
            self.learn = i != j
            if self.learn:
                return i, j
            if k + 1 < self.L:
                keep_best(self.u[k], self.A, level * self.beta)
        return max_pair(self.u[self.layer], self.width[self.layer], self.beta, self.A, rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        if not self.learn:
            return
        k = self.layer
        level = 2.0 ** -(k + 1)
        weight = (level / self.width[k, i, j]) ** 2
        learn(
            self.features, self.wins[k], self.inverse[k], self.width[k], self.theta[k], self.u[k],
            i if won else j, j if won else i, weight, 2 * self.kappa * level**2,
        )  # fmt: skip

    def winner(self) -> int:
        """The best arm by the estimate of the layer that chose the last pair."""
        return int(self.u[self.layer].argmax())
