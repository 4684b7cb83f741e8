"""A results folder as lines: the finished cells that differ only in their seed, as one array."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pbrl import store

NOT_THE_LEARNER = ("seed", "execution", "device")  # cells differing in these alone are one line


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
    resets: float | None  # mean per repetition
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
    versions: dict[str, Counter[str]]  # cells by version, for the source and each package
    notices: list[str]

    def problems(self) -> list[str]:
        """What a reader must know before believing a number; empty for a complete study."""
        found = []
        for status in sorted({one.status for one in self.left}):
            titles = [one.title for one in self.left if one.status == status]
            found.append(f"{status.capitalize()}, {_count(len(titles), 'cell')}: {listed(titles)}")
        for package, counts in sorted(self.versions.items()):
            if len(counts) > 1:
                shown = ", ".join(f"{_count(n, 'cell')} {v}" for v, n in sorted(counts.items()))
                found.append(f"Mixed versions of {package}: {shown}")
        return found


def generator(*names: str) -> np.random.Generator:
    """The random stream of one interval: its own, so that other lines never shift it."""
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def read(root: Path | str) -> Study:
    """The study in a results folder; raises StoreError when `root` is not one."""
    return group(store.load(Path(root)))


def group(results: store.Results) -> Study:
    """Group finished cells into lines; every other cell is kept with its cause."""
    evaluations = _rows(results.frame, "eval", ("step", "return", "success", "labels"))
    regrets = _rows(results.frame, "regret", None)
    resets = _rows(results.frame, "end", ("resets",))
    left: list[Left] = []
    families: dict[str, list[store.CellInfo]] = defaultdict(list)
    versions: dict[str, Counter[str]] = defaultdict(Counter)
    notices = []
    for cell in results.cells:
        data = regrets if cell.config.get("kind") == "bandit" else evaluations
        if cell.status != "done" or cell.problem or cell.id not in data:
            left.append(_left(cell))
            continue
        families[_family(cell.config)].append(cell)
        notices += [f"{title(cell.config)}: {notice}" for notice in cell.notices]
        versions["pbrl"][_source(cell.environment)] += 1
        for package, version in cell.environment.get("packages", {}).items():
            versions[package][version] += 1
    names = _named([cells[0].config for cells in families.values()])
    lines, bandits = [], []
    for cells, (task, label) in zip(families.values(), names, strict=True):
        if cells[0].config["kind"] == "bandit":
            bandits.append(_bandit(task, label, cells, regrets, resets))
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
    resets: dict[str, pl.DataFrame],
) -> Bandit:
    """Repetitions side by side, those of several seeds joined."""
    parts = [regrets[cell.id].sort("t", "repetition") for cell in cells]
    duels = parts[0]["t"].unique().sort().to_numpy()
    known = {"cell", "kind", "task", "learner", "teacher", "seed", "event", "step", "repetition"}
    names = [
        column
        for column, dtype in parts[0].schema.items()
        if column not in known | {"t"} and dtype.is_numeric() and not parts[0][column].has_nulls()
    ]
    regret = {
        name: np.concatenate([p[name].to_numpy().reshape(len(duels), -1) for p in parts], axis=1)
        for name in names
    }
    counts = [resets[cell.id]["resets"].drop_nulls() for cell in cells if cell.id in resets]
    means = [series.cast(pl.Float64).to_numpy().mean() for series in counts if len(series)]
    rates = [r for cell in cells if (r := cell.summary.get("duels_per_second"))]
    facts = cells[0].summary
    return Bandit(
        task,
        label,
        cells[0].config,
        duels,
        regret,
        float(np.mean(means)) if means else None,
        float(np.mean(rates)) if rates else None,
        facts.get("lower_bound") or {},
        tuple(facts.get("changes") or ()),
    )


def _left(cell: store.CellInfo) -> Left:
    cause, status = cell.problem or "", str(cell.status)
    if status == "done":
        status = "unreadable"
        cause = cause or "its metrics hold no evaluation and no regret"
    if cell.failure:
        cause = f"{cell.failure.get('kind', 'error')}: {cell.failure.get('message', '')}"
        if cell.failure.get("command"):
            cause += f" (repeat: {cell.failure['command']})"
    return Left(cell.id, title(cell.config) or cell.id, status, cause)


def _source(environment: dict[str, Any]) -> str:
    source = environment.get("source") or ""
    return f"{environment.get('pbrl', 'of unknown version')} {source[:8]}".strip()


# --- names --------------------------------------------------------------------------------------


def title(config: dict[str, Any]) -> str:
    """A cell in one line: learner, task, teacher and seed."""
    if not config:
        return ""
    names = store.labels(config)
    parts = [_joined(names["learner"], names["teacher"]), f"on {names['task']}"]
    if config.get("kind") != "bandit":
        parts.append(f"seed {config.get('seed')}")
    return " ".join(parts)


def _joined(learner: str, teacher: str) -> str:
    return f"{learner} · {teacher}" if teacher else learner


def _family(config: dict[str, Any]) -> str:
    kept = {key: value for key, value in config.items() if key not in NOT_THE_LEARNER}
    return json.dumps(kept, sort_keys=True)


def _named(configs: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """(task, line label) of each family; whatever two equal names differ in is added to them."""
    names = [store.labels(config) for config in configs]
    kinds = [str(config.get("kind")) for config in configs]
    places = [_flat(c.get("env") or c.get("problem") or {}, "") for c in configs]
    tasks = _told_apart([(k, n["task"]) for k, n in zip(kinds, names, strict=True)], places)
    learners = [_joined(n["learner"], n["teacher"]) for n in names]
    settings = [
        _flat({k: v for k, v in c.items() if k not in (*NOT_THE_LEARNER, "env", "problem")}, "")
        for c in configs
    ]
    labels = _told_apart(list(zip(kinds, tasks, learners, strict=True)), settings)
    return list(zip(tasks, labels, strict=True))


def _told_apart(names: Sequence[tuple[str, ...]], settings: list[dict[str, Any]]) -> list[str]:
    """The last part of each name, with the settings added in which equal names differ."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        groups[name].append(i)
    shown = [name[-1] for name in names]
    for members in groups.values():
        known = dict.fromkeys(key for i in members for key in settings[i])
        keys = [k for k in known if len({repr(settings[i].get(k)) for i in members}) > 1]
        top = {k for k in keys if "." not in k}  # steps and labels stand in the method, too
        keys = [k for k in keys if k in top or k.rpartition(".")[2] not in top]
        for i in members:
            added = ", ".join(f"{k.rpartition('.')[2]}={settings[i].get(k)}" for k in keys)
            shown[i] += f" ({added})" if added else ""
    return shown


def _flat(value: Any, path: str) -> dict[str, Any]:
    """Nested dictionaries as one with dotted keys, without labels."""
    if not isinstance(value, dict):
        return {path: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if key != "label":
            flat |= _flat(inner, f"{path}.{key}" if path else key)
    return flat


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def listed(titles: Sequence[str], most: int = 4) -> str:
    """The first few titles, and how many more there are."""
    shown = "; ".join(titles[:most])
    return shown if len(titles) <= most else f"{shown}; and {len(titles) - most} more"
