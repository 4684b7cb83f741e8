"""Sequential elimination.

Falahatgar, Hao, Orlitsky, Pichapati & Ravindrakumar, "Maxing and Ranking with Few Assumptions",
NeurIPS 2017, Algorithm 1 (Seq-Eliminate) with Compare2, as coded in duelpy with delta shared
among the arms.
"""

import math
from typing import Annotated, Any

from annotated_types import Gt, Lt

from bandits.compiled import compiled
from bandits.numerics import permutation
from bandits.registry import algorithm


@compiled
class Elimination:
    """One pass over arms: each meets the anchor once, and replaces it if it is better enough.

    An arm c duels the anchor while n < 2 ln(2/delta)/(upper - lower)^2 and the mean p, less
    m = 1/2 + (lower + upper)/2, is within sqrt(ln(4 n^2/delta)/(2n)) of 0; c replaces the anchor
    if p >= m in the end.
    """

    def start(self, K: int, rng: Any) -> None:
        self.arms = permutation(K, rng)
        self.begin(0, 0.0, 1.0, 1.0)

    def begin(self, count: int, lower: float, upper: float, delta: float) -> None:
        """Pass over the first `count` arms; arms[0] is the anchor. delta is that of one meeting."""
        self.count = count
        self.anchor = self.arms[0]
        self.k = 1
        self.n = 0
        self.wins = 0
        self.delta = delta
        self.middle = 0.5 + (lower + upper) / 2
        self.most = 2 * math.log(2 / delta) / (upper - lower) ** 2

    def observe(self, won: bool) -> None:
        """Whether arms[k] beat the anchor."""
        self.n += 1
        self.wins += won
        excess = self.wins / self.n - self.middle
        radius = math.sqrt(math.log(4.0 * self.n**2 / self.delta) / (2 * self.n))
        if self.n >= self.most or abs(excess) > radius:
            if excess >= 0:
                self.anchor = self.arms[self.k]
            self.k += 1
            self.n = 0
            self.wins = 0

    def anchor_first(self) -> None:
        """Move the anchor to the front, for another pass."""
        for k in range(self.arms.size):
            if self.arms[k] == self.anchor:
                self.arms[0], self.arms[k] = self.arms[k], self.arms[0]


@algorithm("seq-elim")
@compiled
class SequentialElimination:
    """One anchor meets all other arms: finds an arm within `epsilon` of the best, surely 1 - delta.

    For strong stochastic transitivity. An arm replaces the anchor when it beats it by about
    epsilon/2, in meetings with failure probability delta/K. `winner()` is -1 until the arm is
    found, after `samples` duels; from then on it duels itself only.
    """

    epsilon: Annotated[float, Gt(0), Lt(0.5)] = 0.05
    delta: Annotated[float, Gt(0), Lt(1)] = 0.05

    def __post_init__(self) -> None:
        self.line = Elimination()

    def start(self, K: int, T: int, rng: Any) -> None:
        self.line.start(K, rng)
        self.line.begin(K, 0.0, self.epsilon, self.delta / K)
        self.samples = 0

    def choose(self, rng: Any) -> tuple[int, int]:
        anchor = self.line.anchor
        return (self.line.arms[self.line.k] if self.winner() < 0 else anchor), anchor

    def observe(self, i: int, j: int, won: bool) -> None:
        if self.winner() < 0:
            self.samples += 1
            self.line.observe(won)

    def winner(self) -> int:
        return self.line.anchor if self.line.k >= self.line.count else -1
