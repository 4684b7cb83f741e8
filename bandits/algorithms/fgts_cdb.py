"""Feel-Good Thompson Sampling for contextual dueling bandits (FGTS.CDB).

Li, Zhao & Gu, "Feel-Good Thompson Sampling for Contextual Dueling Bandits", ICML 2024 (arXiv
2404.06013), Algorithm 1, from a third party's description. The paper samples by Langevin dynamics
with constants unknown to us; here the steps are preconditioned.
"""

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt

from bandits.compiled import compiled
from bandits.linear import add_contrast, best, factor, gradient, utilities
from bandits.registry import algorithm


@algorithm("fgts-cdb", features=True)
@compiled
class FGTSCDB:
    """Both arms are best for a theta of their own, drawn independently from a tilted posterior.

    The posterior of a player after duels of its arms a with the other player's arms b is
    N(0, I/ridge) exp(-sum L), where, with y = +-1 for the outcome,
    L = eta ln(1 + exp(-y theta.(x_a - x_b))) - mu max_c theta.(x_c - x_b), mu = 1/(10 sqrt T).
    Each theta moves by `steps` Langevin steps per duel, preconditioned by
    P = (ridge I + eta/4 sum z z^T)^-1, whose inverse bounds the curvature, so that steps of
    1/4 inflate the variance of a Gaussian posterior by at most 1/7. Needs features.
    State: 1 K^2 numbers.
    """

    eta: Annotated[float, Gt(0)] = 0.25
    ridge: Annotated[float, Gt(0)] = 1.0
    steps: Annotated[int, Ge(1)] = 10

    def __post_init__(self) -> None:
        self.features = np.zeros((1, 1))

    def start(self, K: int, T: int, rng: Any) -> None:
        d = self.features.shape[1]
        self.t = 0
        self.mu = 1.0 / (10.0 * math.sqrt(T))
        self.theta = np.zeros((2, d))
        for a in range(d):
            self.theta[0, a] = rng.standard_normal() / math.sqrt(self.ridge)
            self.theta[1, a] = rng.standard_normal() / math.sqrt(self.ridge)
        self.wins = np.zeros((K, K))
        self.faced = np.zeros((2, d))  # sum of the features of the arms that each player faced
        self.P = np.eye(d) / self.ridge
        self.root = np.zeros((d, d))  # Cholesky factor of P, lower triangle
        self.plays = np.zeros(K, np.int64)

    def choose(self, rng: Any) -> tuple[int, int]:
        self.root[:] = self.P
        factor(self.root)
        for _ in range(self.steps):
            self.langevin(0, rng)
            self.langevin(1, rng)
        i = best(utilities(self.theta[0], self.features), rng)
        return i, best(utilities(self.theta[1], self.features), rng)

    def langevin(self, player: int, rng: Any) -> None:
        """theta <- theta - h P grad U + sqrt(2 h P) noise, h = 1/4; U = -ln posterior."""
        theta, x = self.theta[player], self.features
        d = theta.size
        g = gradient(theta, x, self.wins)
        top = best(utilities(theta, x), rng)
        for a in range(d):
            feel_good = self.t * x[top, a] - self.faced[player, a]
            g[a] = self.eta * g[a] + self.ridge * theta[a] - self.mu * feel_good
        noise = np.empty(d)
        for a in range(d):
            noise[a] = rng.standard_normal()
        for a in range(d):
            move = 0.0
            for b in range(d):
                move -= 0.25 * self.P[a, b] * g[b]
                if b <= a:
                    move += math.sqrt(0.5) * self.root[a, b] * noise[b]
            theta[a] += move

    def observe(self, i: int, j: int, won: bool) -> None:
        self.t += 1
        self.plays[i] += 1
        self.plays[j] += 1
        for a in range(self.features.shape[1]):
            self.faced[0, a] += self.features[j, a]
            self.faced[1, a] += self.features[i, a]
        if i != j:
            self.wins[i, j] += won
            self.wins[j, i] += not won
            add_contrast(self.P, self.features, i, j, self.eta / 4)

    def winner(self) -> int:
        """The arm played most."""
        return int(self.plays.argmax())
