"""Sparring: two ordinary bandits duel each other.

Ailon, Karnin & Joachims, "Reducing Dueling Bandits to Cardinal Bandits", ICML 2014, Algorithm 3.
"""

from typing import Any, Literal

from bandits.base_bandits import box
from bandits.compiled import compiled
from bandits.registry import algorithm


@algorithm("sparring")
@compiled
class Sparring:
    """Two ordinary bandits each propose an arm; the one whose arm wins is rewarded 1, the other 0.

    For utility-based preferences; with EXP3 boxes also adversarial ones.
    """

    box: Literal["ucb", "ts", "exp3"] = "ucb"

    def __post_init__(self) -> None:
        self.left = box(self.box, "sparring")
        self.right = box(self.box, "sparring")

    def start(self, K: int, T: int, rng: Any) -> None:
        self.left.start(1, K, T, rng)
        self.right.start(1, K, T, rng)

    def choose(self, rng: Any) -> tuple[int, int]:
        return self.left.propose(0, rng), self.right.propose(0, rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        self.left.reward(0, i, 1.0 if won else 0.0)
        self.right.reward(0, j, 0.0 if won else 1.0)
