"""Episodes with replays: how ANACONDA and METASWIFT notice that preferences changed.

An episode drops arms as they turn out bad and ends when none is left. Meanwhile replays, runs over
all arms that are scheduled at random, look whether dropped arms have become good or kept ones bad.

An arm is out of a run once some interval of rounds that lies within the run spoke against it. So
it is enough to know, for every arm, the latest beginning of an interval that did.
"""

import math
from typing import Any

import numpy as np

from bandits.compiled import compiled


@compiled
class Episode:
    """Runs on a stack, the topmost of which plays. Times are rounds since the episode began.

    `n` is the round being played; whoever observes its duel adds one.

    In round n > 0, when the topmost run has lost an arm, a replay of length 2^m is scheduled with
    probability min(1, P/sqrt(2^m n)), for m = 2..lg T; the longest one counts. A run that would
    end earlier than one on top of it is forgotten, so the stack holds at most lg T runs. All
    three are our deviations: no replay while nothing is lost, only the longest, forgotten runs.
    """

    def start(self, K: int, T: int, P: float) -> None:
        self.P = P
        self.M = max(1, int(round(math.log2(T))))
        self.spoken = np.zeros(K, np.int64)  # latest interval against each arm: its first round
        self.begins = np.zeros(self.M + 1, np.int64)
        self.ends = np.zeros(self.M + 1, np.int64)
        self.restart()

    def restart(self) -> None:
        self.n = 0
        self.spoken[:] = -1
        self.depth = 1  # the first run began in round 0 and never ends

    def begin_round(self, rng: Any) -> None:
        """End the runs whose time is over in round n, and perhaps begin a replay."""
        while self.depth > 1 and self.ends[self.depth - 1] <= self.n:
            self.depth -= 1
        if self.n == 0 or self.left() == self.spoken.size:
            return
        for m in range(self.M, 1, -1):
            if rng.random() < self.P / math.sqrt(2.0**m * self.n):
                end = self.n + 2**m
                while self.depth > 1 and self.ends[self.depth - 1] <= end:
                    self.depth -= 1
                self.begins[self.depth] = self.n
                self.ends[self.depth] = end
                self.depth += 1
                return

    def active(self, arm: int) -> bool:
        """Whether the arm is still in the topmost run."""
        return self.spoken[arm] < self.begins[self.depth - 1]

    def left(self) -> int:
        """Number of arms still in the topmost run; at least 1 unless the episode is over."""
        count = 0
        for arm in range(self.spoken.size):
            count += self.active(arm)
        return count

    def over(self) -> bool:
        """Whether every arm is out of the first run."""
        return self.spoken.min() >= 0

    def random_active(self, excluded: int, rng: Any) -> int:
        """A uniformly random arm of the topmost run other than `excluded`; -1 if there is none."""
        arm, count = -1, 0
        for k in range(self.spoken.size):
            if k != excluded and self.active(k):
                count += 1
                if rng.integers(count) == 0:
                    arm = k
        return arm

    def survivor(self) -> int:
        """The only arm of the first run, or -1 while there are several."""
        arm, count = -1, 0
        for k in range(self.spoken.size):
            if self.spoken[k] < 0:
                arm = k
                count += 1
        return arm if count == 1 else -1


@compiled
class DyadicSums:
    """Sums of streams over the current blocks of 2^m rounds, m = 0..M: block k begins at k 2^m."""

    def start(self, streams: int, M: int) -> None:
        self.sums = np.zeros((streams, M + 1))
        self.block = np.zeros((streams, M + 1), np.int64)

    def clear(self) -> None:
        self.sums[:] = 0.0
        self.block[:] = 0

    def add(self, stream: int, n: int, value: float) -> None:
        """Add a value in round n, not before those of earlier calls."""
        for m in range(self.sums.shape[1]):
            if self.block[stream, m] != n >> m:
                self.block[stream, m] = n >> m
                self.sums[stream, m] = 0.0
            self.sums[stream, m] += value

    def latest_above(self, stream: int, n: int, a: float, b: float, since: int) -> int:
        """First round of the shortest current block, begun at `since` or later, that stands out.

        A block of r rounds so far stands out when its sum, less r/2, exceeds a sqrt r + b. Blocks
        must have been added to in round n. -1 if there is none.
        """
        for m in range(self.sums.shape[1]):
            first = (n >> m) << m
            if first < since:
                return -1
            r = n - first + 1
            if self.sums[stream, m] - r / 2 > a * math.sqrt(r) + b:
                return first
        return -1
