"""Knockout.

Falahatgar, Orlitsky, Pichapati & Suresh, "Maximum Selection and Ranking under Noisy Comparisons",
ICML 2017, Algorithms 1 (Compare) and 2 (Knockout).
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt

from bandits.compiled import compiled
from bandits.registry import algorithm


@algorithm("knockout")
@compiled
class Knockout:
    """A tournament that finds an arm within `epsilon` of the best with probability 1 - delta.

    In round r random pairs of the arms left (an odd one advances) duel until
    |p - 1/2| > sqrt(ln(4 n^2/delta_r)/(2n)) - epsilon_r or n > ln(2/delta_r)/(2 epsilon_r^2);
    epsilon_r = (2^(1/3) - 1) epsilon/(gamma 2^(r/3)), delta_r = delta/2^r. For strong (gamma = 1)
    or gamma-stochastic transitivity with the triangle inequality. `winner()` is -1 until the arm is
    found, after `samples` duels; from then on it duels itself only.
    """

    epsilon: Annotated[float, Gt(0), Lt(0.5)] = 0.05
    delta: Annotated[float, Gt(0), Lt(1)] = 0.05
    gamma: Annotated[float, Ge(1)] = 1.0

    def start(self, K: int, T: int, rng: Any) -> None:
        self.arms = np.arange(K)  # the first `left` of them are still in
        self.left = K
        self.samples = 0
        self.round = 0
        self.pair = 0  # of this round; arms[: pair] have won in it
        self.next_pair(0)
        self.new_round = True

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.left == 1:
            return self.arms[0], self.arms[0]
        if self.new_round:
            self.new_round = False
            self.round += 1
            for last in range(self.left - 1, 0, -1):
                k = rng.integers(last + 1)
                self.arms[last], self.arms[k] = self.arms[k], self.arms[last]
        return self.arms[2 * self.pair], self.arms[2 * self.pair + 1]

    def observe(self, i: int, j: int, won: bool) -> None:
        if self.left == 1:
            return
        self.samples += 1
        self.n += 1
        self.wins += won
        epsilon = (2 ** (1 / 3) - 1) * self.epsilon / (self.gamma * 2 ** (self.round / 3))
        delta = self.delta / 2.0**self.round
        p = self.wins / self.n
        radius = math.sqrt(math.log(4 * self.n**2 / delta) / (2 * self.n))
        most = math.log(2 / delta) / (2 * epsilon**2)
        if abs(p - 0.5) > radius - epsilon or self.n > most:
            self.arms[self.pair] = i if p > 0.5 else j
            self.next_pair(self.pair + 1)

    def next_pair(self, pair: int) -> None:
        self.pair = pair
        self.n = 0
        self.wins = 0
        if pair == self.left // 2 and self.left > 1:
            if self.left % 2:
                self.arms[pair] = self.arms[self.left - 1]
            self.left = pair + self.left % 2
            self.pair = 0
            self.new_round = True

    def winner(self) -> int:
        return self.arms[0] if self.left == 1 else -1
