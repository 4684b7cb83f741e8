"""A results folder as a whole: its plan, and every cell's rows with what is wrong named."""

import contextlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbrl.errors import StoreError
from pbrl.store import atomic, frames, journal
from pbrl.store.cell import Cell, Status
from pbrl.store.lease import guard

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class CellInfo:
    """What a report needs to know about one cell; `problem` is a sentence or None."""

    id: str
    config: dict[str, Any]
    status: Status
    problem: str | None = None
    failure: dict[str, Any] | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """All planned or present cells, and the rows of those that have any.

    `frame` has the columns cell, kind, task, learner, teacher, seed, then those of the rows.
    """

    cells: list[CellInfo]
    frame: "polars.DataFrame"


# --- the plan -----------------------------------------------------------------------------------


def write_plan(root: Path, cells: Iterable[Cell]) -> None:
    """Add these cells to the folder's plan, so that missing ones can be named; raises StoreError.

    Suites that share a folder share its plan; delete plan.json to forget cells no longer wanted.
    """
    atomic.make_folder(root)
    with guard(root):
        known = {cell.id: cell.config for cell in _planned(root)}
        known |= {cell.id: cell.config for cell in cells}
        atomic.write_file(root / "plan.json", json.dumps({"cells": list(known.values())}).encode())


def _planned(root: Path) -> list[Cell]:
    path = root / "plan.json"
    try:
        return [Cell(root, config) for config in json.loads(path.read_bytes())["cells"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is damaged ({error}); delete it and run the suite again"
        ) from error


def read_plan(root: Path) -> list[Cell]:
    """The planned cells in the plan's order, then those that only a folder tells of.

    Raises StoreError when `root` is not a results folder or its plan is damaged.
    """
    folder = root / "cells"
    with atomic.explained(root, doing="read"):
        exists = folder.is_dir() or (root / "plan.json").is_file()
    if not exists:
        raise StoreError(
            f"{root} is not a results folder: found neither cells/ nor plan.json; give the folder "
            "that `pbrl run` printed"
        )
    planned = _planned(root)
    known = {cell.id for cell in planned}
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name not in known:
            with contextlib.suppress(StoreError):  # `load` names those that cannot be read
                found.append(Cell.at(path))
    return planned + found


# --- rows ---------------------------------------------------------------------------------------


def load(root: Path) -> Results:
    """Every cell of a folder; nothing damaged in it is fatal, and each damage is named.

    Raises StoreError when `root` is not a results folder.
    """
    import polars

    infos, loaded = [], []
    for cell in read_plan(root):
        info, frame = _load_cell(cell)
        infos.append(info)
        if frame is not None and frame.height:
            loaded.append(_labelled(info, frame))
    known = {info.id for info in infos}
    folder = root / "cells"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir() and path.name not in known:
            infos.append(_stray(path))
    if not loaded:
        return Results(infos, polars.DataFrame())
    return Results(infos, polars.concat(loaded, how="diagonal_relaxed"))


def _stray(path: Path) -> CellInfo:
    try:
        Cell.at(path)
        problem = None
    except StoreError as error:
        problem = str(error)
    return CellInfo(path.name, {}, "missing", problem=problem)


def _load_cell(cell: Cell) -> tuple[CellInfo, "polars.DataFrame | None"]:
    status = cell.status()
    if status != "done":
        rows, damaged = journal.read(cell.path / "journal.jsonl")
        problem = f"journal.jsonl: {damaged} damaged lines left out" if damaged else None
        try:
            frame = frames.from_rows(rows)
        except Exception as error:
            frame, problem = None, f"journal.jsonl: {error}"
        return CellInfo(cell.id, cell.config, status, problem, cell.failure()), frame
    try:
        manifest = atomic.read_sealed(cell.path / "manifest.json")
        frame = _metrics(cell.path / "metrics.parquet", manifest["files"]["metrics.parquet"])
    except (StoreError, KeyError) as error:
        return CellInfo(cell.id, cell.config, status, f"{error}; delete {cell.path}"), None
    info = CellInfo(
        cell.id,
        cell.config,
        status,
        summary=manifest["summary"],
        environment=manifest["environment"],
        seconds=manifest["seconds"],
        notices=tuple(manifest["notices"]),
    )
    return info, frame


def _metrics(path: Path, seal: dict[str, Any]) -> "polars.DataFrame":
    import polars

    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path.name} is missing: {error.strerror}") from error
    if len(data) != seal["size"]:
        raise StoreError(f"{path.name} is truncated: {len(data)} of {seal['size']} bytes")
    if sha256(data).hexdigest() != seal["sha256"]:
        raise StoreError(f"{path.name} is damaged: its SHA-256 differs from the manifest")
    return polars.read_parquet(io.BytesIO(data))


def _labelled(info: CellInfo, frame: "polars.DataFrame") -> "polars.DataFrame":
    import polars

    names = {"cell": info.id, "kind": info.config.get("kind"), **labels(info.config)}
    texts = {k: str(v).encode(errors="backslashreplace").decode() for k, v in names.items()}
    columns = [polars.lit(v, dtype=polars.String).alias(k) for k, v in texts.items()]
    columns.append(polars.lit(info.config.get("seed"), dtype=polars.Int64).alias("seed"))
    return frame.select([*columns, *(polars.col(c) for c in frame.columns if c not in names)])


def labels(config: dict[str, Any]) -> dict[str, str]:
    """task (env or problem), learner (method or algorithm) and teacher, as a suite labels them."""

    def label(*axes: str) -> str:
        named = next((config[axis] for axis in axes if config.get(axis)), None)
        return "" if named is None else named.get("label", named["name"])

    return {
        "task": label("env", "problem"),
        "learner": label("method", "algorithm"),
        "teacher": label("teacher"),
    }


def title(config: dict[str, Any]) -> str:
    """A cell in one line: what learns, on what, taught by whom, which seed."""
    names = labels(config)
    teacher = f", {names['teacher']} teacher" if names["teacher"] else ""
    seed = "" if config.get("kind") == "bandit" else f", seed {config.get('seed')}"
    return f"{names['learner']} on {names['task']}{teacher}{seed}"
