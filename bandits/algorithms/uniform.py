"""Uniform play, the floor of every comparison."""

from typing import Any

from bandits.compiled import compiled
from bandits.registry import algorithm


@algorithm("uniform")
@compiled
class Uniform:
    """Two arms drawn uniformly and independently (or distinct) for every duel.

    Its average regret per duel is exactly the mean gap of the arms.
    """

    distinct: bool = False

    def start(self, K: int, T: int, rng: Any) -> None:
        self.K = K

    def choose(self, rng: Any) -> tuple[int, int]:
        i = rng.integers(self.K)
        if self.distinct and self.K > 1:
            j = rng.integers(self.K - 1)
            return i, j + (j >= i)
        return i, rng.integers(self.K)

    def observe(self, i: int, j: int, won: bool) -> None:
        pass
