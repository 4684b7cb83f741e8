"""Linear contextual dueling bandits: P(i beats j) = F(theta . (x_i - x_j)) for arm features x.

`hypercube` has the same arms in every round, so it is an ordinary problem whose features an
algorithm may use. `Linear` draws fresh arms every round, with exact preferences and
regrets per round.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from bandits.preferences import Problem, RandomProblem, complete, drawn, stationary
from bandits.problems.utilities import linked
from bandits.registry import problem
from bandits.regret import contextual_tables


@problem("hypercube")
def hypercube(
    d: int = 5, scale: float = 1.0, instance: int | None = None
) -> Problem | RandomProblem:
    """The K = 2^d arms with features +-1 and a random theta >= 0 of length `scale`, logistic link.

    The environment of the experiments of Di et al., VACDB, 2023 (d = 5; scale 0.1, 0.5, 1, 2 or 4;
    T = 4000). `features` [K, d] of the problem are known to the learner. theta is drawn anew in
    each repetition unless `instance` gives a seed. 1 <= d <= 8, scale > 0.
    """
    if not 1 <= d <= 8 or scale <= 0:
        raise ValueError(f"hypercube: d = {d}, scale = {scale}; expected 1 <= d <= 8 and scale > 0")
    features = np.array(list(itertools.product((-1.0, 1.0), repeat=d)))
    return drawn(
        lambda rng: stationary(linked(features @ positive_theta(d, scale, rng), "logit"), features),
        instance,
    )


def positive_theta(d: int, scale: float, rng: np.random.Generator) -> np.ndarray:
    """A random direction with no negative entry, [d], of length `scale`."""
    theta = np.abs(rng.standard_normal(d))
    return scale * theta / np.linalg.norm(theta)


@dataclass(frozen=True)
class Linear:
    """Rounds with K fresh arms, features uniform on the unit sphere in R^d, logistic link.

    theta [d] is fixed for all rounds.
    """

    theta: np.ndarray
    K: int = 10

    def features(self, rng: np.random.Generator) -> np.ndarray:
        """Arm features [K, d] of the next round."""
        x = rng.standard_normal((self.K, len(self.theta)))
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def matrix(self, features: np.ndarray) -> np.ndarray:
        """The preference matrix [K, K] of a round."""
        u = features @ self.theta
        return complete(expit(np.subtract.outer(u, u)))

    def regrets(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """Regret of the duel (i, j) in a round: `bandits.regret.contextual_tables`."""
        return contextual_tables(features, self.theta)
