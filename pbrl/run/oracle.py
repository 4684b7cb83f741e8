"""What a teacher consults in a run: the environment's own tables, or a trained expert's weights."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

import envs
from envs.gridworld import GridWorld
from envs.tabular import solvers
from pbrl.errors import CellError
from pbrl.store.checkpoint import read_state
from pbrl.teachers.expert import TrainedOracle
from pbrl.teachers.oracle import Oracle, TabularOracle


def oracle(consulted: dict[str, Any], env: str, parameters: dict[str, Any]) -> Oracle:
    """The oracle that a cell's configuration names; raises CellError when it is not there."""
    if consulted.get("exact"):
        return exact(env, parameters, consulted["gamma"])
    if consulted["weights"] is None:
        raise CellError(f"its oracle {consulted['cell']} is not there; run the whole suite")
    return TrainedOracle(read_state(Path(consulted["weights"])))


def exact(env: str, parameters: dict[str, Any], gamma: float) -> Oracle:
    """V* and Q* of an environment that has tables."""
    made = envs.make(env, **parameters)
    inner: Any = made.env
    try:
        if isinstance(inner, GridWorld):
            return GridOracle(inner, gamma)
        world = inner.world
        return TabularOracle(*solvers.optimal(world, world.expected_rewards, gamma), gamma=gamma)
    finally:
        made.close()


class GridOracle(TabularOracle):
    """The grid world's values, by the move that an action means."""

    def __init__(self, grid: GridWorld, gamma: float) -> None:
        values = np.zeros(len(grid.rewards))
        for _ in range(100_000):
            action_values = grid.rewards + gamma * grid.transitions @ values
            change = np.abs(action_values.max(1) - values).max()
            values = action_values.max(1)
            if change < 1e-12 * max(1.0, values.max()):
                break
        super().__init__(values, action_values, gamma=gamma)

    def action_values(self, obs: Tensor, act: Tensor) -> Tensor:
        x, y = act[..., 0], act[..., 1]
        across, up = (~(x >= 0)).long() * 2, 1 + (~(y >= 0)).long() * 2
        return super().action_values(obs, across.where(x.abs() >= y.abs(), up)[..., None])
