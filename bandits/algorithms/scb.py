"""Scalable Copeland Bandits.

Zoghi, Karnin, Whiteson & de Rijke, "Copeland Dueling Bandits", NeurIPS 2015, Algorithms 2 and 4.
The time t in its thresholds is read as the duels of the phase so far (unverified).
"""

import math
from typing import Any

import numpy as np

from bandits.compiled import compiled
from bandits.numerics import kl, kl_bound, permutation
from bandits.registry import algorithm


@algorithm("scb")
@compiled
class SCB:
    """Scalable Copeland Bandits: a KL bandit whose reward is "beats a random opponent".

    Phase r has 2^(2^r) duels and failure probability ln(T_r)/T_r; when the winner is found early,
    it is played until the phase ends. Whether an arm beats its opponent is queried until it is
    decided, once per phase. For many arms, Copeland winners.
    State: 1.2 K^2 numbers.
    """

    def start(self, K: int, T: int, rng: Any) -> None:
        self.K = K
        self.r = 0
        self.budget = 0
        self.t = 0  # duels of this phase
        self.W = np.zeros((K, K), np.int64)
        self.decided = np.zeros((K, K), np.bool_)
        self.alive = np.ones(K, np.bool_)
        self.rewards = np.zeros(K, np.int64)
        self.pulls = np.zeros(K, np.int64)
        self.order = permutation(K, rng)  # in which arms take turns
        self.place = 0
        self.turn = self.order[0]
        self.opponent = -1
        self.best = -1

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.t == self.budget:
            self.next_phase()
        if self.K == 1:
            self.best = 0
        while self.best < 0:
            if self.opponent < 0:
                self.next_query(rng)
            elif self.decided[self.turn, self.opponent]:
                self.reward()
            else:
                return self.turn, self.opponent
        return self.best, self.best

    def next_phase(self) -> None:
        self.r += 1
        self.budget = 2 ** (2 ** min(self.r, 5))  # the sixth phase would outlast any horizon
        self.t = 0
        self.W[:] = 0
        self.decided[:] = False
        self.alive[:] = True
        self.rewards[:] = 0
        self.pulls[:] = 0
        self.place, self.opponent, self.best = 0, -1, -1

    def next_query(self, rng: Any) -> None:
        """A random opponent for the arm whose turn it is; ends the cycle after the last arm."""
        while self.place < self.K and not self.alive[self.order[self.place]]:
            self.place += 1
        if self.place == self.K:
            self.end_of_cycle()
            self.place = 0
            return
        self.turn = self.order[self.place]
        j = rng.integers(self.K - 1)
        self.opponent = j + (j >= self.turn)

    def reward(self) -> None:
        self.pulls[self.turn] += 1
        self.rewards[self.turn] += 2 * self.W[self.turn, self.opponent] > (
            self.W[self.turn, self.opponent] + self.W[self.opponent, self.turn]
        )
        self.place += 1
        self.opponent = -1

    def threshold(self) -> float:
        """ln(4 t K/delta) + 2 ln ln t with delta = ln(T_r)/T_r."""
        t = max(self.t, 3)
        delta = math.log(self.budget) / self.budget
        return math.log(4 * t * self.K / delta) + 2 * math.log(math.log(t))

    def end_of_cycle(self) -> None:
        """Drop arms whose upper bound lies below the best lower one; stop when nothing is open."""
        level = self.threshold()
        best_lower = 0.0
        for i in range(self.K):
            if self.alive[i]:
                mean = self.rewards[i] / self.pulls[i]
                best_lower = max(best_lower, kl_bound(mean, level / self.pulls[i], -1))
        left, leader, most = 0, -1, -1.0
        open_pairs = False
        for i in range(self.K):
            if self.alive[i]:
                mean = self.rewards[i] / self.pulls[i]
                if kl_bound(mean, level / self.pulls[i], 1) < best_lower:
                    self.alive[i] = False
                    continue
                left += 1
                score, known = self.copeland(i)
                open_pairs |= not known
                if score > most:
                    most, leader = score, i
        if left == 1 or not open_pairs:
            self.best = leader

    def copeland(self, i: int) -> tuple[float, bool]:
        """(the arm's wins, exact if all its pairs are decided, else its mean reward; exact?)."""
        wins, known = 0.0, True
        for j in range(self.K):
            if j != i:
                known &= self.decided[i, j]
                wins += self.W[i, j] > self.W[j, i]
        return (wins, True) if known else (self.rewards[i] / self.pulls[i] * (self.K - 1), False)

    def observe(self, i: int, j: int, won: bool) -> None:
        self.t += 1
        if i == j:
            return
        self.W[i, j] += won
        self.W[j, i] += not won
        n = self.W[i, j] + self.W[j, i]
        if n * kl(self.W[i, j] / n, 0.5) > self.threshold():
            self.decided[i, j] = self.decided[j, i] = True

    def winner(self) -> int:
        return self.best
