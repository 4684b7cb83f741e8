"""RiverSwim and deep sea treasure: worlds whose best behavior is known to five digits."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from envs.registry import world
from envs.tabular.grids import MOVES, Discount
from envs.tabular.world import World, pruned

LEFT, RIGHT = 0, 1


@world("riverswim")
def riverswim(length: Annotated[int, Ge(3), Le(50)] = 6, gamma: Discount = 0.95) -> World:
    """A river to swim up: a small reward at the near bank, a large one against the current.

    The six states of Osband et al. 2013 with the probabilities of Novoseller et al. 2020: swimming
    left always works; right moves up with 0.35 (0.6 at the bank), stays with 0.6 (0.4), drifts
    back with 0.05; at the far end it stays with 0.6. Features: resting at the near bank (0.005),
    staying at the far end by swimming right (1). The start is the near bank.
    """
    transitions = np.zeros((length, 2, length))
    for s in range(length):
        transitions[s, LEFT, max(s - 1, 0)] = 1
        transitions[s, RIGHT, [s - 1, s, min(s + 1, length - 1)]] = (0.05, 0.6, 0.35)
    transitions[0, RIGHT] = transitions[-1, RIGHT] = 0
    transitions[0, RIGHT, [0, 1]] = 0.4, 0.6
    transitions[-1, RIGHT, [-2, -1]] = 0.4, 0.6
    features = np.zeros((length, 2, length, 2))
    features[0, LEFT, 0, 0] = features[-1, RIGHT, -1, 1] = 1
    return World(
        transitions,
        features,
        start=np.eye(length)[0],
        terminal=np.zeros(length, bool),
        gamma=gamma,
        weights=np.array([0.005, 1.0]),
    )


TREASURES = {
    (1, 0): 0.7, (2, 1): 8.2, (3, 2): 11.5, (4, 3): 14.0, (4, 4): 15.1, (4, 5): 16.1,
    (7, 6): 19.6, (7, 7): 20.3, (9, 8): 22.4, (10, 9): 23.7,
}  # fmt: skip
SIZE, FLOOR = 11, -10.0


@world("deep-sea-treasure")
def deep_sea_treasure(
    treasure: Annotated[float, Ge(0), Le(1)] = 0.5, gamma: Discount = 0.99
) -> World:
    """A submarine that may dive near for a small treasure or far for a large one.

    The convex map of Yang et al. 2019. Two features, value of the treasure and time; `treasure`
    is the weight of the first and 1 - `treasure` that of the second. The start is the surface.
    """
    worth = np.zeros((SIZE, SIZE))
    for (row, column), value in TREASURES.items():
        worth[row + 1 :, column], worth[row, column] = FLOOR, value
    size = SIZE * SIZE
    places = np.argwhere(np.ones((SIZE, SIZE)))
    terminal = worth.ravel() != 0
    transitions = np.zeros((size, len(MOVES), size))
    for action, move in enumerate(MOVES):
        row, column = (places + move).clip(0, SIZE - 1).T
        to = np.where(terminal, np.arange(size), row * SIZE + column)
        transitions[np.arange(size), action, to] = 1
    between = np.zeros((size, size, 2))
    between[..., 0], between[..., 1] = worth.ravel(), -1
    between[terminal] = 0
    found = {
        "transitions": transitions,
        "features": np.broadcast_to(between[:, None], (size, len(MOVES), size, 2)),
        "start": np.eye(size)[0],
        "terminal": terminal,
        "places": places,
    }
    return World(**pruned(found), gamma=gamma, weights=np.array([treasure, 1 - treasure]))
