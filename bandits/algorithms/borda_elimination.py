"""Successive elimination for the Borda winner.

Jamieson, Katariya, Deshpande & Nowak, "Sparse Dueling Bandits", AISTATS 2015, whose baseline this
is (without the test for sparse differences), as coded in duelpy with its slips of precedence
corrected.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Lt

from bandits.compiled import compiled
from bandits.registry import algorithm


@algorithm("borda-elimination")
@compiled
class BordaElimination:
    """Every active arm duels a random one per round; arms with surely lower Borda scores drop out.

    In round t arm i drops out when b_k - b_i > (K/(K-1)) sqrt(2 ln(4 K t^2/delta)/t) for an active
    k, where b_i = (K/(K-1)) wins_i/t; an arm that draws itself as opponent counts a round without
    win and without duel. Finds the Borda winner with probability 1 - delta. `winner()` is -1
    until it is found, after `samples` duels; from then on it duels itself only.
    """

    delta: Annotated[float, Gt(0), Lt(1)] = 0.05

    def start(self, K: int, T: int, rng: Any) -> None:
        self.active = np.ones(K, np.bool_)
        self.left = K
        self.wins = np.zeros(K, np.int64)
        self.round = 1
        self.turn = 0
        self.samples = 0

    def choose(self, rng: Any) -> tuple[int, int]:
        K = self.active.size
        while self.left > 1:
            if self.turn == K:
                self.end_round()
            elif self.active[self.turn]:
                opponent = rng.integers(K)
                if opponent != self.turn:
                    return self.turn, opponent
                self.turn += 1
            else:
                self.turn += 1
        return self.winner(), self.winner()

    def end_round(self) -> None:
        K = self.active.size
        margin = math.sqrt(2 * math.log(4 * K * self.round**2 / self.delta) / self.round)
        most = -1
        for i in range(K):
            if self.active[i]:
                most = max(most, self.wins[i])
        for i in range(K):
            if self.active[i] and (most - self.wins[i]) / self.round > margin:
                self.active[i] = False
                self.left -= 1
        self.round += 1
        self.turn = 0

    def observe(self, i: int, j: int, won: bool) -> None:
        if self.left > 1:
            self.samples += 1
            self.wins[i] += won
            self.turn += 1

    def winner(self) -> int:
        return int(self.active.argmax()) if self.left == 1 else -1
