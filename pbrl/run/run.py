"""What a method gets: named seeds, environment, labels, logging, a loop that resumes.

A method keeps every piece of mutable state in tracked objects; `Run.loop` then evaluates,
checkpoints and, after a crash, continues where the last checkpoint was, so that the interrupted
run ends with the same bits as an uninterrupted one.

The teacher, the true return and the journal are no attributes of a `Run`, so no method uses them by
mistake. Python hides nothing from who goes looking: `pbrl check` finds that out by its effects.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from pbrl.run.env import Transition

if TYPE_CHECKING:
    from gymnasium.spaces import Box

    from envs.registry import EnvSpec
    from pbrl.run.online import OnlineCell
    from pbrl.segments import Segments

_CELLS: "WeakKeyDictionary[Run, OnlineCell]" = WeakKeyDictionary()


class Run:
    """Everything a method may use apart from its own settings."""

    def __init__(self, cell: "OnlineCell") -> None:
        _CELLS[self] = cell

    @property
    def spec(self) -> "EnvSpec":
        """Name, horizon in steps, reward range and success key of the environment."""
        return _CELLS[self].spec

    @property
    def observation_space(self) -> "Box":
        """Float32 [O]."""
        return _CELLS[self].env.env.observation_space

    @property
    def action_space(self) -> Any:
        """A Box, float32 [A] in [-1, 1]; Discrete for methods that declare they take it."""
        return _CELLS[self].env.env.action_space

    @property
    def device(self) -> torch.device:
        """Where everything that learns lives."""
        return _CELLS[self].device

    @property
    def obs(self) -> np.ndarray:
        """Current observation of the training environment, float32 [O]."""
        return _CELLS[self].env.obs

    def rng(self, name: str) -> np.random.Generator:
        """The run's generator of that name; its state is part of every checkpoint."""
        return _CELLS[self].rng(name)

    def torch_seed(self, name: str) -> int:
        """A seed for building the networks of that name."""
        return _CELLS[self].torch_seed(name)

    def track(self, **objects: Any) -> None:
        """Name all mutable state: each object has state_dict() and load_state_dict(state).

        `agent` is needed: evaluations call `agent.act(obs, deterministic=True)` for obs [N, O] of
        several episodes and expect N actions. A `reward` that can be called with obs [B, O] and
        act [B, A] is compared with the true one there.
        """
        _CELLS[self].track(objects)

    def loop(self, steps: int) -> Iterator[int]:
        """Yield 0..steps-1, or the rest of it after a crash; evaluate and checkpoint between."""
        return _CELLS[self].loop(steps)

    def step(self, action: Any) -> Transition:
        """Step the training environment, which resets itself; once in each iteration of the loop.

        `action`: numpy floats [A] in [-1, 1], or an index for Discrete. Raises CellError for any
        other, and FloatingPointError for one that is not finite.
        """
        return _CELLS[self].step(action)

    def ask(self, first: "Segments", second: "Segments") -> torch.Tensor:
        """The teacher's labels [N] for N pairs, NaN where it skipped; every pair spends budget.

        Raises CellError, and asks nothing, when N is more than what is left of the budget.
        """
        return _CELLS[self].ask(first, second)

    def log(self, event: str, **values: Any) -> None:
        """One row of the results; a `session` row also gets what was asked since the one before.

        Values are numbers, True, False, text or None, of one kind in all rows. Raises CellError for
        others, and for the names of events and columns that the run itself writes.
        """
        _CELLS[self].log(event, values)
