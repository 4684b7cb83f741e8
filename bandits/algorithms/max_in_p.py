"""Maximum Informative Pair (MaxInP), for contextual duels.

Saha, "Optimal Algorithms for Stochastic Contextual Preference Bandits", NeurIPS 2021, Algorithm 1.
beta and the missing warm-up are those of the experiments of Di et al. (VACDB, 2023). Their ridge of
0.001 is not: with it a few first duels that agree with each other settle the choice for good.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from bandits.compiled import compiled
from bandits.linear import best, learn, set_widths
from bandits.registry import algorithm


@algorithm("max-in-p", features=True)
@compiled
class MaxInP:
    """Of the arms that may be best, the two whose utilities are known least apart.

    C = {i: theta.(x_i - x_j) + beta |x_i - x_j| >= 0 for all j} with the logistic estimate theta
    and the norm of M^-1, M = ridge I + sum z z^T over the contrasts z = x_i - x_j played.
    beta = scale sqrt(d ln T). Needs a problem with features.
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
        self.u = np.zeros(K)  # utilities theta . x_i
        self.wins = np.zeros((K, K))
        self.inverse = np.eye(d) / self.ridge
        self.width = np.zeros((K, K))
        set_widths(self.width, self.inverse, self.features)
        self.C = np.zeros(K, np.bool_)

    def choose(self, rng: Any) -> tuple[int, int]:
        K = self.u.size
        leader = best(self.u, rng)
        for i in range(K):
            self.C[i] = True
            for j in range(K):
                if self.u[i] - self.u[j] + self.beta * self.width[i, j] < 0:
                    self.C[i] = False
        widest, x, y, ties = 0.0, leader, leader, 1
        for i in range(K):
            for j in range(i):
                if self.C[i] and self.C[j]:
                    if self.width[i, j] > widest:
                        widest, x, y, ties = self.width[i, j], i, j, 1
                    elif self.width[i, j] == widest and widest > 0:
                        ties += 1
                        if rng.integers(ties) == 0:
                            x, y = i, j
        return x, y

    def observe(self, i: int, j: int, won: bool) -> None:
        if i != j:
            learn(
                self.features, self.wins, self.inverse, self.width, self.theta, self.u,
                i if won else j, j if won else i, 1.0, self.ridge,
            )  # fmt: skip

    def winner(self) -> int:
        return int(self.u.argmax())
