"""MergeRUCB.

Zoghi, Whiteson & de Rijke, "MergeRUCB: A Method for Large-Scale Online Ranker Evaluation", WSDM
2015, Algorithm 1. How batches are cut is not known to us from the paper: here as evenly as
possible, and the smallest is merged with the largest.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt

from bandits.compiled import compiled
from bandits.numerics import permutation
from bandits.registry import algorithm


@algorithm("merge-rucb")
@compiled
class MergeRUCB:
    """RUCB for many arms: duels inside small batches, which are merged as arms drop out.

    An arm drops out when U_kl < 1/2 for an arm l of its batch, U = p + sqrt(alpha ln(t + C)/N).
    alpha > 1/2, delta in (0, 1) is the failure probability, batches hold about `batch` arms. Needs
    a Condorcet winner.
    State: at most 1.25 K^2 numbers.
    """

    alpha: Annotated[float, Gt(0.5)] = 1.01
    delta: Annotated[float, Gt(0), Lt(1)] = 0.01
    batch: Annotated[int, Ge(2)] = 4

    def start(self, K: int, T: int, rng: Any) -> None:
        self.t = 0  # duels observed
        self.K = K
        a = self.alpha
        self.log_C = math.log((4 * a - 1) * K**2 / ((2 * a - 1) * self.delta)) / (2 * a - 1)
        self.W = np.zeros((K, K), np.int64)
        self.count = max(1, int(round(K / self.batch)))  # batches
        self.size = np.zeros(self.count, np.int64)
        self.members = np.zeros((self.count, K), np.int64)
        order = permutation(K, rng)
        for k in range(K):
            m = k % self.count
            self.members[m, self.size[m]] = order[k]
            self.size[m] += 1
        self.left = K
        self.stage = 1
        self.m = -1  # the batch whose turn it is

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.next_batch(self.alpha, self.log_C):
            scale = math.sqrt(self.budget(self.alpha, self.log_C))
            return self.duel(self.m, scale, rng)
        return self.winner(), self.winner()

    def budget(self, alpha: float, log_C: float) -> float:
        """alpha ln(t + C); C itself overflows when alpha is near 1/2."""
        return alpha * (log_C + math.log1p((self.t + 1) * math.exp(-log_C)))

    def next_batch(self, alpha: float, log_C: float) -> bool:
        """Eliminate and merge until batch m has a duel to play; False when one arm is left."""
        while self.left > 1:
            self.m = self.m + 1 if self.m + 1 < self.count else 0
            self.eliminate(self.m, self.budget(alpha, log_C))
            # Batches of one arm each have no duel to play, so they merge whatever the stage.
            few = self.left <= self.K / 2**self.stage or self.left == self.count
            if self.count > 1 and few:
                self.merge()
            elif self.size[self.m] > 1:
                return True
        return False

    def eliminate(self, m: int, budget: float) -> None:
        """Drop each arm of the batch that surely loses to one that was in it at the start."""
        before = self.members[m, : self.size[m]].copy()
        kept = 0
        for k in before:
            sure_loss = False
            for j in before:
                n = self.W[k, j] + self.W[j, k]
                if 2 * self.W[k, j] < n and (self.W[k, j] - n / 2) ** 2 / n > budget:
                    sure_loss = True
            if not sure_loss:
                self.members[m, kept] = k
                kept += 1
        if kept == 0:  # a cycle of sure losses; with a Condorcet winner as unlikely as a wrong drop
            kept = before.size
            self.members[m, :kept] = before
        self.left -= before.size - kept
        self.size[m] = kept

    def merge(self) -> None:
        """Join the smallest batch with the largest, and so on inwards."""
        order = np.argsort(self.size[: self.count])
        half = self.count // 2
        for k in range(half):
            small, large = order[k], order[self.count - 1 - k]
            for arm in self.members[small, : self.size[small]].copy():
                self.members[large, self.size[large]] = arm
                self.size[large] += 1
            self.size[small] = 0
        kept = 0
        for m in range(self.count):  # batches move up into the places that became free
            if self.size[m] > 0:
                self.members[kept] = self.members[m]
                self.size[kept] = self.size[m]
                kept += 1
        self.count = kept
        self.stage += 1
        self.m = -1

    def duel(self, m: int, scale: float, rng: Any) -> tuple[int, int]:
        """A random champion of the batch against its strongest possible rival in it."""
        arms = self.members[m, : self.size[m]]
        c = arms[rng.integers(arms.size)]
        best, d, ties = -1.0, -1, 0
        for j in arms:
            if j != c:
                n = self.W[j, c] + self.W[c, j]
                u = 1.0 if n == 0 else self.W[j, c] / n + scale / math.sqrt(n)
                if u > best:
                    best, d, ties = u, j, 1
                elif u == best:
                    ties += 1
                    if rng.integers(ties) == 0:
                        d = j
        return c, d

    def observe(self, i: int, j: int, won: bool) -> None:
        self.t += 1
        if i != j:
            self.W[i, j] += won
            self.W[j, i] += not won

    def winner(self) -> int:
        """The only arm left, else none."""
        if self.left > 1:
            return -1
        for m in range(self.count):
            if self.size[m]:
                return self.members[m, 0]
        return -1
