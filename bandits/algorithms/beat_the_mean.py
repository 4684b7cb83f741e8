"""Beat the Mean.

Yue & Joachims, "Beat the Mean Bandit", ICML 2011, Algorithms 1 to 3, online and PAC. The PAC
constants are from memory of the paper. Its opponent is drawn from all working arms, the one that
begins included; here that one is left out, since such a duel tells nothing. The tight radius is
that of the code published with Komiyama, Honda, Kashima & Nakagawa, "Regret Lower Bound and Optimal
Algorithm in Dueling Bandit Problem", COLT 2015.
"""

import math
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt

from bandits.compiled import compiled
from bandits.registry import algorithm


@algorithm("btm")
def btm(
    gamma: Annotated[float, Ge(1)] = 1.3, radius: Literal["paper", "tight"] = "paper"
) -> "BeatTheMean":
    """Beat the Mean: arms duel random others; the worst drops out when surely below the best.

    The confidence radius after n duels is 3 gamma^2 sqrt(ln(1/delta)/n) as in the paper, or with
    `radius` tight a third of it, as in the published code of Komiyama et al. (there gamma = 1.2).
    """
    return BeatTheMean(gamma=gamma, factor=3.0 if radius == "paper" else 1.0)


@algorithm("btm-pac")
def btm_pac(
    epsilon: Annotated[float, Gt(0), Lt(0.5)] = 0.1,
    delta: Annotated[float, Gt(0), Lt(1)] = 0.05,
    gamma: Annotated[float, Ge(1)] = 1.0,
) -> "BeatTheMean":
    """Beat the Mean, PAC: finds an arm within `epsilon` of the best with probability 1 - delta."""
    return BeatTheMean(gamma=gamma, epsilon=epsilon, delta=delta)


@compiled
class BeatTheMean:
    """The arm that began the fewest duels begins the next, against a random other one.

    Radius `factor` gamma^2 sqrt(ln(1/delta)/n); gamma >= 1 relaxes transitivity (1.3 in the
    experiments of Wu & Liu). Online (epsilon = 0) delta = 1/(2 T K), and the last arm is played to
    the end. PAC: ln(K^3 N/delta) in place of ln(1/delta), and the best mean is the answer once
    every arm began N = ceil(36 gamma^6/epsilon^2 ln(K^3 N/delta)) duels. Needs a Condorcet winner.
    State: 2 K^2 numbers.
    """

    gamma: float = 1.3
    epsilon: float = 0.0
    delta: float = 0.0
    factor: float = 3.0

    def start(self, K: int, T: int, rng: Any) -> None:
        self.K = K
        self.enough = 0  # N
        log_term = math.log(2.0 * T * K)
        if self.epsilon > 0:
            factor = 36 * self.gamma**6 / self.epsilon**2
            self.enough = 1
            for _ in range(100):  # the fixed point of N, which this reaches in a few steps
                log_term = math.log(K**3 * self.enough / self.delta)
                self.enough = int(math.ceil(factor * log_term))
        self.scale = self.factor * self.gamma**2 * math.sqrt(log_term)
        self.best = 0 if K == 1 else -1
        self.working = np.ones(K, np.bool_)
        self.left = K
        # Duels that b began, against each other arm, and how many of them it won.
        self.begun = np.zeros((K, K), np.int64)
        self.won = np.zeros((K, K), np.int64)
        self.n = np.zeros(K, np.int64)  # the same against arms still working
        self.w = np.zeros(K, np.int64)

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.best >= 0:
            return self.best, self.best
        b = self.least_begun(rng)
        nth = rng.integers(self.left - 1)
        for other in range(self.K):
            if self.working[other] and other != b:
                if nth == 0:
                    return b, other
                nth -= 1
        return -1, -1

    def least_begun(self, rng: Any) -> int:
        fewest, b, ties = -1, -1, 0
        for k in range(self.K):
            if self.working[k]:
                if fewest < 0 or self.n[k] < fewest:
                    fewest, b, ties = self.n[k], k, 1
                elif self.n[k] == fewest:
                    ties += 1
                    if rng.integers(ties) == 0:
                        b = k
        return b

    def observe(self, i: int, j: int, won: bool) -> None:
        if self.best >= 0:
            return
        self.begun[i, j] += 1
        self.won[i, j] += won
        self.n[i] += 1
        self.w[i] += won
        fewest, worst = self.n[i], i
        low, high = 2.0, -1.0
        for k in range(self.K):
            if self.working[k]:
                fewest = min(fewest, self.n[k])
                mean = self.w[k] / self.n[k] if self.n[k] else 0.5
                high = max(high, mean)
                if mean < low:
                    low, worst = mean, k
        radius = self.scale / math.sqrt(fewest) if fewest else 1.0
        if low + radius <= high - radius:
            self.working[worst] = False
            self.left -= 1
            for k in range(self.K):  # duels against it no longer say how good the others are
                self.n[k] -= self.begun[k, worst]
                self.w[k] -= self.won[k, worst]
        if self.left == 1 or (self.enough and fewest >= self.enough):
            self.best = self.leader()

    def winner(self) -> int:
        """The answer, -1 before a PAC search has ended; online the leader so far."""
        return self.best if self.best >= 0 or self.enough else self.leader()

    def leader(self) -> int:
        """The working arm with the largest mean."""
        high, best = -1.0, 0
        for k in range(self.K):
            if self.working[k]:
                mean = self.w[k] / self.n[k] if self.n[k] else 0.5
                if mean > high:
                    high, best = mean, k
        return best
