"""The runner: failures are told apart, killed cells resume, signals stop it, nobody is left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tiny_cells
from kill_resume import kill_and_resume, result_digest

from pbrl.errors import (
    CellError,
    ConfigError,
    EnvironmentFault,
    PbrlError,
    PluginError,
    StoreError,
)
from pbrl.jobs import queue, worker
from pbrl.store import Cell, lease, provenance

Event = tuple[str, str, str]


def run(
    root: Path, cells: list[Cell], *, jobs: int = 2
) -> tuple[queue.Summary, list[tuple[str, Cell, str]]]:
    events: list[tuple[str, Cell, str]] = []
    summary = queue.run_cells(
        cells,
        root,
        jobs=jobs,
        plugins=[tiny_cells.PLUGIN],
        on_event=lambda what, cell, note: events.append((what, cell, note)),
    )
    return summary, events


def in_this_process(root: Path, config: dict[str, object]) -> dict[str, str]:
    cell = Cell(root, config)
    cell.create()
    (cell.path / "mischief-done").touch()  # "killed once" would end the tests
    with cell.lock():
        result = tiny_cells.execute(cell)
        cell.finish({"counts": result["counts"]}, weights=result["weights"])
    return result_digest(root)


def wait_until(condition: object, timeout: float = 30.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_a_cell_that_compiles_is_told(tmp_path: Path) -> None:
    _, events = run(tmp_path, [Cell(tmp_path, tiny_cells.config(0, mischief="compiles"))])
    told = [what for what, _, _ in events if what != "computing"]
    assert told == ["started", "compiling", "done"]


# --- what becomes of cells ----------------------------------------------------------------------

MISCHIEF = {
    "raise": ("environment", "no ground"),
    "bug": ("user", "KeyError: 'position' (tiny_cells.py, line "),
    "nan": ("numeric", "loss is nan"),
    "disk full": ("resource", "No space left"),
    "full": ("resource", "; and this cannot be recorded: cannot write"),
    "hang": ("user", "method 'walk' gave no sign of life for 2 s"),
    "abort": ("bug", "killed by SIGABRT 3 times, in method 'walk'"),
    "exit": ("user", "method 'walk' ended the process with exit code 3"),
    "killed": ("lost", "killed by SIGKILL 3 times"),
}


@pytest.fixture(scope="module")
def mixed(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[Cell], queue.Summary, list[tuple[str, Cell, str]]]:
    """Three good cells, one killed once, and one of each mischief, computed together."""
    root = tmp_path_factory.mktemp("mixed")
    good = [Cell(root, tiny_cells.config(seed)) for seed in range(3)]
    good.append(Cell(root, tiny_cells.config(0, mischief="killed once")))
    bad = [Cell(root, tiny_cells.config(0, mischief=m, hang_timeout=2.0)) for m in MISCHIEF]
    cells = [*bad, *good]
    return root, cells, *run(root, cells)


Mixed = tuple[Path, list[Cell], queue.Summary, list[tuple[str, Cell, str]]]


def test_failing_cells_do_not_stop_the_others(mixed: Mixed) -> None:
    _, cells, summary, events = mixed
    assert {cell.id for cell in summary.failed} == {cell.id for cell in cells[: len(MISCHIEF)]}
    assert {cell.id for cell in summary.done} == {cell.id for cell in cells[len(MISCHIEF) :]}
    assert summary.exit_code == 1
    last = {cell.id: what for what, cell, _ in events}
    assert Counter(last.values()) == {"done": 4, "failed": len(MISCHIEF)}


@pytest.mark.parametrize("mischief", MISCHIEF)
def test_a_failure_says_who_why_where_and_how_to_repeat(mixed: Mixed, mischief: str) -> None:
    cell = next(c for c in mixed[1] if c.config["method"].get("mischief") == mischief)
    failure = cell.failure()
    assert failure is not None
    kind, message = MISCHIEF[mischief]
    assert (failure["kind"], cell.status()) == (kind, "failed")
    assert message in failure["message"]
    assert failure["seed"] == 0
    assert failure["command"] == worker.repeat_command(cell, [tiny_cells.PLUGIN])
    assert "misbehave" in failure["traceback"] or mischief in ("killed", "exit", "full")
    assert Path(failure["log"]).read_text().startswith("--- process ")
    assert failure["checkpoint"] == 5


def test_a_killed_cell_resumes_to_the_same_bytes(mixed: Mixed, tmp_path: Path) -> None:
    root, cells, _, events = mixed
    killed = cells[-1]
    assert ("retry", killed.id) in [(what, cell.id) for what, cell, _ in events]
    expected = in_this_process(tmp_path, killed.config)
    found = result_digest(root)
    assert expected.items() <= found.items()


def test_a_forked_cell_equals_one_computed_alone(mixed: Mixed, tmp_path: Path) -> None:
    root, cells, _, _ = mixed
    for cell in cells[-4:-1]:
        in_this_process(tmp_path, cell.config)
    assert result_digest(tmp_path).items() <= result_digest(root).items()


def test_running_again_skips_done_and_reports_failed_cells(mixed: Mixed) -> None:
    root, cells, _, _ = mixed
    kept = [c for c in cells if (c.failure() or {}).get("kind") not in ("resource", "lost")]
    summary, events = run(root, kept)
    assert not [(c.id, note) for what, c, note in events if what in ("started", "retry")]
    assert (len(summary.skipped), len(summary.failed)) == (4, len(MISCHIEF) - 3)


def test_a_failure_is_tried_again_when_the_code_changed(
    mixed: Mixed, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cells, _, _ = mixed
    bug = [c for c in cells if c.config["method"].get("mischief") == "bug"]
    monkeypatch.setattr(provenance, "source_digest", lambda: "another version")
    _, events = run(root, bug)
    assert [what for what, _, _ in events] == ["retry", "started", "failed"]


def test_the_repeat_command_repeats_the_cell(mixed: Mixed) -> None:
    cell = next(c for c in mixed[1] if c.config["method"].get("mischief") == "raise")
    command = (cell.failure() or {})["command"].split()
    done = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True)
    assert done.returncode == worker.FAILED
    assert "EnvironmentFault: environment 'line' raised ValueError" in done.stderr


def test_no_process_and_no_lease_is_left(mixed: Mixed) -> None:
    assert not [cell.id for cell in mixed[1] if lease.holder(cell.path) is not None]
    children = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True
    )
    assert b"fork_server" not in children.stdout


def test_a_broken_plugin_fails_its_cell_with_its_error(tmp_path: Path) -> None:
    plugin = tmp_path / "broken.py"
    plugin.write_text("import no_such_module\n")
    cell = Cell(tmp_path / "results", tiny_cells.config(0))
    summary = queue.run_cells([cell], tmp_path / "results", plugins=[str(plugin)])
    failure = summary.failed[0].failure()
    assert failure is not None
    assert failure["kind"] == "user"
    assert "does not import: line 1: ModuleNotFoundError" in failure["message"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConfigError("x"), "user"),
        (PluginError("x"), "user"),
        (CellError("x"), "user"),
        (EnvironmentFault("x"), "environment"),
        (FloatingPointError("x"), "numeric"),
        (ZeroDivisionError("x"), "numeric"),
        (MemoryError(), "resource"),
        (OSError(28, "x"), "resource"),
        (FileNotFoundError(2, "x"), "bug"),
        (KeyError("x"), "bug"),
    ],
)
def test_failures_are_told_apart(error: Exception, kind: str) -> None:
    assert worker.failure_kind(error) == kind


def test_a_folder_of_our_names_where_the_user_stands_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("envs", "bandits"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong package')")
    monkeypatch.chdir(tmp_path)
    summary, _ = run(Path("results"), [Cell(Path("results"), tiny_cells.config(0))])
    assert summary.exit_code == 0


def test_an_unknown_executor_and_an_unwritable_folder_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cell = Cell(tmp_path / "file", tiny_cells.config(0))
    with pytest.raises(ConfigError, match="expected local or ray"):
        queue.run_cells([cell], tmp_path, executor="slurm")
    with pytest.raises(StoreError, match="a file stands where a folder is expected"):
        queue.run_cells([cell], tmp_path / "file")


def test_a_worker_that_cannot_start_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "polars.py").write_text("raise ImportError('polars is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(PbrlError, match=r"(?s)worker process does not start.*polars is broken"):
        queue.run_cells([Cell(tmp_path / "results", tiny_cells.config(0))], tmp_path / "results")


# --- signals and several runners ----------------------------------------------------------------

RUNNER = """
import json, sys
from pathlib import Path
from pbrl.jobs import queue
from pbrl.store import Cell
root, plugin, jobs, configs = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
cells = [Cell(root, config) for config in json.loads(Path(configs).read_text())]
events = []
summary = queue.run_cells(cells, root, jobs=jobs, plugins=[plugin],
                           on_event=lambda what, cell, note: events.append((what, cell.id, note)))
print(json.dumps({"done": [c.id for c in summary.done], "failed": [c.id for c in summary.failed],
                  "skipped": [c.id for c in summary.skipped], "events": events}))
sys.exit(summary.exit_code)
"""


def start_runner(
    root: Path, configs: list[dict[str, object]], *, jobs: int = 2
) -> "subprocess.Popen[str]":
    root.mkdir(exist_ok=True)
    (root / "configs.json").write_text(json.dumps(configs))
    command = [sys.executable, "-c", RUNNER, str(root), tiny_cells.PLUGIN, str(jobs)]
    return subprocess.Popen(
        [*command, str(root / "configs.json")], stdout=subprocess.PIPE, text=True
    )


def are_gone(cells: list[Cell]) -> bool:
    holders = [lease.holder(cell.path) for cell in cells]
    return all(found is None or found.is_dead() for found in holders)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_writes_checkpoints_and_stops_within_five_seconds(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    configs = [tiny_cells.config(seed, steps=40, every=1000, sleep=0.04) for seed in range(3)]
    root = tmp_path / "results"
    cells = [Cell(root, config) for config in configs]
    started = start_runner(root, configs)
    wait_until(lambda: sum(cell.progress() is not None for cell in cells) == 2)
    began = time.monotonic()
    started.send_signal(number)
    assert started.wait(10) == code
    assert time.monotonic() - began < 5
    assert are_gone(cells)
    saved = [(cell.progress() or {}).get("checkpoint") for cell in cells]
    assert sum(step is not None for step in saved) == 2
    if number == signal.SIGTERM:
        return  # one of the two is enough to see it continue
    assert start_runner(root, configs).wait(30) == 0
    for config in configs:
        in_this_process(tmp_path / "whole", config)
    assert result_digest(root) == result_digest(tmp_path / "whole")


def test_no_process_outlives_a_killed_runner_or_server(tmp_path: Path) -> None:
    configs = [tiny_cells.config(seed, steps=200, sleep=0.05, every=1000) for seed in range(2)]
    root = tmp_path / "results"
    cells = [Cell(root, config) for config in configs]
    started = start_runner(root, configs)
    wait_until(lambda: all(cell.progress() for cell in cells))
    started.kill()
    started.wait()
    wait_until(lambda: are_gone(cells), timeout=6)
    again = start_runner(root, configs)
    wait_until(lambda: not are_gone(cells))
    found = lease.holder(cells[0].path) or lease.holder(cells[1].path)
    assert found is not None
    server = int(Path(f"/proc/{found.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(server, signal.SIGKILL)  # the runner starts another and the cells go on
    wait_until(lambda: not are_gone(cells))
    again.terminate()
    assert again.wait(10) == 143
    assert are_gone(cells)


def share_a_folder(tmp_path: Path, *, runners: int, cells: int) -> None:
    configs = [tiny_cells.config(seed, steps=5, sleep=0.002) for seed in range(cells)]
    root = tmp_path / "results"
    started = [start_runner(root, configs, jobs=1) for _ in range(runners)]
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0] * runners
    reports = [json.loads(output) for output in outputs]
    published = Counter(cell_id for report in reports for cell_id in report["done"])
    ids = {Cell(root, config).id for config in configs}
    assert published == dict.fromkeys(ids, 1)
    assert all({*report["done"], *report["skipped"]} == ids for report in reports)
    for config in configs:
        in_this_process(tmp_path / "alone", config)
    assert result_digest(root) == result_digest(tmp_path / "alone")


def test_runners_that_share_a_folder_compute_each_cell_once(tmp_path: Path) -> None:
    share_a_folder(tmp_path, runners=2, cells=20)


@pytest.mark.faults
def test_eight_runners_that_share_a_folder_compute_each_cell_once(tmp_path: Path) -> None:
    share_a_folder(tmp_path, runners=8, cells=50)


def test_a_runner_waits_for_another_and_takes_over_when_it_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "EXPIRY", 1.0)
    cell = Cell(tmp_path, tiny_cells.config(0))
    cell.create()
    holder = {"token": "theirs", "machine": "another", "host": "far", "pid": 1, "started": "1"}
    (cell.path / lease.FILE).write_text(json.dumps(holder))
    began = time.monotonic()
    summary, events = run(tmp_path, [cell])
    assert time.monotonic() - began > 1
    assert [what for what, _, _ in events] == ["waiting", "started", "done"]
    assert summary.exit_code == 0


# --- killed at random moments -------------------------------------------------------------------


def killed_at_random(folder: Path, *, times: int, seed: int) -> None:
    def command(root: Path) -> list[str]:
        cell = Cell(root, tiny_cells.config(1, steps=60, every=4, sleep=0.004))
        cell.create()
        return [
            sys.executable,
            "-m",
            "pbrl.jobs.worker",
            str(cell.path),
            "--plugin",
            tiny_cells.PLUGIN,
        ]

    expected, trials = kill_and_resume(command, times, np.random.default_rng(seed), folder=folder)
    assert [trial.digest for trial in trials] == [expected] * times
    assert sum(trial.kills for trial in trials) > times / 2


def test_a_cell_killed_at_random_moments_ends_with_the_same_bytes(tmp_path: Path) -> None:
    killed_at_random(tmp_path, times=1, seed=11)


@pytest.mark.faults
def test_ten_cells_killed_at_random_moments_end_with_the_same_bytes(tmp_path: Path) -> None:
    killed_at_random(tmp_path, times=10, seed=13)


@pytest.mark.slow
def test_a_hundred_cells_killed_at_random_moments_end_with_the_same_bytes(tmp_path: Path) -> None:
    killed_at_random(tmp_path, times=100, seed=12)
