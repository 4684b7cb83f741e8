"""Beat the Mean.

Yue & Joachims, "Beat the Mean Bandit", ICML 2011, Algorithms 1 and 3 (online setting).
"""

import math
from typing import Any

import numpy as np

from bandits.compiled import compiled
from bandits.registry import algorithm


@algorithm("btm")
@compiled
class BeatTheMean:
    """Beat the Mean: arms duel random others; the worst drops out when surely below the best.

    Radius 3 gamma^2 sqrt(ln(1/delta)/n), delta = 1/(2 T K); gamma >= 1 relaxes transitivity (1.3 in
    the experiments of Wu & Liu). Then it plays the last arm. Needs a Condorcet winner.
    """

    gamma: float = 1.3

    def __post_init__(self) -> None:
        if self.gamma < 1:
            raise ValueError(f"btm: gamma = {self.gamma}; it must be at least 1")

    def start(self, K: int, T: int, rng: Any) -> None:
        self.K = K
        self.scale = 3 * self.gamma**2 * math.sqrt(math.log(2.0 * T * K))
        self.working = np.ones(K, np.bool_)
        self.left = K
        # Duels that b began, against each other arm, and how many of them it won.
        self.begun = np.zeros((K, K), np.int64)
        self.won = np.zeros((K, K), np.int64)
        self.n = np.zeros(K, np.int64)  # the same against arms still working
        self.w = np.zeros(K, np.int64)

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.left == 1:
            return self.winner(), self.winner()
        b = self.least_begun(rng)
        nth = rng.integers(self.left - 1)
        for other in range(self.K):
            if self.working[other] and other != b:
                if nth == 0:
                    return b, other
                nth -= 1
        return -1, -1

    def least_begun(self, rng: Any) -> int:
        fewest, b, ties = -1, -1, 0
        for k in range(self.K):
            if self.working[k]:
                if fewest < 0 or self.n[k] < fewest:
                    fewest, b, ties = self.n[k], k, 1
                elif self.n[k] == fewest:
                    ties += 1
                    if rng.integers(ties) == 0:
                        b = k
        return b

    def observe(self, i: int, j: int, won: bool) -> None:
        if i == j:
            return
        self.begun[i, j] += 1
        self.won[i, j] += won
        self.n[i] += 1
        self.w[i] += won
        fewest, worst = self.n[i], i
        low, high = 2.0, -1.0
        for k in range(self.K):
            if self.working[k]:
                fewest = min(fewest, self.n[k])
                mean = self.w[k] / self.n[k] if self.n[k] else 0.5
                high = max(high, mean)
                if mean < low:
                    low, worst = mean, k
        radius = self.scale / math.sqrt(fewest) if fewest else 1.0
        if low + radius <= high - radius:
            self.working[worst] = False
            self.left -= 1
            for k in range(self.K):  # duels against it no longer say how good the others are
                self.n[k] -= self.begun[k, worst]
                self.w[k] -= self.won[k, worst]

    def winner(self) -> int:
        """The working arm with the largest mean."""
        high, best = -1.0, 0
        for k in range(self.K):
            if self.working[k]:
                mean = self.w[k] / self.n[k] if self.n[k] else 0.5
                if mean > high:
                    high, best = mean, k
        return best
