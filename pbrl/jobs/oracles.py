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
from pbrl.store import Cell, Locked, write_plan
from pbrl.suites import oracles


def run_cells(
    cells: Sequence[Cell],
    root: Path,
    *,
    plugins: Sequence[str] = (),
    on_event: Report = lambda what, cell, note: None,
    on_resolved: Callable[[Sequence[Cell], Sequence[Cell]], None] = lambda before, after: None,
    **how: Any,
) -> tuple[Summary, list[Cell]]:
    """`queue.run_cells`, oracles and what needs none first; also the cells as they are then.

    `on_resolved(before, after)` is told which cells stand now where others stood. Cells of an
    oracle that failed fail with its cause.
    """
    waiting = [cell for cell in cells if oracles.is_waiting(cell.config)]
    ready = [cell for cell in cells if not oracles.is_waiting(cell.config)]
    how |= {"plugins": plugins, "on_event": on_event}
    summary = queue.run_cells(ready, root, **how)
    if not waiting or summary.signal is not None:
        return summary, [*cells]
    now = [Cell(root, oracles.resolved(cell.config, root)) for cell in waiting]
    pairs = list(zip(waiting, now, strict=True))
    before = [old for old, new in pairs if new.id != old.id]
    after = [new for old, new in pairs if new.id != old.id]
    write_plan(root, after, plugins, instead_of=[cell.id for cell in before])
    on_resolved(before, after)
    known = {cell.id: cell for cell in ready}
    for old, new in pairs:
        if new.id == old.id:
            _fail(old, known.get(old.config["oracle"]["cell"]), summary, on_event)
    later = queue.run_cells(after, root, **how)
    for name in ("done", "skipped", "failed"):
        getattr(summary, name).extend(getattr(later, name))
    summary.outdated |= later.outdated
    summary.signal = later.signal
    return summary, [*ready, *now]


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
