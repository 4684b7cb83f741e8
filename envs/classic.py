"""gymnasium's classic control tasks with continuous actions; returns are those of gymnasium.

CartPole and MountainCar with discrete actions are not here: every method of the suite acts
continuously.
"""

from itertools import pairwise
from math import cos, sin
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv

from envs import drawing

Step = tuple[np.ndarray, float, bool, bool, dict[str, Any]]


class Pendulum(gymnasium.Env[np.ndarray, np.ndarray]):
    """gymnasium's Pendulum-v1: swing up a pendulum and hold it; 200 steps.

    Reward: -(angle² + 0.1 speed² + 0.001 torque²), in [-16.2736, 0].
    Observations: float32 [3], cosine, sine, speed.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self) -> None:
        self._env = PendulumEnv()
        self.observation_space = self._env.observation_space
        self.action_space = self._env.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        return self._env.reset(seed=seed)

    def step(self, action: np.ndarray) -> Step:
        obs, reward, terminated, truncated, info = self._env.step(action)
        return obs, float(reward), terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        """Angle, speed and random stream."""
        return {
            "motion": np.array(self._env.state),
            "random": self._env.np_random.bit_generator.state,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state of `get_state`."""
        self._env.state = np.array(state["motion"])
        self._env.np_random.bit_generator.state = state["random"]

    def render(self) -> np.ndarray:
        """A frame, uint8 [256, 256, 3]; the pendulum is upright when the angle is 0."""
        angle = float(self._env.state[0])
        frame = drawing.canvas()
        tip = (-0.8 * sin(angle), 0.8 * cos(angle))
        drawing.segment(frame, (0.0, 0.0), tip, 0.12, drawing.ACCENT)
        drawing.disk(frame, (0.0, 0.0), 0.05, drawing.INK)
        return frame


class MountainCar(gymnasium.Env[np.ndarray, np.ndarray]):
    """gymnasium's MountainCarContinuous-v0: rock a weak car out of a valley; 999 steps.

    In Gym the episode ends at the goal, and its length would tell a reward learner everything. Here
    the goal holds the car, without cost, until the horizon (as the `seals` environments do), so
    that returns are Gym's: -0.1 action² a step, plus 100 once on arrival, in [-0.1, 100].
    `info["success"]`: 1.0 from the arrival on.
    Observations: float32 [2], position and velocity.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self) -> None:
        self._env = Continuous_MountainCarEnv()
        self.observation_space = self._env.observation_space
        self.action_space = self._env.action_space
        self._arrived = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        self._arrived = False
        return self._env.reset(seed=seed)

    def step(self, action: np.ndarray) -> Step:
        if self._arrived:
            return self._observe(), 0.0, False, False, {"success": 1.0}
        _, reward, self._arrived, _, _ = self._env.step(action)
        success = float(self._arrived)
        return self._observe(), float(reward), False, False, {"success": success}

    def _observe(self) -> np.ndarray:
        return np.array(self._env.state, np.float32)

    def get_state(self) -> dict[str, Any]:
        """Position, velocity, whether the car has arrived, and random stream."""
        return {
            "motion": np.array(self._env.state),
            "arrived": self._arrived,
            "random": self._env.np_random.bit_generator.state,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state of `get_state`."""
        # Gym starts an episode in float64 and goes on in float32: the type is part of the state.
        self._env.state = np.array(state["motion"])
        self._arrived = state["arrived"]
        self._env.np_random.bit_generator.state = state["random"]

    def render(self) -> np.ndarray:
        """A frame, uint8 [256, 256, 3]."""
        frame = drawing.canvas()
        xs = np.linspace(-1.2, 0.6, 40)
        hill = [self._place(float(x)) for x in xs]
        for start, end in pairwise(hill):
            drawing.segment(frame, start, end, 0.03, drawing.INK)
        drawing.disk(frame, self._place(0.45), 0.05, drawing.PALE)
        drawing.disk(frame, self._place(float(self._env.state[0])), 0.08, drawing.ACCENT)
        return frame

    @staticmethod
    def _place(x: float) -> tuple[float, float]:
        return (x + 0.3) / 1.0, 0.7 * sin(3 * x)
