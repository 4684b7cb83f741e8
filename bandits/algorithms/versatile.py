"""Versatile-DB: two Tsallis-INF players, for stochastic and adversarial preferences alike.

Saha & Gaillard, "Versatile Dueling Bandits: Best-of-both-World Analyses for Learning from Relative
Preferences", ICML 2022; Tsallis-INF and reduced-variance estimates: Zimmert & Seldin, JMLR 2021.
"""

import math
from typing import Any

import numpy as np

from bandits.compiled import compiled
from bandits.numerics import draw
from bandits.registry import algorithm


@algorithm("versatile-db")
@compiled
class VersatileDB:
    """Two independent Tsallis-INF players; a player's loss is 1 when its arm loses the duel.

    w_i = 4 (eta_t (L_i - x))^-2 with x so that w sums to 1; eta_t = 2/sqrt(t) with importance-
    weighted losses, 4/sqrt(t) with the reduced-variance ones. Horizon-free.
    """

    reduced_variance: bool = True

    def start(self, K: int, T: int, rng: Any) -> None:
        self.t = 0
        self.eta = 0.0
        self.L = np.zeros((2, K))  # estimated cumulative losses of the two players
        self.w = np.full((2, K), 1.0 / K)
        self.x = np.full(2, -math.sqrt(K))  # warm start of Newton's method

    def choose(self, rng: Any) -> tuple[int, int]:
        self.eta = (4.0 if self.reduced_variance else 2.0) / math.sqrt(self.t + 1)
        self.solve(0)
        self.solve(1)
        return draw(self.w[0], rng), draw(self.w[1], rng)

    def solve(self, player: int) -> None:
        """Weights of the player: x solves sum_i w_i = 1 below min L, where the sum rises in x."""
        L, w, eta = self.L[player], self.w[player], self.eta
        smallest = L.min()
        # x = min L - 2/eta if one arm has all the weight, sqrt(K) times as far if all are equal.
        low, high = smallest - 2.0 * math.sqrt(L.size) / eta, smallest - 2.0 / eta
        x = min(max(self.x[player], low), high)
        for _ in range(100):
            total, slope = 0.0, 0.0
            for i in range(L.size):
                root = 2.0 / (eta * (L[i] - x))
                w[i] = root * root
                total += w[i]
                slope += eta * w[i] * root
            if abs(total - 1.0) < 1e-12:
                break
            if total > 1.0:
                high = x
            else:
                low = x
            x -= (total - 1.0) / slope
            if not low <= x <= high:
                x = (low + high) / 2
        self.x[player] = x

    def observe(self, i: int, j: int, won: bool) -> None:
        self.t += 1
        self.charge(0, i, 0.0 if won else 1.0)
        self.charge(1, j, 1.0 if won else 0.0)

    def charge(self, player: int, arm: int, loss: float) -> None:
        L, w = self.L[player], self.w[player]
        if not self.reduced_variance:
            L[arm] += loss / w[arm]
            return
        for k in range(L.size):  # (loss - b_k) 1{k played}/w_k + b_k, b_k = 1/2 where w_k >= eta^2
            b = 0.5 if w[k] >= self.eta**2 else 0.0
            L[k] += b
            if k == arm:
                L[k] += (loss - b) / w[k]
