"""An environment: a point that is to be held at the middle of a line."""

from typing import Annotated, Any

import gymnasium
import numpy as np
from annotated_types import Ge, Le
from gymnasium.spaces import Box

from pbrl import registry


@registry.env("plugin-name", horizon=50, reward_range=(0.0, 1.0), success_key="success")
class Line(gymnasium.Env[np.ndarray, np.ndarray]):
    """Stay at the middle of a line; the reward falls with the distance from it."""

    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, wind: Annotated[float, Ge(0), Le(0.1)] = 0.01) -> None:
        self.wind = wind

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-1, 1)
        return np.array([self.x], np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        moved = self.x + 0.1 * float(action[0]) + self.wind * self.np_random.normal()
        self.x = float(np.clip(moved, -1, 1))
        reward = 1 - abs(self.x)
        return np.array([self.x], np.float32), reward, False, False, {"success": reward > 0.9}
