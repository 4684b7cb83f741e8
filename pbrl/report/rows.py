"""What a report keeps of the rows of one cell: read once, so that a large folder fits into memory.

Rows come in batches of many cells; what stands in them is cut out with numpy, as a call to polars
costs as much for the rows of one cell as for those of a hundred.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import polars as pl

from pbrl import store

KEYS = ("cell", "kind", "task", "learner", "teacher", "seed", "event", "step", "repetition", "t")
ENDS = ("resets", "correct", "samples", "delay", "false_alarms", "missed", "policy_regret")
LAST = ("return", "success", "episodes")
COLUMNS = {"online": ("event", "step", "labels", *LAST)}  # those shown; of a bandit all are


@dataclass(frozen=True)
class Evaluations:
    """One run of an agent; NaN where there is no number."""

    goal: ClassVar = "steps"  # of the configuration, that `reached` is to be

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

    goal: ClassVar = "horizon"

    duels: np.ndarray  # [P] duels played when regret was recorded
    regret: dict[str, np.ndarray]  # cumulative regret by name, [P, runs]
    ends: dict[str, np.ndarray]  # what the rows of event "end" say, [runs]; NaN without a number

    @property
    def reached(self) -> int:
        return int(self.duels[-1])


@dataclass(frozen=True)
class Fits:
    """The repetitions of one tabular cell."""

    goal: ClassVar = "repetitions"
    values: dict[str, np.ndarray]  # what the rows of event "fit" say, [runs]; NaN without a number

    @property
    def reached(self) -> int:
        return len(self.values["near_optimal"])


Run = Evaluations | Duels | Fits


def runs(batch: store.Batch) -> Iterator[tuple[store.CellInfo, Run | None]]:
    """Each cell of a batch with what its rows say; None without an evaluation, regret or fit."""
    columns = {
        c.name: _numbers(c) for c in batch.frame if c.dtype.is_numeric() or c.dtype == pl.Boolean
    }
    owners = np.repeat(np.arange(len(batch.cells)), batch.counts)
    parts = {}
    for event in ("eval", "final", "episode", "regret", "end", "fit"):
        chosen = np.zeros(0, int)
        if batch.frame.schema.get("event") == pl.String:
            chosen = (batch.frame["event"] == event).arg_true().to_numpy()
        starts = np.searchsorted(owners[chosen], np.arange(len(batch.cells) + 1))
        parts[event] = [chosen[start:end] for start, end in pairwise(starts)]
    for number, cell in enumerate(batch.cells):
        rows = {event: _Rows(columns, part[number]) for event, part in parts.items()}
        made = MADE.get(str(cell.config.get("kind")), _evaluations)
        yield cell, made(**rows)


def _numbers(column: pl.Series) -> np.ndarray:
    """A column as numbers, NaN where there is none; steps and times are whole."""
    if column.name in KEYS:
        return column.to_numpy()
    return column.cast(pl.Float64).to_numpy()


@dataclass(frozen=True)
class _Rows:
    """The rows of one event of one cell."""

    columns: dict[str, np.ndarray]
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, column: str) -> np.ndarray:
        found = self.columns.get(column)
        return np.full(len(self), np.nan) if found is None else found[self.places]


def _evaluations(eval: _Rows, episode: _Rows, final: _Rows, **_: _Rows) -> Evaluations | None:
    if not len(eval) or "step" not in eval.columns:
        return None
    steps = eval["step"]
    returns, success, labels = (eval[name] for name in ("return", "success", "labels"))
    if not (steps[1:] > steps[:-1]).all():
        steps, place = np.unique(steps[::-1], return_index=True)
        place = len(returns) - 1 - place  # the last row of each step
        returns, success, labels = (values[place] for values in (returns, success, labels))
    each, at = episode["return"], np.searchsorted(steps, episode["step"])
    inside = (at < len(steps)) & np.isfinite(each)
    episodes, earned = (
        np.bincount(at[inside], weights=weights[inside], minlength=len(steps))
        for weights in (np.ones(len(at)), each)
    )
    last = {name: float(final[name][-1]) for name in LAST} if len(final) else None
    return Evaluations(steps, returns, success, labels, episodes, earned, last)


def _duels(regret: _Rows, end: _Rows, **_: _Rows) -> Duels | None:
    if not len(regret) or "t" not in regret.columns:
        return None
    times = regret["t"]
    order = np.lexsort((regret["repetition"], times))
    duels = np.unique(times)
    known = {
        name: values[order].reshape(len(duels), -1)
        for name in regret.columns
        if name not in (*KEYS, *ENDS) and not np.isnan(values := regret[name]).any()
    }
    return Duels(duels, known, {name: end[name] for name in ENDS} if len(end) else {})


def _fits(fit: _Rows, **_: _Rows) -> Fits | None:
    if not len(fit) or "repetition" not in fit.columns:
        return None
    order = np.argsort(fit["repetition"])
    names = {*fit.columns, "near_optimal", "scaled_return"} - {*KEYS}
    return Fits({name: fit[name][order] for name in sorted(names)})


MADE: dict[str, Any] = {"bandit": _duels, "tabular": _fits}
