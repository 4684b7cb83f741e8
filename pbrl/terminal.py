"""What the command line shows: listings, the plan, the status, and progress while a suite runs."""

import contextlib
import errno
import json
import os
import re
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from statistics import median
from typing import TYPE_CHECKING, Any

from pbrl import registry, sessions
from pbrl.errors import shown
from pbrl.store import labels, title

if TYPE_CHECKING:
    from rich.text import Text

    from pbrl.store import Cell

ROUGH_SECONDS = {"online": 0.0008, "bandit": 3e-7, "tabular": 0.2}
"""per step, duel and repetition, on a current core"""
EVALUATION = 0.25  # of what a step of training costs, a step of an evaluation does


FEW_EPISODES = 5  # of which a first session's questions hardly differ
ON_SCREEN = 800  # characters of a message that are shown; failure.json and the log hold more
FAILURES, LINES = 10, 200  # failed cells told in full, lines of a table of cells
NARROWEST = 8  # columns that a text in a table is folded to


class OutputError(Exception):
    """Standard output takes no more: its reader is gone, or its disk is full."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"cannot write the output: {cause.strerror or cause}")
        self.code = 0 if cause.errno in (errno.EPIPE, errno.EIO) else 74


@contextlib.contextmanager
def _output() -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        discard(sys.stdout.fileno())
        raise OutputError(error) from error


def flush() -> OutputError | None:
    """Write what is waiting; why it is not taken, in which case the rest vanishes."""
    try:
        with _output():
            pass
    except OutputError as error:
        return error
    return None


def say_json(content: object) -> None:
    """Print for programs; raises OutputError."""
    with _output():
        sys.stdout.write(json.dumps(content, indent=1, default=str) + "\n")


def open_streams() -> None:
    """Give a process that was started without standard input, output or error one to nowhere."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # a locale without some letter is no reason to stop
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def discard(fd: int) -> None:
    """Let all that is still written to `fd` vanish."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, fd)
    os.close(null)


def say(text: object = "", *, end: str = "\n") -> None:
    """Print as it stands, but for what a terminal would obey; raises OutputError."""
    with _output():
        sys.stdout.write(shown(text, limit=10**9) + end)


def say_words(text: str) -> None:
    """Print a paragraph, on a terminal broken between words; raises OutputError."""
    say(wrapped(text) if sys.stdout.isatty() else text)


def wrapped(text: str, indent: str = "") -> str:
    """The lines of `text`, indented, broken between words so that they fit the terminal."""
    margins: dict[str, Any] = {"initial_indent": indent, "subsequent_indent": indent}
    return "\n".join(
        textwrap.fill(line, width(), break_long_words=False, break_on_hyphens=False, **margins)
        for line in text.splitlines()
    )


def width() -> int:
    """Columns of the terminal, at least 40; 100 when the output goes elsewhere."""
    columns = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 100
    return max(40, columns)


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
        say(
            textwrap.fill(
                names,
                min(100, width()),
                break_on_hyphens=False,
                initial_indent=head,
                subsequent_indent=indent,
            )
        )
    say("\nMore about one kind: pbrl list methods")


def print_entries(entries: list[dict[str, Any]], *, whole: bool = False) -> None:
    """One kind: name with its parameters and their defaults, summary, what else is declared.

    With `whole` also the rest of what its source says of it.
    """
    grouped = {entry.get("kind", "") for entry in entries} - {""}
    for kind in sorted(grouped, key=_loss_order) if grouped else [""]:
        if kind:
            usable = "; a method's `loss` can be one of these" if kind in ("pair", "tie") else ""
            say(f"--- kind {kind}{usable}")
        for entry in entries:
            if entry.get("kind", "") == kind:
                _print_entry(entry)
                if whole and entry.get("more"):
                    say("\n" + _reflowed(entry["more"]) + "\n")
    if grouped:
        say("evidence: C read in code, P in the paper, 2 in a second source, M from memory")
        say("(unverified), D derived or elementary. More: pbrl/losses/README.md")


LOSS_KINDS = (
    *("pair", "tie", "informed", "policy", "point", "list"),
    *("batch", "token", "group", "game", "regularizer"),
)


def _loss_order(kind: str) -> int:
    return LOSS_KINDS.index(kind) if kind in LOSS_KINDS else len(LOSS_KINDS)


SHOWN = ("paper", "evidence", "horizon", "reward_range")


def _print_entry(entry: dict[str, Any]) -> None:
    given = {
        key: f"{key}={'...' if value == '<required>' else _in_a_suite(value)}"
        for key, value in entry.get("parameters", {}).items()
    }
    given |= {key: f"{given[key]}  {words}" for key, words in entry.get("ranges", {}).items()}
    parameters = ", ".join(given.values())
    extra = ", ".join(
        f"{k.replace('_', ' ')} {entry[k]}"
        for k in SHOWN
        if entry.get(k) not in (None, "", [None, None])
    )
    say(entry["name"])
    docs = entry.get("docs")
    for text in (entry["summary"], extra.replace("paper ", "", 1), "" if docs else parameters):
        if text:
            lines = textwrap.fill(text, min(100, width()) - 4, break_on_hyphens=False)
            say(textwrap.indent(lines, "    "))
    for key, doc in (docs or {}).items():
        say(textwrap.fill(doc, **_beside(given[key], min(110, width()))))


def _reflowed(text: str) -> str:
    """Paragraphs and lists, indented, at the width of the terminal."""
    item = r" *(?:[-*|]|\d+\.) "
    lines = []
    for paragraph in text.split("\n\n"):
        for part in re.sub(rf"\n(?!{item}) *", " ", paragraph).splitlines():
            margins: dict[str, Any] = {
                "initial_indent": " " * 4,
                "subsequent_indent": " " * (7 if re.match(item, part) else 4),
            }
            columns = min(100, width())
            lines.append(textwrap.fill(part.strip(), columns, break_on_hyphens=False, **margins))
        lines.append("")
    return "\n".join(lines[:-1])


def _in_a_suite(value: Any) -> str:
    """A default as a suite would give it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_in_a_suite, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _beside(given: str, columns: int) -> dict[str, Any]:
    """How a setting's text is laid out: beside the setting, or below it where that is narrow."""
    if columns >= 72:
        indent = " " * 36
        head = f"    {given}\n{indent}" if len(given) > 31 else f"    {given:<31} "
    else:
        head, indent = f"    {given}\n        ", " " * 8
    return {"width": columns, "initial_indent": head, "subsequent_indent": indent}


def plan_rows(cells: "list[Cell]", begun: set[str]) -> list[dict[str, Any]]:
    """One row per task, learner, teacher and size: cells, done, label sessions, seconds left.

    `begun` has the ids of the cells that have a folder: the others are not looked at.
    """
    done = {cell.id for cell in cells if cell.id in begun and cell.status() == "done"}
    measured = _rates(cell for cell in cells if cell.id in done)
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    seconds: dict[tuple[str, ...], float] = {}  # of a cell in each row
    for cell in cells:
        config, names = cell.config, labels(cell.config)
        key = (config["kind"], *names.values())
        at = (*key, _size(config))
        if at not in rows:
            rows[at] = _plan_row(config, names)
            seconds[at] = _work(config) * measured.get(key, ROUGH_SECONDS[config["kind"]])
        rows[at]["cells"] += 1
        if cell.id in done:
            rows[at]["done"] += 1
        else:
            rows[at]["seconds_left"] += seconds[at]
    return list(rows.values())


def _plan_row(config: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    row = {"kind": config["kind"], **names, "size": _size(config)}
    method = config.get("method", {})
    planned = sessions.sessions_of(method) if sessions.is_scheduled(method) else []
    spent = sum(size for _, size in planned)
    episodes = planned[0][0] // _horizon(config) if planned else None
    return row | {
        "labels": spent,
        "sessions": len(planned),
        "first_session": planned[0][0] if planned else None,
        "last_session": planned[-1][0] if planned else None,
        "episodes_at_first": episodes,
        "cells": 0,
        "done": 0,
        "seconds_left": 0.0,
    }


def _horizon(config: dict[str, Any]) -> int:
    name, parameters = registry.split(config["env"])
    return registry.resolve("env", name).resolve(parameters).horizon


def plan_notes(rows: list[dict[str, Any]]) -> list[str]:
    """What a plan should be read with: learners whose first questions are about few episodes."""
    few = [row for row in rows if row["sessions"] and row["episodes_at_first"] < FEW_EPISODES]
    return list(
        dict.fromkeys(
            f"{row['learner']} on {row['task']} first asks at step {row['first_session']:,}, about "
            f"{row['episodes_at_first']} whole episode{'s' * (row['episodes_at_first'] > 1)}; "
            "raise unsup_steps for questions about more"
            for row in few
        )
    )


def _rates(done: "Iterable[Cell]") -> dict[tuple[str, ...], float]:
    """Median seconds of finished cells per unit of `_work`, by kind, task, learner, teacher."""
    found: dict[tuple[str, ...], list[float]] = {}
    for cell in done:
        manifest = cell.manifest()
        if manifest is not None:
            key = (cell.config["kind"], *labels(cell.config).values())
            found.setdefault(key, []).append(manifest["seconds"] / _work(cell.config))
    return {key: median(values) for key, values in found.items()}


def _size(config: dict[str, Any]) -> str:
    if config["kind"] == "bandit":
        return f"{config['horizon']:,} duels x {config['repetitions']}"
    if config["kind"] == "tabular":
        return f"{config['labels']:,} labels x {config['repetitions']}"
    return f"{config['steps']:,} steps"


def _work(config: dict[str, Any]) -> float:
    """How much a cell has to do: steps, those of evaluations by their cost, duels, repetitions."""
    if config["kind"] == "bandit":
        return config["horizon"] * config["repetitions"]
    if config["kind"] == "tabular":
        return config["repetitions"]
    evaluations = config["steps"] // config["eval_every"] + 1
    episodes = evaluations * config["eval_episodes"] + config["final_episodes"]
    return config["steps"] + EVALUATION * episodes * _horizon(config)


def print_plan(rows: list[dict[str, Any]]) -> None:
    """The plan as a table; raises OutputError."""
    taught = any(row["teacher"] for row in rows)
    names = ["task", "learner", *(["teacher"] if taught else [])]
    lines = []
    for row in rows:
        spent = f"{row['labels']:,} in {row['sessions']:,}" if row["sessions"] else "-"
        left = "-" if row["done"] == row["cells"] else duration(row["seconds_left"])
        size = row["size"].removesuffix(" steps").replace(" duels", "")
        done = f"{row['done']:,} of {row['cells']:,}"
        lines.append([*(row[name] or "-" for name in names), size, done, spent, left])
    _print_table(names, ["steps, duels", "done", "labels", "left"], lines)


def state(row: dict[str, Any]) -> str:
    """A cell's status; a missing one that has begun is stopped."""
    begun = row["status"] == "missing" and row["progress"] is not None
    return "stopped" if begun else row["status"]


def print_status(rows: list[dict[str, Any]]) -> None:
    """Cells that are not done, one line each; done ones are only counted. Raises OutputError."""
    rows = [row for row in rows if row["status"] != "done"]
    lines = []
    for row in rows[:LINES]:
        part = share(row["progress"], row["config"])
        lines.append([row["title"], state(row), "-" if part is None else f"{part:.0%}"])
    if len(rows) > LINES:
        lines.append([f"... and {len(rows) - LINES:,} more", "", ""])
    _print_table(["cell"], ["status", "progress"], lines)


def share(progress: dict[str, Any] | None, config: dict[str, Any]) -> float | None:
    """How much of its steps or repetitions a cell has done, 0 to 1; None when it has not begun."""
    step = (progress or {}).get("step")
    if not isinstance(step, int | float) or step != step:
        return None
    whole = config["repetitions"] if "repetitions" in config else config["steps"]
    return min(max(step / max(1, whole), 0.0), 1.0)


def print_failures(cells: "list[Cell]", folder: object) -> None:
    """Each failed cell with its cause, its log and the command that repeats it; ten at most."""
    for cell in cells[:FAILURES]:
        failure = cell.failure() or {}
        say_words(f"\nfailed: {name(cell)} [{failure.get('kind')}]")
        message = shown(failure.get("message"), limit=ON_SCREEN)
        say(wrapped(message, "  ") if sys.stdout.isatty() else textwrap.indent(message, "  "))
        say(f"  log:    {cell.path / 'log.txt'}")
        say(f"  repeat: {failure.get('command')}")
    if len(cells) > FAILURES:
        say(f"\n... and {len(cells) - FAILURES:,} more failed: pbrl status {folder} --json")


def name(cell: "Cell") -> str:
    """A cell's title on one line, 120 characters at most."""
    return shown(title(cell.config), limit=120, lines=False)


def _print_table(left: list[str], right: list[str], rows: list[list[str]]) -> None:
    """A table at least 76 columns wide, as less cannot be read."""
    for line in _table(left, right, rows, max(76, width())):
        say(line)


def _table(
    left: list[str], right: list[str], rows: Sequence[Sequence[object]], room: int
) -> list[str]:
    """The lines of a table of columns under headings, those on the left folded to fit `room`.

    Texts are shown as they are: no markup, no control characters.
    """
    from rich.cells import cell_len, set_cell_size  # the rest of rich takes long

    table = [[*left, *right], *([shown(v, limit=120, lines=False) for v in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > room and max(widths[: len(left)]) > NARROWEST:
        widths[widths.index(max(widths[: len(left)]))] -= 1
    lines = []
    for row in table:
        folded = [_folded(text, wide) for text, wide in zip(row, widths, strict=True)]
        for parts in zip_longest(*folded, fillvalue=""):
            placed = [
                set_cell_size(part, wide) if i < len(left) else part.rjust(wide)
                for i, (part, wide) in enumerate(zip(parts, widths, strict=True))
            ]
            lines.append("  ".join(placed).rstrip())
    return lines


def _folded(text: str, wide: int) -> list[str]:
    """The lines of a text that is given so many columns: broken after a mark where there is one."""
    from rich.cells import cell_len, chop_cells

    lines = [""]
    for part in re.findall(r"[^-(,= ]*[-(,= ]?", text):
        if cell_len(lines[-1] + part) <= wide:
            lines[-1] += part
        else:
            lines += chop_cells(part, wide)
    return [line for line in lines if line] or [""]


class Progress:
    """Progress of a running suite: a live table on a terminal, one line per event elsewhere.

    When the output takes no more, the cells go on unseen and `lost` says why.
    """

    def __init__(self, cells: "list[Cell]") -> None:
        self.cells = {cell.id: cell for cell in cells}
        self.running: dict[str, float] = {}
        self.compiling: set[str] = set()
        self.is_stopping = False
        self.compiling_note = "once on a machine"  # said once where there is no screen
        self.ended = {"done": 0, "skipped": 0, "failed": 0}
        self.began = time.monotonic()
        self.lost: OutputError | None = None
        self.console: Any = None
        self.live: Any = None
        self.lock = threading.Lock()

    def __enter__(self) -> "Progress":
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.live import Live

            self.console = Console(highlight=False, markup=False, emoji=False)
            self.live = Live(
                get_renderable=self._screen,
                console=self.console,
                refresh_per_second=2,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            with self._tolerant():
                self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            with self._tolerant():
                self.live.stop()

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Whatever becomes of the screen, the cells go on."""
        try:
            with _output():
                yield
        except OutputError as error:
            self.lost = self.lost or error

    def replace(self, before: "Sequence[Cell]", after: "Sequence[Cell]") -> None:
        """Cells that are known by other ids from here on."""
        with self.lock:
            for cell in before:
                del self.cells[cell.id]
            self.cells |= {cell.id: cell for cell in after}

    def event(self, what: str, cell: "Cell", note: str = "") -> None:
        """Called by the runner: the events of `pbrl.jobs.queue.run_cells`."""
        with self.lock:
            self.compiling.discard(cell.id)
            if what == "started":
                self.running[cell.id] = time.monotonic()
            elif what == "compiling":
                self.compiling.add(cell.id)
                note, self.compiling_note = self.compiling_note, ""
            elif what == "stopping":
                self.is_stopping = True
            elif what != "computing":
                took = time.monotonic() - self.running.pop(cell.id, time.monotonic())
                if what in self.ended:
                    self.ended[what] += 1
                note = note or (f"in {duration(took)}" if what == "done" else "")
        is_silent = what in ("skipped", "computing", "stopping") or (
            what == "compiling" and not note
        )
        if is_silent or self.lost is not None:
            return
        ended = sum(self.ended.values())
        note = shown(note.strip().partition("\n")[0], limit=300, lines=False)
        stop = ":" if note and what in ("failed", "retry", "compiling") else ""
        line = f"[{ended}/{len(self.cells)}] {what:<7} {name(cell)}{stop} {note}".rstrip()
        with self._tolerant():
            if self.live is None:
                say(line)
            elif what in ("failed", "retry"):
                self.console.print(line)

    def _screen(self) -> "Text":
        """The cells that run, and how many ended; called by a thread of the screen's own."""
        from rich.text import Text

        with self.lock:
            running, counted = list(self.running.items()), dict(self.ended)
            compiling = {*self.compiling}
        now = time.monotonic()
        rows = []
        room = max(8, self.console.width - 21)
        for cell_id, since in running[: max(1, self.console.height - 7)]:
            cell = self.cells[cell_id]
            part = share(cell.progress(), cell.config)
            done = "starting" if part is None else f"{part:.0%}"
            if cell_id in compiling:
                done = "compiling"
            if self.is_stopping:
                done = "stopping"
            text = name(cell)
            text = text if len(text) <= room else f"{text[: room - 3]}..."
            rows.append([text, done, duration(now - since)])
        if compiling:
            rows.append(["(machine code is made once on a machine)", "", ""])
        counts = ", ".join(f"{n} {what}" for what, n in counted.items() if n)
        ended = sum(counted.values())
        lines = _table(["running"], ["done", "time"], rows, self.console.width)
        lines.append(
            f"{ended} of {len(self.cells)} cells ({counts or 'none yet'}), "
            f"{duration(now - self.began)}"
        )
        return Text("\n".join(lines), no_wrap=True, overflow="crop")
