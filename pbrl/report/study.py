"""A results folder as lines: the finished cells that differ only in their seed, as one array."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pbrl import store
from pbrl.report import names
from pbrl.report.names import count, listed

KEYS = ("cell", "kind", "task", "learner", "teacher", "seed", "event", "step", "repetition", "t")


@dataclass(frozen=True)
class Line:
    """One learner on one environment under one teacher; runs are seeds."""

    task: str
    label: str
    teacher: str  # "" for a learner that asks none
    config: dict[str, Any]
    steps: np.ndarray  # [E] environment steps at which every run was evaluated
    returns: np.ndarray  # [E, runs] mean true return of one evaluation
    success: np.ndarray | None  # [E, runs] in 0..1, None where the task has no such notion
    labels: np.ndarray  # [E, runs] labels answered so far

    @property
    def runs(self) -> int:
        return self.returns.shape[-1]

    @property
    def learner(self) -> str:
        """The label without the teacher."""
        return self.label.replace(f" · {self.teacher}", "", 1) if self.teacher else self.label


@dataclass(frozen=True)
class Bandit:
    """One dueling-bandit algorithm on one problem; runs are repetitions."""

    task: str
    label: str
    config: dict[str, Any]
    duels: np.ndarray  # [P] duels played when regret was recorded
    regret: dict[str, np.ndarray]  # cumulative regret by name, [P, runs]
    ends: dict[str, float]  # means over repetitions of what the rows of event "end" say
    rate: float | None  # duels per second
    lower_bound: dict[str, float]  # constant of ln T by name of regret, where known
    changes: tuple[int, ...]  # duels at which the problem changes

    @property
    def runs(self) -> int:
        return next(iter(self.regret.values())).shape[-1]


@dataclass(frozen=True)
class Left:
    """A cell whose numbers are in no figure and no table, and why."""

    cell: str
    title: str
    status: str
    cause: str


@dataclass(frozen=True)
class Study:
    """Everything the figures and tables show."""

    lines: list[Line]
    bandits: list[Bandit]
    left: list[Left]
    versions: dict[str, Counter[str]]  # cells by version, of the source, packages, plug-ins
    notices: list[str]

    def problems(self) -> list[str]:
        """What a reader must know before believing a number; empty for a complete study."""
        found = []
        for status in sorted({one.status for one in self.left}):
            titles = [one.title for one in self.left if one.status == status]
            found.append(f"{status.capitalize()}, {count(len(titles), 'cell')}: {listed(titles)}")
        for package, counts in sorted(self.versions.items()):
            if len(counts) > 1:
                shown = ", ".join(f"{count(n, 'cell')} {v}" for v, n in sorted(counts.items()))
                found.append(f"Mixed versions of {package}: {shown}")
        return found


ENDS = ("resets", "correct", "samples", "delay", "false_alarms", "missed")


def read(root: Path | str) -> Study:
    """The study in a results folder; raises StoreError when `root` is not one."""
    return group(store.load(Path(root)))


def group(results: store.Results) -> Study:
    """Group finished cells into lines; every other cell is kept with its cause."""
    evaluations = _rows(results.frame, "eval", ("step", "return", "success", "labels"))
    regrets = _rows(results.frame, "regret", None)
    ends = _rows(results.frame, "end", ENDS)
    left: list[Left] = []
    families: dict[str, list[store.CellInfo]] = defaultdict(list)
    versions: dict[str, Counter[str]] = defaultdict(Counter)
    notices = []
    for cell in results.cells:
        is_bandit = cell.config.get("kind") == "bandit"
        out = _left(cell, (regrets if is_bandit else evaluations).get(cell.id))
        if out is not None:
            left.append(out)
            continue
        families[names.family(cell.config)].append(cell)
        notices += [f"{names.title(cell.config)}: {notice}" for notice in cell.notices]
        versions["pbrl"][_source(cell.environment)] += 1
        for package, version in cell.environment.get("packages", {}).items():
            versions[package][version] += 1
        for file, digest in cell.environment.get("plugins", {}).items():
            versions[file][digest[:8]] += 1
    named = names.lines([cells[0].config for cells in families.values()])
    lines, bandits = [], []
    for cells, (task, label) in zip(families.values(), named, strict=True):
        if cells[0].config["kind"] == "bandit":
            bandits.append(_bandit(task, label, cells, regrets, ends))
        else:
            lines.append(_line(task, label, cells, evaluations))
    return Study(lines, bandits, left, dict(versions), notices)


# --- cells to lines -----------------------------------------------------------------------------


def _rows(
    frame: pl.DataFrame, event: str, columns: tuple[str, ...] | None
) -> dict[str, pl.DataFrame]:
    """The rows of one event by cell, with the asked columns (null where absent)."""
    if "event" not in frame.columns:
        return {}
    rows = frame.filter(pl.col("event") == event)
    if columns is not None:
        present = [pl.col(c) if c in rows.columns else pl.lit(None).alias(c) for c in columns]
        rows = rows.select("cell", *present)
    parts = rows.partition_by("cell", as_dict=True)
    return {str(key[0]): part for key, part in parts.items()}


def _line(
    task: str, label: str, cells: Sequence[store.CellInfo], data: dict[str, pl.DataFrame]
) -> Line:
    """Runs side by side, at the steps they all were evaluated at."""
    runs = [data[cell.id].unique("step", keep="last").sort("step") for cell in cells]
    steps = runs[0]["step"].to_numpy()
    for run in runs[1:]:
        steps = np.intersect1d(steps, run["step"].to_numpy())
    runs = [run.filter(pl.col("step").is_in(steps)) for run in runs]

    def column(name: str) -> np.ndarray:
        values = [run[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for run in runs]
        return np.stack(values, axis=-1)

    success = column("success")
    config = cells[0].config
    return Line(
        task,
        label,
        store.labels(config)["teacher"],
        config,
        steps,
        column("return"),
        None if np.isnan(success).any() else success,
        np.nan_to_num(column("labels")),
    )


def _bandit(
    task: str,
    label: str,
    cells: Sequence[store.CellInfo],
    regrets: dict[str, pl.DataFrame],
    ends: dict[str, pl.DataFrame],
) -> Bandit:
    """Repetitions side by side, those of several seeds joined."""
    parts = [regrets[cell.id].sort("t", "repetition") for cell in cells]
    duels = parts[0]["t"].unique().sort().to_numpy()
    regret = {
        name: np.concatenate([p[name].to_numpy().reshape(len(duels), -1) for p in parts], axis=1)
        for name in parts[0].columns
        if name not in KEYS and all(_is_defined(part[name]) for part in parts)
    }
    parts_of_end = [ends[cell.id].select(ENDS) for cell in cells if cell.id in ends]
    joined = pl.concat(parts_of_end, how="vertical_relaxed") if parts_of_end else None
    means = {} if joined is None else joined.cast(pl.Float64).mean().row(0, named=True)
    rates = [r for cell in cells if (r := cell.summary.get("duels_per_second"))]
    facts = cells[0].summary
    return Bandit(
        task,
        label,
        cells[0].config,
        duels,
        regret,
        {name: mean for name, mean in means.items() if mean is not None},
        float(np.mean(rates)) if rates else None,
        facts.get("lower_bound") or {},
        tuple(facts.get("changes") or ()),
    )


def _left(cell: store.CellInfo, rows: pl.DataFrame | None) -> Left | None:
    """Why a cell cannot be used; None for a finished, whole one."""
    status, cause = str(cell.status), cell.problem or ""
    if cell.failure:
        cause = f"{cell.failure.get('kind', 'error')}: {cell.failure.get('message', '')}"
        if cell.failure.get("command"):
            cause += f" (repeat: {cell.failure['command']})"
    elif status == "done":
        if cell.problem or rows is None:
            status, cause = "unreadable", cause or "its metrics hold no evaluation and no regret"
        else:
            progress, goal = ("t", "horizon") if "t" in rows.columns else ("step", "steps")
            reached, planned = int(rows[progress].to_numpy().max()), cell.config.get(goal)
            if reached == planned:
                return None
            status, cause = "ended early", f"its last row is at {reached} of {planned}"
    return Left(cell.id, names.title(cell.config) or cell.id, status, cause)


def _is_defined(column: pl.Series) -> bool:
    """Whether a regret has a value everywhere; some have none without a Condorcet winner."""
    return column.dtype.is_float() and not column.has_nulls() and not column.is_nan().any()


def _source(environment: dict[str, Any]) -> str:
    source = environment.get("source") or ""
    return f"{environment.get('pbrl', 'of unknown version')} {source[:8]}".strip()
