"""Relative Confidence Sampling.

Zoghi, Whiteson, de Rijke & Munos, "Relative Confidence Sampling for Efficient On-Line Ranker
Evaluation", WSDM 2014, Algorithm 1.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from bandits.compiled import compiled
from bandits.numerics import beats, pick, record_rivals, record_side, sides, strongest_rival
from bandits.registry import algorithm


@algorithm("rcs")
@compiled
class RCS:
    """Relative Confidence Sampling: the champion of a sampled tournament meets its likeliest rival.

    theta_ij ~ Beta(W_ij + 1, W_ji + 1); if no arm beats all others in the sample, the champion is
    the arm that was champion least often. alpha > 1/2. Needs a Condorcet winner. Only on which side
    of 1/2 a theta lies is drawn, from the probability of it, and only where it decides who wins the
    tournament, which leaves the law of the champion unchanged. O(K) per duel; 4 K^2 numbers.
    """

    alpha: Annotated[float, Gt(0.5)] = 0.51

    learns_from_any_pair = True

    def start(self, K: int, T: int, rng: Any) -> None:
        self.t = 0  # duels observed, whoever chose them
        self.W = np.zeros((K, K), np.int64)
        self.side = sides(K)
        self.championships = np.zeros(K, np.int64)
        self.rival_mean = np.ones((K, K))
        self.rival_width = np.zeros((K, K))

    def choose(self, rng: Any) -> tuple[int, int]:
        c = self.champion(rng)
        self.championships[c] += 1
        scale = math.sqrt(self.alpha * math.log(self.t + 1))
        return c, strongest_rival(self.rival_mean, self.rival_width, c, scale, rng)

    def champion(self, rng: Any) -> int:
        """The arm that beats all others in the sample, else one with the fewest championships."""
        c, previous = 0, -1
        for j in range(1, self.championships.size):  # a knock-out: all but c lose a duel in it
            if beats(self.side, j, c, rng):
                c, previous = j, c
        for j in range(c):  # c has won against all later arms and `previous`, not yet the others
            if j != previous and not beats(self.side, c, j, rng):
                return pick(self.championships == self.championships.min(), rng)
        return c

    def observe(self, i: int, j: int, won: bool) -> None:
        self.t += 1
        if i != j:
            record_side(self.side, self.W, i if won else j, j if won else i)
            record_rivals(self.W, self.rival_mean, self.rival_width, i, j, won)

    def winner(self) -> int:
        return int(self.championships.argmax())
