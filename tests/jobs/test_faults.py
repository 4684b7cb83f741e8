"""Deaths, full disks, damaged files, stopped owners: results stay right, or visibly absent."""

import errno
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_cells
from hypothesis import given, settings
from hypothesis import strategies as st
from kill_resume import result_digest

from pbrl.errors import StoreError
from pbrl.jobs.worker import failure_kind
from pbrl.store import Cell, LeaseLost, Locked, atomic, checkpoint, lease, load

HERE = Path(__file__).parents[1]
CONFIG = tiny_cells.config(5, steps=9, every=3)


# --- each step of the write protocol fails in turn ----------------------------------------------


def fail_each(mode: str, folder: Path, stride: int) -> None:
    command = [sys.executable, str(HERE / "fault_driver.py"), mode, str(folder), str(stride)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    report = json.loads(subprocess.check_output(command, text=True, env=environment))
    assert report["calls"] > 60
    assert report["wrong"] == []
    assert set(report["codes"].values()) <= ({9} if mode == "die" else {1, 74})


def test_a_death_at_some_calls_is_resumed_to_the_same_bytes(tmp_path: Path) -> None:
    fail_each("die", tmp_path, 7)


@pytest.mark.faults
def test_a_death_at_any_call_is_resumed_to_the_same_bytes(tmp_path: Path) -> None:
    fail_each("die", tmp_path, 1)


@pytest.mark.parametrize("mode", ["raise", "full"])
def test_a_full_disk_at_some_calls_is_resumed_to_the_same_bytes(mode: str, tmp_path: Path) -> None:
    fail_each(mode, tmp_path, 9)


@pytest.mark.faults
@pytest.mark.parametrize("mode", ["raise", "full"])
def test_a_full_disk_at_any_call_is_resumed_to_the_same_bytes(mode: str, tmp_path: Path) -> None:
    fail_each(mode, tmp_path, 1)


def test_a_read_that_fails_loses_nothing(tmp_path: Path) -> None:
    fail_each("EIO", tmp_path, 5)


@pytest.mark.faults
@pytest.mark.parametrize("mode", ["EIO", "EACCES"])
def test_no_read_that_fails_loses_anything(mode: str, tmp_path: Path) -> None:
    fail_each(mode, tmp_path, 1)


def test_a_full_disk_is_one_sentence_with_the_bytes_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "write", full)
    with pytest.raises(StoreError, match=r"\(5 bytes\): the disk is full; free") as caught:
        atomic.write_file(tmp_path / "file", b"12345")
    monkeypatch.undo()
    assert failure_kind(caught.value) == "resource"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["open", "write", "fsync", "close", "replace", "unlink"])
def test_a_reader_sees_the_old_file_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    original = getattr(os, call)

    def dies(*arguments: object, **options: object) -> object:
        assert path.read_bytes() in (b"old", b"new")
        original(*arguments, **options)
        assert path.read_bytes() in (b"old", b"new")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, call, dies)
        if call == "unlink":
            atomic.write_file(path, b"new")  # nothing is deleted on the way
        else:
            with pytest.raises(KeyboardInterrupt):
                atomic.write_file(path, b"new")
    assert path.read_bytes() == (b"new" if call in ("replace", "unlink") else b"old")


# --- damaged checkpoints ------------------------------------------------------------------------


def complete(root: Path) -> dict[str, str]:
    cell = Cell(root, CONFIG)
    with cell.lock():
        result = tiny_cells.execute(cell)
        cell.finish({"counts": result["counts"]}, weights=result["weights"])
    return result_digest(root)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder interrupted at step 7 with checkpoints of steps 3 and 6, and the right result."""
    root = tmp_path_factory.mktemp("interrupted")
    cell = Cell(root, CONFIG)
    with cell.lock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_cells, "misbehave", lambda *_: (_ for _ in ()).throw(KeyError()))
        with pytest.raises(KeyError):
            tiny_cells.execute(cell)
    assert checkpoint.steps(cell.path / "checkpoints") == [6, 3]
    return root, complete(tmp_path_factory.mktemp("reference"))


MUTATIONS: dict[str, Callable[[bytes, int], bytes | None]] = {
    "flip a bit": lambda data, at: data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :],
    "truncate": lambda data, at: data[:at],
    "empty": lambda data, at: b"",
    "zero the rest": lambda data, at: data[:at] + bytes(len(data) - at),
    "insert": lambda data, at: data[:at] + b"\0" + data[at:],
    "double": lambda data, at: data + data,
    "delete": lambda data, at: None,
}


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_to_a_checkpoint_changes_the_result(
    interrupted: tuple[Path, dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    template, expected = interrupted
    root = tmp_path_factory.mktemp("damaged") / "results"
    shutil.copytree(template, root)
    cell = Cell(root, CONFIG)
    files = [*sorted((cell.path / "checkpoints").glob("*/*")), cell.path / "journal.jsonl"]
    for path in data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=3, unique=True)):
        content = path.read_bytes()
        at = data.draw(st.integers(0, len(content) - 1), label=f"{path.name} of {len(content)}")
        changed = MUTATIONS[data.draw(st.sampled_from(sorted(MUTATIONS)))](content, at)
        path.unlink()
        if changed is not None:
            path.write_bytes(changed)
    assert complete(root) == expected
    shutil.rmtree(root)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("how", ["file size", "mode 000", "a full disk"])
def test_what_cannot_be_read_or_written_is_not_damage(
    how: str, interrupted: tuple[Path, dict[str, str]]
) -> None:
    """Limits of a process of its own, which then finds the disk full or forbidden on resume."""
    template, expected = interrupted
    tmp_path = Path(tempfile.mkdtemp())  # which every user may enter, unlike those of pytest
    root = tmp_path / "results"
    shutil.copytree(template, root)
    tmp_path.chmod(0o777)
    cell = Cell(root, CONFIG)
    folder = cell.path / "checkpoints"
    before = contents(folder)
    for path in (root, *root.rglob("*")):
        path.chmod(0o777)
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            logging.disable()
            if how == "file size":
                resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
            elif how == "a full disk":
                full = OSError(errno.ENOSPC, "No space left on device")
                atomic.os = SimpleNamespace(  # type: ignore[assignment]
                    **{k: getattr(os, k) for k in dir(os)}
                    | {"write": lambda *_: (_ for _ in ()).throw(full)}
                )
            else:
                (checkpoint.place(folder, 6) / "state.json").chmod(0o000)
                os.seteuid(65534) if os.geteuid() == 0 else None
            with cell.lock():
                cell.restore()
        except StoreError as error:
            code = 7 if failure_kind(error) == "resource" and not cell.notices else 8
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    (checkpoint.place(folder, 6) / "state.json").chmod(0o666)
    assert contents(folder) == before
    assert complete(root) == expected
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(("harmed", "resumes_at"), [([6], 3), ([3], 6), ([3, 6], None)])
def test_a_damaged_checkpoint_falls_back_and_says_so(
    interrupted: tuple[Path, dict[str, str]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    harmed: list[int],
    resumes_at: int | None,
) -> None:
    template, expected = interrupted
    shutil.copytree(template, tmp_path / "results")
    cell = Cell(tmp_path / "results", CONFIG)
    for step in harmed:
        path = checkpoint.place(cell.path / "checkpoints", step) / checkpoint.ARRAYS
        path.write_bytes(path.read_bytes()[:-1])
    with cell.lock(), caplog.at_level(logging.WARNING, "pbrl"):
        restored = cell.restore()
    assert (restored[1] if restored else None) == resumes_at
    if resumes_at == 6:  # the damaged one was not needed
        assert cell.notices == []
    else:
        assert "checkpoint of step 6 is not used" in caplog.text
        assert "is damaged: it has" in cell.notices[0]
        assert ("starts again from its beginning" in caplog.text) == (resumes_at is None)
    assert complete(tmp_path / "results") == expected


def test_the_notice_reaches_the_manifest(
    interrupted: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    shutil.copytree(interrupted[0], tmp_path / "results")
    cell = Cell(tmp_path / "results", CONFIG)
    (checkpoint.place(cell.path / "checkpoints", 6) / checkpoint.MANIFEST).write_bytes(b"")
    complete(tmp_path / "results")
    manifest = cell.manifest()
    assert manifest is not None
    assert "checkpoint of step 6 is not used" in manifest["notices"][0]


def test_a_checkpoint_of_other_rows_is_not_used(
    interrupted: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    shutil.copytree(interrupted[0], tmp_path / "results")
    cell = Cell(tmp_path / "results", CONFIG)
    path = cell.path / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"step": 4', b'"step": 5'))
    with cell.lock():
        restored = cell.restore()
    assert restored is not None
    assert restored[1] == 3
    assert complete(tmp_path / "results") == interrupted[1]


# --- the lease ----------------------------------------------------------------------------------


def held_elsewhere(cell: Cell, **changes: object) -> None:
    """A lease as another machine would have written it."""
    cell.create()
    holder = {"token": "theirs", "machine": "another", "host": "far", "pid": 1, "started": "1"}
    (cell.path / lease.FILE).write_text(json.dumps(holder | changes))


def test_a_held_cell_is_refused_with_the_name_of_its_owner(tmp_path: Path) -> None:
    cell = Cell(tmp_path, CONFIG)
    held_elsewhere(cell)
    with pytest.raises(Locked, match="being computed by process 1 on far"), cell.lock():
        pass
    with cell.lock(expired_token="theirs"):
        assert cell.status() == "running"
    assert lease.holder(cell.path) is None


def test_an_expired_token_does_not_open_a_lease_taken_since(tmp_path: Path) -> None:
    cell = Cell(tmp_path, CONFIG)
    held_elsewhere(cell, token="the next owner's")
    with pytest.raises(Locked), cell.lock(expired_token="theirs"):
        pass


@pytest.mark.parametrize("content", [b"", b'{"token": "ab', b"[]", b"\xff"])
def test_a_torn_lease_is_taken_over(tmp_path: Path, content: bytes) -> None:
    cell = Cell(tmp_path, CONFIG)
    cell.create()
    (cell.path / lease.FILE).write_bytes(content)
    with cell.lock():
        assert cell.status() == "running"


def test_the_lease_of_a_dead_process_is_taken_over_at_once(tmp_path: Path) -> None:
    cell = Cell(tmp_path, CONFIG)
    code = (
        "import os, sys; from pathlib import Path; from pbrl.store import Cell; import json;"
        f"cell = Cell(Path({str(tmp_path)!r}), json.loads({json.dumps(CONFIG)!r}));"
        "lock = cell.lock(); lock.__enter__(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert lease.holder(cell.path) is not None
    assert cell.status() == "missing"
    with cell.lock():
        assert cell.status() == "running"


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_expiry_does_not_look_at_wall_clocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew: int
) -> None:
    cell = Cell(tmp_path, CONFIG)
    held_elsewhere(cell)
    path = cell.path / lease.FILE
    os.utime(path, (time.time() + skew, time.time() + skew))
    now = [100.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])
    watch = lease.Watch(cell.path, expiry=60)
    assert watch.expired_token() is None
    now[0] += 59
    assert watch.expired_token() is None
    os.utime(path, (time.time() + skew + 5, time.time() + skew + 5))  # a beat
    now[0] += 59
    assert watch.expired_token() is None
    now[0] += 59
    assert watch.expired_token() is None
    now[0] += 2
    assert watch.expired_token() == "theirs"


def test_the_owner_keeps_its_lease_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.02)
    cell = Cell(tmp_path, CONFIG)
    with cell.lock():
        before = (cell.path / lease.FILE).stat().st_mtime_ns
        deadline = time.monotonic() + 5
        while (cell.path / lease.FILE).stat().st_mtime_ns == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_an_owner_that_lost_its_lease_publishes_nothing(tmp_path: Path) -> None:
    cell, thief = Cell(tmp_path, CONFIG), Cell(tmp_path, CONFIG)
    with cell.lock():
        cell.journal({"event": "eval", "step": 0, "return": 1.0})
        token = lease.holder(cell.path)
        assert token is not None
        with thief.lock(expired_token=token.token):
            thief.journal({"event": "eval", "step": 0, "return": 2.0})
            cell.journal({"event": "eval", "step": 1, "return": 1.0})
            for publish in (
                lambda: cell.checkpoint({}, step=1),
                lambda: cell.finish({}, weights={"x": 1}),
                lambda: cell.fail("bug", "late", traceback="", command=""),
            ):
                with pytest.raises(LeaseLost, match="another one took the cell over"):
                    publish()
            thief.finish({"by": "thief"})
    manifest = cell.manifest()
    assert manifest is not None
    assert manifest["summary"] == {"by": "thief"}
    assert load(tmp_path).frame["return"].to_list() == [2.0]
    assert lease.holder(cell.path) is None


SLEEPER = """
import json, sys, time
from pathlib import Path
from pbrl.store import Cell, lease
lease.BEAT = 0.05
root, config = Path(sys.argv[1]), json.loads(sys.argv[2])
cell = Cell(root, config)
try:
    with cell.lock():
        cell.journal({"event": "eval", "step": 0, "return": -1.0})
        print("holding", flush=True)
        while not (root / "go").exists():
            time.sleep(0.01)
        cell.finish({"by": "sleeper"})
except lease.LeaseLost as error:
    print(error, flush=True)
    sys.exit(75)
"""


def test_a_stopped_owner_is_replaced_and_overwrites_nothing(tmp_path: Path) -> None:
    cell = Cell(tmp_path, CONFIG)
    sleeper = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(tmp_path), json.dumps(CONFIG)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert sleeper.stdout is not None
        assert sleeper.stdout.readline() == "holding\n"
        watch, token = lease.Watch(cell.path, expiry=0.6), None
        alive_until = time.monotonic() + 1
        while time.monotonic() < alive_until:  # a beating owner does not expire
            assert watch.expired_token() is None
            time.sleep(0.02)
        sleeper.send_signal(signal.SIGSTOP)
        while token is None:
            token = watch.expired_token()
            time.sleep(0.02)
        with pytest.raises(Locked), cell.lock():
            pass
        with cell.lock(expired_token=token):
            result = tiny_cells.execute(cell)
            cell.finish({"by": "second"}, weights=result["weights"])
        before = result_digest(tmp_path)
        (tmp_path / "go").touch()
        sleeper.send_signal(signal.SIGCONT)
        assert sleeper.wait(10) == 75
        assert "took the cell over" in sleeper.stdout.read()
    finally:
        sleeper.kill()
        sleeper.wait()
        sleeper.stdout.close()  # type: ignore[union-attr]
    assert result_digest(tmp_path) == before
    manifest = cell.manifest()
    assert manifest is not None
    assert manifest["summary"] == {"by": "second"}
