"""A results folder as lines: the finished cells that differ only in their seed, as one array."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pbrl import store
from pbrl.errors import count
from pbrl.report import names, rows
from pbrl.report.names import Name, listed, printable
from pbrl.report.rows import Run


@dataclass(frozen=True)
class Line:
    """One learner on one environment under one teacher; runs are seeds."""

    name: Name
    config: dict[str, Any]
    steps: np.ndarray  # [E] environment steps at which every run was evaluated
    returns: np.ndarray  # [E, runs] mean true return of one evaluation
    success: np.ndarray | None  # [E, runs] in 0..1, None where the task has no such notion
    labels: np.ndarray  # [E, runs] labels answered so far
    undecided: float | None  # share of all pairs asked whose scores were equal; None without any
    noise: float | None  # share of clear labels that who gave them found less likely; None if none
    training: np.ndarray  # [E, runs] mean true return of training since then; NaN without episode
    last: dict[str, np.ndarray]  # return, success, episodes of the last, large evaluation [runs]

    @property
    def task(self) -> str:
        return self.name.task

    @property
    def learner(self) -> str:
        """The label without the teacher."""
        return names.joined(self.name.learner, "", self.name.setting)

    @property
    def teacher(self) -> str:
        return self.name.teacher

    @property
    def label(self) -> str:
        return names.joined(self.name.learner, self.name.teacher, self.name.setting)

    @property
    def runs(self) -> int:
        return self.returns.shape[-1]

    @property
    def repeat(self) -> int:
        """Simulator steps per environment step."""
        repeat = self.config["env"].get("action_repeat")
        return repeat if isinstance(repeat, int) and repeat > 0 else 1

    @property
    def asks(self) -> bool:
        return bool(self.config.get("teacher"))


@dataclass(frozen=True)
class Bandit:
    """One dueling-bandit algorithm on one problem; runs are repetitions."""

    name: Name
    config: dict[str, Any]
    duels: np.ndarray  # [P] duels played when regret was recorded
    regret: dict[str, np.ndarray]  # cumulative regret by name, [P, runs]
    ends: dict[str, float]  # means over repetitions of what the rows of event "end" say
    rate: float | None  # duels per second
    lower_bound: dict[str, float]  # constant of ln T by name of regret, where known
    changes: tuple[int, ...]  # duels at which the problem changes

    @property
    def task(self) -> str:
        return self.name.task

    @property
    def label(self) -> str:
        return names.joined(self.name.learner, "", self.name.setting)

    @property
    def runs(self) -> int:
        return next(iter(self.regret.values())).shape[-1]


@dataclass(frozen=True)
class Tabular:
    """One learner in one world (or family of them) under one teacher; runs are repetitions."""

    name: Name
    config: dict[str, Any]
    values: dict[str, np.ndarray]  # by column of the rows "fit", [runs], NaN where it has none

    @property
    def task(self) -> str:
        return self.name.task

    @property
    def learner(self) -> str:
        return self.name.learner

    @property
    def teacher(self) -> str:
        return self.name.teacher

    @property
    def runs(self) -> int:
        return len(self.values["near_optimal"])

    def known(self, column: str) -> np.ndarray:
        """The values of a column, those that there are."""
        values = self.values.get(column, np.empty(0))
        return values[~np.isnan(values)]


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
    tabular: list[Tabular]
    left: list[Left]
    versions: dict[str, Counter[str]]  # cells by version: source, plug-ins, Python, packages
    notices: list[str]  # of single cells, such as a damaged checkpoint
    notes: list[tuple[str, str]]  # (task, text), such as a regret that is not defined there
    resumed: list[str]  # titles of cells that other versions began

    @property
    def finished(self) -> int:
        """How many cells stand behind the lines."""
        return self.versions["pbrl"].total() if "pbrl" in self.versions else 0

    def notes_on(self, shown: "Sequence[Line | Bandit | Tabular]") -> list[str]:
        """What the cells say of the tasks that a table or figure shows."""
        tasks = {one.task for one in shown}
        return [f"{task}: {text}" for task, text in self.notes if task in tasks]

    def problems(self) -> list[str]:
        """What a reader must know before believing a number; empty for a complete study."""
        found = []
        for status in sorted({one.status for one in self.left}):
            titles = [one.title for one in self.left if one.status == status]
            found.append(f"{status.capitalize()}, {count(len(titles), 'cell')}: {listed(titles)}")
        return found + self.mixed()

    def mixed(self) -> list[str]:
        """Of what the numbers are mixtures."""
        found = []
        for part, counts in sorted(self.versions.items()):
            if len(counts) > 1:
                shown = ", ".join(f"{count(n, 'cell')} {v}" for v, n in sorted(counts.items()))
                found.append(f"Mixed versions of {part}: {shown}")
        if self.resumed:
            found.append(
                f"Mixed within {count(len(self.resumed), 'cell')}, continued with other versions: "
                f"{listed(self.resumed)}"
            )
        return found


def read(root: Path | str) -> Study:
    """The study in a results folder; raises StoreError when `root` is not one."""
    return group(*recorded(Path(root)))


def recorded(root: Path) -> tuple[list[store.CellInfo], dict[str, Run]]:
    """Every cell of a folder, and by its id what its rows say, if they say anything."""
    plan = store.read_plan(root)
    cells: dict[str, store.CellInfo] = {}
    found: dict[str, Run] = {}
    for batch in store.batches(plan.cells, columns=rows.COLUMNS):
        for cell, run in rows.runs(batch):
            cells[cell.id] = cell
            if run is not None:
                found[cell.id] = run
    return [*(cells[cell.id] for cell in plan.cells), *plan.damaged], found


def group(cells: Sequence[store.CellInfo], runs: dict[str, Run]) -> Study:
    """Group finished cells into lines; every other cell is kept with its cause."""
    left: list[Left] = []
    families: dict[str, list[store.CellInfo]] = defaultdict(list)
    environments: Counter[str] = Counter()
    versions: dict[str, Counter[str]] = defaultdict(Counter)
    notices, resumed = [], []
    asides = _oracles(cells)
    notes: dict[tuple[str, str], None] = {}
    for cell in cells:
        out = _left(cell, runs.get(cell.id))
        if out is not None:
            left.append(out)
            continue
        if cell.id in asides:
            notes[_consulted(cell, runs[cell.id])] = None
        else:
            families[names.family(cell.config)].append(cell)
        if cell.notices:
            title = names.title(cell.config)
            notices += [f"{title}: {printable(notice)}" for notice in cell.notices]
            if any(CONTINUED in notice for notice in cell.notices):
                resumed.append(title)
        environments[names.canonical(cell.environment)] += 1
    for text, number in environments.items():
        for part, version in _versions(json.loads(text)):
            versions[part][version] += number
    named = names.of_families([alike[0].config for alike in families.values()])
    lines, bandits, tabular = [], [], []
    for alike, name in zip(families.values(), named, strict=True):
        said = [printable(text) for cell in alike for text in cell.summary.get("notes") or ()]
        notes |= dict.fromkeys((name.task, text) for text in said)
        if alike[0].config["kind"] == "bandit":
            bandits.append(_bandit(name, alike, runs))
        elif alike[0].config["kind"] == "tabular":
            tabular.append(_tabular(name, alike, runs))
        else:
            lines.append(_line(name, alike, runs))
    return Study(lines, bandits, tabular, left, dict(versions), notices, list(notes), resumed)


def _oracles(cells: Sequence[store.CellInfo]) -> set[str]:
    """Ids of the cells that teachers of others consult: they are no learners to compare with."""
    consulted = (cell.config.get("oracle") or {} for cell in cells)
    return {oracle["cell"] for oracle in consulted if "cell" in oracle}


def _consulted(cell: store.CellInfo, run: Run) -> tuple[str, str]:
    """(task, what is to be said of its oracle)."""
    returned = run.last["return"] if isinstance(run, rows.Evaluations) and run.last else None
    text = f"teachers consult an expert, SAC on the true reward for {cell.config['steps']:,} steps"
    told = "" if returned is None else f", whose last evaluation returned {returned:.4g}"
    return printable(store.labels(cell.config)["task"]), text + told + "."


CONTINUED = "with other versions"  # in the store's notice of a cell that other packages continued


def _versions(environment: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(part, version) of all that decides a cell's numbers besides its configuration."""
    source = str(environment.get("source") or "")
    yield "pbrl", printable(f"{environment.get('pbrl', 'unknown')} {source[:8]}".strip())
    if "python" in environment:
        yield "python", printable(environment["python"])
    for package, version in environment.get("packages", {}).items():
        yield printable(package), printable(version)
    for plugin, digest in environment.get("plugins", {}).items():
        yield printable(plugin), printable(str(digest)[:8])


# --- cells to lines -----------------------------------------------------------------------------


def _line(name: Name, cells: Sequence[store.CellInfo], runs: dict[str, Any]) -> Line:
    """Runs side by side, at the steps they all were evaluated at."""
    found: list[rows.Evaluations] = [runs[cell.id] for cell in cells]
    steps = found[0].steps
    for run in found[1:]:
        if not np.array_equal(steps, run.steps):
            steps = np.intersect1d(steps, run.steps)
    found = [run.at(steps) for run in found]
    success = np.stack([run.success for run in found], axis=-1)
    return Line(
        name,
        cells[0].config,
        steps,
        np.stack([run.returns for run in found], axis=-1),
        None if np.isnan(success).any() else success,
        np.nan_to_num(np.stack([run.labels for run in found], axis=-1)),
        _share(cells, ("undecided",), ("asked",)),
        _share(cells, ("noisy",), ("answered", "ties")),
        np.stack([run.training for run in found], axis=-1),
        _last([run.last for run in found]),
    )


def _share(cells: Sequence[store.CellInfo], some: Sequence[str], of: Sequence[str]) -> float | None:
    """One count of the runs over another, less the ones named after it; None where it is 0."""
    counts = [cell.summary.get("counts") or {} for cell in cells]

    def total(first: str, *less: str) -> int:
        return sum(one.get(first, 0) - sum(one.get(key, 0) for key in less) for one in counts)

    found = total(*some)
    return found / total(*of) if found else None


def _last(runs: Sequence[dict[str, float] | None]) -> dict[str, np.ndarray]:
    """What the last evaluation of each run says; empty unless every run has one."""
    known = [run for run in runs if run is not None]
    if len(known) < len(runs):
        return {}
    found = {column: np.array([run[column] for run in known]) for column in rows.LAST}
    return {column: values for column, values in found.items() if not np.isnan(values).any()}


def _bandit(name: Name, cells: Sequence[store.CellInfo], runs: dict[str, Any]) -> Bandit:
    """Repetitions side by side, those of several seeds joined."""
    parts: list[rows.Duels] = [runs[cell.id] for cell in cells]
    regret = {
        name: _joined([part.regret[name] for part in parts])
        for name in parts[0].regret
        if all(name in part.regret for part in parts)
    }
    ends = [part.ends for part in parts if part.ends]
    known = {key: np.concatenate([end[key] for end in ends]) for key in rows.ENDS if ends}
    rates = [r for cell in cells if (r := cell.summary.get("duels_per_second"))]
    facts = cells[0].summary
    return Bandit(
        name,
        cells[0].config,
        parts[0].duels,
        regret,
        {key: float(np.nanmean(v)) for key, v in known.items() if not np.isnan(v).all()},
        float(np.mean(rates)) if rates else None,
        facts.get("lower_bound") or {},
        tuple(facts.get("changes") or ()),
    )


def _tabular(name: Name, cells: Sequence[store.CellInfo], runs: dict[str, Run]) -> Tabular:
    """Repetitions side by side, those of several seeds joined."""
    parts = [found for cell in cells if isinstance(found := runs[cell.id], rows.Fits)]
    values = {
        column: np.concatenate([part.values[column] for part in parts])
        for column in parts[0].values
        if all(column in part.values for part in parts)
    }
    return Tabular(name, cells[0].config, values)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Arrays [P, runs] side by side; one alone is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _left(cell: store.CellInfo, run: Run | None) -> Left | None:
    """Why a cell cannot be used; None for a finished, whole one."""
    status, cause = str(cell.status), cell.problem or ""
    if cell.failure:
        cause = f"{cell.failure.get('kind', 'error')}: {cell.failure.get('message', '')}"
        if cell.failure.get("command"):
            cause += f" (repeat: {cell.failure['command']})"
    elif status == "done":
        if cell.problem or run is None:
            status, cause = "unreadable", cause or "its metrics hold no result"
        else:
            planned = cell.config.get(run.goal)
            if run.reached == planned:
                return None
            status, cause = "ended early", f"its last row is at {run.reached} of {planned}"
    return Left(
        cell.id, names.title(cell.config) or cell.id, status, printable(" ".join(cause.split()))
    )
