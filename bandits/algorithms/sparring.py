"""Sparring: two ordinary bandits duel each other.

Ailon, Karnin & Joachims, "Reducing Dueling Bandits to Cardinal Bandits", ICML 2014, Algorithm 3.
"""

from typing import Annotated, Any

from bandits import base_bandits
from bandits.compiled import compiled
from bandits.registry import Names, algorithm


@algorithm("sparring")
@compiled
class Sparring:
    """Two ordinary bandits each propose an arm; the one whose arm wins is rewarded 1, the other 0.

    For utility-based preferences; with EXP3 also adversarial ones.
    """

    base: Annotated[str | dict[str, Any], Names("base bandit")] = "ucb"

    def __post_init__(self) -> None:
        self.left = base_bandits.create(self.base, "sparring")
        self.right = base_bandits.create(self.base, "sparring")

    def start(self, K: int, T: int, rng: Any) -> None:
        self.left.start(1, K, T, rng)
        self.right.start(1, K, T, rng)

    def choose(self, rng: Any) -> tuple[int, int]:
        return self.left.propose(0, rng), self.right.propose(0, rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        self.left.reward(0, i, 1.0 if won else 0.0)
        self.right.reward(0, j, 0.0 if won else 1.0)
