"""Efficient Copeland-winners Relative Minimum Empirical Divergence (ECW-RMED).

Komiyama, Honda & Nakagawa, "Copeland Dueling Bandit Problem: Regret Lower Bound, Optimal Algorithm,
and Computationally Efficient Algorithm", ICML 2016, Algorithm 3, with the constants of the
published code of Wu & Liu. Reconstructed from that code, not read in the paper; its additional test
N d/ln t <= 1 over all pairs is left out, since it contradicts the paper's confidence condition.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from bandits.compiled import compiled
from bandits.numerics import kl
from bandits.registry import algorithm


@algorithm("ecw-rmed")
@compiled
class ECWRMED:
    """ECW-RMED: plays the pairs whose divergence does not yet prove who is a Copeland winner.

    LC, LR, LN are sets of pairs i <= j: this round, still to come in it, next round. L_i is the
    number of arms that beat i empirically. For Copeland winners; needs p_ij != 1/2 for all pairs.
    State: 10 K^2 numbers.
    """

    alpha: Annotated[float, Gt(0)] = 3.0
    beta: Annotated[float, Gt(0)] = 0.01

    learns_from_any_pair = True

    def start(self, K: int, T: int, rng: Any) -> None:
        self.K = K
        self.t = 0  # duels observed, whoever chose them
        self.W = np.zeros((K, K), np.int64)
        self.N = np.zeros((K, K), np.int64)
        self.p = np.full((K, K), 0.5)
        self.d = np.zeros((K, K))  # d(p_ij, 1/2)
        self.L = np.zeros(K, np.int64)
        self.LC = np.zeros((K * K, 2), np.int64)  # the first `size` rows are the pairs, in order
        self.LN = np.zeros((K * K, 2), np.int64)
        self.LR = np.zeros((K, K), np.bool_)
        self.in_next = np.zeros((K, K), np.bool_)
        self.next_size = 0
        for i in range(K):
            for j in range(i, K):
                self.add(i, j)
        self.size = self.at = 0
        self.fewest, self.nearest = 0, 0.0  # smallest N_ij and |p_ij - 1/2|
        self.in_round = False  # whether the duel to come is one of the round, not a forced one
        # What follows from the data: how long ln t may grow until an arm is no longer surely a
        # winner, the least exploration q ln t that proves an arm best, and that arm.
        self.stale = True
        self.proof = np.full(K, -1.0)
        self.q = np.zeros((K, K))
        self.trial = np.zeros((K, K))
        self.leader = 0
        self.least = 0.0
        self.costs = np.zeros(K)
        self.arms = np.zeros(K, np.int64)

    def choose(self, rng: Any) -> tuple[int, int]:
        log_t = math.log(self.t + 1)
        few = max(1.0, self.alpha * math.sqrt(log_t))
        near = self.beta / math.log(log_t) if self.t >= 2 else 0.0
        if self.K > 1 and (self.fewest < few or self.nearest < near):
            for i in range(self.K):
                for j in range(i + 1, self.K):
                    if self.N[i, j] < few or abs(self.p[i, j] - 0.5) < near:
                        return i, j
        if self.at == self.size:
            self.next_round()
        self.at += 1
        self.in_round = True
        return self.LC[self.at - 1, 0], self.LC[self.at - 1, 1]

    def next_round(self) -> None:
        """LC = LR = LN, LN = {}."""
        self.size, self.at, self.next_size = self.next_size, 0, 0
        for k in range(self.size):
            i, j = self.LN[k, 0], self.LN[k, 1]
            self.LC[k, 0], self.LC[k, 1] = i, j
            self.LR[i, j] = True
            self.in_next[i, j] = False

    def observe(self, i: int, j: int, won: bool) -> None:
        self.t += 1
        if i != j:
            self.record(i, j, won)
        if not self.in_round:
            return
        self.in_round = False
        if self.stale:
            self.solve()
        self.LR[i, j] = False
        log_t = math.log(self.t)
        for winner in range(self.K):
            if self.proof[winner] >= log_t:
                self.add(winner, winner)
                return
        self.add(self.leader, self.leader)
        for a in range(self.K):
            for b in range(a + 1, self.K):
                if max(self.q[a, b], self.q[b, a]) * log_t > self.N[a, b]:
                    self.add(a, b)

    def record(self, i: int, j: int, won: bool) -> None:
        self.W[i, j] += won
        self.W[j, i] += not won
        self.N[i, j] += 1
        self.N[j, i] += 1
        self.p[i, j] = self.W[i, j] / self.N[i, j]
        self.p[j, i] = self.W[j, i] / self.N[i, j]
        self.d[i, j] = self.d[j, i] = kl(min(self.p[i, j], self.p[j, i]), 0.5)
        self.stale = True
        self.fewest, self.nearest = self.N[i, j], 0.5
        for a in range(self.K):
            for b in range(a + 1, self.K):
                self.fewest = min(self.fewest, self.N[a, b])
                self.nearest = min(self.nearest, abs(self.p[a, b] - 0.5))

    def add(self, i: int, j: int) -> None:
        """Into the next round, unless the pair is in it or still comes in this one."""
        if not self.LR[i, j] and not self.in_next[i, j]:
            self.LN[self.next_size, 0], self.LN[self.next_size, 1] = i, j
            self.in_next[i, j] = True
            self.next_size += 1

    def solve(self) -> None:
        """Proofs and exploration of all empirical Copeland winners, which only the data decide."""
        for i in range(self.K):
            self.L[i] = 0
            for j in range(self.K):
                self.L[i] += self.p[i, j] < 0.5
        fewest = self.L.min()
        self.least = np.inf
        for i in range(self.K):
            self.proof[i] = -1.0
            if self.L[i] == fewest:
                self.proof[i] = self.evidence(i)
                self.explore(i)
        self.stale = False

    def evidence(self, i1: int) -> float:
        """Least divergence, over arms i2 and scores l, of a world where i2 beats i1's score.

        There i1 loses l + 1 - L(i1) more duels and i2 loses at most l; the score l runs from the
        smallest to the second smallest L. A pair (i1, i2) that turns serves both: it counts once.
        """
        second = self.K
        for i in range(self.K):
            if i != i1:
                second = min(second, self.L[i])
        least = np.inf
        for i2 in range(self.K):
            if i2 != i1:
                for score in range(self.L[i1], second + 1):
                    a, b = score + 1 - self.L[i1], max(0, self.L[i2] - score)
                    apart = self.cheapest(i1, i2, a, True) + self.cheapest(i2, i1, b, False)
                    if self.p[i1, i2] > 0.5:
                        both = self.N[i1, i2] * self.d[i1, i2]
                        both += self.cheapest(i1, i2, a - 1, True)
                        both += self.cheapest(i2, i1, b - 1, False)
                        apart = min(apart, both)
                    least = min(least, apart)
        return least

    def cheapest(self, i: int, without: int, count: int, inferiors: bool) -> float:
        """Sum of the `count` smallest N d of i against its inferiors, or its superiors."""
        size = 0
        for j in range(self.K):
            counts = self.p[i, j] > 0.5 if inferiors else self.p[i, j] < 0.5
            if counts and j != without:
                self.insert(size, self.N[i, j] * self.d[i, j], j)
                size += 1
        if count > size:
            return np.inf
        total = 0.0
        for k in range(count):
            total += self.costs[k]
        return total

    def insert(self, size: int, cost: float, arm: int) -> None:
        """Keep costs[:size + 1] increasing, with the arms they belong to."""
        k = size
        while k > 0 and self.costs[k - 1] > cost:
            self.costs[k], self.arms[k] = self.costs[k - 1], self.arms[k - 1]
            k -= 1
        self.costs[k], self.arms[k] = cost, arm

    def explore(self, i1: int) -> None:
        """The least costly q with which i1 proves itself, if cheaper than that of other winners."""
        self.trial[:] = 0.0
        regret = 0.0
        for j in range(self.K):
            if j != i1 and self.p[i1, j] > 0.5:
                self.trial[i1, j] = 1.0 / self.d[i1, j]
                regret += self.cost(i1, j) / self.d[i1, j]
        for i2 in range(self.K):
            if i2 != i1:
                regret += self.hold_down(i1, i2)
        if regret < self.least:
            self.least, self.leader = regret, i1
            self.q[:] = self.trial

    def hold_down(self, i1: int, i2: int) -> float:
        """Exploration against superiors of i2, so that not enough of them can turn out inferior."""
        size = 0
        for j in range(self.K):
            if j not in (i1, i2) and self.p[j, i2] > 0.5:
                self.insert(size, self.cost(j, i2) / self.d[j, i2], j)
                size += 1
        k = size - (self.L[i2] - self.L[i1] + 1)
        if k < 0:
            return 0.0
        least, best, total = np.inf, 0, 0.0
        for h in range(1, size + 1):
            total += self.costs[h - 1]
            if h > k and total / (h - k) < least:
                least, best = total / (h - k), h
        for n in range(best):
            j = self.arms[n]
            self.trial[j, i2] = max(self.trial[j, i2], 1.0 / ((best - k) * self.d[j, i2]))
        return least if best else 0.0

    def cost(self, i: int, j: int) -> float:
        """r_ij, the Copeland regret of a duel."""
        return (self.L[i] + self.L[j] - 2 * self.L.min()) / (2 * max(1, self.K - 1))

    def winner(self) -> int:
        return self.leader
