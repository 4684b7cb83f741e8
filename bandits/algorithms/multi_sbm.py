"""MultiSBM: one ordinary bandit per arm, which picks that arm's opponent.

Ailon, Karnin & Joachims, "Reducing Dueling Bandits to Cardinal Bandits", ICML 2014, Algorithm 2.
"""

from typing import Any, Literal

from bandits.base_bandits import box
from bandits.compiled import compiled
from bandits.registry import algorithm


@algorithm("multi-sbm")
@compiled
class MultiSBM:
    """The last right arm x becomes the left arm; the bandit of x proposes its opponent y.

    That bandit is rewarded 1 if y beats x. For utility-based preferences.
    """

    box: Literal["ucb", "ts", "exp3"] = "ucb"

    def __post_init__(self) -> None:
        self.boxes = box(self.box, "multi-sbm")

    def start(self, K: int, T: int, rng: Any) -> None:
        self.boxes.start(K, K, T, rng)
        self.x = rng.integers(K)

    def choose(self, rng: Any) -> tuple[int, int]:
        return self.x, self.boxes.propose(self.x, rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        self.boxes.reward(i, j, 0.0 if won else 1.0)
        self.x = j
