"""ANACONDA: Adaptive Non-stationary Condorcet Dueling Algorithm.

Buening & Saha, "ANACONDA: An Improved Dynamic Regret Algorithm for Adaptive Non-Stationary Dueling
Bandits", AISTATS 2023, read in the code of Suk & Agarwal's experiments. That code subtracts the 1/2
of the gap estimates once instead of every round; here every round, as in theory, and intervals are
dyadic blocks of an episode. C and P are those tuned there, on our problem `geometric-phases`; the
constant C = 1 of the theory never drops an arm within practical horizons.
"""

import math
from typing import Annotated, Any

from annotated_types import Ge, Gt

from bandits.compiled import compiled
from bandits.registry import algorithm
from bandits.replays import DyadicSums, Episode


@algorithm("anaconda")
@compiled
class ANACONDA:
    """Random duels of the arms left; an arm drops out when another clearly beat it in an interval.

    i beats j by w 1{i won against j} - 1/2 per round, w = |A|(|A|-1)/2 for distinct arms of the
    active set A, without bias; j drops out when the sum over r rounds exceeds
    C (e-1)(K sqrt(l r) + K^2 l), l = 4 lg T + 2 lg K. The weight of unordered pairs, |A|(|A|-1)/2,
    is half that of ordered ones, which amounts to another scale of C. Replays as in
    `bandits.replays`. Adapts to an unknown number of changes of the Condorcet winner. `winner()` is
    the only arm left, else -1.
    State: sums over 1 + lg T blocks for every ordered pair.
    """

    C: Annotated[float, Gt(0)] = 0.01
    P: Annotated[float, Ge(0)] = 0.1

    def __post_init__(self) -> None:
        self.episode = Episode()
        self.beaten = DyadicSums()

    def start(self, K: int, T: int, rng: Any) -> None:
        log_term = 4 * math.log2(T) + 2 * math.log2(K)
        self.K = K
        self.a = self.C * (math.e - 1) * K * math.sqrt(log_term)
        self.b = self.C * (math.e - 1) * K**2 * log_term
        self.episode.start(K, T, self.P)
        self.beaten.start(K * K, self.episode.M)
        self.resets = 0

    def choose(self, rng: Any) -> tuple[int, int]:
        self.episode.begin_round(rng)
        i = self.episode.random_active(-1, rng)
        j = self.episode.random_active(i, rng)
        return i, (j if j >= 0 else i)

    def observe(self, i: int, j: int, won: bool) -> None:
        n = self.episode.n
        self.episode.n += 1
        if i == j:
            return
        left = self.episode.left()
        winner, loser = (i, j) if won else (j, i)
        stream = winner * self.K + loser
        self.beaten.add(stream, n, left * (left - 1) / 2)
        first = self.beaten.latest_above(stream, n, self.a, self.b, 0)
        if first > self.episode.spoken[loser]:
            self.episode.spoken[loser] = first
            if self.episode.over():
                self.episode.restart()
                self.beaten.clear()
                self.resets += 1

    def winner(self) -> int:
        return self.episode.survivor()
