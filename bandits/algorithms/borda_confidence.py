"""Borda Confidence Bound (BCB).

Saha, Koren & Mansour, "Adversarial Dueling Bandits", ICML 2021, Section 5 (fixed-gap setting),
known to us only from newer code of the duelpy library.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Lt

from bandits.compiled import compiled
from bandits.registry import algorithm


@algorithm("bcb")
@compiled
class BordaConfidenceBound:
    """Uniform pairs until one arm's Borda score is surely the largest; then that arm to the end.

    Estimate b_i = (K/t) sum of 1{x = i wins}, width 2 sqrt((K/t) ln(2 K T/delta)).
    """

    delta: Annotated[float, Gt(0), Lt(1)] = 0.05

    def start(self, K: int, T: int, rng: Any) -> None:
        self.t = 0
        self.log_term = math.log(2.0 * K * T / self.delta)
        self.wins = np.zeros(K, np.int64)
        self.best = 0 if K == 1 else -1

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.best >= 0:
            return self.best, self.best
        i = rng.integers(self.wins.size)
        j = rng.integers(self.wins.size - 1)
        return i, j + (j >= i)

    def observe(self, i: int, j: int, won: bool) -> None:
        if self.best >= 0:
            return
        self.t += 1
        self.wins[i] += won
        first, second, arm = -1, -1, -1
        for k in range(self.wins.size):
            if self.wins[k] > first:
                first, second, arm = self.wins[k], first, k
            elif self.wins[k] > second:
                second = self.wins[k]
        K = self.wins.size
        if (first - second) * K / self.t > 4 * math.sqrt(K / self.t * self.log_term):
            self.best = arm

    def winner(self) -> int:
        return int(self.wins.argmax())
