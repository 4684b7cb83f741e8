"""A tabular world as a gymnasium environment, whose tables are there to be read."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete

from envs.registry import WORLDS
from envs.tabular.world import World


class TabularEnv(gymnasium.Env[Any, Any]):
    """A walk through a world: observations and actions are numbers, as its tables have them.

    `world` holds transitions, rewards and features, so that what is learned by acting can be held
    against exact solutions. An episode ends in a terminal state; a world without any goes on.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.observation_space = Discrete(world.states)
        self.action_space = Discrete(world.actions)
        self._state = 0
        self._starts = world.start.cumsum() / world.start.sum()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self._state = int(np.searchsorted(self._starts, self.np_random.random(), side="right"))
        return self._state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        chances = self.world.cumulative[self._state, action]
        new = int(np.searchsorted(chances, self.np_random.random(), side="right"))
        reward = float(self.world.rewards[self._state, action, new])
        self._state = new
        return new, reward, bool(self.world.terminal[new]), False, {}

    def get_state(self) -> dict[str, Any]:
        """State and random stream."""
        return {"state": self._state, "random": self.np_random.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state of `get_state`."""
        self._state = state["state"]
        self.np_random.bit_generator.state = state["random"]


def named(world: str) -> TabularEnv:
    """The environment of a registered world that is not drawn anew each time."""
    import envs.tabular.chains
    import envs.tabular.grids  # noqa: F401  (they register their worlds)

    return TabularEnv(WORLDS[world]())
