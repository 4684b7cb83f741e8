"""Whatever happens to a file of a results folder, commands name it and show no number of it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_cells
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl import cli, report, store
from pbrl.errors import StoreError
from pbrl.jobs import queue
from pbrl.store import atomic, process

SEEDS = range(3)


def fill(root: Path) -> list[store.Cell]:
    """Two finished cells with weights, one that was stopped with a checkpoint; and their plan."""
    cells = [store.Cell(root, tiny_cells.config(seed)) for seed in SEEDS]
    for cell in cells:
        with cell.lock():
            cell.journal({"event": "eval", "step": 0, "return": 1000.0 + cell.config["seed"]})
            cell.journal({"event": "eval", "step": 20, "return": 1000.0 + cell.config["seed"]})
            cell.checkpoint({"x": 1}, step=20)
            if cell.config["seed"] < 2:
                cell.finish({}, weights={"x": 1})
    store.write_plan(root, cells)
    return cells


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "results"
    fill(root)
    return root


def _folder(path: Path, at: int) -> None:
    path.unlink()
    path.mkdir()
    (path / "inner").write_text("x")


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[at % len(data)] ^= 1 << at % 8
    path.write_bytes(data)


def _link(path: Path, at: int) -> None:
    path.unlink()
    path.symlink_to("/nonexistent/anywhere")


def _pipe(path: Path, at: int) -> None:
    path.unlink()
    os.mkfifo(path)


MUTATIONS: dict[str, Callable[[Path, int], object]] = {
    "flip": _flip,
    "truncate": lambda path, at: path.write_bytes(path.read_bytes()[: at % 300]),
    "empty": lambda path, at: path.write_bytes(b""),
    "delete": lambda path, at: path.unlink(),
    "folder": _folder,
    "dangling link": _link,
    "pipe": _pipe,
    "another JSON": lambda path, at: path.write_bytes(atomic.sealed({"id": "other"})),
    "nested": lambda path, at: path.write_text("[" * 100_000),
}


def harm(root: Path, data: st.DataObject) -> tuple[Path, str]:
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.name != ".guard")
    path = data.draw(st.sampled_from(files), label="file")
    mutation = data.draw(st.sampled_from(sorted(MUTATIONS)), label="mutation")
    MUTATIONS[mutation](path, data.draw(st.integers(0, 5000), label="at"))
    return path, mutation


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_no_number_of_a_damaged_cell_is_shown_unnamed(
    template: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("harmed") / "results"
    shutil.copytree(template, root)
    whole = {info.id: info for info in store.load(root).cells}
    path, _ = harm(root, data)
    results = store.load(root)
    plan = store.read_plan(root)
    found = {info.id: info for info in results.cells}
    for info in found.values():
        if info.status == "done":  # then its numbers are those that were written
            seed = info.config["seed"]
            rows = results.frame.filter(results.frame["cell"] == info.id)
            assert rows["return"].to_list() == [1000.0 + seed] * 2
            assert info.config == whole[info.id].config
    named = [info for info in found.values() if info.problem]
    text = report.table(root)
    assert all(info.status in text or info.status == "missing" for info in named)
    if "weights" not in path.parts and "checkpoints" not in path.parts:
        harmless = path.name == "journal.jsonl" or results.cells == list(whole.values())
        assert named or harmless or not atomic.is_there(path)
    schedule = queue._Queue(plan.cells, plugins=[], on_event=lambda *_: None)
    done, failed = schedule.summary.skipped, schedule.summary.failed
    assert len(schedule.waiting) + len(done) + len(failed) == len(plan.cells)
    shutil.rmtree(root)


@pytest.mark.faults
@given(st.data())
@settings(max_examples=100, deadline=None)
def test_no_damage_ends_a_command(
    template: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("harmed") / "results"
    shutil.copytree(template, root)
    for _ in range(data.draw(st.integers(1, 3))):
        harm(root, data)
    for command in (["status"], ["status", "--json"], ["table"], ["plot"]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["pbrl", *command, str(root)])
            code: object = 0
            try:
                cli.main()
            except SystemExit as stop:
                code = stop.code
            assert code in (0, None), command
    shutil.rmtree(root)


# --- what cannot be read ------------------------------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("what", ["metrics.parquet", "manifest.json", "config.json", "."])
def test_what_may_not_be_read_is_named_and_stays(what: str, open_folder: Path) -> None:
    tmp_path = open_folder
    cells = fill(tmp_path / "results")
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o777)
    place = cells[0].path / what
    place.chmod(0o000)
    before = sorted(tmp_path.rglob("*"))
    code = (
        "import os, sys, json; from pathlib import Path; from pbrl import store;"
        "from pbrl.jobs import queue; os.geteuid() or os.seteuid(65534);"
        f"plan = store.read_plan(Path({str(tmp_path / 'results')!r}));"
        "looks = [(i.status, i.problem) for i in map(store.look, plan.cells)];"
        "s = queue._Queue(plan.cells, plugins=[], on_event=lambda *_: None);"
        "print(json.dumps([looks, len(s.summary.failed), len(s.summary.skipped)]))"
    )
    out = subprocess.check_output([sys.executable, "-c", code], text=True)
    looks, failed, skipped = json.loads(out)
    place.chmod(0o777)
    assert [status for status, _ in looks] == ["unreadable", "done", "missing"]
    assert "no permission; change its mode" in looks[0][1]
    assert (failed, skipped) == (1, 1)
    assert sorted(tmp_path.rglob("*")) == before


# --- links, leftovers, a disk that is read-only -------------------------------------------------


FILES = (
    *("checkpoints", "journal.jsonl", ".guard", "config.json", "lease", "metrics.parquet"),
    *("manifest.json", "weights", "failure.json"),
)


@pytest.mark.parametrize("name", ["cells", "cells/ID", *(f"cells/ID/{name}" for name in FILES)])
def test_a_link_in_a_results_folder_is_never_written_through(name: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "file").write_text("precious")
    cell = store.Cell(tmp_path / "results", tiny_cells.config(0))
    link = tmp_path / "results" / name.replace("ID", cell.id)
    link.parent.mkdir(parents=True)
    to_folder = link.suffix == "" and name.rpartition("/")[2] not in (".guard", "lease")
    link.symlink_to(outside if to_folder else outside / "file")
    before = sorted(outside.rglob("*"))
    refused = ""
    try:
        with cell.lock():
            cell.journal({"event": "eval", "step": 0})
            cell.checkpoint({"x": 1}, step=1)
            cell.finish({}, weights={"x": 1})
    except StoreError as error:
        refused = str(error)
    assert not refused or "symbolic link" in refused
    assert sorted(outside.rglob("*")) == before
    assert (outside / "file").read_text() == "precious"


def test_leftovers_go_with_their_writer_and_those_of_a_live_one_stay(tmp_path: Path) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "from pbrl.store import process; print(process.own_name())"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    alive = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        own = process.own_name().partition(".")[0]
        names = {
            "dead": f".plan.json-{dead}-12345678.tmp",
            "ours": f".plan.json-{process.own_name()}-12345678.tmp",
            "alive": f".a-b-{own}.{alive.pid}.{process.started(alive.pid)}-12345678.tmp",
            "elsewhere": ".plan.json-ffffffff.1.1-12345678.tmp",
        }
        for name in names.values():
            (tmp_path / name).write_text("half")
        atomic.clean(tmp_path)
        assert {p.name for p in tmp_path.iterdir()} == {names["alive"], names["elsewhere"]}
    finally:
        alive.communicate()


def test_leftovers_of_a_finished_cell_are_removed_by_the_next_run(tmp_path: Path) -> None:
    cells = fill(tmp_path)
    (cells[0].path / "checkpoints" / "000000000020").mkdir(parents=True)
    (cells[0].path / "journal.jsonl").write_text("")
    queue._Queue(cells[:1], plugins=[], on_event=lambda *_: None)
    names = {path.name for path in cells[0].path.iterdir()}
    assert names == {".guard", "config.json", "manifest.json", "metrics.parquet", "weights"}


def test_finished_results_on_a_read_only_disk_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "results"
    cells = fill(root)[:2]
    written: list[object] = []

    class ReadOnly:
        def __getattr__(self, name: str) -> object:
            if name in ("write", "replace", "rename", "unlink", "rmdir", "makedirs", "fsync"):
                return lambda *arguments, **_: written.append((name, arguments))
            return getattr(os, name)

    monkeypatch.setattr(atomic, "open_own", lambda *arguments: written.append(arguments))
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "os", ReadOnly())
        patch.setattr(atomic, "make_folder", lambda path: None)
        assert store.write_plan(root, cells) == []
        assert queue.run_cells(cells, root).exit_code == 0
        assert "1,000" in report.table(root)
    assert written == []
    before = sorted(root.rglob("*"))
    monkeypatch.undo()
    report.plot(root, tmp_path / "out")
    assert (tmp_path / "out" / "report.html").is_file()
    assert sorted(root.rglob("*")) == before
