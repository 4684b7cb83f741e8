"""Modified Beat the Winner.

Peköz, Ross & Zhang, "Dueling Bandit Problems", 2022 (attributed from memory), as in the published
code of Kolpaczki, Hüllermeier & Bengs (arXiv 2202.00935).
"""

from typing import Any

import numpy as np

from bandits.compiled import compiled
from bandits.registry import algorithm


@algorithm("mbtw")
@compiled
class ModifiedBeatTheWinner:
    """A race to r_h wins, h the host; the winner hosts next, and opponents come with odds r_i.

    r starts at 1; the winner of a race gains 1, the loser loses 1 (never below 1). For weak regret;
    never plays an arm against itself. Needs a Condorcet winner.
    """

    def start(self, K: int, T: int, rng: Any) -> None:
        self.r = np.ones(K, np.int64)
        self.host = rng.integers(K)
        self.opponent = -1
        self.host_wins = 0
        self.opponent_wins = 0

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.opponent < 0:
            self.opponent = self.draw(rng)
        return self.host, self.opponent

    def draw(self, rng: Any) -> int:
        """An arm other than the host, with probability proportional to r."""
        if self.r.size == 1:
            return self.host
        rest = rng.integers(self.r.sum() - self.r[self.host])
        for arm in range(self.r.size):
            if arm != self.host:
                rest -= self.r[arm]
                if rest < 0:
                    return arm
        return -1

    def observe(self, i: int, j: int, won: bool) -> None:
        self.host_wins += won
        self.opponent_wins += not won
        if max(self.host_wins, self.opponent_wins) == self.r[self.host]:
            winner = self.host if won else self.opponent
            loser = self.opponent if won else self.host
            self.r[winner] += 1
            self.r[loser] = max(self.r[loser] - 1, 1)
            self.host, self.opponent = winner, -1
            self.host_wins = self.opponent_wins = 0

    def winner(self) -> int:
        return self.host
