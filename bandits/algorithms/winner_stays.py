"""Winner Stays for weak (WS-W) and strong (WS-S) regret.

Chen & Frazier, "Dueling Bandits with Weak Regret", ICML 2017: play the two arms with the largest
C_i = wins - losses, the last pair first; in the round form of Kolpaczki et al.'s published code,
which is equal to it in law, as tested.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Le

from bandits.compiled import compiled
from bandits.registry import algorithm


@algorithm("ws-w")
@compiled
class WinnerStays:
    """Winner Stays (weak regret): in round r a duel goes on until one arm's score falls to -r.

    The winner meets the arms not yet beaten in this round, in random order. Constant expected weak
    regret with a Condorcet winner; never plays an arm against itself.
    """

    def start(self, K: int, T: int, rng: Any) -> None:
        self.C = np.zeros(K, np.int64)
        self.pool = np.arange(K)  # first the arms remaining in this round, last those beaten in it
        self.remaining = K
        self.beaten = 0
        self.round = 1
        self.last_winner = -1
        self.I = self.draw(rng)
        self.J = self.draw(rng) if K > 1 else self.I

    def draw(self, rng: Any) -> int:
        """Remove a uniformly random arm from those remaining in this round."""
        k = rng.integers(self.remaining)
        arm = self.pool[k]
        self.remaining -= 1
        self.pool[k] = self.pool[self.remaining]
        return arm

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.J < 0:
            self.J = self.draw(rng)
        return self.I, self.J

    def observe(self, i: int, j: int, won: bool) -> None:
        step = 2 * won - 1
        self.C[i] += step
        self.C[j] -= step
        loser = j if won else i
        if self.C[loser] == -self.round:
            self.I = i if won else j
            self.J = -1
            self.beaten += 1
            self.pool[self.pool.size - self.beaten] = loser
            if self.remaining == 0:
                self.round += 1
                for k in range(self.beaten):
                    self.pool[k] = self.pool[k + 1]
                self.remaining, self.beaten = self.beaten, 0
                self.last_winner = self.I

    def winner(self) -> int:
        return self.I if self.round == 1 else self.last_winner


@algorithm("ws-s")
@compiled
class WinnerStaysStrong:
    """Winner Stays (strong regret): after round l of WS-W, play its winner floor(beta^l) times.

    Exploitation is not fed back to WS-W. beta > 1; 1.05 in Kolpaczki et al.'s code.
    """

    beta: Annotated[float, Gt(1), Le(10)] = 1.05

    def __post_init__(self) -> None:
        self.exploration = WinnerStays()

    def start(self, K: int, T: int, rng: Any) -> None:
        self.exploration.start(K, T, rng)
        self.round = 1
        self.exploit = 0

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.exploit > 0:
            return self.exploration.last_winner, self.exploration.last_winner
        return self.exploration.choose(rng)

    def observe(self, i: int, j: int, won: bool) -> None:
        if self.exploit > 0:
            self.exploit -= 1
            return
        self.exploration.observe(i, j, won)
        if self.exploration.round > self.round:
            self.exploit = int(math.floor(self.beta**self.round))
            self.round = self.exploration.round

    def winner(self) -> int:
        return self.exploration.winner()
