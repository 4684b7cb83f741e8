"""What a person sees: the live screen on a real terminal of any width, output that ends early."""

import json
import os
import pty
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_cells
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from pbrl import terminal
from pbrl.errors import shown
from pbrl.store import Cell

PBRL = "import sys; from pbrl import cli; sys.argv = ['pbrl', *sys.argv[1:]]; cli.main()"
LABEL = "[red]a label[/] that is longer than a screen of twenty columns [ours]"
SUITE = {
    "name": "seen",
    "seeds": 1,
    "blocks": [
        {"kind": "bandit", "problem": "six-rankers", "algorithm": ["uniform", "ws-w"],
         "horizon": 2000, "repetitions": 2},
        {"kind": "online", "env": "pointmass", "method": "random", "steps": 60, "labels": 0,
         "eval_every": 30, "eval_episodes": 1},
        {"kind": "online", "env": "pointmass", "teacher": "oracle", "steps": 100,
         "labels": 40, "method": {"name": "fails", "label": LABEL}},
    ],
}  # fmt: skip
FAILS = '''
"""A method that says something odd and long."""
from pydantic import BaseModel
import pbrl.registry as registry
class Config(BaseModel):
    steps: int = 100
    labels: int = 40
@registry.method("fails")
def train(run, cfg: Config):
    """Fails."""
    raise ValueError("\\x1b[2J[bold]odd\\udc80 text " * 5000)
'''


def on_a_terminal(arguments: list[object], columns: int, rows: int = 24) -> tuple[int, str]:
    """Exit code and everything shown by `pbrl` on a terminal of that size."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (rows, columns))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", PBRL, *map(str, arguments)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment | {"TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(slave)
    found = b""
    while True:
        try:
            found += os.read(master, 65536)
        except OSError:  # EIO: the other end is closed
            break
    os.close(master)
    return process.wait(60), found.decode()


@pytest.fixture
def suite(tmp_path: Path) -> list[object]:
    """Arguments of `pbrl run`: cells of every kind, one of which fails."""
    (tmp_path / "fails.py").write_text(FAILS)
    (tmp_path / "seen.yaml").write_text(yaml.safe_dump(SUITE))
    return [tmp_path / "seen.yaml", "-o", tmp_path / "out", "--plugin", tmp_path / "fails.py"]


def looks_well(text: str) -> None:
    assert "Traceback" not in text
    assert "\x1b[2J" not in text  # what the failed method wanted the terminal to do
    assert "\x1b[31m" not in text


FAULTS = pytest.mark.faults


@pytest.mark.parametrize(
    "columns", [80, pytest.param(20, marks=FAULTS), pytest.param(0, marks=FAULTS)]
)
def test_a_run_and_the_looks_at_it_on_a_terminal(columns: int, suite: list, tmp_path: Path) -> None:
    code, text = on_a_terminal(["run", *suite, "--jobs", 2], columns)
    assert code == 1
    looks_well(text)
    assert "running" in text
    assert "3 done, 1 failed" in text
    assert "characters left out" in text
    assert len(text) < 40_000
    for looking in (["status", tmp_path / "out"], ["plan", *suite], ["list"], ["list", "methods"]):
        code, text = on_a_terminal(looking, columns)
        assert code == 0
        looks_well(text)
        if looking[0] != "list" and columns:
            assert "[ours]" in text.replace("\r\n", "").replace(" ", "")
    code, text = on_a_terminal(["run", *suite], columns)  # everything ended before
    assert code == 1
    looks_well(text)


def screen(columns: int, cells: list[Cell], progress: dict[str, Any]) -> str:
    """The live table while these cells run."""
    shown_by = terminal.Progress(cells)
    shown_by.console = Console(width=columns, height=20, file=open(os.devnull, "w"))  # noqa: SIM115
    for cell in cells:
        cell.progress = lambda: progress  # type: ignore[method-assign]
        shown_by.event("started", cell)
    with shown_by.console.capture() as captured:
        shown_by.console.print(shown_by._screen())
    return captured.get()


BANDIT = {
    "kind": "bandit", "problem": {"name": "six-rankers"}, "algorithm": {"name": "btw"},
    "seed": 0, "horizon": 10, "repetitions": 4,
}  # fmt: skip


@pytest.mark.parametrize("columns", [200, 80, 20, 1])
@pytest.mark.parametrize("step", [None, 0, 3, 4, 10**9, float("nan"), float("inf"), "x", -1])
def test_the_live_screen_shows_any_progress(columns: int, step: object, tmp_path: Path) -> None:
    cells = [Cell(tmp_path, BANDIT), Cell(tmp_path, tiny_cells.config(0))]
    text = screen(columns, cells, {"step": step, "checkpoint": None})
    assert ("75%" in text) == (step == 3 and columns >= 20)
    assert all(len(line) <= columns for line in text.splitlines())


def test_the_live_screen_of_a_thousand_running_cells_fits(tmp_path: Path) -> None:
    cells = [Cell(tmp_path, tiny_cells.config(seed)) for seed in range(1000)]
    assert len(screen(80, cells, {"step": 1}).splitlines()) <= 20


def test_a_cell_that_compiles_or_has_not_begun_says_so(tmp_path: Path, capsys) -> None:
    cells = [Cell(tmp_path, tiny_cells.config(seed)) for seed in range(2)]
    shown_by = terminal.Progress(cells)
    shown_by.console = Console(width=80, height=20)
    for what in ("started", "compiling"):
        for cell in cells:
            shown_by.event(what, cell)
    shown_by.event("computing", cells[1])
    text = str(shown_by._screen())
    assert text.count("compiling") == text.count("starting") == 1
    assert "once on a machine" in text
    shown_by.event("stopping", cells[0])
    assert str(shown_by._screen()).count("stopping") == 2
    assert capsys.readouterr().out.count("compiling walk on line, seed 0: once on a machine") == 1


@given(st.lists(st.sampled_from(["pebble", "-", "eps", "(", "=", "汉字", " ", "x" * 30])))
def test_what_is_folded_fits_and_is_whole(words: list[str]) -> None:
    lines = terminal._folded("".join(words), 8)
    assert all(cell_len(line) <= 8 for line in lines)
    assert "".join(lines) == "".join(words)
    assert terminal._folded("mistake(eps=0.1)", 11) == ["mistake(", "eps=0.1)"]


def test_a_bandit_shows_its_repetitions(tmp_path: Path) -> None:
    cell = Cell(tmp_path, BANDIT)
    with cell.lock():
        cell.journal({"event": "regret", "repetition": 2, "t": 10})
        cell.journal({"event": "end", "repetition": 2})
        cell._rows().sync()
        assert terminal.share(cell.progress(), cell.config) == 0.75


@given(st.text(st.characters(codec=None)), st.integers(20, 100))
def test_what_is_shown_is_encodable_bounded_and_inert(text: str, limit: int) -> None:
    found = shown(text, limit=limit, lines=False)
    found.encode("utf-8")
    assert found.isprintable() or not any(c in found for c in "\x1b\x9b\r\n\x07\x08")
    assert len(found) <= 10 * limit + 50
    assert shown(shown(text)) == shown(text)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


def test_what_cannot_be_shown_is_named() -> None:
    assert shown(Unspeakable()) == "<its text cannot be shown: SystemExit>"


# --- output that its reader, or its disk, does not take -----------------------------------------

COMMANDS = {
    "list": ["list", "--json"],
    "help": ["--help"],
    "plan": ["plan", "{suite}", "-o", "{out}"],
    "status": ["status", "{out}"],
    "table": ["table", "{out}"],
    "plot": ["plot", "{out}"],
    "check": ["check", "oracle"],
    "doctor": ["doctor"],
    "run": ["run", "{suite}", "-o", "{fresh}"],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A suite file of bandits and its results."""
    folder = tmp_path_factory.mktemp("finished")
    content = SUITE | {"blocks": SUITE["blocks"][:1]}  # type: ignore[index]
    (folder / "seen.yaml").write_text(yaml.safe_dump(content))
    command = [sys.executable, "-c", PBRL, "run", str(folder / "seen.yaml")]
    subprocess.run([*command, "-o", str(folder / "out")], check=True, capture_output=True)
    return folder / "seen.yaml", folder / "out"


def redirected(arguments: list[str], redirection: str) -> tuple[int, str]:
    """Exit code of `pbrl` with a shell's redirection, and what it wrote to standard error."""
    line = f'exec "$@" {redirection}'
    if redirection.startswith("|"):
        line = f'"$@" {redirection}; exit ${{PIPESTATUS[0]}}'
    command = ["bash", "-c", line, "-", sys.executable, "-c", PBRL, *arguments]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "name", [n if n in ("run", "status") else pytest.param(n, marks=FAULTS) for n in COMMANDS]
)
@pytest.mark.parametrize("redirection", ["> /dev/full", "| true", "<&- >&-"])
def test_output_that_is_not_taken_harms_nothing(
    name: str, redirection: str, finished: tuple[Path, Path], tmp_path: Path
) -> None:
    places = {"{suite}": finished[0], "{out}": finished[1], "{fresh}": tmp_path / "fresh"}
    arguments = [str(places.get(word, word)) for word in COMMANDS[name]]
    code, errors = redirected(arguments, redirection)
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    if redirection == "> /dev/full":
        assert code == 74
        assert "cannot write the output: No space left on device" in errors
    else:
        assert code in (0, 1 if name == "help" else 0)
    if name == "run":
        cells = [Cell.at(path) for path in (tmp_path / "fresh" / "cells").iterdir()]
        assert [cell.status() for cell in cells] == ["done", "done"]


def test_closed_standard_error_harms_nothing(finished: tuple[Path, Path]) -> None:
    code, _ = redirected(["plan", "nowhere.yaml"], "2>&-")
    assert code == 2
    code, _ = redirected(["status", str(finished[1])], "> /dev/null <&- 2>&-")
    assert code == 0


def test_the_screen_is_given_up_when_its_terminal_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The terminal closes while cells run and their process ignores the hangup."""
    master, slave = pty.openpty()
    code = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from pathlib import Path; from pbrl import terminal; from pbrl.store import Cell\n"
        "import json, time\n"
        "cell = Cell(Path(sys.argv[1]), json.loads(sys.argv[2]))\n"
        "with terminal.Progress([cell]) as progress:\n"
        "    progress.event('started', cell); print('up', flush=True); time.sleep(1.5)\n"
        "    progress.event('failed', cell, 'note')\n"
        "Path(sys.argv[1], 'end').touch()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), json.dumps(BANDIT)]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=subprocess.PIPE, start_new_session=True
    )
    os.close(slave)
    reader = threading.Thread(target=lambda: os.read(master, 10))
    reader.start()
    reader.join()
    time.sleep(0.2)
    os.close(master)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"Traceback" not in errors
    assert (tmp_path / "end").exists()
