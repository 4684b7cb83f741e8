"""Teachers who judge a segment as a whole, or by any function of it.

No sum of rewards per step explains `last-quarter` or `angle`: they are what a learner that assumes
a Markovian reward gets wrong.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Len, Lt
from torch import Tensor

from pbrl import registry
from pbrl.errors import CellError, ConfigError
from pbrl.scores import masked_sum
from pbrl.segments import Segments
from pbrl.teachers.comparison import Comparison, Number

BROKEN = 1e9  # how much worse a segment is that breaks the rule: more than any return


@registry.teacher("last-quarter")
@dataclass(kw_only=True, eq=False)
class LastQuarter(Comparison):
    """The larger return of the first three quarters, of segments that hold back in the last one.

    The non-Markovian preference of SPO (Swamy et al. 2024): a segment whose mean reward in the last
    quarter is over `bound` loses to every other; of two, the one that is less over it wins (ours).
    That the bound is one from above is unverified.
    """

    bound: Number = 0.5
    "The most that a step of the last quarter, rounded up to whole steps, may earn on average."

    def score(self, segments: Segments) -> np.ndarray:
        reward, mask = segments.ground_truth.double(), segments.mask
        steps = mask.sum(-1, keepdim=True)
        late = mask & (mask.cumsum(-1) > 3 * steps // 4)
        early = masked_sum(reward, mask & ~late)
        over = masked_sum(reward, late) / late.sum(-1).clamp(min=1) - self.bound
        return torch.where(over > 1e-9, -BROKEN - over, early).cpu().numpy()


@registry.teacher("goal")
@dataclass(kw_only=True, eq=False)
class Goal(Comparison):
    """Prefers to be near a place: the mean distance of the first observed numbers to `goal`."""

    goal: Annotated[list[Number], Len(1)] = (0.0,)  # type: ignore[assignment]
    "Where to be, in the units of the first numbers of an observation."

    def score(self, segments: Segments) -> np.ndarray:
        wide = len(self.goal)
        if segments.next_obs.shape[-1] < wide:
            raise CellError(
                f"goal = {list(self.goal)}, but an observation has {segments.next_obs.shape[-1]} "
                "numbers; give at most as many"
            )
        place = torch.as_tensor(self.goal, dtype=torch.float64, device=segments.device)
        distance = (segments.next_obs[..., :wide].double() - place).norm(dim=-1)
        return (-masked_sum(distance, segments.mask) / _steps(segments)).cpu().numpy()


@registry.teacher("angle")
@dataclass(kw_only=True, eq=False)
class Angle(Comparison):
    """Prefers segments whose mean place lies little further round than `turn`, counterclockwise.

    The place is the first two observed numbers. The majority of three such annotators, a third of a
    turn apart, is intransitive: `rock-paper-scissors`.
    """

    turn: Annotated[float, Ge(0), Lt(1)] = 0.0
    "Where the best angle is, in turns."

    def score(self, segments: Segments) -> np.ndarray:
        seen = segments.next_obs[..., :2].double()
        if seen.shape[-1] < 2:
            raise ConfigError("angle needs a place in the plane, but an observation has 1 number")
        x, y = (
            (masked_sum(seen[..., i], segments.mask) / _steps(segments)).cpu().numpy()
            for i in range(2)
        )
        return -((np.arctan2(y, x) / (2 * np.pi) - self.turn) % 1.0)


def _steps(segments: Segments) -> Tensor:
    return segments.mask.sum(-1).clamp(min=1)


@registry.teacher("scored")
@dataclass(kw_only=True, eq=False)
class Scored(Comparison):
    """Prefers what a Python function scores higher: `function(segments)` in `file`, which runs.

    It gets `pbrl.segments.Segments` and returns one number a segment, [N], or one a step, [N, T],
    which are summed over the steps that exist.
    """

    file: Path
    "The Python file; its content is part of the cell."
    function: str = "score"
    "The name of the function in it."

    @cached_property
    def _called(self) -> Any:
        names: dict[str, Any] = {"__name__": self.file.stem, "__file__": str(self.file)}
        try:
            exec(compile(self.file.read_bytes(), str(self.file), "exec"), names)
        except OSError as error:
            raise ConfigError(f"{self.file} cannot be read: {error.strerror}") from None
        if not callable(names.get(self.function)):
            raise ConfigError(f"{self.file} has no function {self.function!r}; expected one")
        return names[self.function]

    def score(self, segments: Segments) -> np.ndarray:
        found = torch.as_tensor(self._called(segments)).detach().double()
        if found.shape == segments.mask.shape:
            found = masked_sum(found, segments.mask)
        if found.shape != (len(segments),) or found.isnan().any():
            what = "NaN" if found.shape == (len(segments),) else f"shape {list(found.shape)}"
            raise CellError(
                f"{self.function} of {self.file.name} returned {what} for {len(segments)} segments "
                f"of {segments.length} steps; expected numbers [N] or [N, T]"
            )
        return found.cpu().numpy()
