"""Self-Sparring with independent Beta posteriors.

Sui, Zhuang, Burdick & Yue, "Multi-dueling Bandits with Dependent Arms", UAI 2017 (IndSelfSparring);
its constants are from memory of the paper.
"""

from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from bandits.compiled import compiled
from bandits.registry import algorithm


@algorithm("self-sparring")
@compiled
class SelfSparring:
    """Both arms are Thompson samples of one Beta posterior per arm on "wins a duel".

    After a duel of different arms the winner's successes and the loser's failures grow by `eta`.
    """

    eta: Annotated[float, Gt(0)] = 1.0

    def start(self, K: int, T: int, rng: Any) -> None:
        self.S = np.zeros(K)
        self.F = np.zeros(K)

    def choose(self, rng: Any) -> tuple[int, int]:
        return self.sample(rng), self.sample(rng)

    def sample(self, rng: Any) -> int:
        best, arm = -1.0, -1
        for k in range(self.S.size):
            theta = rng.beta(self.S[k] + 1.0, self.F[k] + 1.0)
            if theta > best:
                best, arm = theta, k
        return arm

    def observe(self, i: int, j: int, won: bool) -> None:
        if i != j:
            self.S[i if won else j] += self.eta
            self.F[j if won else i] += self.eta
