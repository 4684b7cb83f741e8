"""SAVAGE: sensitivity analysis of variables for generic exploration.

Urvoy, Clérot, Féraud & Naamane, "Generic Exploration and K-armed Voting Bandits", ICML 2013, with
the Condorcet, Copeland and Borda tests.
"""

import math
from typing import Any, Literal

import numpy as np

from bandits.compiled import compiled
from bandits.numerics import permutation
from bandits.registry import algorithm

WINNERS = ("condorcet", "copeland", "borda")


@algorithm("savage")
@compiled
class SAVAGE:
    """Explore the least-sampled pair that can still change who wins; then play the winner.

    Confidence radius sqrt(ln(K (K-1) T / delta) / (2 n)) with delta = 1/T. The Borda test is
    reconstructed from the paper's principle, not read in it.
    State: 4 K^2 numbers.
    """

    wanted: Literal["condorcet", "copeland", "borda"] = "condorcet"

    def __post_init__(self) -> None:
        self.test = WINNERS.index(self.wanted)

    def start(self, K: int, T: int, rng: Any) -> None:
        self.K = K
        self.log_term = math.log(max(2, K * (K - 1))) + 2 * math.log(T)
        self.W = np.zeros((K, K), np.int64)
        self.L = np.zeros((K, K))
        self.U = np.ones((K, K))
        for i in range(K):
            self.L[i, i] = self.U[i, i] = 0.5
        # Pairs in a fixed random order; the first `relevant` of them are still explored, in turn,
        # so that the next one is always among the least sampled.
        P = K * (K - 1) // 2
        self.pairs = np.empty((P, 2), np.int64)
        order = permutation(P, rng)
        n = 0
        for i in range(K):
            for j in range(i + 1, K):
                self.pairs[order[n]] = i, j
                n += 1
        self.relevant = P
        self.turn = 0
        self.best = 0 if K == 1 else -1

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.relevant == 0:
            return self.best, self.best
        return self.pairs[self.turn, 0], self.pairs[self.turn, 1]

    def observe(self, i: int, j: int, won: bool) -> None:
        if self.relevant == 0:
            return
        self.W[i, j] += won
        self.W[j, i] += not won
        n = self.W[i, j] + self.W[j, i]
        p, radius = self.W[i, j] / n, math.sqrt(self.log_term / (2 * n))
        self.L[i, j], self.U[i, j] = p - radius, p + radius
        self.L[j, i], self.U[j, i] = 1 - p - radius, 1 - p + radius
        self.turn += 1
        decided = self.L[i, j] > 0.5 or self.U[i, j] < 0.5
        if decided or (self.test == 2 and self.turn == self.relevant):
            self.drop_irrelevant()
        if self.turn >= self.relevant:
            self.turn = 0

    def drop_irrelevant(self) -> None:
        """Keep, in order, the pairs that can still change who wins; name the winner if none can."""
        lower, upper = self.scores()
        kept, turn = 0, self.turn
        for k in range(self.relevant):
            i, j = self.pairs[k, 0], self.pairs[k, 1]
            if self.is_relevant(i, j, lower, upper):
                self.pairs[kept, 0], self.pairs[kept, 1] = i, j
                kept += 1
            elif k < self.turn:
                turn -= 1
        self.relevant, self.turn = kept, turn
        self.best = int(upper.argmax())

    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds of the Copeland or Borda scores, [K] each, times K - 1."""
        lower, upper = np.zeros(self.K), np.zeros(self.K)
        for i in range(self.K):
            for j in range(self.K):
                if j != i and self.test == 2:
                    lower[i] += max(0.0, self.L[i, j])
                    upper[i] += min(1.0, self.U[i, j])
                elif j != i:
                    lower[i] += self.L[i, j] > 0.5
                    upper[i] += self.U[i, j] >= 0.5
        return lower, upper

    def is_relevant(self, i: int, j: int, lower: np.ndarray, upper: np.ndarray) -> bool:
        if self.test == 0:  # an arm that surely loses once is out
            return upper[i] == self.K - 1 and upper[j] == self.K - 1
        if self.test == 1 and (self.L[i, j] > 0.5 or self.U[i, j] < 0.5):
            return False
        return max(upper[i], upper[j]) >= lower.max()

    def winner(self) -> int:
        """The arm with the largest upper score when a pair was last decided; -1 before."""
        return self.best
