"""Sliding window and discount: count-based algorithms that forget, for preferences that change.

The dueling form of SW-UCB and D-UCB (Garivier & Moulines, "On Upper-Confidence Bound Policies for
Switching Bandit Problems", ALT 2011): counts W over the last duels only, or decaying, and the time
in confidence bounds no larger than the memory. A baseline without a paper of its own.
"""

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from bandits.algorithms import create
from bandits.compiled import compiled
from bandits.registry import Names, algorithm, spelled


@algorithm("sliding-window")
@compiled
class SlidingWindow:
    """RUCB or D-TS on the counts of the last `window` duels; ln t becomes ln min(t, window).

    Theory for ordinary bandits asks for a window of the order sqrt(T ln T/M) for M segments. O(1)
    more per duel than the base; memory for `window` duels.
    """

    base: Annotated[str | dict[str, Any], Names("bandit")] = "rucb"
    window: Annotated[int, Ge(2), Le(100_000_000)] = 10_000

    def __post_init__(self) -> None:
        self.alg = forgetful("sliding-window", self.base)

    def start(self, K: int, T: int, rng: Any) -> None:
        self.alg.start(K, T, rng)
        self.winners = np.zeros(self.window, np.int64)  # ring buffer of the last duels
        self.losers = np.zeros(self.window, np.int64)
        self.next = 0
        self.full = False

    def choose(self, rng: Any) -> tuple[int, int]:
        self.alg.t = min(self.alg.t, self.window - 1)  # it adds the duel about to be played
        return self.alg.choose(rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        if self.full:
            a, b = self.winners[self.next], self.losers[self.next]
            if a != b:
                self.alg.forget(a, b)
        self.winners[self.next] = i if won else j
        self.losers[self.next] = j if won else i
        self.next += 1
        if self.next == self.window:
            self.next = 0
            self.full = True
        self.alg.observe(i, j, won)

    def winner(self) -> int:
        return self.alg.winner()


@algorithm("discounted")
@compiled
class Discounted:
    """RUCB or D-TS on counts that shrink by the factor `gamma` in every duel.

    ln t becomes ln min(t, 1/(1 - gamma)). Theory for ordinary bandits asks for 1 - gamma of the
    order sqrt(M/T) for M segments. O(K^2) per duel.
    """

    base: Annotated[str | dict[str, Any], Names("bandit")] = "rucb"
    gamma: Annotated[float, Gt(0), Lt(1)] = 0.9999

    def __post_init__(self) -> None:
        self.alg = forgetful("discounted", self.base)

    def start(self, K: int, T: int, rng: Any) -> None:
        self.alg.start(K, T, rng)
        self.memory = max(2, round(1 / (1 - self.gamma)))

    def choose(self, rng: Any) -> tuple[int, int]:
        self.alg.t = min(self.alg.t, self.memory - 1)  # it adds the duel about to be played
        return self.alg.choose(rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        self.alg.discount(self.gamma)
        self.alg.observe(i, j, won)

    def winner(self) -> int:
        return self.alg.winner()


def forgetful(user: str, base: str | dict[str, Any]) -> Any:
    """A fresh base algorithm; ValueError, on behalf of `user`, if it keeps no counts to forget."""
    alg = create(base)
    if not hasattr(alg, "forget"):
        raise ValueError(
            f"{user}: base {spelled(base)} has no counts to forget; expected rucb or d-ts"
        )
    return alg
