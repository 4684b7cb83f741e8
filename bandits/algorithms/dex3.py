"""Dex3.P and Dex3.S: two adversarial bandits duel each other.

Saha & Gupta, "Optimal and Efficient Dynamic Regret Algorithms for Non-Stationary Dueling Bandits",
ICML 2022, from its abstract and a public reimplementation (Suk); the pairing of the two players is
from memory. The players are EXP3.P and EXP3.S of Auer, Cesa-Bianchi, Freund & Schapire, SIAM J.
Comput. 2002, with the constants of its Theorem 6.3 and Corollary 8.2 (from memory).
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt

from bandits.compiled import compiled
from bandits.numerics import draw, mix
from bandits.registry import algorithm


@algorithm("dex3-p")
@compiled
class Dex3P:
    """Two EXP3.P players; the one whose arm wins gains 1, the other 0. Static adversarial regret.

    w_i *= exp(gamma/(3K) (gain/q_i + alpha/(q_i sqrt(K T)))) with alpha = 2 sqrt(ln(K T/delta)) and
    gamma = min(3/5, 2 sqrt(3/5 K ln K/T)); q mixes the normalized w with gamma/K. Equal w at first.
    """

    delta: Annotated[float, Gt(0), Lt(1)] = 0.05

    def start(self, K: int, T: int, rng: Any) -> None:
        self.gamma = min(0.6, 2 * math.sqrt(0.6 * K * math.log(max(K, 2)) / T))
        self.bonus = 2 * math.sqrt(math.log(K * T / self.delta)) / math.sqrt(K * T)
        self.log_w = np.zeros((2, K))
        self.q = np.full((2, K), 1.0 / K)

    def choose(self, rng: Any) -> tuple[int, int]:
        return draw(self.q[0], rng), draw(self.q[1], rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        self.reward(0, i, 1.0 if won else 0.0)
        self.reward(1, j, 0.0 if won else 1.0)

    def reward(self, player: int, arm: int, gain: float) -> None:
        log_w, q = self.log_w[player], self.q[player]
        K = q.size
        for k in range(K):
            log_w[k] += self.gamma / (3 * K) * self.bonus / q[k]
        log_w[arm] += self.gamma / (3 * K) * gain / q[arm]
        mix(q, log_w, 1.0, self.gamma)


@algorithm("dex3-s")
@compiled
class Dex3S:
    """Two EXP3.S players, whose weights are shared out a little: regret against S changing arms.

    w_i <- w_i exp(gamma gain/(K q_i)) + e alpha/K sum w, alpha = 1/T,
    gamma = min(1, sqrt(K (S ln(K T) + e)/((e - 1) T))); q mixes the normalized w with gamma/K.
    `S` is the number of changes the players are compared with.
    """

    S: Annotated[int, Ge(1)] = 10

    def start(self, K: int, T: int, rng: Any) -> None:
        log_term = self.S * math.log(K * T) + math.e
        self.gamma = min(1.0, math.sqrt(K * log_term / ((math.e - 1) * T)))
        self.share = math.e / T / K
        self.w = np.full((2, K), 1.0 / K)  # normalized: only their ratios matter
        self.q = np.full((2, K), 1.0 / K)

    def choose(self, rng: Any) -> tuple[int, int]:
        return draw(self.q[0], rng), draw(self.q[1], rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        self.reward(0, i, 1.0 if won else 0.0)
        self.reward(1, j, 0.0 if won else 1.0)

    def reward(self, player: int, arm: int, gain: float) -> None:
        w, q = self.w[player], self.q[player]
        K = w.size
        grown = w[arm] * math.exp(self.gamma * gain / (K * q[arm]))
        total = 0.0
        for k in range(K):
            w[k] = (grown if k == arm else w[k]) + self.share  # the sum of w was 1
            total += w[k]
        for k in range(K):
            w[k] /= total
            q[k] = (1 - self.gamma) * w[k] + self.gamma / K
