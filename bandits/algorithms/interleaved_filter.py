"""Interleaved Filter, IF1 and IF2.

Yue, Broder, Kleinberg & Joachims, "The K-armed Dueling Bandits Problem", COLT 2009 and JCSS 2012,
Algorithms 1 and 2.
"""

import math
from typing import Any

import numpy as np

from bandits.compiled import compiled
from bandits.registry import algorithm


@algorithm("if1")
def if1() -> "InterleavedFilter":
    """Interleaved Filter 1: a champion meets all other arms in turn until one surely beats it."""
    return InterleavedFilter(prune=False)


@algorithm("if2")
def if2() -> "InterleavedFilter":
    """Interleaved Filter 2: when a champion falls, arms it beat on average drop out with it."""
    return InterleavedFilter(prune=True)


@compiled
class InterleavedFilter:
    """The champion meets the rest W in turn; radius sqrt(4 ln(1/delta)/n), delta = 1/(T K^2).

    For strong stochastic transitivity and the stochastic triangle inequality. Plays the last
    champion against itself to the end.
    """

    prune: bool = True

    def start(self, K: int, T: int, rng: Any) -> None:
        self.K = K
        self.log_term = math.log(1.0 * T * K * K)
        self.champion = rng.integers(K)
        self.W = np.ones(K, np.bool_)
        self.W[self.champion] = False
        self.left = K - 1
        self.wins = np.zeros(K, np.int64)  # of the champion against each arm
        self.n = 0  # finished rounds of this champion
        self.b = -1

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.left == 0:
            return self.champion, self.champion
        self.b += 1
        while not self.W[self.b]:
            self.b += 1
        return self.champion, self.b

    def observe(self, i: int, j: int, won: bool) -> None:
        if self.left == 0:
            return
        self.wins[j] += won
        for k in range(j + 1, self.K):
            if self.W[k]:
                return
        self.b = -1
        self.n += 1
        self.end_of_round()

    def end_of_round(self) -> None:
        radius = math.sqrt(4 * self.log_term / self.n)
        better = -1
        for k in range(self.K):
            if self.W[k]:
                mean = self.wins[k] / self.n
                if mean - radius > 0.5:
                    self.remove(k)
                elif mean + radius < 0.5 and better < 0:
                    better = k
        if better >= 0:
            for k in range(self.K):
                if self.prune and self.W[k] and 2 * self.wins[k] > self.n:
                    self.remove(k)
            self.remove(better)
            self.champion = better
            self.wins[:] = 0
            self.n = 0

    def remove(self, k: int) -> None:
        self.W[k] = False
        self.left -= 1

    def winner(self) -> int:
        return self.champion
