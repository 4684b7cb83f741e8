"""A slippery grid small enough to be solved exactly: ground truth for tests of learners."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from envs import drawing

MOVES = ((1, 0), (0, 1), (-1, 0), (0, -1))


class GridWorld(gymnasium.Env[np.ndarray, np.ndarray]):
    """A `size` x `size` grid, from one corner to the goal in the opposite one, which holds.

    Each step ends in a cell and pays 1 if that cell is the goal, else 0. With probability `slip`
    one of the four moves is made at random; a move into the wall stays where it is.

    Observations: float32 [size²], one-hot. Actions: float [2] in [-1, 1]; the larger component says
    the axis and its sign the direction, so that methods with continuous actions can be used.
    `info["success"]`: 1.0 at the goal. `transitions` [S, 4, S] and `rewards` [S, 4] are the whole
    problem, state s = row · size + column, moves in the order right, up, left, down.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, size: int = 5, slip: float = 0.1) -> None:
        self.size, self.slip = size, slip
        self.goal = size * size - 1
        self.observation_space = Box(0.0, 1.0, (size * size,), np.float32)
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)
        self._next = [[self._beside(s, move) for move in MOVES] for s in range(size * size)]
        intended = np.eye(size * size)[np.array(self._next)]
        mixed = intended.mean(1, keepdims=True)
        self.transitions = (1 - slip) * intended + slip * mixed
        self.rewards = self.transitions[:, :, self.goal]
        self._cell = 0

    def _beside(self, cell: int, move: tuple[int, int]) -> int:
        if cell == self.goal:
            return cell
        row, column = divmod(cell, self.size)
        column = min(max(column + move[0], 0), self.size - 1)
        row = min(max(row + move[1], 0), self.size - 1)
        return row * self.size + column

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._cell = 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        move = self.move(action)
        # Both numbers are always drawn, so that a slip does not shift the stream.
        slipped, other = self.np_random.random(), int(self.np_random.integers(4))
        self._cell = self._next[self._cell][other if slipped < self.slip else move]
        at_goal = float(self._cell == self.goal)
        return self._observe(), at_goal, False, False, {"success": at_goal}

    @staticmethod
    def move(action: np.ndarray) -> int:
        """The move (index into `MOVES`) that an action means."""
        x, y = action.tolist()
        if abs(x) >= abs(y):
            return 0 if x >= 0 else 2
        return 1 if y >= 0 else 3

    def _observe(self) -> np.ndarray:
        observation = np.zeros(self.size * self.size, np.float32)
        observation[self._cell] = 1.0
        return observation

    def optimal_values(self, steps: int) -> np.ndarray:
        """The best expected return [steps + 1, S] with 0, 1, ..., `steps` steps to go.

        Finite-horizon value iteration (Puterman 1994, section 4.5), exact up to rounding.
        """
        values = np.zeros((steps + 1, self.size * self.size))
        for i in range(steps):
            values[i + 1] = (self.rewards + self.transitions @ values[i]).max(1)
        return values

    def get_state(self) -> dict[str, Any]:
        """Cell and random stream."""
        return {"cell": self._cell, "random": self.np_random.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state of `get_state`."""
        self._cell = state["cell"]
        self.np_random.bit_generator.state = state["random"]

    def render(self) -> np.ndarray:
        """A frame, uint8 [256, 256, 3]."""
        frame = drawing.canvas(drawing.PALE)
        side = 2 / self.size
        for cell in range(self.size * self.size):
            row, column = divmod(cell, self.size)
            x, y = -1 + column * side, -1 + row * side
            color = drawing.INK if cell == self.goal else (255, 255, 255)
            low, high = (x + side / 20, y + side / 20), (x + side * 0.95, y + side * 0.95)
            drawing.rectangle(frame, low, high, color)
            if cell == self._cell:
                drawing.disk(frame, (x + side / 2, y + side / 2), side / 4, drawing.ACCENT)
        return frame
