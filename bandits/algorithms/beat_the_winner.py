"""Beat the Winner, with and without reset.

BtW: Peköz, Ross & Zhang, "Dueling Bandit Problems", 2022 (attributed from memory). BtWR:
Kolpaczki, Hüllermeier & Bengs, "Piecewise-Stationary Dueling Bandits", TMLR 2024 (arXiv
2202.00935), and their published code.
"""

from typing import Any

from bandits.compiled import compiled
from bandits.numerics import permutation
from bandits.registry import algorithm


@algorithm("btw")
def btw() -> "BeatTheWinner":
    """Beat the Winner: the incumbent meets challengers from a queue in races of growing length."""
    return BeatTheWinner(reset=False)


@algorithm("btwr")
def btwr() -> "BeatTheWinner":
    """Beat the Winner with Reset: a beaten incumbent sets the race length back to one."""
    return BeatTheWinner(reset=True)


@compiled
class BeatTheWinner:
    """A race to c wins between incumbent and challenger; the loser joins the back of the queue.

    Made for weak regret: it never plays an arm against itself. Needs a Condorcet winner, neither
    the horizon nor the gaps.
    """

    reset: bool = False

    def start(self, K: int, T: int, rng: Any) -> None:
        order = permutation(K, rng)
        self.incumbent = order[0]
        self.challenger = order[1 % K]
        self.queue = order[2:].copy()  # ring buffer, `front` is its next challenger
        self.front = 0
        self.c = 1
        self.incumbent_wins = 0
        self.challenger_wins = 0

    def choose(self, rng: Any) -> tuple[int, int]:
        return self.incumbent, self.challenger

    def observe(self, i: int, j: int, won: bool) -> None:
        self.incumbent_wins += won
        self.challenger_wins += not won
        if self.incumbent_wins == self.c:
            self.c += 1
            self.next_race(self.challenger)
        elif self.challenger_wins == self.c:
            self.c = 1 if self.reset else self.c + 1
            loser = self.incumbent
            self.incumbent = self.challenger
            self.next_race(loser)

    def next_race(self, loser: int) -> None:
        self.incumbent_wins = 0
        self.challenger_wins = 0
        self.challenger = loser
        if self.queue.size:  # pop the front and push the loser to the back: the same place
            self.challenger = self.queue[self.front]
            self.queue[self.front] = loser
            self.front = (self.front + 1) % self.queue.size

    def winner(self) -> int:
        return self.incumbent
