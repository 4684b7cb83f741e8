"""METASWIFT.

Suk & Agarwal, "When Can We Track Significant Preference Shifts in Dueling Bandits?", NeurIPS 2023,
read in the code of its experiments. That code subtracts the 1/2 of the gap estimates once
instead of every round; here every round, as in theory, and intervals are dyadic blocks of an
episode. The constants are those tuned there, on our problem `geometric-phases`; the constant C = 1
of the theory never drops an arm within practical horizons.
"""

import math
from typing import Annotated, Any

from annotated_types import Ge, Gt

from bandits.compiled import compiled
from bandits.registry import algorithm
from bandits.replays import DyadicSums, Episode


@algorithm("metaswift")
@compiled
class METASWIFT:
    """An anchor meets random arms; who clearly loses drops out, who beats it takes its place.

    The anchor beats i by w 1{anchor won against i} - 1/2 per round, w the number of opponents drawn
    from; i drops out when the sum over r rounds exceeds C (e-1)(sqrt(K l r) + K l),
    l = 4 lg T + lg K. An arm that beats the anchor by as much since it became the anchor drops it;
    with C_anchor instead of C it only replaces it. Replays as in `bandits.replays`. For strong
    stochastic transitivity; adapts to an unknown number of significant changes. `winner()` is
    the only arm left, else -1.
    State: sums over 1 + lg T blocks, twice for every arm.
    """

    C: Annotated[float, Gt(0)] = 0.01
    C_anchor: Annotated[float, Gt(0)] = 0.001
    P: Annotated[float, Ge(0)] = 0.1

    def __post_init__(self) -> None:
        self.episode = Episode()
        self.beaten = DyadicSums()  # by the anchor
        self.beating = DyadicSums()  # the anchor

    def start(self, K: int, T: int, rng: Any) -> None:
        log_term = 4 * math.log2(T) + math.log2(K)
        self.a = (math.e - 1) * math.sqrt(K * log_term)
        self.b = (math.e - 1) * K * log_term
        self.episode.start(K, T, self.P)
        self.beaten.start(K, self.episode.M)
        self.beating.start(K, self.episode.M)
        self.anchor = rng.integers(K)
        self.since = 0  # first round of this anchor
        self.w = 0
        self.resets = 0

    def choose(self, rng: Any) -> tuple[int, int]:
        self.episode.begin_round(rng)
        if not self.episode.active(self.anchor):
            self.anchor = self.episode.random_active(-1, rng)
            self.since = self.episode.n
        self.w = self.episode.left() - 1
        i = self.episode.random_active(self.anchor, rng)
        return self.anchor, (i if i >= 0 else self.anchor)

    def observe(self, i: int, j: int, won: bool) -> None:
        n, spoken = self.episode.n, self.episode.spoken
        self.episode.n += 1
        if i == j:
            return
        if won:
            self.beaten.add(j, n, self.w)
            first = self.beaten.latest_above(j, n, self.C * self.a, self.C * self.b, 0)
            spoken[j] = max(spoken[j], first)
        else:
            C, c = self.C, self.C_anchor
            self.beating.add(j, n, self.w)
            first = self.beating.latest_above(j, n, C * self.a, C * self.b, self.since)
            spoken[i] = max(spoken[i], first)
            if self.beating.latest_above(j, n, c * self.a, c * self.b, self.since) >= 0:
                self.anchor = j
                self.since = n + 1
        if self.episode.over():
            self.episode.restart()
            self.beaten.clear()
            self.beating.clear()
            self.since = 0
            self.resets += 1

    def winner(self) -> int:
        return self.episode.survivor()
