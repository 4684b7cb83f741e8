"""Doubler: an ordinary bandit against its own past.

Ailon, Karnin & Joachims, "Reducing Dueling Bandits to Cardinal Bandits", ICML 2014, Algorithm 1.
"""

from typing import Annotated, Any

import numpy as np

from bandits import base_bandits
from bandits.compiled import compiled
from bandits.numerics import draw
from bandits.registry import Names, algorithm


@algorithm("doubler")
@compiled
class Doubler:
    """In epochs of length 2^e, a fresh bandit plays against arms drawn from the epoch before.

    The left arm is uniform over the right arms of the previous epoch (at first one random arm); the
    right arm comes from the bandit, which is rewarded 1 if it wins. For utility-based preferences.
    """

    base: Annotated[str | dict[str, Any], Names("base bandit")] = "ucb"

    def __post_init__(self) -> None:
        self.right = base_bandits.create(self.base, "doubler")

    def start(self, K: int, T: int, rng: Any) -> None:
        self.right.start(1, K, T, rng)
        self.before = np.zeros(K)  # how often each arm was on the right in the epoch before
        self.before[rng.integers(K)] = 1.0
        self.now = np.zeros(K)
        self.length = 1
        self.played = 0

    def choose(self, rng: Any) -> tuple[int, int]:
        return draw(self.before, rng), self.right.propose(0, rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        self.right.reward(0, j, 0.0 if won else 1.0)
        self.now[j] += 1.0
        self.played += 1
        if self.played == self.length:
            self.before[:] = self.now
            self.now[:] = 0.0
            self.right.restart(0)
            self.length *= 2
            self.played = 0
