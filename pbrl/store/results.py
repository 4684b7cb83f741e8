"""A results folder as a whole: its plan, and every cell's rows with what is wrong named."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pbrl.errors import CellError, Damaged, StoreError
from pbrl.store import atomic, frames, inputs, journal
from pbrl.store.cell import Cell, Status
from pbrl.store.lease import guard
from pbrl.store.provenance import source_digest

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class CellInfo:
    """What a report needs to know about one cell; `problem` is a sentence or None.

    A cell is damaged when something in it was looked at and is not what was written, unreadable
    when it could not be looked at; neither is done, and no number of it is shown.
    """

    id: str
    config: dict[str, Any]
    status: Status | Literal["damaged", "unreadable"]
    problem: str | None = None
    progress: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """All planned or present cells, and the rows of those that have any.

    What else is damaged (the plan, a folder without a configuration) stands among the cells, too.
    `frame` has the columns cell, kind, task, learner, teacher, seed, then those of the rows.
    """

    cells: list[CellInfo]
    frame: "polars.DataFrame"


@dataclass(frozen=True)
class Plan:
    """The cells a folder is for, in the plan's order, then those that only a folder tells of."""

    cells: list[Cell]
    plugins: list[str] = field(default_factory=list)
    """paths of the plug-ins of the last run"""
    damaged: list[CellInfo] = field(default_factory=list)
    """the plan itself, and folders that do not say which cell they are"""

    def code(self) -> dict[str, Any]:
        """Digests of the source and of the plug-ins of the last run as they are now."""
        now = {Path(path).name: inputs.content(Path(path)) for path in self.plugins}
        found = {name: digest for name, digest in now.items() if digest is not None}
        return {"source": source_digest(), "plugins": found}


# --- the plan -----------------------------------------------------------------------------------


def write_plan(
    root: Path,
    cells: Sequence[Cell],
    plugins: Sequence[str] = (),
    *,
    instead_of: Sequence[str] = (),
) -> list[CellInfo]:
    """Add these cells to the folder's plan, so that missing ones can be named.

    Those of the ids `instead_of`, which they stand for, leave it, and their folders go.

    Suites that share a folder share its plan; delete plan.json to forget cells no longer wanted. A
    damaged plan is made anew from the cells' folders, and returned as what was damaged; nothing is
    written where nothing is new. Raises StoreError when the folder cannot be read or written.
    """
    path = root / "plan.json"
    atomic.make_folder(root)
    if _known(path, cells, plugins, instead_of):
        return []
    with guard(root):
        atomic.clean(root)
        damaged = []
        try:
            known = _read(root)[0] if atomic.is_there(path) else []
        except Damaged as error:
            known = _folders(root, set())[0]
            damaged = [_damaged_plan(error)]
        known = [cell for cell in known if cell.id not in {*instead_of}]
        configs = {cell.id: cell.config for cell in [*known, *cells]}
        content = {"cells": list(configs.values()), "plugins": list(plugins)}
        atomic.write_file(path, atomic.sealed(content, indent=None))
        for cell_id in instead_of:
            atomic.remove(root / "cells" / cell_id)
    return damaged


def _known(
    path: Path, cells: Sequence[Cell], plugins: Sequence[str], instead_of: Sequence[str]
) -> bool:
    """Whether the plan holds all of this already, and none of what it stands for."""
    try:
        planned, known_plugins = _read(path.parent)
    except StoreError:
        return False
    configs = {cell.id: cell.config for cell in planned}
    known = all(configs.get(cell.id) == cell.config for cell in cells)
    known = known and not configs.keys() & {*instead_of}
    return known and known_plugins == list(plugins)


def _read(root: Path) -> tuple[list[Cell], list[str]]:
    """Cells and plug-ins of plan.json; raises Damaged, or StoreError when it cannot be read."""
    path = root / "plan.json"
    content = atomic.read_sealed(path)
    try:
        return [Cell(root, config) for config in content["cells"]], content["plugins"]
    except (KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{path} is no plan: {error!r}") from error


def _unusable(name: str, error: StoreError, told: str = "") -> CellInfo:
    """What stands among the cells for a plan or a folder that does not say which cells it is of."""
    damaged = isinstance(error, Damaged)
    return CellInfo(name, {}, "damaged" if damaged else "unreadable", problem=f"{error}{told}")


def _damaged_plan(error: StoreError) -> CellInfo:
    told = "; cells that were never begun are not known; run the suite again"
    return _unusable("plan.json", error, told)


def _folders(root: Path, known: set[str]) -> tuple[list[Cell], list[CellInfo]]:
    """Of the cells' folders that are not `known`: the cells, and those that say none."""
    found, strays = [], []
    for name in atomic.entries(root / "cells"):
        path = root / "cells" / name
        if name in known or name.startswith("."):
            continue
        try:
            found.append(Cell.at(path))
        except StoreError as error:
            strays.append(_unusable(name, error))
    return found, strays


def read_plan(root: Path) -> Plan:
    """What a results folder holds; damage in it is named and never fatal.

    Raises StoreError when `root` is not a results folder.
    """
    path, cells = root / "plan.json", root / "cells"
    if not atomic.is_there(path) and not atomic.is_there(cells):
        raise StoreError(
            f"{root} is not a results folder: found neither cells/ nor plan.json; give the folder "
            "that `pbrl run` printed"
        )
    planned: list[Cell] = []
    plugins: list[str] = []
    damaged: list[CellInfo] = []
    try:
        if atomic.is_there(path):
            planned, plugins = _read(root)
    except StoreError as error:
        damaged.append(_damaged_plan(error))
    try:
        found, strays = _folders(root, {cell.id for cell in planned})
    except StoreError as error:
        found, strays = [], [_unusable("cells", error)]
    return Plan([*planned, *found], plugins, [*damaged, *strays])


def begun(root: Path) -> set[str]:
    """Ids of the cells that have a folder; raises StoreError when that cannot be looked at."""
    return set(atomic.entries(root / "cells"))


# --- what can be said of a cell -----------------------------------------------------------------


def look(cell: Cell) -> CellInfo:
    """What a cell's folder says of it, raising nothing: seals are checked, weights by size."""
    return _look(cell)[0]


def _look(cell: Cell) -> tuple[CellInfo, "_Metrics | None"]:
    """The same, and what a finished cell recorded, as it was checked."""
    try:
        status = cell.status()
        if status != "done":
            failure = cell.failure() if status == "failed" else None
            progress = cell.progress()
            return CellInfo(cell.id, cell.config, status, failure=failure, progress=progress), None
        manifest = cell.whole_manifest()
        data = cell.check(manifest, weights=False)
        if not cell.is_known():
            raise Damaged(f"{cell.path / 'config.json'} is missing, torn or changed")
    except Damaged as error:
        problem = f"{error}; run the suite again to mend it"
        return CellInfo(cell.id, cell.config, "damaged", problem=problem), None
    except StoreError as error:
        return CellInfo(cell.id, cell.config, "unreadable", problem=str(error)), None
    info = CellInfo(
        cell.id,
        cell.config,
        status,
        summary=manifest["summary"],
        environment=manifest["environment"],
        seconds=manifest["seconds"],
        notices=tuple(manifest["notices"]),
    )
    rows = manifest["rows"]
    return info, _Metrics(data, rows["number"], tuple(rows["columns"].items()))


class _Metrics(NamedTuple):
    data: bytes
    rows: int
    columns: tuple[tuple[str, str], ...]


# --- rows ---------------------------------------------------------------------------------------

ROWS = 100_000  # that are read in one go


@dataclass(frozen=True)
class Batch:
    """Some cells and their rows, one cell's after the other's; `counts` says how many each has."""

    cells: list[CellInfo]
    counts: list[int]
    frame: "polars.DataFrame"


def batches(
    cells: Iterable[Cell], *, columns: Mapping[str, Sequence[str]] | None = None
) -> Iterator[Batch]:
    """Every cell with its rows, in no certain order: those of equal columns are read together.

    `columns` names those wanted of a kind of cell, all where it names none. A cell that is not done
    has the rows of its journal. Memory does not grow with the number of cells, but for what is
    known of each.
    """
    waiting: dict[Any, list[tuple[CellInfo, _Metrics]]] = defaultdict(list)
    rows: Counter[Any] = Counter()
    shared: dict[str, Any] = {}
    with ThreadPoolExecutor(1) as reader:  # the next batch is read while one is worked on
        coming: deque[Future[Batch]] = deque()
        for cell in cells:
            info, metrics = _look(cell)
            if metrics is None or not metrics.rows:
                yield _unfinished(cell, info)
                continue
            shared = info.environment if info.environment != shared else shared
            info = replace(info, environment=shared)  # one, not thousands of equal ones
            wanted = (columns or {}).get(info.config["kind"])
            chosen = [c for c, _ in metrics.columns if wanted is None or c in wanted]
            key = metrics.columns, tuple(chosen)
            waiting[key].append((info, metrics))
            rows[key] += metrics.rows
            if rows[key] >= ROWS:
                coming.append(reader.submit(_finished, waiting.pop(key), chosen))
                rows[key] = 0
                if len(coming) > 1:
                    yield coming.popleft().result()
        coming += [reader.submit(_finished, a, [*chosen]) for (_, chosen), a in waiting.items()]
        while coming:
            yield coming.popleft().result()


def _finished(alike: list[tuple[CellInfo, _Metrics]], columns: list[str]) -> Batch:
    frame = frames.from_parquet([metrics.data for _, metrics in alike], columns)
    return Batch([info for info, _ in alike], [metrics.rows for _, metrics in alike], frame)


def _unfinished(cell: Cell, info: CellInfo) -> Batch:
    rows: list[dict[str, Any]] = []
    if info.status not in ("done", "damaged", "unreadable"):
        try:
            rows, damaged = journal.read(cell.path / "journal.jsonl")
            if damaged:
                info = replace(info, problem=f"journal.jsonl: {damaged} damaged lines left out")
            return Batch([info], [len(rows)], frames.from_rows(rows))
        except (StoreError, CellError) as error:
            info = replace(info, problem=f"{error}")
    return Batch([info], [0], frames.from_rows([]))


def load(root: Path) -> Results:
    """Every cell of a folder; nothing damaged in it is fatal, and each damage is named.

    Raises StoreError when `root` is not a results folder.
    """
    import polars

    plan = read_plan(root)
    found: dict[str, tuple[CellInfo, polars.DataFrame | None]] = {}
    for batch in batches(plan.cells):
        start = 0
        for info, rows in zip(batch.cells, batch.counts, strict=True):
            part = _labeled(info, batch.frame[start : start + rows]) if rows else None
            found[info.id] = info, part
            start += rows
    infos = [found[cell.id][0] for cell in plan.cells]
    loaded = [part for cell in plan.cells if (part := found[cell.id][1]) is not None]
    frame = polars.concat(loaded, how="diagonal_relaxed") if loaded else polars.DataFrame()
    return Results([*infos, *plan.damaged], frame)


def _labeled(info: CellInfo, frame: "polars.DataFrame") -> "polars.DataFrame":
    import polars

    names = {"cell": info.id, "kind": info.config.get("kind"), **labels(info.config)}
    texts = {k: str(v).encode(errors="backslashreplace").decode() for k, v in names.items()}
    columns = [polars.lit(v, dtype=polars.String).alias(k) for k, v in texts.items()]
    columns.append(polars.lit(info.config.get("seed"), dtype=polars.Int64).alias("seed"))
    return frame.select([*columns, *(polars.col(c) for c in frame.columns if c not in names)])


def labels(config: dict[str, Any]) -> dict[str, str]:
    """task (env, problem or world), learner (or method, algorithm) and teacher, as labeled."""

    def label(*axes: str) -> str:
        named = next((config[axis] for axis in axes if config.get(axis)), None)
        return "" if named is None else named.get("label", named["name"])

    return {
        "task": label("env", "problem", "world"),
        "learner": label("method", "algorithm", "learner"),
        "teacher": label("teacher"),
    }


def title(config: dict[str, Any]) -> str:
    """A cell in one line: what learns, on what, taught by whom, which seed or how many labels."""
    names = labels(config)
    teacher = f", {names['teacher']} teacher" if names["teacher"] else ""
    which = "" if "repetitions" in config else f", seed {config.get('seed')}"
    if config.get("kind") == "tabular":
        which = f", {config['labels']:,} labels"
    return f"{names['learner']} on {names['task']}{teacher}{which}"
