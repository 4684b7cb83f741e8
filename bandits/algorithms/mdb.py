"""Monitored Dueling Bandits (MDB).

Kolpaczki, Hüllermeier & Bengs, "Piecewise-Stationary Dueling Bandits", TMLR 2024 (arXiv
2202.00935); class MonitoredDuelingBandits of the published code.
"""

import math
import warnings
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le

from bandits.algorithms import monitored
from bandits.compiled import compiled
from bandits.detector import check_visible, mdb_constants, windows
from bandits.numerics import permutation
from bandits.registry import Names, algorithm, spelled


@algorithm("mdb")
@compiled
class MDB:
    """For strong regret: a base algorithm, interrupted at rate gamma to watch every pair.

    `base` is a name, or {name: rucb, alpha: 1.0}. An alarm of any pair restarts everything. M is
    the expected number of segments, `delta` the smallest change of some pair; with `eps` > 0 the
    windows are DGIM counters of that relative error, which need less memory. With `transfer`, a
    base that can learn from any pair is also shown the monitoring duels.
    State: 1 K^2 numbers, a window for every pair, and the base.
    """

    base: Annotated[str | dict[str, Any], Names("bandit")] = "ws-s"
    M: Annotated[int, Ge(1)] = 10
    delta: Annotated[float, Gt(0), Le(1)] = 0.6
    eps: Annotated[float, Ge(0)] = 0.0
    transfer: bool = True

    def __post_init__(self) -> None:
        self.alg = monitored("mdb", self.base)
        self.shared = self.transfer and getattr(self.alg, "learns_from_any_pair", False)
        self.windows = windows(self.eps)
        check_visible("mdb", self.delta, self.eps)

    def check(self, K: int, T: int) -> None:
        """Warn where little but monitoring happens, or changes come faster than they are noticed.

        Raises ValueError for fewer than 2 arms, a horizon too short for any detection, and what
        the base refuses.
        """
        if K < 2:
            raise ValueError(f"mdb needs at least 2 arms; found K = {K}")
        if hasattr(self.alg, "check"):
            self.alg.check(K, T)
        if (4 * T + 2) * math.sqrt(T) <= math.sqrt(self.M) * K:
            raise ValueError(
                f"mdb: a horizon of {T} is too short for K = {K} arms and M = {self.M} segments"
            )
        w, _, gamma = mdb_constants(K, T, self.M, self.delta, self.eps)
        if gamma > 0.9:
            warnings.warn(
                f"mdb monitors in a share of {min(gamma, 1):.0%} of the duels with window {w}, "
                f"K = {K}, T = {T}, M = {self.M}, delta = {self.delta}: "
                f"{spelled(self.base)} hardly plays; a longer horizon, larger delta or smaller M "
                "is needed",
                stacklevel=2,
            )
        elif self.span(K, T) > T / self.M:
            warnings.warn(
                f"mdb: a change is noticed within {self.span(K, T)} duels, but segments last "
                f"{T / self.M:.0f} on average with T = {T}, M = {self.M}, K = {K}, "
                f"delta = {self.delta}; its regret bound supposes longer ones: a longer horizon, "
                "larger delta or smaller M is needed",
                stacklevel=2,
            )

    def span(self, K: int, T: int) -> int:
        """Duels within which a full window of changed outcomes is gathered, (w - 1) periods + 1."""
        w, _, gamma = mdb_constants(K, T, self.M, self.delta, self.eps)
        P = K * (K - 1) // 2
        return (w - 1) * max(P, int(math.floor(P / gamma))) + 1

    def start(self, K: int, T: int, rng: Any) -> None:
        self.K, self.T = K, T
        w, self.b, gamma = mdb_constants(K, T, self.M, self.delta, self.eps)
        P = K * (K - 1) // 2
        self.period = max(P, int(math.floor(P / gamma)))
        self.pairs = np.empty((P, 2), np.int64)
        order = permutation(P, rng)  # a random order, kept for the whole run
        n = 0
        for i in range(K):
            for j in range(i + 1, K):
                self.pairs[order[n]] = i, j
                n += 1
        self.windows.start(P, w)
        self.alg.start(K, T, rng)
        self.step = 0  # position in the period: below P a pair is monitored, else the base plays
        self.alarm = False
        self.resets = 0

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.alarm:
            self.alg.start(self.K, self.T, rng)
            self.alarm = False
        if self.step < len(self.pairs):
            return self.pairs[self.step, 0], self.pairs[self.step, 1]
        return self.alg.choose(rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        step = self.step
        self.step = step + 1 if step + 1 < self.period else 0
        monitored = step < len(self.pairs)
        if self.shared or not monitored:
            self.alg.observe(i, j, won)
        if monitored and self.windows.push(step, won) > self.b:
            self.windows.clear()
            self.resets += 1
            self.step = 0
            self.alarm = True
