"""An algorithm of dueling bandits: explores at random, then duels its favorite with itself.

All state is set in `start`, all randomness comes from `rng`. Imported by another module, a class
may carry `@bandits.compiled.compiled` below its name and then runs a hundred times faster.
"""

from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Le

from pbrl import registry


@registry.bandit("plugin-name")
class ExploreThenCommit:
    """Random pairs for a share of the horizon, then the arm that won most of its duels."""

    def __init__(self, share: Annotated[float, Gt(0), Le(1)] = 0.1) -> None:
        self.share = share

    def start(self, K: int, T: int, rng: Any) -> None:
        self.K, self.left = K, max(1, round(self.share * T))
        self.wins, self.duels = np.zeros(K), np.ones(K)

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.left > 0:
            return int(rng.integers(self.K)), int(rng.integers(self.K))
        return self.winner(), self.winner()

    def observe(self, i: int, j: int, won: bool) -> None:
        self.left -= 1
        if i != j:
            self.wins[i if won else j] += 1
            self.duels[[i, j]] += 1

    def winner(self) -> int:
        return int(np.argmax(self.wins / self.duels))
