"""DETECT: explore, freeze the suspected winner, and watch it for changes.

Kolpaczki, Hüllermeier & Bengs, "Piecewise-Stationary Dueling Bandits", TMLR 2024 (arXiv
2202.00935), and their published code, whose comments the numbers of corollaries are from.
"""

import math
import warnings
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from bandits.algorithms import monitored
from bandits.compiled import compiled
from bandits.detector import (
    check_visible,
    detect_long,
    detect_short,
    detect_short_error,
    detect_winner_stays,
    windows,
)
from bandits.registry import Names, algorithm, spelled

SETTINGS = ("long", "short", "winner-stays")


@algorithm("detect")
@compiled
class DETECT:
    """For weak regret: run a base algorithm, then duel its winner with all others in turn.

    The class ExploreThenExploit of the published code, identified with DETECT by what it does.
    Weak regret is 0 while the winner is right, so detection is free. An alarm restarts everything.
    `setting` chooses the published constants: long exploration (Corollary 4.16, for base btw),
    short, sqrt(T) duels (4.17), winner-stays (4.18). `p_min` is the smallest probability with which
    the winner beats an arm, `delta` the smallest change at the old winner's own pairs. With
    `eps` > 0 the windows are DGIM counters of that relative error, which need less memory.
    State: a window for every arm, and the base.
    """

    base: Annotated[str | dict[str, Any], Names("bandit")] = "ws-w"
    setting: Literal["long", "short", "winner-stays"] = "short"
    p_min: Annotated[float, Gt(0.5), Lt(1)] = 0.6
    delta: Annotated[float, Gt(0), Le(1)] = 0.6
    eps: Annotated[float, Ge(0)] = 0.0

    def __post_init__(self) -> None:
        self.alg = monitored("detect", self.base)
        if not hasattr(self.alg, "winner"):
            raise ValueError(
                f"detect: base {spelled(self.base)} names no winner; use one with winner()"
            )
        check_visible("detect", self.delta, self.eps)
        self.choice = SETTINGS.index(self.setting)
        self.windows = windows(self.eps)

    def check(self, K: int, T: int) -> None:
        """Warn where the theory degenerates.

        Raises ValueError for fewer than 2 arms, a horizon too short for any detection, and what
        the base refuses.
        """
        if K < 2:
            raise ValueError(f"detect needs at least 2 arms; found K = {K}")
        if T < 2:
            raise ValueError(f"detect needs a horizon of at least 2 duels; found T = {T}")
        if hasattr(self.alg, "check"):
            self.alg.check(K, T)
        exploration, w, _ = self.constants(K, T)
        if w < 2:
            raise ValueError(
                f"detect: no window can detect a change within a horizon of {T} with "
                f"p_min = {self.p_min} and delta = {self.delta}; a longer horizon is needed"
            )
        if exploration >= T:
            warnings.warn(
                f"detect explores for {exploration:.0f} duels, the horizon is {T}: it is its base "
                f"algorithm {spelled(self.base)}; a larger p_min or setting='short' explores less",
                stacklevel=2,
            )
        if self.setting == "short" and detect_short_error(K, T, self.p_min) > 1:
            warnings.warn(
                f"detect: with p_min = {self.p_min}, K = {K}, T = {T} the bound on freezing a "
                "wrong arm exceeds 1 and proves nothing; a larger p_min or horizon is needed",
                stacklevel=2,
            )

    def constants(self, K: int, T: int) -> tuple[float, int, float]:
        """(exploration length, window w, threshold b)."""
        if self.choice == 0:
            return detect_long(K, T, self.p_min, self.delta, self.eps)
        if self.choice == 1:
            return detect_short(K, T, self.p_min, self.delta, self.eps)
        return detect_winner_stays(K, T, self.p_min, self.delta, self.eps)

    def span(self, K: int, T: int) -> int:
        """Duels within which a full window of changed outcomes is gathered, (w - 1)(K - 1) + 1."""
        _, w, _ = self.constants(K, T)
        return (w - 1) * (K - 1) + 1

    def start(self, K: int, T: int, rng: Any) -> None:
        self.K, self.T = K, T
        exploration, w, self.b = self.constants(K, T)
        self.exploration = int(math.floor(min(exploration, float(T))))
        self.windows.start(K, w)  # of the opponents: the frozen arm is the same in all duels
        self.alg.start(K, T, rng)
        self.t = 0  # duels observed since the last restart
        self.I = -1  # the frozen arm, when exploration has ended
        self.J = 0
        self.alarm = False
        self.resets = 0

    def choose(self, rng: Any) -> tuple[int, int]:
        if self.alarm:
            self.alg.start(self.K, self.T, rng)
            self.alarm = False
        if self.t < self.exploration:
            return self.alg.choose(rng)
        if self.I < 0:
            self.I, self.J = self.alg.winner(), 0
            if self.I < 0:
                raise ValueError(
                    "detect: its base names no winner when the exploration ends; use one that "
                    "always names one, such as ws-w, btw, rucb, d-ts or rmed1"
                )
        if self.J == self.I:
            self.J = self.following(self.J)
        return min(self.I, self.J), max(self.I, self.J)

    def following(self, arm: int) -> int:
        return arm + 1 if arm + 1 < self.K else 0

    def observe(self, i: int, j: int, won: bool) -> None:
        self.t += 1
        if self.t <= self.exploration:
            self.alg.observe(i, j, won)
            return
        self.J = self.following(self.J)
        if self.windows.push(j if i == self.I else i, won) > self.b:
            self.windows.clear()
            self.resets += 1
            self.t, self.I = 0, -1
            self.alarm = True

    def winner(self) -> int:
        """The frozen arm; while exploring that of the base, -1 if it names none."""
        return self.I if self.I >= 0 else self.alg.winner()
