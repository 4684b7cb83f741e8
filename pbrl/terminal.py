"""What the command line shows: listings, the plan, the status, and progress while a suite runs."""

import os
import sys
import textwrap
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from pbrl import sessions
from pbrl.store import labels, title

if TYPE_CHECKING:
    from rich.table import Table

    from pbrl.store import Cell

ROUGH_SECONDS = {"online": 0.004, "bandit": 3e-7}  # per step and per duel, on a current core


def width() -> int:
    """Columns of the terminal, 100 when the output goes elsewhere."""
    return os.get_terminal_size().columns if sys.stdout.isatty() else 100


def duration(seconds: float) -> str:
    """Seconds in the unit a person would choose."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def print_names(found: dict[str, list[dict[str, Any]]]) -> None:
    """Every name on a line per kind."""
    for plural, entries in found.items():
        names = ", ".join(str(e["name"]) for e in entries)
        head, indent = f"{plural:<11}", " " * 11
        print(
            textwrap.fill(
                names,
                min(100, width()),
                break_on_hyphens=False,
                initial_indent=head,
                subsequent_indent=indent,
            )
        )
    print("\nMore about one kind: pbrl list methods")


def print_entries(entries: list[dict[str, Any]]) -> None:
    """One kind: name with its parameters and their defaults, summary, what else is declared."""
    grouped = {entry.get("kind", "") for entry in entries} - {""}
    for kind in sorted(grouped, key=_loss_order) if grouped else [""]:
        if kind:
            usable = "; a method's `loss` can be one of these" if kind in ("pair", "tie") else ""
            print(f"--- kind {kind}{usable}")
        for entry in entries:
            if entry.get("kind", "") == kind:
                _print_entry(entry)
    if grouped:
        print("evidence: C read in code, P in the paper, 2 in a second source, M from memory")
        print("(unverified), D derived or elementary. More: pbrl/losses/README.md")


LOSS_KINDS = (
    *("pair", "tie", "informed", "policy", "point", "list"),
    *("batch", "token", "group", "game", "regularizer"),
)


def _loss_order(kind: str) -> int:
    return LOSS_KINDS.index(kind) if kind in LOSS_KINDS else len(LOSS_KINDS)


SHOWN = ("paper", "evidence", "horizon", "reward_range")


def _print_entry(entry: dict[str, Any]) -> None:
    values = entry.get("parameters", {}).items()
    parameters = ", ".join(f"{k}={v!r}" for k, v in values).replace("'<required>'", "...")
    extra = ", ".join(f"{k.replace('_', ' ')} {entry[k]}" for k in SHOWN if entry.get(k))
    print(entry["name"])
    docs = entry.get("docs")
    for text in (entry["summary"], extra.replace("paper ", "", 1), "" if docs else parameters):
        if text:
            lines = textwrap.fill(text, min(100, width()) - 4, break_on_hyphens=False)
            print(textwrap.indent(lines, "    "))
    for key, doc in (docs or {}).items():
        given = f"{key}={entry['parameters'][key]!r}"
        head = f"    {given:<32}"
        print(
            textwrap.fill(doc, min(110, width()), initial_indent=head, subsequent_indent=" " * 36)
        )


def plan_rows(cells: "list[Cell]") -> list[dict[str, Any]]:
    """One row per task, learner, teacher and size: cells, done, label sessions, seconds left."""
    measured = _rates(cells)
    rows: dict[str, dict[str, Any]] = {}
    for cell in cells:
        config, names = cell.config, labels(cell.config)
        key = "/".join([config["kind"], *names.values()])
        row = rows.setdefault(f"{key}/{_size(config)}", _plan_row(config, names))
        row["cells"] += 1
        if cell.status() == "done":
            row["done"] += 1
        else:
            row["seconds_left"] += _work(config) * measured.get(key, ROUGH_SECONDS[config["kind"]])
    return list(rows.values())


def _plan_row(config: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    row = {"kind": config["kind"], **names, "size": _size(config)}
    method = config.get("method", {})
    planned = sessions.sessions_of(method) if sessions.is_scheduled(method) else []
    spent = sum(size for _, size in planned)
    return row | {
        "labels": spent,
        "sessions": len(planned),
        "cells": 0,
        "done": 0,
        "seconds_left": 0.0,
    }


def _rates(cells: "list[Cell]") -> dict[str, float]:
    """Median seconds per step or duel of finished cells, by kind, task, learner and teacher."""
    found: dict[str, list[float]] = {}
    for cell in cells:
        manifest = cell.manifest()
        if manifest is not None:
            key = "/".join([cell.config["kind"], *labels(cell.config).values()])
            found.setdefault(key, []).append(manifest["seconds"] / _work(cell.config))
    return {key: median(values) for key, values in found.items()}


def _size(config: dict[str, Any]) -> str:
    if config["kind"] == "bandit":
        return f"{config['horizon']:,} duels x {config['repetitions']}"
    return f"{config['steps']:,} steps"


def _work(config: dict[str, Any]) -> int:
    """How much a cell has to do: environment steps, or duels over all repetitions."""
    if config["kind"] == "bandit":
        return config["horizon"] * config["repetitions"]
    return config["steps"]


def plan_table(rows: list[dict[str, Any]]) -> "Table":
    """The plan as a table for a terminal."""
    table = _table("task", "learner", "teacher", "size", right=("cells", "done", "labels", "left"))
    for row in rows:
        names = (row["task"], row["learner"], row["teacher"] or "-", row["size"])
        spent = f"{row['labels']} in {row['sessions']}" if row["sessions"] else "-"
        left = "-" if row["done"] == row["cells"] else duration(row["seconds_left"])
        table.add_row(*names, str(row["cells"]), str(row["done"]), spent, left)
    return table


def status_table(rows: list[dict[str, Any]]) -> "Table":
    """Cells that are not done, one line each; done ones are only counted."""
    table = _table("cell", right=("status", "step"))
    for row in rows:
        if row["status"] != "done":
            step = (row["progress"] or {}).get("step")
            stopped = row["status"] == "missing" and step is not None
            state = "stopped" if stopped else row["status"]
            table.add_row(row["title"], state, "-" if step is None else f"{step:,}")
    return table


def print_failures(cells: "list[Cell]") -> None:
    """Each failed cell with its cause, its log and the command that repeats it."""
    for cell in cells:
        failure = cell.failure() or {}
        print(f"\nfailed: {title(cell.config)} [{failure.get('kind')}]")
        print(textwrap.indent(str(failure.get("message")), "  "))
        print(f"  log:    {cell.path / 'log.txt'}")
        print(f"  repeat: {failure.get('command')}")


def _table(*left: str, right: tuple[str, ...] = ()) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def show(table: "Table") -> None:
    """Print a table, at least 100 columns wide where the output is not a terminal."""
    from rich.console import Console

    Console(width=width(), highlight=False).print(table)


class Progress:
    """Progress of a running suite: a live table on a terminal, one line per event elsewhere."""

    def __init__(self, cells: "list[Cell]") -> None:
        self.cells = {cell.id: cell for cell in cells}
        self.running: dict[str, float] = {}
        self.ended = {"done": 0, "skipped": 0, "failed": 0}
        self.began = time.monotonic()
        self.live: Any = None

    def __enter__(self) -> "Progress":
        if sys.stdout.isatty():
            from rich.live import Live

            self.live = Live(get_renderable=self._screen, refresh_per_second=2, transient=True)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def event(self, what: str, cell: "Cell", note: str = "") -> None:
        """Called by the runner: started, done, skipped, failed, retry, waiting."""
        if what == "started":
            self.running[cell.id] = time.monotonic()
        else:
            took = time.monotonic() - self.running.pop(cell.id, time.monotonic())
            if what in self.ended:
                self.ended[what] += 1
            note = note or (f"in {duration(took)}" if what == "done" else "")
        if what == "skipped":
            return
        ended = sum(self.ended.values())
        line = f"[{ended}/{len(self.cells)}] {what:<8}{title(cell.config)} {note}".rstrip()
        if self.live is None:
            print(line, flush=True)
        elif what in ("failed", "retry"):
            self.live.console.print(line, highlight=False)

    def _screen(self) -> "Table":
        elapsed = time.monotonic() - self.began
        ended = sum(self.ended.values())
        table = _table("running", right=("progress", "time"))
        for cell_id, since in self.running.items():
            cell = self.cells[cell_id]
            share = (cell.progress() or {}).get("step", 0) / max(1, _steps(cell.config))
            table.add_row(
                title(cell.config), f"{min(share, 1):.0%}", duration(time.monotonic() - since)
            )
        counts = ", ".join(f"{n} {what}" for what, n in self.ended.items() if n)
        table.caption = (
            f"{ended} of {len(self.cells)} cells ({counts or 'none yet'}), {duration(elapsed)}"
        )
        table.caption_justify = "left"
        return table


def _steps(config: dict[str, Any]) -> int:
    return config["repetitions"] if config["kind"] == "bandit" else config["steps"]
