"""The adaptive threshold of the Skip and Equal teachers (B-Pref): how good is the agent now?"""

from collections import deque
from typing import Any

import numpy as np

from pbrl.errors import CellError, ConfigError, EnvironmentFault

WINDOW = 10  # training episodes in the average (PEBBLE's code)


class RecentReturns:
    """Running average of the agent's true return, as reward per step above the lowest possible.

    B-Pref's threshold is eps (H / T) Ravg for a segment of H steps, episodes of T steps and an
    average return Ravg; `threshold` computes it. It needs returns that cannot be negative. Where
    the reward of a step can be negative, every reward is shifted up by the lower bound `low` of the
    reward range first; a step missing after an early end counts as reward 0 before the shift.
    """

    def __init__(self, *, artificial_zero: bool = False) -> None:
        self._returns: deque[float] = deque([0.0] if artificial_zero else [], maxlen=WINDOW)
        self._horizon: int | None = None
        self.low = 0.0

    def bind(self, *, horizon: int, reward_range: tuple[float, float]) -> None:
        """Set the episode length in steps and the bounds of a step's true reward."""
        low = min(reward_range[0], 0.0)
        if not np.isfinite(low):
            raise ConfigError(
                f"skip and equal teachers need a lower bound of the reward; found reward range "
                f"{tuple(reward_range)}; declare reward_range=(low, high) for the environment"
            )
        self._horizon, self.low = horizon, low

    def add(self, true_return: float) -> None:
        self._returns.append(float(true_return))

    def threshold(self, eps: float, length: int) -> float:
        """eps (H / T) Ravg for segments of H = `length` steps, after the shift by `low`.

        Raises ConfigError before `bind`, CellError before the first training episode has ended,
        EnvironmentFault when the average return contradicts the reward range.
        """
        if self._horizon is None:
            raise ConfigError(
                "skip and equal teachers scale with the episode length; call "
                "teacher.bind(horizon=..., reward_range=...) first"
            )
        if not self._returns:
            raise CellError(
                "a skip or equal teacher was asked before any training episode ended, so the "
                "agent's average return is unknown; ask after the first episode"
            )
        average = float(np.mean(self._returns)) / self._horizon - self.low
        if average < -1e-6 * max(1.0, abs(self.low)):
            raise EnvironmentFault(
                f"the average training return {np.mean(self._returns):g} is below "
                f"{self.low * self._horizon:g}, the least that {self._horizon} steps of reward >= "
                f"{self.low:g} allow; correct the environment's reward_range"
            )
        return eps * length * max(average, 0.0)

    def state_dict(self) -> dict[str, Any]:
        return {"returns": list(self._returns)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._returns = deque(state["returns"], maxlen=WINDOW)
