"""A point mass whose motion has a closed form, at a few microseconds a step."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from envs import drawing

DAMPING = 0.8
"""The share of the velocity that is left after a step, λ."""
GAIN = 0.02
"""Velocity gained in a step by a full action, κ; the top speed is κ / (1 - λ) = 0.1 a step."""
WIDTH = 0.25
"""Distance from the goal at which the reward is one half, w."""
REACHED = 0.1
"""Distance from the goal that counts as success."""


class PointMass(gymnasium.Env[np.ndarray, np.ndarray]):
    """A damped point, started at rest in the square [-1, 1]², that must reach the origin.

    With action a in [-1, 1]² (clipped): v' = λ v + κ a, x' = x + v', and the reward of the step is
    1 / (1 + |x'|² / w²), in (0, 1]. So after n steps of one constant action from rest
    x = x0 + κ a / (1 - λ) · (n - λ (1 - λⁿ) / (1 - λ)).

    Observations: float32 [4], position and velocity. `info["success"]`: 1.0 within 0.1 of the goal.
    Our own task; the horizon is 100, there are no walls and no early end.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self) -> None:
        # No action sequence gets further than the horizon at top speed.
        far = np.array([11.0, 11.0, 0.1, 0.1], np.float32)
        self.observation_space = Box(-far, far, dtype=np.float32)
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)
        self._x = self._y = self._vx = self._vy = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._x, self._y = self.np_random.uniform(-1.0, 1.0, 2).tolist()
        self._vx = self._vy = 0.0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        ax, ay = action.tolist()
        self._vx = DAMPING * self._vx + GAIN * min(max(ax, -1.0), 1.0)
        self._vy = DAMPING * self._vy + GAIN * min(max(ay, -1.0), 1.0)
        self._x += self._vx
        self._y += self._vy
        square = self._x * self._x + self._y * self._y
        reward = 1.0 / (1.0 + square / (WIDTH * WIDTH))
        success = 1.0 if square < REACHED * REACHED else 0.0
        return self._observe(), reward, False, False, {"success": success}

    def _observe(self) -> np.ndarray:
        return np.array((self._x, self._y, self._vx, self._vy), np.float32)

    def get_state(self) -> dict[str, Any]:
        """Position, velocity and random stream."""
        return {
            "motion": np.array((self._x, self._y, self._vx, self._vy)),
            "random": self.np_random.bit_generator.state,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state of `get_state`."""
        self._x, self._y, self._vx, self._vy = state["motion"].tolist()
        self.np_random.bit_generator.state = state["random"]

    def render(self) -> np.ndarray:
        """A frame, uint8 [256, 256, 3], of the square of side 3 around the goal."""
        frame = drawing.canvas()
        drawing.disk(frame, (0.0, 0.0), WIDTH / 1.5, drawing.PALE)
        drawing.disk(frame, (0.0, 0.0), REACHED / 1.5, drawing.INK)
        drawing.disk(frame, (self._x / 1.5, self._y / 1.5), 0.05, drawing.ACCENT)
        return frame
