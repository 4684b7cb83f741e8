"""Dueling EXP3 for adversarial Borda regret, plain and with high probability.

Saha, Koren & Mansour, "Adversarial Dueling Bandits", ICML 2021, Algorithms 1 and 2, known to us
only from newer code of the duelpy library.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Lt

from bandits.compiled import compiled
from bandits.numerics import draw, mix
from bandits.registry import algorithm


@algorithm("d-exp3")
def d_exp3() -> "DuelingEXP3":
    """D-EXP3: exponential weights on unbiased estimates of the shifted Borda scores."""
    return DuelingEXP3(delta=0.0)


@algorithm("d-exp3-hp")
def d_exp3_hp(delta: Annotated[float, Gt(0), Lt(1)] = 0.05) -> "DuelingEXP3":
    """D-EXP3 with a bonus beta/q_i for every arm: regret bounded with probability 1 - delta."""
    return DuelingEXP3(delta=delta)


@compiled
class DuelingEXP3:
    """Both arms from q; S_x += 1{x wins}/(K q_x q_y); q mixes softmax(eta S) with 1/K.

    eta = (ln K/(T sqrt K))^(2/3), gamma = sqrt(eta K) (at most 1), and, if delta > 0, the bonus
    beta = sqrt(ln(K/delta)/(K T)).
    """

    delta: float = 0.0

    def start(self, K: int, T: int, rng: Any) -> None:
        self.eta = (math.log(max(K, 2)) / (T * math.sqrt(K))) ** (2 / 3)
        self.gamma = min(1.0, math.sqrt(self.eta * K))
        self.beta = math.sqrt(math.log(K / self.delta) / (K * T)) if self.delta > 0 else 0.0
        self.S = np.zeros(K)
        self.q = np.full(K, 1.0 / K)

    def choose(self, rng: Any) -> tuple[int, int]:
        return draw(self.q, rng), draw(self.q, rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        K = self.q.size
        for k in range(K):
            self.S[k] += self.beta / self.q[k]
        if won:
            self.S[i] += 1.0 / (K * self.q[i] * self.q[j])
        mix(self.q, self.S, self.eta, self.gamma)

    def winner(self) -> int:
        return int(self.S.argmax())
