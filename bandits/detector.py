"""Change detection on streams of bits: windows, and the constants of DETECT and MDB.

Kolpaczki, Hüllermeier & Bengs, "Piecewise-Stationary Dueling Bandits", TMLR 2024 (arXiv
2202.00935). The constants are those of their published code.
A window of w bits alarms when the sums of its newer and its older half differ by more than b.
"""

import math

import numpy as np
from numba.extending import register_jitable

from bandits.compiled import compiled


@compiled
class Windows:
    """Exact sliding windows of w bits, one per stream, which takes w bytes."""

    def start(self, streams: int, w: int) -> None:
        self.w = w
        self.bits = np.zeros((streams, w), np.int8)
        self.next = np.zeros(streams, np.int64)
        self.filled = np.zeros(streams, np.int64)
        self.difference = np.zeros(streams, np.int64)  # newer half minus older half

    def clear(self) -> None:
        self.bits[:] = 0
        self.next[:] = 0
        self.filled[:] = 0
        self.difference[:] = 0

    def push(self, stream: int, bit: bool) -> float:
        """Append a bit; |newer half - older half| of a full window, 0 before it is full."""
        k = self.next[stream]
        middle = k + self.w // 2 if k < self.w // 2 else k - self.w // 2
        bits = self.bits[stream]
        # The bit at `middle` moves from the newer half to the older one, which the oldest leaves.
        self.difference[stream] += bit - 2 * bits[middle] + bits[k]
        bits[k] = bit
        self.next[stream] = k + 1 if k + 1 < self.w else 0
        self.filled[stream] += self.filled[stream] < self.w
        return abs(self.difference[stream]) if self.filled[stream] == self.w else 0.0


@compiled
class DGIM:
    """Sliding windows of w bits in O(log^2 w) memory each, counts within a share eps of the truth.

    Datar, Gionis, Indyk & Motwani, "Maintaining Stream Statistics over Sliding Windows", SIAM J.
    Comput. 2002: buckets of 2^k ones, each with the time of its newest one, at most
    r = max(2, ceil(1 + 1/eps)) of a size; the oldest two of a size merge when there are more.
    """

    eps: float = 0.1

    def start(self, streams: int, w: int) -> None:
        self.w = w
        self.r = int(max(2.0, math.ceil(1 + 1 / self.eps)))
        levels = int(math.log2(w)) + 2
        self.stamps = np.zeros((streams, levels, self.r + 1), np.int64)  # oldest first
        self.buckets = np.zeros((streams, levels), np.int64)
        self.time = np.zeros(streams, np.int64)

    def clear(self) -> None:
        self.buckets[:] = 0
        self.time[:] = 0

    def push(self, stream: int, bit: bool) -> float:
        """Append a bit; |newer half - older half| of a full window, 0 before it is full."""
        self.time[stream] += 1
        time, stamps, buckets = self.time[stream], self.stamps[stream], self.buckets[stream]
        for k in range(buckets.size):  # the largest buckets are the oldest
            if buckets[k] and stamps[k, 0] <= time - self.w:
                self.drop(stream, k, 1)
        if bit:
            self.add(stream, 0, time)
        if time < self.w:
            return 0.0
        newer = self.count(stream, self.w // 2)
        return abs(2.0 * newer - self.count(stream, self.w))

    def add(self, stream: int, level: int, stamp: int) -> None:
        stamps, buckets = self.stamps[stream], self.buckets[stream]
        k = level
        while k < buckets.size:
            stamps[k, buckets[k]] = stamp
            buckets[k] += 1
            if buckets[k] <= self.r:
                return
            stamp = stamps[k, 1]
            self.drop(stream, k, 2)
            k += 1

    def drop(self, stream: int, level: int, count: int) -> None:
        """Remove the oldest buckets of a size."""
        stamps, buckets = self.stamps[stream], self.buckets[stream]
        for n in range(count, buckets[level]):
            stamps[level, n - count] = stamps[level, n]
        buckets[level] -= count

    def count(self, stream: int, last: int) -> int:
        """Estimated ones among the last bits: of the oldest bucket in reach, half is believed."""
        time, stamps, buckets = self.time[stream], self.stamps[stream], self.buckets[stream]
        total, oldest = 0, 0
        for k in range(buckets.size):
            for n in range(buckets[k]):
                if stamps[k, n] > time - last:
                    total += 2**k
                    oldest = 2**k
        return total - oldest // 2


def windows(eps: float) -> Windows | DGIM:
    """Windows with counts of relative error eps; exact ones for eps = 0."""
    return DGIM(eps) if eps else Windows()


def detections(resets: np.ndarray, changes: np.ndarray, span: int) -> tuple[np.ndarray, int, int]:
    """(delays of the changes that were noticed, false alarms, changes that were missed).

    resets and changes are increasing times in duels. A change is noticed by the first alarm within
    `span` duels after it and before the next change; every other alarm is false, here also a
    second one within the span.
    """
    delays = []
    ends = np.append(changes, np.inf)[1:]
    for change, end in zip(changes, ends, strict=True):
        noticed = resets[(resets > change) & (resets <= min(change + span, end))]
        delays += [int(noticed[0] - change)] if noticed.size else []
    return np.array(delays, np.int64), len(resets) - len(delays), len(changes) - len(delays)


def check_visible(user: str, delta: float, eps: float) -> None:
    """ValueError, on behalf of an algorithm, when counts so inexact hide changes of size delta."""
    if _inexact(delta, eps)[1] <= 0:
        raise ValueError(
            f"{user}: counts of relative error eps = {eps} hide changes of delta = {delta}; "
            "expected (1 + eps) delta > 8 eps"
        )


@register_jitable
def mdb_constants(
    K: int, T: int, M: int, delta: float, eps: float = 0.0
) -> tuple[int, float, float]:
    """(w, b, gamma) of MDB for M segments over T duels with changes of at least delta.

    eps is the relative error of the window's counts, 0 for exact ones.
    """
    C = math.log((4 * T + 2) * math.sqrt(T) / (math.sqrt(M) * K))
    spread, change = _inexact(delta, eps)
    w = _even(8 * spread * C / change**2)
    b = math.sqrt(spread * w * C / 2) + 2 * w * eps
    return w, b, math.sqrt(M * w / T) * (K - 1) / 2


@register_jitable
def detect_long(
    K: int, T: int, p_min: float, delta: float, eps: float = 0.0
) -> tuple[float, int, float]:
    """(exploration length, w, b) of DETECT around Beat the Winner, setting A: long exploration."""
    q = (2 * p_min - 1) ** 2
    longest = (math.log(T / ((1 - math.exp(-q)) * math.log(T))) / q + K - 1) ** 2
    spread, change = _inexact(delta, eps)
    w = _even(spread * (16 * math.log(T) + 6) / change**2)
    return longest, w, math.sqrt(spread * w * (math.log(T) + 3 / 8)) + 2 * w * eps


@register_jitable
def detect_short(
    K: int, T: int, p_min: float, delta: float, eps: float = 0.0
) -> tuple[float, int, float]:
    """(exploration length, w, b) of DETECT, setting B: sqrt(T) duels of exploration."""
    spread, change = _inexact(delta, eps)
    surprise = math.log(2 * T / detect_short_error(K, T, p_min))
    w = _even(8 * spread * surprise / change**2)
    b = math.sqrt(spread * w * surprise / 2) + 2 * w * eps
    return math.floor(math.sqrt(T)), w, b


@register_jitable
def detect_short_error(K: int, T: int, p_min: float) -> float:
    """Setting B's bound x on the probability that the frozen arm is wrong; useless above 1."""
    q = (2 * p_min - 1) ** 2
    return math.exp(-(T**0.25 - K + 1) * q) / (1 - math.exp(-q))


@register_jitable
def detect_winner_stays(
    K: int, T: int, p_min: float, delta: float, eps: float = 0.0
) -> tuple[float, int, float]:
    """(exploration length, w, b) of DETECT around WS-W; the authors found it poor in practice."""
    p = p_min
    chance = math.log(2 * T * (1 + (1 - p) / (2 * p - 1)) / math.log(T))
    r = max(2.0, math.ceil(chance / math.log(p / (1 - p))))
    _, w, b = detect_long(K, T, p_min, delta, eps)
    return r**3 * K**3 * T / math.log(T), w, b


@register_jitable
def _inexact(delta: float, eps: float) -> tuple[float, float]:
    """What inexact counts cost: (factor on the variance term, change that remains visible)."""
    return 1 + 2 * eps + 5 * eps**2, (1 + eps) * delta - 8 * eps


@register_jitable
def _even(x: float) -> int:
    """x rounded up to an even integer."""
    return 2 * int(math.ceil(x / 2))
