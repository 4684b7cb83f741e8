"""MergeDTS.

Li, Markov, de Rijke & Zoghi, "MergeDTS: A Method for Effective Large-Scale Online Ranker
Evaluation", ACM TOIS 2020. From memory of the paper, all of it unverified: the choice of the pair
and the tuned constants.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt

from bandits.algorithms.merge_rucb import MergeRUCB
from bandits.compiled import compiled
from bandits.numerics import beats, record_side, sides
from bandits.registry import algorithm


@algorithm("merge-dts")
@compiled
class MergeDTS:
    """MergeRUCB's batches, whose duels are chosen by double Thompson sampling.

    First arm: most sampled wins in the batch; second: the arm it beats by most in a fresh sample,
    to eliminate it fast. Arms drop out when p + sqrt(alpha ln(t + C)/N) < 1/2 against an arm of
    their batch of about `batch` arms. Needs a Condorcet winner.
    State: 1 K^2 numbers, and that of MergeRUCB.
    """

    alpha: Annotated[float, Gt(0)] = 0.262144
    C: Annotated[int, Ge(1)] = 4_000_000
    batch: Annotated[int, Ge(2)] = 16

    def __post_init__(self) -> None:
        self.batches = MergeRUCB(batch=self.batch)

    def start(self, K: int, T: int, rng: Any) -> None:
        self.batches.start(K, T, rng)
        self.side = sides(K)
        self.log_C = math.log(self.C)
        self.sampled_wins = np.zeros(K, np.int64)

    def choose(self, rng: Any) -> tuple[int, int]:
        if not self.batches.next_batch(self.alpha, self.log_C):
            return self.batches.winner(), self.batches.winner()
        m = self.batches.m
        arms = self.batches.members[m, : self.batches.size[m]]
        c = self.first(arms, rng)
        return c, self.second(arms, c, rng)

    def first(self, arms: np.ndarray, rng: Any) -> int:
        """The arm with the most wins in a sample of the batch, ties random."""
        for i in arms:
            self.sampled_wins[i] = 0
        for k in range(arms.size):
            for n in range(k):
                i, j = arms[k], arms[n]
                self.sampled_wins[i if beats(self.side, i, j, rng) else j] += 1
        most, c, ties = -1, -1, 0
        for i in arms:
            if self.sampled_wins[i] > most:
                most, c, ties = self.sampled_wins[i], i, 1
            elif self.sampled_wins[i] == most:
                ties += 1
                if rng.integers(ties) == 0:
                    c = i
        return c

    def second(self, arms: np.ndarray, c: int, rng: Any) -> int:
        """The other arm with the smallest fresh sample of its chance against c."""
        W = self.batches.W
        smallest, d = 2.0, -1
        for j in arms:
            if j != c:
                theta = rng.beta(W[j, c] + 1.0, W[c, j] + 1.0)
                if theta < smallest:
                    smallest, d = theta, j
        return d

    def observe(self, i: int, j: int, won: bool) -> None:
        if i != j:
            record_side(self.side, self.batches.W, i if won else j, j if won else i)
        self.batches.observe(i, j, won)

    def winner(self) -> int:
        """The only arm left, else none."""
        return self.batches.winner()
