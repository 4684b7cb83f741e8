"""Sta'D (Stagewise adaptive duel), for contextual duels.

Saha, "Optimal Algorithms for Stochastic Contextual Preference Bandits", NeurIPS 2021, Algorithm 3,
read in the experiment code of Di et al. (VACDB, 2023) only, which has its ridges and beta.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le

from bandits.compiled import compiled
from bandits.linear import best, keep_best, learn, set_widths, wide_pair
from bandits.registry import algorithm


@algorithm("sta-d", features=True)
@compiled
class StaD:
    """Stages s of confidence 2^-s, each with duels of its own, and arms that survive them.

    In stage s: if every surviving pair has beta |x_i - x_j| <= 1/sqrt T, the best arm meets its
    strongest possible rival; else while some pair has |x_i - x_j| > 2^-s, a random such pair is
    played and belongs to the stage; else arms more than 2^-s beta below the best are dropped and
    stage s + 1 decides. beta = 2 sqrt(d ln T)/bound, M_s starts at 4^-s I and the logistic loss
    has the ridge 2 kappa 4^-s; `bound` is the length of the true theta. Needs features.
    State: 2 K^2 numbers in every stage.
    """

    stages: Annotated[int, Ge(1), Le(50)] = 10
    kappa: Annotated[float, Gt(0)] = 0.01
    bound: Annotated[float, Gt(0)] = 1.0

    def __post_init__(self) -> None:
        self.features = np.zeros((1, 1))

    def start(self, K: int, T: int, rng: Any) -> None:
        d, S = self.features.shape[1], self.stages
        self.beta = 2 * math.sqrt(d * math.log(T)) / self.bound
        self.exploit = 1.0 / math.sqrt(T)
        self.theta = np.zeros((S, d))
        self.u = np.zeros((S, K))
        self.wins = np.zeros((S, K, K))
        self.inverse = np.zeros((S, d, d))
        self.width = np.zeros((S, K, K))
        for k in range(S):  # k = s - 1
            self.inverse[k] = np.eye(d) * 4.0 ** (k + 1)
            set_widths(self.width[k], self.inverse[k], self.features)
        self.A = np.ones(K, np.bool_)
        self.score = np.zeros(K)
        self.stage = 0
        self.learn = False

    def choose(self, rng: Any) -> tuple[int, int]:
        self.A[:] = True
        for k in range(self.stages):
            self.stage = k
            level = 2.0 ** -(k + 1)
            i, j = wide_pair(self.width[k], self.A, level, rng)
            self.learn = i != j and self.beta * self.widest(k) > self.exploit
            if self.learn:
                return i, j
            if self.beta * self.widest(k) <= self.exploit:
                break
            if k + 1 < self.stages:
                keep_best(self.u[k], self.A, level * self.beta)
        return self.rivals(rng)

    def widest(self, k: int) -> float:
        """The largest width of a surviving pair in stage k + 1."""
        widest = 0.0
        for i in range(self.A.size):
            for j in range(i):
                if self.A[i] and self.A[j]:
                    widest = max(widest, self.width[k, i, j])
        return widest

    def rivals(self, rng: Any) -> tuple[int, int]:
        """The best surviving arm and argmax_j theta.x_j + beta |x_j - x_i|."""
        k = self.stage
        for j in range(self.A.size):
            self.score[j] = self.u[k, j] if self.A[j] else -np.inf
        i = best(self.score, rng)
        for j in range(self.A.size):
            self.score[j] += self.beta * self.width[k, j, i]
        return i, best(self.score, rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        if not self.learn:
            return
        k = self.stage
        learn(
            self.features, self.wins[k], self.inverse[k], self.width[k], self.theta[k], self.u[k],
            i if won else j, j if won else i, 1.0, 2 * self.kappa * 4.0 ** -(k + 1),
        )  # fmt: skip

    def winner(self) -> int:
        """The best arm by the estimate of the stage that chose the last pair."""
        return int(self.u[self.stage].argmax())
