"""Relative Upper Confidence Bound.

Zoghi, Whiteson, Munos & de Rijke, "Relative Upper Confidence Bound for the K-Armed Dueling Bandit
Problem", ICML 2014, Algorithm 1 (with the hypothesised best arm B).
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from bandits.compiled import compiled
from bandits.numerics import pick, record_rivals, strongest_rival
from bandits.registry import algorithm


@algorithm("rucb")
@compiled
class RUCB:
    """Relative Upper Confidence Bound: an arm that may be best meets its strongest possible rival.

    U_ij = p_ij + sqrt(alpha ln t / N_ij), 1 for a pair not yet met; alpha > 1/2, 0.51 in the
    paper's experiments. Needs a Condorcet winner. O(K) per duel: U_ij >= 1/2 exactly when
    p_ij >= 1/2 or N_ij (p_ij - 1/2)^2 <= alpha ln t, whose left side changes only after a duel.
    State: 4 K^2 numbers.
    """

    alpha: Annotated[float, Gt(0.5)] = 0.51

    learns_from_any_pair = True

    def start(self, K: int, T: int, rng: Any) -> None:
        self.t = 0  # duels observed, whoever chose them
        self.W = np.zeros((K, K))
        self.loss = np.zeros((K, K))  # [i, j]: N_ij (p_ij - 1/2)^2 where p_ij < 1/2, else 0
        self.worst = np.zeros(K)  # its maximum over j: i is a candidate while this <= alpha ln t
        self.rival_mean = np.ones((K, K))
        self.rival_width = np.zeros((K, K))
        self.candidate = np.ones(K, np.bool_)
        self.B = -1

    def choose(self, rng: Any) -> tuple[int, int]:
        budget = self.alpha * math.log(self.t + 1)
        c = self.champion(budget, rng)
        return c, strongest_rival(self.rival_mean, self.rival_width, c, math.sqrt(budget), rng)

    def champion(self, budget: float, rng: Any) -> int:
        """An arm of C = {i: U_ij >= 1/2 for all j}; B holds at most one arm of earlier C."""
        C = self.candidate
        size = 0
        last = 0
        for i in range(C.size):
            C[i] = self.worst[i] <= budget
            if C[i]:
                size += 1
                last = i
        if size == 0:
            return rng.integers(C.size)
        if self.B >= 0 and not C[self.B]:
            self.B = -1
        if size == 1:
            self.B = last
            return last
        if self.B >= 0:
            if rng.random() < 0.5:
                return self.B
            C[self.B] = False
        return pick(C, rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        self.t += 1
        if i != j:
            self.judge(i, j, record_rivals(self.W, self.rival_mean, self.rival_width, i, j, won))

    def forget(self, i: int, j: int) -> None:
        """Take back a duel that was observed, won by i."""
        self.W[i, j] -= 1.0
        n = self.W[i, j] + self.W[j, i]
        p = self.W[i, j] / n if n > 0 else 0.5
        self.rival_mean[j, i] = p if n > 0 else 1.0
        self.rival_mean[i, j] = 1 - p if n > 0 else 1.0
        self.rival_width[i, j] = self.rival_width[j, i] = 1 / math.sqrt(n) if n > 0 else 0.0
        self.judge(i, j, p)

    def discount(self, gamma: float) -> None:
        """Shrink all counts by a factor; means stay what they are."""
        stretch = 1 / math.sqrt(gamma)
        for i in range(self.worst.size):
            self.worst[i] *= gamma
            for j in range(self.worst.size):
                self.W[i, j] *= gamma
                self.loss[i, j] *= gamma
                self.rival_width[i, j] *= stretch

    def judge(self, i: int, j: int, p: float) -> None:
        """Refresh how surely each arm of a pair with mean p loses."""
        lost = (self.W[i, j] + self.W[j, i]) * (p - 0.5) ** 2
        self.loss[i, j] = lost if p < 0.5 else 0.0
        self.loss[j, i] = lost if p > 0.5 else 0.0
        self.worst[i] = self.loss[i].max()
        self.worst[j] = self.loss[j].max()

    def winner(self) -> int:
        return int(self.worst.argmin())
