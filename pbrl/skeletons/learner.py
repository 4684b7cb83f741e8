"""A tabular learner: what it makes of labeled pairs of walks, without the reward."""

from typing import Annotated

import numpy as np
from annotated_types import Gt

from envs.tabular import solvers
from envs.tabular.world import Dynamics
from pbrl import registry
from pbrl.tabular.learner import Learned
from pbrl.tabular.walks import Pairs


@registry.learner("plugin-name")
class Counting:
    """Features that preferred walks have more of are good: a weight is a mean difference."""

    def __init__(self, scale: Annotated[float, Gt(0)] = 1.0) -> None:
        self.scale = scale

    def learn(self, world: Dynamics, pairs: Pairs, rng: np.random.Generator) -> Learned:
        gain = pairs.second.features(world) - pairs.first.features(world)
        toward = (pairs.labels - 0.5)[:, None]
        weights = self.scale * (toward * gain).sum(0) / max(1, len(pairs))
        _, action_values = solvers.optimal(world, world.expected_features @ weights)
        return Learned(
            solvers.greedy(action_values),
            lambda walks: walks.features(world) @ weights,
            reward=world.features @ weights,
        )
