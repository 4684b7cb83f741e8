"""Cells whose teacher consults an oracle of the same suite: it comes first, its failure is theirs.

Until an oracle is there, the cells that need it stand in the plan under provisional ids; then the
digest of its weights becomes part of what they are, and they are computed under their own.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pbrl.errors import StoreError
from pbrl.jobs import queue
from pbrl.jobs.queue import Report, Summary
from pbrl.store import Cell, Locked, changed, write_plan
from pbrl.store.provenance import code
from pbrl.suites import oracles


def run_cells(
    cells: Sequence[Cell],
    root: Path,
    *,
    plugins: Sequence[str] = (),
    retry: Sequence[str] = (),
    on_event: Report = lambda what, cell, note: None,
    on_resolved: Callable[[Sequence[Cell], Sequence[Cell]], None] = lambda before, after: None,
    **how: Any,
) -> tuple[Summary, list[Cell]]:
    """`queue.run_cells`, oracles and what needs none first; also the cells as they are then.

    `on_resolved(before, after)` is told which cells stand now where others stood. Cells of an
    oracle that failed fail with its cause.
    """
    anew = {cell.id for cell in cells if "outdated" in retry and _is_outdated(cell)}
    waiting: list[Cell] = []
    ready: list[Cell] = []
    for cell in cells:
        oracle = oracles.oracle_of(cell.config)
        waits = oracles.is_waiting(cell.config) or oracle.get("cell") in anew
        (waiting if waits else ready).append(cell)
    how |= {"plugins": plugins, "on_event": on_event, "retry": retry}
    summary = queue.run_cells(ready, root, **how)
    if not waiting or summary.signal is not None:
        return summary, [*cells]
    now = [Cell(root, oracles.resolved(oracles.stand_in(cell.config), root)) for cell in waiting]
    pairs = list(zip(waiting, now, strict=True))
    there = [pair for pair in pairs if not oracles.is_waiting(pair[1].config)]
    before, after = [old for old, _ in there], [new for _, new in there]
    replaced = [old.id for old, new in there if old.id != new.id and oracles.is_waiting(old.config)]
    write_plan(root, after, plugins, instead_of=replaced)
    on_resolved(before, after)
    known = {cell.id: cell for cell in ready}
    for old, new in pairs:
        if oracles.is_waiting(new.config):
            _fail(old, known.get(old.config["oracle"]["cell"]), summary, on_event)
    later = queue.run_cells(after, root, **how)
    for name in ("done", "skipped", "failed"):
        getattr(summary, name).extend(getattr(later, name))
    summary.outdated |= later.outdated
    summary.signal = later.signal
    return summary, [*ready, *now]


def _is_outdated(cell: Cell) -> bool:
    return bool(changed((cell.manifest() or {}).get("environment", {}), code()))


def _fail(cell: Cell, oracle: Cell | None, summary: Summary, on_event: Report) -> None:
    """Record that a cell cannot be computed because its oracle is not there, and why."""
    cause = (oracle and oracle.failure()) or {"kind": "lost", "message": "it was not computed"}
    message = f"its oracle {cell.config['oracle']['cell']} failed: {cause['message']}"
    try:
        with cell.lock():
            cell.fail(
                cause["kind"],
                message,
                traceback=cause.get("traceback", ""),
                command=cause.get("command", ""),
            )
    except (Locked, StoreError) as error:
        message = f"{message}; {error}"
    summary.failed.append(cell)
    on_event("failed", cell, message)
