"""Opt-Max, for small failure probabilities.

Falahatgar, Jain, Orlitsky, Pichapati & Ravindrakumar, "The Limits of Maxing, Ranking, and
Preference Learning", ICML 2018, Algorithms 2 and 3, known to us from duelpy's structure only. Its
two regimes for delta > K^(-1/3) are left out: no source for them could be trusted.
"""

import math
from typing import Annotated, Any

from annotated_types import Gt, Lt

from bandits.algorithms.sequential_elimination import Elimination
from bandits.compiled import compiled
from bandits.registry import algorithm


@algorithm("opt-max")
@compiled
class OptMax:
    """Sequential elimination from an anchor that is good already: an arm within `epsilon` of best.

    Three passes: over sqrt(n ln(4 n^2/delta)) of the n = K^(3/4) arms of a random subset with bias
    0..epsilon/4 and failure probability delta/12, over the subset with epsilon/4..epsilon/2 and
    delta/6, over all arms with epsilon/2..epsilon and delta/3. For moderate stochastic
    transitivity and delta <= K^(-1/3). `winner()` is -1 until the arm is found, after `samples`
    duels; from then on it duels itself only.
    """

    epsilon: Annotated[float, Gt(0), Lt(0.5)] = 0.05
    delta: Annotated[float, Gt(0), Lt(1)] = 0.05

    def __post_init__(self) -> None:
        self.line = Elimination()

    def check(self, K: int, T: int) -> None:
        """Raise ValueError for a delta beyond the regime that is implemented."""
        if self.delta > K ** (-1 / 3):
            raise ValueError(
                f"opt-max: delta = {self.delta} with K = {K} arms; expected at most "
                f"K^(-1/3) = {K ** (-1 / 3):.3g}"
            )

    def start(self, K: int, T: int, rng: Any) -> None:
        self.K = K
        self.subset = max(1, int(K**0.75))
        self.sample = min(
            self.subset,
            math.ceil(math.sqrt(self.subset * math.log(4 * self.subset**2 / self.delta))),
        )
        self.line.start(K, rng)
        self.samples = 0
        self.stage = -1
        self.advance()

    def advance(self) -> None:
        """Begin the next pass that has somebody to meet the anchor."""
        while self.stage < 3 and self.line.k >= self.line.count:
            self.stage += 1
            self.line.anchor_first()
            if self.stage == 0:
                self.line.begin(self.sample, 0.0, self.epsilon / 4, self.delta / 12 / self.sample)
            elif self.stage == 1:
                self.line.begin(
                    self.subset, self.epsilon / 4, self.epsilon / 2, self.delta / 6 / self.subset
                )
            elif self.stage == 2:
                self.line.begin(self.K, self.epsilon / 2, self.epsilon, self.delta / 3 / self.K)

    def choose(self, rng: Any) -> tuple[int, int]:
        anchor = self.line.anchor
        return (self.line.arms[self.line.k] if self.stage < 3 else anchor), anchor

    def observe(self, i: int, j: int, won: bool) -> None:
        if self.stage < 3:
            self.samples += 1
            self.line.observe(won)
            self.advance()

    def winner(self) -> int:
        return self.line.anchor if self.stage == 3 else -1
