"""Ordinary bandit algorithms that reductions drive with the outcomes of duels.

A base bandit proposes an arm and is told a reward in [0, 1]. Each class holds `copies` independent
bandits.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from bandits.compiled import compiled
from bandits.numerics import draw, mix
from bandits.registry import BASE_BANDITS, base_bandit, make


@base_bandit("ucb")
@compiled
class UCB:
    """UCB with index mean + sqrt((a + 2) ln t / (2 n)); a = 3 in Ailon et al. (2014).

    Arms not yet tried come first, in random order.
    """

    a: Annotated[float, Gt(0)] = 3.0

    def start(self, copies: int, K: int, T: int, rng: Any) -> None:
        self.t = np.zeros(copies, np.int64)
        self.n = np.zeros((copies, K), np.int64)
        self.rewards = np.zeros((copies, K))

    def restart(self, copy: int) -> None:
        self.t[copy] = 0
        self.n[copy] = 0
        self.rewards[copy] = 0.0

    def propose(self, copy: int, rng: Any) -> int:
        n, rewards = self.n[copy], self.rewards[copy]
        scale = math.sqrt((self.a + 2) * math.log(self.t[copy] + 1) / 2)
        best, arm, ties = -1.0, -1, 0
        for k in range(n.size):
            index = rewards[k] / n[k] + scale / math.sqrt(n[k]) if n[k] else np.inf
            if index > best:
                best, arm, ties = index, k, 1
            elif index == best:
                ties += 1
                if rng.integers(ties) == 0:
                    arm = k
        return arm

    def reward(self, copy: int, arm: int, value: float) -> None:
        self.t[copy] += 1
        self.n[copy, arm] += 1
        self.rewards[copy, arm] += value


@base_bandit("ts")
@compiled
class Thompson:
    """Thompson sampling with Beta(1 + successes, 1 + failures)."""

    def start(self, copies: int, K: int, T: int, rng: Any) -> None:
        self.successes = np.zeros((copies, K))
        self.failures = np.zeros((copies, K))

    def restart(self, copy: int) -> None:
        self.successes[copy] = 0.0
        self.failures[copy] = 0.0

    def propose(self, copy: int, rng: Any) -> int:
        best, arm = -1.0, -1
        for k in range(self.successes.shape[1]):
            theta = rng.beta(1.0 + self.successes[copy, k], 1.0 + self.failures[copy, k])
            if theta > best:
                best, arm = theta, k
        return arm

    def reward(self, copy: int, arm: int, value: float) -> None:
        self.successes[copy, arm] += value
        self.failures[copy, arm] += 1.0 - value


@base_bandit("exp3")
@compiled
class Exp3:
    """EXP3 (Auer et al., 2002) with gamma = min(1, sqrt(K ln K / ((e - 1) T)))."""

    def start(self, copies: int, K: int, T: int, rng: Any) -> None:
        self.gamma = min(1.0, math.sqrt(K * math.log(max(K, 2)) / ((math.e - 1) * T)))
        self.log_w = np.zeros((copies, K))
        self.q = np.full((copies, K), 1.0 / K)

    def restart(self, copy: int) -> None:
        self.log_w[copy] = 0.0
        self.q[copy] = 1.0 / self.q.shape[1]

    def propose(self, copy: int, rng: Any) -> int:
        return draw(self.q[copy], rng)

    def reward(self, copy: int, arm: int, value: float) -> None:
        K = self.q.shape[1]
        self.log_w[copy, arm] += self.gamma * value / (K * self.q[copy, arm])
        mix(self.q[copy], self.log_w[copy], 1.0, self.gamma)


def create(wanted: str | dict[str, Any], user: str) -> Any:
    """A fresh base bandit of a name or {"name": ..., parameter: value}, for algorithm `user`.

    Raises ValueError for an unknown name or parameter.
    """
    try:
        return make("base bandit", BASE_BANDITS, wanted)
    except ValueError as error:
        raise ValueError(f"{user}: {error}") from None
