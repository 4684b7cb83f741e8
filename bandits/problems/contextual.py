"""Linear contextual dueling bandits: P(i beats j) = F(theta . (x_i - x_j)) for arm features x.

`hypercube` has the same arms in every round, so it is an ordinary problem whose features an
algorithm may use.
"""

import itertools
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Interval

from bandits.preferences import Problem, RandomProblem, drawn, stationary
from bandits.problems.utilities import linked
from bandits.registry import problem


@problem("hypercube")
def hypercube(
    d: Annotated[int, Interval(ge=1, le=8)] = 5,
    scale: Annotated[float, Gt(0)] = 1.0,
    instance: Annotated[int, Ge(0)] | None = None,
) -> Problem | RandomProblem:
    """The K = 2^d arms with features +-1 and a random theta >= 0 of length `scale`, logistic link.

    The environment of the experiments of Di et al., VACDB, 2023 (d = 5; scale 0.1, 0.5, 1, 2 or 4;
    T = 4000). `features` [K, d] of the problem are known to the learner. theta is drawn anew in
    each repetition unless `instance` gives a seed.
    """
    features = np.array(list(itertools.product((-1.0, 1.0), repeat=d)))

    def recipe(rng: np.random.Generator) -> Problem:
        u = features @ positive_theta(d, scale, rng)
        return stationary(linked(u, "logit"), features, u)

    return drawn(recipe, instance)


def positive_theta(d: int, scale: float, rng: np.random.Generator) -> np.ndarray:
    """A random direction with no negative entry, [d], of length `scale`."""
    theta = np.abs(rng.standard_normal(d))
    return scale * theta / np.linalg.norm(theta)
