"""One cell never hurts another, and blame falls on the right one, whatever a plug-in does."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mischief
import pytest
import tiny_cells
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl import terminal
from pbrl.errors import CellError, EnvironmentFault, StoreError
from pbrl.jobs import queue, watch, worker
from pbrl.jobs.worker import Ended
from pbrl.run.signals import Board
from pbrl.store import Cell, lease

PARTIES = {"env": "environment", "teacher": "teacher", "method": "method"}
KIND = {"env": "environment", "teacher": "user", "method": "user"}


def cell(root: Path, party: str, deed: str, **changes: Any) -> Cell:
    """A cell in which one party does its deed."""
    named = {axis: {"name": "mischief", "label": "mischief"} for axis in PARTIES}
    named[party] = {"name": "mischief", "label": "mischief", "deed": deed}
    execution = {
        "hang_timeout": 3.0 if deed == "hang" else 120.0,
        "checkpoint_seconds": 0.0,
        "gpus": 0.0,
    }
    config = {
        "kind": "online", **named, "seed": 0, "steps": 40, "labels": 20, "device": "cpu",
        "eval_every": 40, "eval_episodes": 1, "final_episodes": 1, "execution": execution,
    }  # fmt: skip
    return Cell(root, config | changes)


def run(root: Path, cells: list[Cell], plugin: str = mischief.PLUGIN) -> queue.Summary:
    return queue.run_cells(cells, root, jobs=2, plugins=[plugin])


def judged(found: Cell, party: str, deed: str) -> None:
    """The cell is done, or failed by the fault of the right party."""
    if deed in mischief.HARMLESS:
        assert found.status() == "done", found.failure()
        return
    assert found.status() == "failed"
    failure = found.failure()
    assert failure is not None
    kind = KIND[party]
    kind = "resource" if deed in mischief.USED_UP else kind
    kind = "lost" if deed == "kill" else kind
    kind = "bug" if (deed, party) == ("crash", "method") else kind
    assert failure["kind"] == kind, failure["message"]
    text = failure["message"]
    assert text.isprintable() or "\n" in text
    assert len(text) < 5000
    assert len(failure["traceback"]) < 150_000
    if deed in ("hang", "crash", "kill") or deed.startswith("_exit"):
        assert f"{PARTIES[party]} 'mischief'" in text
    else:
        assert "(mischief.py, line" in text
        assert party == "method" or f"{PARTIES[party]} 'mischief'" in text
    if deed in ("hang", "crash"):
        assert "mischief.py" in failure["traceback"]
    if deed in ("crash", "kill"):
        assert "3 times" in text


def judge_all(tmp_path: Path, deeds: list[str], parties: list[str]) -> None:
    cells = {(p, d): cell(tmp_path, p, d) for d in deeds for p in parties}
    good = cell(tmp_path, "env", "nothing", seed=9)
    began = time.monotonic()
    summary = run(tmp_path, [*cells.values(), good])
    assert len(summary.done) + len(summary.failed) == len(cells) + 1
    assert good.status() == "done"
    for (party, deed), found in cells.items():
        judged(found, party, deed)
        assert lease.holder(found.path) is None or lease.holder(found.path).is_dead()
        assert (found.path / "log.txt").stat().st_size <= watch.HEAD + 2 * watch.TAIL
    assert time.monotonic() - began < 240


def test_one_of_each_party(tmp_path: Path) -> None:
    judge_all(tmp_path, ["odd", "_exit 75"], list(PARTIES))


@pytest.mark.faults
def test_everything_by_everyone(tmp_path: Path) -> None:
    judge_all(tmp_path, list(mischief.DEEDS), list(PARTIES))
    flooded = cell(tmp_path, "env", "flood")
    log = (flooded.path / "log.txt").read_bytes()
    assert log.startswith(b"--- process ")
    assert b"bytes of this log were left out here" in log
    assert log.endswith(b"the end of the flood\n")


def by_number(tmp_path: Path, word: str, numbers: list[int]) -> dict[int, Cell]:
    cells = {n: Cell(tmp_path, tiny_cells.config(0, mischief=f"{word} {n}")) for n in numbers}
    good = [Cell(tmp_path, tiny_cells.config(seed)) for seed in range(3)]
    run(tmp_path, [*cells.values(), *good], tiny_cells.PLUGIN)
    assert [c.status() for c in good] == ["done"] * 3
    return cells


def exits(tmp_path: Path, numbers: list[int]) -> None:
    for number, found in by_number(tmp_path, "code", numbers).items():
        failure = found.failure() or {}
        assert failure["kind"] == "environment"
        message = f"environment 'line' ended the process with exit code {number}"
        assert failure["message"] == message


def killed(tmp_path: Path, numbers: list[int]) -> None:
    ignored = (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGPIPE)
    ignored += (signal.SIGQUIT, signal.SIGXFSZ)
    ignored += (signal.SIGTERM, signal.SIGINT)  # obeyed: the cell is saved, and goes on from there
    crashes = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
    for number, found in by_number(tmp_path, "signal", numbers).items():
        if number in ignored:
            assert found.status() == "done", number
            continue
        failure = found.failure() or {}
        assert failure["kind"] == ("environment" if number in crashes else "lost"), number
        assert "3 times, in environment 'line'" in failure["message"], number


def test_some_exit_codes_and_signals(tmp_path: Path) -> None:
    exits(tmp_path, [0, 1, 74, 75, 76, 77, 255])
    killed(tmp_path / "signals", [signal.SIGSEGV, signal.SIGQUIT, 40, 64])


@pytest.mark.faults
def test_every_exit_code(tmp_path: Path) -> None:
    exits(tmp_path, list(range(256)))


@pytest.mark.faults
def test_every_signal(tmp_path: Path) -> None:
    stops = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
    killed(tmp_path, sorted({int(n) for n in signal.valid_signals()} - {int(n) for n in stops}))


# --- what cells leave behind --------------------------------------------------------------------


LEFT: dict[str, Callable[[Path], object]] = {
    "a folder": lambda path: path.mkdir(),
    "a list": lambda path: path.write_text("[1]"),
    "torn": lambda path: path.write_text('{"kind": "us'),
    "no text": lambda path: path.write_bytes(b"\xff\x00"),
    "no kind": lambda path: path.write_text("{}"),
    "odd": lambda path: path.write_text(json.dumps({"kind": [1], "message": {"a": "\udc80"}})),
    "a link to itself": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("name", ["failure.json", "lease", "manifest.json", "config.json"])
@pytest.mark.parametrize("left", LEFT)
def test_no_file_of_one_cell_ends_the_others(
    name: str, left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue alone: nothing is computed, an executor of the test says that it was."""

    class Instant:
        slots = 2

        def __init__(self) -> None:
            self.started: list[Cell] = []
            self.compiling: set[str] = set()

        def start(self, started: Cell, **_: object) -> None:
            self.started.append(started)

        def ended(self, timeout: float) -> list[Ended]:
            ended, self.started = self.started, []
            for found in ended:
                with found.lock():
                    found.finish({})
            return [Ended(found.id, 0, worker.DONE) for found in ended]

        def stop(self) -> None: ...

        def close(self) -> None: ...

    bad, *good = (Cell(tmp_path, tiny_cells.config(seed)) for seed in range(3))
    bad.path.mkdir(parents=True)
    LEFT[left](bad.path / name)
    told: list[str] = []
    asked = queue._Queue([bad, *good], plugins=[], on_event=lambda what, _, note: told.append(what))
    place = Instant()
    monkeypatch.setattr(lease, "EXPIRY", 0.0)
    deadline = time.monotonic() + 20
    while True:
        try:
            if not asked.step(place):
                break
        except (StoreError, OSError):  # of the test's own executor, which has no guard
            asked.running.discard(bad.id)
        assert time.monotonic() < deadline
    assert [c.status() for c in good] == ["done", "done"]


# --- any error ----------------------------------------------------------------------------------

ERRORS = (ValueError, KeyError, CellError, EnvironmentFault, SystemExit, KeyboardInterrupt)
ERRORS += (GeneratorExit, FloatingPointError, MemoryError, UnicodeError, StopIteration)


@given(
    st.sampled_from(ERRORS),
    st.one_of(st.text(st.characters(codec=None)), st.binary(), st.integers(), st.none()),
)
@settings(max_examples=200, deadline=None)
def test_any_error_can_be_recorded_and_shown(kind: type[BaseException], text: object) -> None:
    error = kind(text)
    assert worker.failure_kind(error) in ("user", "numeric", "environment", "resource", "bug")
    message = worker.message_of(error)
    message.encode()
    assert len(message) < 25_000
    board = Board()
    board.tell(worker.UNWRITABLE, message)
    told = board.told()
    assert told is not None
    assert told[0] == worker.UNWRITABLE
    assert message.startswith(told[1])


def test_resources_are_found_behind_other_errors() -> None:
    def wrapped(inner: BaseException, *, bare: bool = False) -> BaseException:
        try:
            try:
                raise inner
            except BaseException as error:
                raise EnvironmentFault("environment 'x' raised") from (None if bare else error)
        except EnvironmentFault as outer:
            return outer

    assert worker.failure_kind(wrapped(MemoryError())) == "resource"
    assert worker.failure_kind(wrapped(OSError(28, "full"))) == "resource"
    assert worker.failure_kind(wrapped(OSError(2, "none"))) == "environment"
    assert worker.failure_kind(wrapped(MemoryError(), bare=True)) == "environment"
    allocator = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
    assert worker.failure_kind(wrapped(allocator)) == "resource"
    circle = ValueError("a circle")
    circle.__cause__ = circle
    assert worker.failure_kind(circle) == "bug"


def test_an_error_of_ours_is_a_bug_and_one_of_a_plug_in_is_not(tmp_path: Path) -> None:
    ours = str(Path(queue.__file__))
    for file, kind in ((ours, "bug"), (str(tmp_path / "my.py"), "user")):
        code = compile("\n\ndef f(g=lambda: {}['x']):\n    return g()\nf()", file, "exec")
        with pytest.raises(KeyError) as caught:
            exec(code, {})
        assert worker.failure_kind(caught.value) == kind
        assert ("(my.py, line" in worker.message_of(caught.value)) == (kind == "user")


# --- suspended, and left behind -----------------------------------------------------------------


@pytest.mark.parametrize("whom", ["cell", "server"])
def test_a_suspended_process_is_not_hung(whom: str, tmp_path: Path) -> None:
    """Stopped for longer than hang_timeout, it goes on when it wakes."""
    config = tiny_cells.config(0, steps=40, sleep=0.03, hang_timeout=1.5)
    code = (
        "import json, sys; from pathlib import Path; from pbrl.jobs import queue\n"
        "from pbrl.store import Cell\n"
        "root = Path(sys.argv[1]); cells = [Cell(root, json.loads(sys.argv[3]))]\n"
        "sys.exit(queue.run_cells(cells, root, plugins=[sys.argv[2]]).exit_code)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), tiny_cells.PLUGIN, json.dumps(config)]
    found = Cell(tmp_path, config)
    runner = subprocess.Popen(command)
    while found.progress() is None:
        assert runner.poll() is None
        time.sleep(0.01)
    holder = lease.holder(found.path)
    assert holder is not None
    server = int(Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[1])
    stopped = {"cell": [holder.pid], "server": [server, holder.pid]}[whom]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(4)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    assert runner.wait(60) == 0
    assert found.status() == "done"
    assert (found.path / "log.txt").read_text().count("--- process") == 1


def test_time_passes_only_for_a_process_that_can_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, suspended, sent = [0.0], [False], list[int]()
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(watch, "is_suspended", lambda pid: suspended[0])
    monkeypatch.setattr(watch.os, "kill", lambda pid, number: sent.append(number))
    watched = watch.Watched(tmp_path, hang_timeout=10)
    watched.started(1)

    def wait(seconds: float, looks: int) -> None:
        for _ in range(looks):
            now[0] += seconds / looks
            watched.look()

    wait(9, 18)
    suspended[0] = True
    wait(1000, 2000)
    suspended[0] = False
    wait(10**6, 1)  # everything was asleep: at most one look's worth of time
    assert not watched.hung
    watched.board.beat()
    wait(9, 18)
    assert sent == []
    wait(2, 4)
    assert sent == [signal.SIGQUIT]
    wait(2, 4)
    assert sent[-1] == signal.SIGKILL
    assert watched.ended(-9).hung
    watched.close()


def test_output_that_was_closed_is_not_waited_for(tmp_path: Path) -> None:
    watched = watch.Watched(tmp_path, hang_timeout=10)
    os.write(watched.write, b"the last word")
    watched.started(2**22 + 1)
    assert watched.pump()
    assert not watched.pump()
    assert not watched.is_open
    watched.close()
    assert (tmp_path / "log.txt").read_bytes().endswith(b"the last word")


def test_a_cell_that_ended_while_it_was_called_hung_is_not(tmp_path: Path) -> None:
    watched = watch.Watched(tmp_path, hang_timeout=0)
    watched.started(2**22 + 1)  # no such process
    watched.hung = True
    watched.board.tell(worker.DONE, "")
    assert watched.ended(0) == Ended(tmp_path.name, 0, worker.DONE)


@given(st.lists(st.tuples(st.integers(0, 5000), st.sampled_from(b"abc")), max_size=20))
@settings(max_examples=60, deadline=None)
def test_a_log_is_its_beginning_and_its_end(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.txt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "HEAD", 1000)
        patch.setattr(watch, "TAIL", 500)
        whole = b""
        for size, letter in writes:
            log = watch.Log(path)  # as after every restart of a cell
            log.write(bytes([letter]) * size)
            log.close()
            whole += bytes([letter]) * size
            assert path.stat().st_size <= 1000 + 2 * 500
        found = path.read_bytes() if writes else b""
    assert found == whole or found.startswith(whole[:1000])
    assert found[-500:] == whole[-500:] or b"left out here" in found[-500:]


def test_a_log_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "log.txt").mkdir()
    log = watch.Log(tmp_path / "log.txt")
    log.write(b"x")
    log.close()


def test_the_repeat_command_ends_though_a_thread_goes_on(tmp_path: Path) -> None:
    found = cell(tmp_path, "method", "leave behind")
    found.create()
    command = [sys.executable, "-m", "pbrl.jobs.worker", found.id, "--plugin", mischief.PLUGIN]
    done = subprocess.run(command, cwd=tmp_path / "cells", timeout=60, stderr=subprocess.DEVNULL)
    assert done.returncode == worker.DONE
    assert found.status() == "done"


def test_failures_on_the_screen_are_few_and_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [Cell(tmp_path, tiny_cells.config(seed)) for seed in range(30)]
    for found in cells:
        with found.lock():
            found.fail("bug", mischief.ODD + "x" * 10**5, traceback="", command="\x1b[2J")
    terminal.print_failures(cells, tmp_path)
    shown = capsys.readouterr().out
    assert len(shown) < 40_000
    assert "and 20 more failed" in shown
    assert "\x1b" not in shown


@pytest.mark.faults
def test_the_advice_about_a_hang_helps(tmp_path: Path) -> None:
    """What failed as hung is computed again, and done, with a larger hang_timeout."""
    slow = {"steps": 2, "sleep": 4.0}
    hung = Cell(tmp_path, tiny_cells.config(0, hang_timeout=1.5, **slow))
    run(tmp_path, [hung], tiny_cells.PLUGIN)
    assert "raise hang_timeout in the suite" in (hung.failure() or {})["message"]
    patient = Cell(tmp_path, tiny_cells.config(0, hang_timeout=120.0, **slow))
    assert patient.id == hung.id
    assert run(tmp_path, [patient], tiny_cells.PLUGIN).exit_code == 0
    assert patient.status() == "done"
