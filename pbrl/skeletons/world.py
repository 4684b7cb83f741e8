"""A tabular world: where actions lead, and what each transition is worth."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le, Lt

from envs.tabular.world import World
from pbrl import registry


@registry.world("plugin-name")
def ring(
    size: Annotated[int, Ge(3), Le(50)] = 8, gamma: Annotated[float, Ge(0), Lt(1)] = 0.95
) -> World:
    """A ring of states to walk around either way; passing a treasure pays, steps cost.

    The reward is features . weights; learners see the features and not the weights. With
    `sample(rng)` in place of the tables a world is drawn anew in each repetition.
    """
    transitions = np.zeros((size, 2, size))
    features = np.zeros((size, 2, size, 2))
    for state in range(size):
        for action, step in enumerate((-1, 1)):
            transitions[state, action, (state + step) % size] = 1
    features[..., 0] = 1  # a step
    features[:, :, size // 2, 1] = 1  # the treasure
    return World(
        transitions,
        features,
        start=np.full(size, 1 / size),
        terminal=np.zeros(size, bool),
        gamma=gamma,
        weights=np.array([-1.0, 5.0]),
    )
