"""Relative Exponential-weight algorithm for Exploration and Exploitation (REX3).

Gajane, Urvoy & Clérot, "A Relative Exponential Weighing Algorithm for Adversarial Utility-based
Dueling Bandits", ICML 2015. The update and the tuning are from memory of the paper, unverified.
"""

import math
from typing import Any

import numpy as np

from bandits.compiled import compiled
from bandits.numerics import draw, mix
from bandits.registry import algorithm


@algorithm("rex3")
@compiled
class REX3:
    """Exponential weights on relative feedback: both arms come from the same distribution q.

    With the feedback psi = +-1/2, the log-weights of i and j move by (gamma/K) psi/(2 q), one up,
    one down. gamma = min(1/2, sqrt(K ln K / tau)) with tau = e T/2.
    """

    def start(self, K: int, T: int, rng: Any) -> None:
        self.gamma = min(0.5, math.sqrt(K * math.log(max(K, 2)) / (math.e * T / 2)))
        self.log_w = np.zeros(K)
        self.q = np.full(K, 1.0 / K)

    def choose(self, rng: Any) -> tuple[int, int]:
        return draw(self.q, rng), draw(self.q, rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        if i == j:
            return
        K = self.q.size
        psi = 0.5 if won else -0.5
        self.log_w[i] += self.gamma / K * psi / (2 * self.q[i])
        self.log_w[j] -= self.gamma / K * psi / (2 * self.q[j])
        mix(self.q, self.log_w, 1.0, self.gamma)
