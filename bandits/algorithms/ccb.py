"""Copeland Confidence Bound.

Zoghi, Karnin, Whiteson & de Rijke, "Copeland Dueling Bandits", NeurIPS 2015, Algorithm 1, with the
details of the published code of Wu & Liu.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from bandits.compiled import compiled
from bandits.numerics import pick, record_rivals
from bandits.registry import algorithm


@algorithm("ccb")
@compiled
class CCB:
    """Copeland Confidence Bound: optimistic Copeland winners against arms that may disprove them.

    U, L = p +- sqrt(alpha ln t / N), alpha > 1/2. `lost[i, j]` says that i surely loses to j:
    U_ij < 1/2, which is L_ji > 1/2; the optimistic score of i is cU_i = K - 1 - #{j: lost[i, j]},
    the pessimistic one cL_i = #{j: lost[j, i]}. B are the arms that may be winners, rivals[i] the
    arms thought to beat i, LC the number of losses of a winner. For Copeland winners. O(K) per duel
    and for every arm whose sure losses changed; 4 K^2 numbers and 2 K^2 bits of a byte each.
    """

    alpha: Annotated[float, Gt(0.5)] = 0.51

    learns_from_any_pair = True

    def start(self, K: int, T: int, rng: Any) -> None:
        self.K = K
        self.t = 0  # duels observed, whoever chose them
        self.W = np.zeros((K, K), np.int64)
        self.rival_mean = np.ones((K, K))
        self.rival_width = np.zeros((K, K))
        # N_ij (p_ij - 1/2)^2 where p_ij < 1/2, else 0: above alpha ln t exactly when lost[i, j].
        self.loss = np.zeros((K, K))
        self.lost = np.zeros((K, K), np.bool_)
        self.budget = 0.0
        # The first loss of each arm, and of all, that alpha ln t will reach: then `lost` changes.
        self.flip = np.zeros(K)
        self.next_flip = 0.0
        self.B = np.ones(K, np.bool_)
        self.rivals = np.zeros((K, K), np.bool_)
        self.size = np.zeros(K, np.int64)  # of rivals[i]
        self.disputed = np.zeros(K, np.int64)  # how many of them are undecided; -1: count anew
        self.C = np.ones(K, np.bool_)
        self.both = np.ones(K, np.bool_)  # scratch
        self.upper = np.full(K, K - 1)
        self.lower = np.zeros(K, np.int64)
        self.LC = K

    def choose(self, rng: Any) -> tuple[int, int]:
        self.budget = self.alpha * math.log(self.t + 1)
        if self.budget >= self.next_flip:
            self.refresh(rng)
        if rng.random() < 0.25:
            i, j = self.disputed_pair(rng)
            if i >= 0:
                return i, j
        common = 0
        for i in range(self.K):
            self.both[i] = self.B[i] and self.C[i]
            common += self.both[i]
        c = pick(self.both if common and rng.random() < 2 / 3 else self.C, rng)
        d = self.opponent(c, True, rng) if rng.random() < 0.5 else -1
        return c, d if d >= 0 else self.opponent(c, False, rng)

    def refresh(self, rng: Any) -> None:
        """Update all sets; between two changes of `lost` this would change nothing."""
        self.next_flip = np.inf
        refuted = False
        for i in range(self.K):
            if self.flip[i] <= self.budget:
                refuted |= self.update_lost(i)
            self.next_flip = min(self.next_flip, self.flip[i])
        if refuted:
            self.forget()
        most, sure, left = self.upper.max(), self.lower.max(), 0
        for i in range(self.K):
            self.C[i] = self.upper[i] == most
            if self.B[i] and self.upper[i] < sure:
                self.B[i] = False
                if self.size[i] != self.LC + 1:
                    self.rivals[i] = self.lost[i]
                    self.size[i] = self.K - 1 - self.upper[i]
                    self.disputed[i] = -1
            left += self.B[i]
        if left == 0:
            self.forget()
        for i in range(self.K):
            if self.C[i] and most == self.lower[i]:
                self.found(i, self.K - 1 - most, rng)

    def update_lost(self, i: int) -> bool:
        """Whether a supposed rival i of an arm now surely loses to it."""
        self.flip[i] = np.inf
        refuted = False
        for j in range(self.K):
            lost = self.loss[i, j] > self.budget
            if lost:
                self.flip[i] = min(self.flip[i], self.loss[i, j])
            if lost != self.lost[i, j]:
                self.lost[i, j] = lost
                self.upper[i] += 1 - 2 * lost
                self.lower[j] += 2 * lost - 1
                self.disputed[i] = self.disputed[j] = -1
                refuted |= lost and self.rivals[j, i]
        return refuted

    def forget(self) -> None:
        self.B[:] = True
        for i in range(self.K):
            self.clear_rivals(i)
        self.LC = self.K
        self.next_flip = 0.0  # the sets start anew, so the next duel refreshes them again

    def clear_rivals(self, i: int) -> None:
        if self.size[i]:
            self.rivals[i] = False
            self.size[i] = self.disputed[i] = 0

    def found(self, i: int, losses: int, rng: Any) -> None:
        """i surely is a Copeland winner with this many losses: one rival more disproves an arm."""
        self.B[i] = True
        self.clear_rivals(i)
        self.LC = losses
        for j in range(self.K):
            if j != i:
                if self.size[j] < losses + 1:
                    self.clear_rivals(j)
                while self.size[j] > losses + 1:
                    self.rivals[j, pick(self.rivals[j], rng)] = False
                    self.size[j] -= 1
                    self.disputed[j] = -1

    def disputed_pair(self, rng: Any) -> tuple[int, int]:
        """A uniformly random (i, j), j in rivals[i], that is still undecided; (-1, -1) if none."""
        total = 0
        for i in range(self.K):
            if self.disputed[i] < 0:
                self.disputed[i] = 0
                for j in range(self.K):
                    self.disputed[i] += self.is_disputed(i, j)
            total += self.disputed[i]
        nth = rng.integers(total) if total else 0
        for i in range(self.K):
            if nth < self.disputed[i]:
                for j in range(self.K):
                    if self.is_disputed(i, j):
                        if nth == 0:
                            return i, j
                        nth -= 1
            nth -= self.disputed[i]
        return -1, -1

    def is_disputed(self, i: int, j: int) -> bool:
        return self.rivals[i, j] and not self.lost[i, j] and not self.lost[j, i]

    def opponent(self, c: int, rivals_only: bool, rng: Any) -> int:
        """argmax of U_jc over arms (or rivals[c]) with L_jc <= 1/2, c only if none ties; or -1."""
        scale = math.sqrt(self.budget)
        best, d, ties = -1.0, -1, 0
        if not rivals_only:
            best, d = 0.5, c
        for j in range(self.K):
            if j != c and not self.lost[c, j] and (self.rivals[c, j] or not rivals_only):
                u = self.rival_mean[c, j] + scale * self.rival_width[c, j]
                if u > best or (u == best and ties == 0):
                    best, d, ties = u, j, 1
                elif u == best:
                    ties += 1
                    if rng.integers(ties) == 0:
                        d = j
        return d

    def observe(self, i: int, j: int, won: bool) -> None:
        self.t += 1
        if i == j:
            return
        p = record_rivals(self.W, self.rival_mean, self.rival_width, i, j, won)
        loss = (self.W[i, j] + self.W[j, i]) * (p - 0.5) ** 2
        self.loss[i, j] = loss if p < 0.5 else 0.0
        self.loss[j, i] = loss if p > 0.5 else 0.0
        for a, b in ((i, j), (j, i)):
            if (self.loss[a, b] > self.budget) != self.lost[a, b]:
                self.flip[a] = self.next_flip = 0.0
            elif self.lost[a, b]:
                self.flip[a] = min(self.flip[a], self.loss[a, b])
                self.next_flip = min(self.next_flip, self.loss[a, b])

    def winner(self) -> int:
        return int(self.C.argmax())
