"""Relative Minimum Empirical Divergence: RMED1, RMED2 and RMED2FH.

Komiyama, Honda, Kashima & Nakagawa, "Regret Lower Bound and Optimal Algorithm in Dueling Bandit
Problem", COLT 2015, Algorithms 1 and 2, with the constants of the authors' code.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from bandits.compiled import compiled
from bandits.numerics import kl
from bandits.registry import algorithm

RMED1, RMED2, RMED2FH = range(3)


@algorithm("rmed1")
def rmed1() -> "RMED":
    """RMED1: play the arms whose empirical divergence does not yet exclude them; anytime."""
    return RMED(variant=RMED1)


@algorithm("rmed2")
def rmed2(alpha: Annotated[float, Gt(0)] = 3.0) -> "RMED":
    """RMED2: RMED1 that also estimates the cheapest opponent of each arm; anytime."""
    return RMED(variant=RMED2, alpha=alpha)


@algorithm("rmed2fh")
def rmed2fh(alpha: Annotated[float, Gt(0)] = 3.0) -> "RMED":
    """RMED2 with a fixed horizon: cheapest opponents from a first phase; asymptotically optimal."""
    return RMED(variant=RMED2FH, alpha=alpha)


@compiled
class RMED:
    """Rounds over the arms j whose J_j(t) holds: I_j(t) - I_i*(t) <= ln t + f(K), i* = argmin I.

    I_i = sum of N_ij d(p_ij, 1/2) over the opponents j with p_ij <= 1/2; f(K) = 0.3 K^1.01. LC
    (this round), LR (still to come in it) and LN (next round) are the paper's names. Needs a
    Condorcet winner. O(K) per duel; 3 K^2 numbers.
    """

    variant: int = RMED1
    alpha: float = 3.0

    learns_from_any_pair = True

    def check(self, K: int, T: int) -> None:
        """Raises ValueError when the first phase of RMED2FH does not fit in the horizon."""
        first = self.first_draws(T) * K * (K - 1) // 2
        if self.variant == RMED2FH and first > T:
            raise ValueError(
                f"rmed2fh draws every pair {self.first_draws(T)} times first: {first} duels, more "
                f"than the horizon {T}; a longer horizon or rmed1 is needed"
            )

    def first_draws(self, T: int) -> int:
        if self.variant != RMED2FH or T <= 3:
            return 1
        return int(max(1, math.ceil(self.alpha * math.log(math.log(T)))))

    def start(self, K: int, T: int, rng: Any) -> None:
        self.t = 0  # duels observed, whoever chose them
        self.T = T
        self.W = np.zeros((K, K), np.int64)
        self.N = np.zeros((K, K), np.int64)
        self.d = np.zeros((K, K))  # d(p_ij, 1/2)
        self.I = np.zeros(K)
        self.best = 0  # i*
        self.allowance = 0.3 * K**1.01
        self.LC = np.ones(K, np.bool_)
        self.LR = np.ones(K, np.bool_)
        self.LN = np.zeros(K, np.bool_)
        self.l = -1
        self.b = np.full(K, -1)  # RMED2FH: the cheapest opponents, found after the first phase
        self.wanted = self.first_draws(T)  # draws that every pair must have
        self.first_phase = K > 1
        self.at_i, self.at_j = 0, 1  # pairs before this one, in order, have them
        self.in_round = False  # whether the duel to come is one of the round, none for `wanted`

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.variant == RMED2 and self.t >= 3:
            # N_ij < alpha ln ln t for an integer N_ij means N_ij below the next integer.
            wanted = int(math.ceil(self.alpha * math.log(math.log(self.t + 1))))
            if wanted > self.wanted:
                self.wanted, self.first_phase = wanted, True
                self.at_i, self.at_j = 0, 1
        if self.first_phase:
            while self.at_i < self.I.size - 1:
                if self.N[self.at_i, self.at_j] < self.wanted:
                    return self.at_i, self.at_j
                self.at_j += 1
                if self.at_j == self.I.size:
                    self.at_i += 1
                    self.at_j = self.at_i + 1
            self.first_phase = False
            if self.variant == RMED2FH:
                for i in range(self.I.size):
                    self.b[i] = self.cheapest(i)
        self.in_round = True
        self.l += 1
        while self.l < self.I.size and not self.LC[self.l]:
            self.l += 1
        if self.l == self.I.size:
            return self.next_round()
        return self.l, self.opponent(self.l)

    def next_round(self) -> tuple[int, int]:
        self.LC[:] = self.LN
        self.LR[:] = self.LN
        self.LN[:] = False
        self.l = 0
        while not self.LC[self.l]:
            self.l += 1
        return self.l, self.opponent(self.l)

    def opponent(self, i: int) -> int:
        """m(t): the cheapest opponent where enough is known, else i*, else the strongest."""
        if self.variant != RMED1:
            b = self.b[i] if self.variant == RMED2FH else self.cheapest(i)
            time = self.T if self.variant == RMED2FH else self.t + 1
            u = math.log(math.log(time)) if time > 2 else 0.0
            enough = b >= 0 and self.N[i, self.best] * u >= self.N[i, b]
            if enough and 2 * self.W[i, b] <= self.N[i, b]:
                return b
        least, strongest = 1.0, -1
        for j in range(self.I.size):
            if j != i and 2 * self.W[i, j] <= self.N[i, j]:
                if j == self.best:
                    return j
                mean = self.W[i, j] / self.N[i, j]
                if mean < least:
                    least, strongest = mean, j
        return strongest if strongest >= 0 else self.best

    def cheapest(self, i: int) -> int:
        """b_i = argmin of (D_i*i + D_i*j) / d(p_ij, 1/2) over p_ij < 1/2, D = p - 1/2; or -1."""
        least, b = np.inf, -1
        for j in range(self.I.size):
            if 2 * self.W[i, j] < self.N[i, j]:
                regret = max(0.01, self.gap(i) + self.gap(j))  # floored as in the authors' code
                if regret / self.d[i, j] < least:
                    least, b = regret / self.d[i, j], j
        return b

    def gap(self, i: int) -> float:
        """Empirical D_i*i."""
        if i == self.best:
            return 0.0
        return self.W[self.best, i] / self.N[self.best, i] - 0.5

    def observe(self, i: int, j: int, won: bool) -> None:
        self.t += 1
        if i != j:
            self.W[i, j] += won
            self.W[j, i] += not won
            self.N[i, j] += 1
            self.N[j, i] += 1
            fewer = min(self.W[i, j], self.W[j, i])
            self.d[i, j] = self.d[j, i] = kl(fewer / self.N[i, j], 0.5)
            self.I[i] = self.divergence(i)
            self.I[j] = self.divergence(j)
            self.best = int(self.I.argmin())
        if self.in_round:
            self.in_round = False
            self.LR[self.l] = False
            limit = self.I[self.best] + math.log(self.t) + self.allowance
            for k in range(self.I.size):
                if not self.LR[k] and self.I[k] <= limit:
                    self.LN[k] = True

    def divergence(self, i: int) -> float:
        total = 0.0
        for j in range(self.I.size):
            if 2 * self.W[i, j] <= self.N[i, j]:
                total += self.N[i, j] * self.d[i, j]
        return total

    def winner(self) -> int:
        return self.best
