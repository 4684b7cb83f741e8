"""Reward from preferences as Christiano et al. 2017 read them: sums of reward are compared."""

from typing import Annotated

import numpy as np
from annotated_types import Gt

from envs.tabular import solvers
from envs.tabular.world import Dynamics
from pbrl import registry
from pbrl.tabular import logistic
from pbrl.tabular.learner import Learned
from pbrl.tabular.walks import Pairs

Prior = Annotated[float, Gt(0)]


@registry.learner("partial-return")
class PartialReturn:
    """Logistic regression on sums of features; plans for the reward that comes out.

    P(second) = logistic(w . (Phi2 - Phi1)), Phi the undiscounted sum of a walk's features. `l2` is
    the precision of a Gaussian prior on w around 0: 1e-4 is a standard deviation of 100.
    """

    def __init__(self, l2: Prior = 1e-4) -> None:
        self.l2 = l2

    def learn(self, world: Dynamics, pairs: Pairs, rng: np.random.Generator) -> Learned:
        difference = pairs.second.features(world) - pairs.first.features(world)
        index, labels, weight = logistic.aggregated(np.round(difference * 1e6), pairs.labels)
        weights = logistic.fit(difference[index], labels, weight, l2=self.l2)
        _, action_values = solvers.optimal(world, world.expected_features @ weights)
        return Learned(
            solvers.greedy(action_values),
            lambda walks: walks.features(world) @ weights,
            reward=world.features @ weights,
        )
