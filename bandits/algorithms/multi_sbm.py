"""MultiSBM: one ordinary bandit per arm, which picks that arm's opponent.

Ailon, Karnin & Joachims, "Reducing Dueling Bandits to Cardinal Bandits", ICML 2014, Algorithm 2.
"""

from typing import Annotated, Any

from bandits import base_bandits
from bandits.compiled import compiled
from bandits.registry import Names, algorithm


@algorithm("multi-sbm")
@compiled
class MultiSBM:
    """The last right arm x becomes the left arm; the bandit of x proposes its opponent y.

    That bandit is rewarded 1 if y beats x. For utility-based preferences.
    State: 2 K^2 numbers.
    """

    base: Annotated[str | dict[str, Any], Names("base bandit")] = "ucb"

    def __post_init__(self) -> None:
        self.bandits = base_bandits.create(self.base, "multi-sbm")

    def start(self, K: int, T: int, rng: Any) -> None:
        self.bandits.start(K, K, T, rng)
        self.x = rng.integers(K)

    def choose(self, rng: Any) -> tuple[int, int]:
        return self.x, self.bandits.propose(self.x, rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        self.bandits.reward(i, j, 0.0 if won else 1.0)
        self.x = j
