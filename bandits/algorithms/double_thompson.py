"""Double Thompson Sampling.

Wu & Liu, "Double Thompson Sampling for Dueling Bandits", NeurIPS 2016, Algorithms 1 (D-TS) and 2
(D-TS+), with the authors' published code.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from bandits.compiled import compiled
from bandits.numerics import beats, forget_side, kl, record_side, sides
from bandits.registry import algorithm


@algorithm("d-ts")
def d_ts(alpha: Annotated[float, Gt(0)] = 0.51) -> "DoubleThompson":
    """Double Thompson Sampling: both arms of the duel come from posterior samples."""
    return DoubleThompson(alpha=alpha, plus=False)


@algorithm("d-ts-plus")
def d_ts_plus(alpha: Annotated[float, Gt(0)] = 0.51) -> "DoubleThompson":
    """D-TS+: ties for the first arm go to the smallest sampled regret per unit of information.

    Arms that tie in this too, as in a sampled tournament where all win equally often, are drawn
    at random. alpha > 0.
    """
    return DoubleThompson(alpha=alpha, plus=True)


@compiled
class DoubleThompson:
    """First arm: best sampled Copeland score among the likely winners; second: its sampled rival.

    U, L = p +- sqrt(alpha ln t / N), U = 1 and L = 0 for a pair not yet met. For Copeland winners,
    hence also Condorcet winners. Samples that cannot change the choice are not drawn, and of those
    that count by their side of 1/2 only that side is, which leaves the law of the choice as in the
    paper. O(K) per duel and for every likely winner, where there are several; 3 K^2 numbers, with
    `plus` 4 K^2.
    """

    alpha: float = 0.51
    plus: bool = False

    learns_from_any_pair = True

    def start(self, K: int, T: int, rng: Any) -> None:
        self.t = 0  # duels observed, whoever chose them
        self.W = np.zeros((K, K))
        self.side = sides(K)
        self.fractional = False  # whether counts were discounted: then `side` does not follow them
        # N_ij (p_ij - 1/2)^2 where p_ij <= 1/2, else -1: below alpha ln t exactly when U_ij > 1/2.
        self.loss = np.full((K, K), -1.0)
        self.upper_wins = np.zeros(K, np.int64)  # of every arm i the number of U_ij > 1/2
        self.flip = np.full(K, -1.0)  # it stays the same until alpha ln t exceeds this
        self.beaten = np.zeros(K, np.int64)  # of every arm i the number of p_ij > 1/2
        self.likely = np.ones(K, np.bool_)  # C: the arms that maximize upper_wins
        self.sampled_wins = np.zeros(K, np.int64)
        sampled = K if self.plus else 1
        self.theta = np.full((sampled, sampled), 0.5)

    def choose(self, rng: Any) -> tuple[int, int]:
        budget = self.alpha * math.log(self.t + 1)
        a = self.first(budget, rng)
        return a, self.second(a, budget, rng)

    def first(self, budget: float, rng: Any) -> int:
        """argmax over C of the sampled wins; C maximizes the number of optimistic wins, U > 1/2."""
        C, K = self.likely, self.likely.size
        for i in range(K):
            if self.flip[i] < budget:
                self.count_upper_wins(i, budget)
        most, size, last = self.upper_wins.max(), 0, 0
        for i in range(K):
            C[i] = self.upper_wins[i] == most
            if C[i]:
                size += 1
                last = i
        if size == 1:
            return last
        if self.plus:
            self.sample(True, rng)
        else:
            self.sample_sides(rng)
        best, a, ties = -1, -1, 0
        for i in range(K):
            if C[i]:
                wins = self.sampled_wins[i]
                if wins > best:
                    best, a, ties = wins, i, 1
                elif wins == best:
                    ties += 1
                    if rng.integers(ties) == 0:
                        a = i
        if self.plus and ties > 1:
            return self.least_regret(best, rng)
        return a

    def count_upper_wins(self, i: int, budget: float) -> None:
        wins, flip = 0, np.inf
        for j in range(self.likely.size):
            if self.loss[i, j] < budget:
                wins += 1
            else:
                flip = min(flip, self.loss[i, j])
        self.upper_wins[i] = wins - (self.loss[i, i] < budget)
        self.flip[i] = flip

    def sample_sides(self, rng: Any) -> None:
        """How many theta_ij > 1/2 every arm i of C has in a sample."""
        C, wins = self.likely, self.sampled_wins
        wins[:] = 0
        for i in range(C.size):
            if C[i]:
                for j in range(C.size):
                    if j > i or not C[j]:
                        i_wins = self.sampled_win(i, j, rng)
                        wins[i] += i_wins
                        wins[j] += not i_wins

    def sampled_win(self, i: int, j: int, rng: Any) -> bool:
        if self.fractional:
            return rng.beta(self.W[i, j] + 1.0, self.W[j, i] + 1.0) > 0.5
        return beats(self.side, i, j, rng)

    def sample(self, touching: bool, rng: Any) -> None:
        """theta_ij = 1 - theta_ji ~ Beta(W_ij + 1, W_ji + 1), for pairs touching C or others."""
        C = self.likely
        for i in range(C.size):
            for j in range(i + 1, C.size):
                if (C[i] or C[j]) == touching:
                    self.theta[i, j] = rng.beta(self.W[i, j] + 1.0, self.W[j, i] + 1.0)
                    self.theta[j, i] = 1.0 - self.theta[i, j]
        for i in range(C.size):
            self.sampled_wins[i] = (self.theta[i] > 0.5).sum()

    def second(self, a: int, budget: float, rng: Any) -> int:
        """argmax of fresh samples theta_ia over the arms with L_ia <= 1/2; a itself has 1/2."""
        best, b = 0.5, a
        for i in range(self.likely.size):
            # L_ia <= 1/2 exactly when U_ai >= 1/2.
            if i != a and self.loss[a, i] <= budget:
                theta = rng.beta(self.W[i, a] + 1.0, self.W[a, i] + 1.0)
                if theta > best:
                    best, b = theta, i
        return b

    def least_regret(self, most: int, rng: Any) -> int:
        """Of the arms of C with the most sampled wins, the one whose exploration costs least.

        R_i = sum_j (c* - (c_i + c_j)/2) / d(theta_ij, 1/2), c the sample's Copeland scores.
        """
        K = self.likely.size
        self.sample(False, rng)
        c = self.sampled_wins / max(1, K - 1)
        smallest, a, ties = np.inf, -1, 0
        for i in range(K):
            if self.likely[i] and self.sampled_wins[i] == most:
                R = 0.0
                for j in range(K):
                    if self.theta[i, j] != 0.5:
                        R += (c.max() - (c[i] + c[j]) / 2) / kl(self.theta[i, j], 0.5)
                if a < 0 or smallest > R:
                    smallest, a, ties = R, i, 1
                elif smallest == R:
                    ties += 1
                    if rng.integers(ties) == 0:
                        a = i
        return a

    def observe(self, i: int, j: int, won: bool) -> None:
        self.t += 1
        if i == j:
            return
        winner, loser = (i, j) if won else (j, i)
        record_side(self.side, self.W, winner, loser)
        self.count(winner, loser, 1.0)

    def forget(self, winner: int, loser: int) -> None:
        """Take back a duel that was observed."""
        forget_side(self.side, self.W, winner, loser)
        self.count(winner, loser, -1.0)

    def count(self, i: int, j: int, change: float) -> None:
        """Change the wins of i over j, and what follows from them."""
        self.beaten[i] -= self.W[i, j] > self.W[j, i]
        self.beaten[j] -= self.W[j, i] > self.W[i, j]
        self.W[i, j] += change
        self.beaten[i] += self.W[i, j] > self.W[j, i]
        self.beaten[j] += self.W[j, i] > self.W[i, j]
        n = self.W[i, j] + self.W[j, i]
        p = self.W[i, j] / n if n > 0 else 0.5
        loss = n * (p - 0.5) ** 2
        self.loss[i, j] = loss if n > 0 and p <= 0.5 else -1.0
        self.loss[j, i] = loss if n > 0 and p >= 0.5 else -1.0
        self.flip[i] = self.flip[j] = -1.0

    def discount(self, gamma: float) -> None:
        """Shrink all counts by a factor; means stay what they are."""
        self.fractional = True
        self.flip[:] = -1.0
        for i in range(self.likely.size):
            for j in range(self.likely.size):
                self.W[i, j] *= gamma
                self.loss[i, j] *= gamma if self.loss[i, j] > 0 else 1.0

    def winner(self) -> int:
        """The arm with the most empirical wins over pairs."""
        return int(self.beaten.argmax())
