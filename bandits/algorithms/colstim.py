"""CoLSTIM, for contextual duels.

Bengs, Saha & Hüllermeier, "Stochastic Contextual Dueling Bandits under Linear Stochastic
Transitivity Models", ICML 2022, Algorithm 1. Not known to us from the paper: `tau`, `c1`, and which
way the coupling bit works; c1 = 2 sqrt(d ln T) is that of the experiments of Di et al. (VACDB,
2023), whose code reads the bit the other way round.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt

from bandits.compiled import compiled
from bandits.linear import best, learn, lengths, set_widths
from bandits.registry import algorithm


@algorithm("colstim", features=True)
@compiled
class CoLSTIM:
    """The first arm imitates the feedback: it is best under perturbed utilities; then its rival.

    i = argmax theta.x_i + eps_i |x_i|, j = argmax theta.(x_j - x_i) + c1 |x_j - x_i| in the norm of
    M^-1. eps is Gumbel noise cut off at +-sqrt(d ln T): of each arm its own with probability
    min(1, d ln(d T)/sqrt t), else the same for all. c1 = scale sqrt(d ln T). The first `tau` pairs
    are uniform. Needs a problem with features.
    State: 2 K^2 numbers.
    """

    scale: Annotated[float, Gt(0)] = 2.0
    ridge: Annotated[float, Gt(0)] = 1.0
    tau: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        self.features = np.zeros((1, 1))

    def start(self, K: int, T: int, rng: Any) -> None:
        d = self.features.shape[1]
        self.t = 0
        self.cut = math.sqrt(d * math.log(T))
        self.c1 = self.scale * self.cut
        self.coupling = d * math.log(d * T)
        self.theta = np.zeros(d)
        self.u = np.zeros(K)  # utilities theta . x_i
        self.wins = np.zeros((K, K))
        self.inverse = np.eye(d) / self.ridge
        self.width = np.zeros((K, K))
        set_widths(self.width, self.inverse, self.features)

    def choose(self, rng: Any) -> tuple[int, int]:
        K = self.u.size
        if self.t < self.tau:
            return rng.integers(K), rng.integers(K)
        own = rng.random() < self.coupling / math.sqrt(self.t + 1)
        length = lengths(self.inverse, self.features)
        score = np.empty(K)
        eps = self.perturbation(rng)
        for k in range(K):
            if own and k > 0:
                eps = self.perturbation(rng)
            score[k] = self.u[k] + eps * length[k]
        i = best(score, rng)
        for k in range(K):
            score[k] = self.u[k] + self.c1 * self.width[k, i]
        return i, best(score, rng)

    def perturbation(self, rng: Any) -> float:
        """Standard Gumbel noise, cut off."""
        exponential = -math.log(1.0 - rng.random())
        return max(-self.cut, min(self.cut, -math.log(max(exponential, 1e-300))))

    def observe(self, i: int, j: int, won: bool) -> None:
        self.t += 1
        if i != j:
            learn(
                self.features, self.wins, self.inverse, self.width, self.theta, self.u,
                i if won else j, j if won else i, 1.0, self.ridge,
            )  # fmt: skip

    def winner(self) -> int:
        return int(self.u.argmax())
