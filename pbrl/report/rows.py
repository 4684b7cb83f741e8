"""What a report keeps of the rows of one cell: read once, so that a large folder fits into memory.

Rows come in batches of many cells; what stands in them is cut out with numpy, as a call to polars
costs as much for the rows of one cell as for those of a hundred.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from pbrl import store

KEYS = ("cell", "kind", "task", "learner", "teacher", "seed", "event", "step", "repetition", "t")
ENDS = ("resets", "correct", "samples", "delay", "false_alarms", "missed", "policy_regret")
LAST = ("return", "success", "episodes")


@dataclass(frozen=True)
class Evaluations:
    """One run of an agent; NaN where there is no number."""

    steps: np.ndarray  # [E] environment steps, ascending
    returns: np.ndarray  # [E] mean true return of one evaluation
    success: np.ndarray  # [E] in 0..1
    labels: np.ndarray  # [E] labels answered so far
    episodes: np.ndarray  # [E] number of training episodes since the evaluation before
    earned: np.ndarray  # [E] sum of their true returns
    last: dict[str, float] | None  # return, success, episodes of the last, large evaluation

    @property
    def reached(self) -> int:
        return int(self.steps[-1])

    def at(self, steps: np.ndarray) -> "Evaluations":
        """The same at some of its steps."""
        if np.array_equal(steps, self.steps):
            return self
        kept = np.isin(self.steps, steps)
        place = np.searchsorted(steps, self.steps)
        inside = place < len(steps)
        episodes, earned = (
            np.bincount(place[inside], weights=values[inside], minlength=len(steps))
            for values in (self.episodes, self.earned)
        )
        returns, success, labels = (x[kept] for x in (self.returns, self.success, self.labels))
        return Evaluations(steps, returns, success, labels, episodes, earned, self.last)

    @property
    def training(self) -> np.ndarray:
        """[E] mean true return of the training episodes since the evaluation before."""
        mean = self.earned / np.maximum(self.episodes, 1)
        return np.where(self.episodes > 0, mean, np.nan)


@dataclass(frozen=True)
class Duels:
    """The repetitions of one bandit cell."""

    duels: np.ndarray  # [P] duels played when regret was recorded
    regret: dict[str, np.ndarray]  # cumulative regret by name, [P, runs]
    ends: dict[str, np.ndarray]  # what the rows of event "end" say, [runs]; NaN without a number

    @property
    def reached(self) -> int:
        return int(self.duels[-1])


Run = Evaluations | Duels


def runs(batch: store.Batch) -> Iterator[tuple[store.CellInfo, Run | None]]:
    """Each cell of a batch with what its rows say; None without an evaluation or a regret."""
    parts = {e: _Part(batch, e) for e in ("eval", "final", "episode", "regret", "end")}
    for number, cell in enumerate(batch.cells):
        one = {event: part.of(number) for event, part in parts.items()}
        made = _duels if cell.config.get("kind") == "bandit" else _evaluations
        yield cell, made(one)


class _Part:
    """The rows of one event of a batch, as columns of numbers."""

    def __init__(self, batch: store.Batch, event: str) -> None:
        frame, owners = batch.frame.clear(), np.zeros(0, int)
        if frame.schema.get("event") == pl.String:
            chosen = (batch.frame["event"] == event).fill_null(False)
            frame = batch.frame.filter(chosen)
            owners = np.repeat(np.arange(len(batch.cells)), batch.counts)[chosen.to_numpy()]
        self.starts = np.searchsorted(owners, np.arange(len(batch.cells) + 1))
        self.columns = {c.name: _numbers(c) for c in frame if c.dtype.is_numeric()}
        types = frame.schema.items()
        self.regrets = [name for name, kind in types if name not in KEYS and kind.is_float()]

    def of(self, number: int) -> "_Rows | None":
        """The rows of one cell, None when it has none."""
        start, end = self.starts[number : number + 2]
        return _Rows(self, slice(start, end)) if start < end else None


def _numbers(column: pl.Series) -> np.ndarray:
    """A column as numbers, NaN where there is none; steps and times are whole."""
    if column.name in KEYS and column.dtype.is_integer() and not column.null_count():
        return column.to_numpy()
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


@dataclass(frozen=True)
class _Rows:
    part: _Part
    place: slice

    def __getitem__(self, column: str) -> np.ndarray:
        if column not in self.part.columns:
            return np.full(self.place.stop - self.place.start, np.nan)
        return self.part.columns[column][self.place]


def _evaluations(rows: dict[str, _Rows | None]) -> Evaluations | None:
    found, episodes, final = rows["eval"], rows["episode"], rows["final"]
    if found is None:
        return None
    steps, place = np.unique(found["step"][::-1], return_index=True)
    place = len(found["step"]) - 1 - place  # the last row of each step
    number: np.ndarray = np.zeros(len(steps))
    earned: np.ndarray = number
    if episodes is not None:
        each, at = episodes["return"], np.searchsorted(steps, episodes["step"])
        inside = (at < len(steps)) & np.isfinite(each)
        number, earned = (
            np.bincount(at[inside], weights=weights[inside], minlength=len(steps))
            for weights in (np.ones(len(at)), each)
        )
    last = None if final is None else {name: float(final[name][-1]) for name in LAST}
    returns, success, labels = (found[name][place] for name in ("return", "success", "labels"))
    return Evaluations(steps, returns, success, labels, number, earned, last)


def _duels(rows: dict[str, _Rows | None]) -> Duels | None:
    found, ends = rows["regret"], rows["end"]
    if found is None:
        return None
    times = found["t"]
    order = np.lexsort((found["repetition"], times))
    duels = np.unique(times)
    regret = {}
    for name in found.part.regrets:
        values = found[name]
        if not np.isnan(values).any():  # some have none without a Condorcet winner
            regret[name] = values[order].reshape(len(duels), -1)
    known = {} if ends is None else {name: ends[name].astype(float) for name in ENDS}
    return Duels(duels, regret, known)
