"""What a teacher consults who judges more than reward: the values of states and actions.

A teacher that needs one is registered with `@registry.teacher(name, oracle=True)` and has
`consult(oracle)`, called once before it is asked. In tabular worlds the oracle is exact
(`TabularOracle` of what `envs.tabular.solvers` computes); elsewhere it is a trained expert's.
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pbrl.errors import ConfigError
from pbrl.segments import Segments


class Oracle(Protocol):
    """Optimal values of the true reward; leading axes are free, [N, T] for segments."""

    gamma: float
    "the discount its values are of"

    def values(self, obs: Tensor) -> Tensor:
        """V*(s), float64 [...] for observations [..., O]."""
        ...

    def action_values(self, obs: Tensor, act: Tensor) -> Tensor:
        """Q*(s, a), float64 [...] for observations [..., O] and actions [..., A]."""
        ...


def advantages(oracle: Oracle, segments: Segments) -> Tensor:
    """A*(s, a) = Q*(s, a) - V*(s) of every step, [N, T]; 0 where a step does not exist."""
    found = oracle.action_values(segments.obs, segments.act) - oracle.values(segments.obs)
    return found.masked_fill(~segments.mask, 0)


def start_values(oracle: Oracle, segments: Segments) -> Tensor:
    """V*(s_0) of the first state of each segment, [N]."""
    return oracle.values(segments.obs[:, 0])


def end_values(oracle: Oracle, segments: Segments) -> Tensor:
    """V*(s_L) of the state that each segment ends in, [N]; 0 where the episode ended in it."""
    last = (segments.mask.sum(1) - 1).clamp(min=0)
    rows = torch.arange(len(segments), device=last.device)
    found = oracle.values(segments.next_obs[rows, last])
    return found.masked_fill(segments.terminal[rows, last] | ~segments.mask.any(1), 0)


class TabularOracle:
    """Values by state and by state and action, from tables V [S] and Q [S, A].

    An observation is the number of a state, [..., 1], or one-hot, [..., S]; an action is its
    number, [..., 1]. Raises ConfigError for tables or observations of another shape.
    """

    def __init__(self, values: np.ndarray, action_values: np.ndarray, *, gamma: float) -> None:
        if values.ndim != 1 or action_values.ndim != 2 or len(values) != len(action_values):
            raise ConfigError(
                f"an oracle needs V [S] and Q [S, A]; found {list(values.shape)} and "
                f"{list(action_values.shape)}"
            )
        self.gamma = gamma
        self._values = torch.from_numpy(np.asarray(values, np.float64))
        self._action_values = torch.from_numpy(np.asarray(action_values, np.float64))

    def values(self, obs: Tensor) -> Tensor:
        return self._values[self._state(obs)]

    def action_values(self, obs: Tensor, act: Tensor) -> Tensor:
        return self._action_values[self._state(obs), act[..., 0].long()]

    def _state(self, obs: Tensor) -> Tensor:
        size = len(self._values)
        if obs.shape[-1] == 1:
            return obs[..., 0].long()
        if obs.shape[-1] == size:
            return obs.argmax(-1)
        raise ConfigError(
            f"observations of {obs.shape[-1]} numbers for an oracle of {size} states; expected the "
            "state's number, or one-hot"
        )
