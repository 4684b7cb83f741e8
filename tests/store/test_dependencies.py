"""A result knows what it depends on: input files and code; a failure, what could have caused it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_cells
import yaml

from pbrl import registry, report, store, suite
from pbrl.errors import ConfigError, StoreError
from pbrl.jobs import queue
from pbrl.report.study import read
from pbrl.store import checkpoint, provenance
from pbrl.store.inputs import opened, sealed_inputs

MATRIX = "0.5,0.6\n0.4,0.5\n"
OTHER = "0.5,0.7\n0.3,0.5\n"
BLOCK = {
    "kind": "bandit",
    "problem": {"name": "csv", "path": "m.csv"},
    "algorithm": "uniform",
    "horizon": 10,
    "repetitions": 1,
}


def planned(folder: Path, problem: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells of a suite file in `folder`."""
    content = {"name": "files", "blocks": [BLOCK | {"problem": problem}]}
    (folder / "suite.yaml").write_text(yaml.safe_dump(content))
    source = str(folder / "suite.yaml")
    return suite.cells(suite.read(source), folder=suite.find(source).parent)


# --- input files --------------------------------------------------------------------------------


def test_the_content_of_an_input_file_is_part_of_the_cell(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(MATRIX)
    (before,) = planned(tmp_path, {"name": "csv", "path": "m.csv"})
    (tmp_path / "m.csv").write_text(OTHER)
    (after,) = planned(tmp_path, {"name": "csv", "path": "m.csv"})
    assert store.cell_id(before) != store.cell_id(after)
    assert before["problem"]["path"] == str(tmp_path / "m.csv")


def test_a_moved_file_gives_the_same_cell_with_its_new_path(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    (tmp_path / "here/m.csv").write_text(MATRIX)
    (tmp_path / "there/n.csv").write_text(MATRIX)
    (first,) = planned(tmp_path / "here", {"name": "csv", "path": "m.csv"})
    (second,) = planned(tmp_path / "there", {"name": "csv", "path": "n.csv"})
    assert store.cell_id(first) == store.cell_id(second)
    assert second["problem"]["path"] == str(tmp_path / "there/n.csv")


def test_paths_start_at_the_suite_file_and_not_where_the_user_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.csv").write_text(MATRIX)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert planned(tmp_path, {"name": "csv", "path": "m.csv"})
    source = str(tmp_path / "suite.yaml")
    (tmp_path / "n.csv").write_text(OTHER)
    content = suite.read(source, settings=("blocks.0.problem.path=n.csv",))
    (config,) = suite.cells(content, folder=suite.find(source).parent)
    assert config["problem"]["path"] == str(tmp_path / "n.csv")


def test_a_missing_file_is_refused_with_the_place_it_was_looked_for(tmp_path: Path) -> None:
    expected = rf"blocks\.0: m\.csv cannot be read: there is no such file at {tmp_path}/m\.csv"
    with pytest.raises(ConfigError, match=expected):
        planned(tmp_path, {"name": "csv", "path": "m.csv"})


def test_a_label_shows_the_path_as_the_suite_gives_it(tmp_path: Path) -> None:
    for name, text in (("m.csv", MATRIX), ("n.csv", OTHER)):
        (tmp_path / name).write_text(text)
    configs = planned(tmp_path, {"name": "csv", "path": ["m.csv", "n.csv"]})
    shown = [config["problem"]["label"] for config in configs]
    assert shown == ["csv(path=m.csv)", "csv(path=n.csv)"]


PLUGIN = """
from pathlib import Path
from typing import Annotated, Literal
from pydantic import BaseModel, Field
from pbrl import registry

@registry.{kind}("reads-{kind}")
def made(*, file: Annotated[Path, Field()], more: dict[str, list[Path]] | None = None):
    "Reads files."
"""


@pytest.mark.parametrize("kind", ["teacher", "problem", "bandit", "loss"])
def test_files_of_plug_ins_of_any_kind_and_at_any_depth_count(kind: str, tmp_path: Path) -> None:
    plugin = tmp_path / f"reads_{kind}.py"
    plugin.write_text(PLUGIN.format(kind=kind))
    registry.load_plugin(plugin)
    entry = registry.describe(kind, f"reads-{kind}")
    given = {"file": "a", "more": {"x": ["b", "c"]}}
    for name in "abc":
        (tmp_path / name).write_text(name)

    def identity() -> str:
        parameters = registry.check_parameters(entry, given, "here")
        axis = {"algorithm": {"name": entry.name, **parameters}}
        return store.cell_id(sealed_inputs(axis, tmp_path))

    seen = {identity()}
    for name in "abc":
        (tmp_path / name).write_text("changed")
        seen.add(identity())
    assert len(seen) == 4


def test_a_cell_reads_its_files_as_paths_and_refuses_one_that_changed(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(MATRIX)
    (config,) = planned(tmp_path, {"name": "csv", "path": "m.csv"})
    assert opened(config)["problem"]["path"] == tmp_path / "m.csv"
    (tmp_path / "m.csv").write_text(OTHER)
    with pytest.raises(ConfigError, match=r"m\.csv was changed after the cell was planned"):
        opened(config)
    (tmp_path / "m.csv").unlink()
    with pytest.raises(ConfigError, match=r"m\.csv is missing"):
        opened(config)


def test_a_folder_is_known_by_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "data/inner").mkdir(parents=True)
    (tmp_path / "data/inner/x").write_text("1")
    ids = {store.cell_id(sealed_inputs({"problem": {"name": "p", "d": Path("data")}}, tmp_path))}
    (tmp_path / "data/inner/x").rename(tmp_path / "data/inner/y")
    ids.add(store.cell_id(sealed_inputs({"problem": {"name": "p", "d": Path("data")}}, tmp_path)))
    assert len(ids) == 2


# --- code ---------------------------------------------------------------------------------------


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Stands for the imported plug-ins: digests by file name."""
    loaded = {"grumpy.py": "one"}
    monkeypatch.setattr(registry, "plugins", lambda: dict(loaded))
    return loaded


def finished(root: Path, seed: int) -> store.Cell:
    cell = store.Cell(root, tiny_cells.config(seed))
    with cell.lock():
        complete(cell)
    return cell


def complete(cell: store.Cell) -> None:
    cell.journal({"event": "eval", "step": cell.config["steps"], "return": 1.0})
    cell.finish({})


def queued(cells: list[store.Cell], *retry: str) -> tuple[queue._Queue, list[str]]:
    notes: list[str] = []
    made = queue._Queue(
        cells, plugins=[], retry=retry, on_event=lambda what, cell, note: notes.append(note)
    )
    return made, notes


def test_results_of_two_versions_of_a_plug_in_are_named_and_fail_strict(
    tmp_path: Path, plugins: dict[str, str]
) -> None:
    finished(tmp_path, 0)
    plugins["grumpy.py"] = "two"
    finished(tmp_path, 1)
    (mixed,) = read(tmp_path).problems()
    assert mixed == "Mixed versions of grumpy.py: 1 cell one, 1 cell two"
    assert mixed in report.table(tmp_path)
    with pytest.raises(StoreError, match=r"Mixed versions of grumpy\.py"):
        report.table(tmp_path, strict=True)


def test_a_result_of_other_code_is_kept_named_and_computed_again_on_demand(
    tmp_path: Path, plugins: dict[str, str]
) -> None:
    cell = finished(tmp_path, 0)
    kept, _ = queued([cell])
    assert (kept.summary.outdated, list(kept.waiting)) == ({}, [])
    plugins["grumpy.py"] = "two"
    plugins["unrelated.py"] = "new"
    kept, _ = queued([cell])
    assert (kept.summary.outdated, list(kept.waiting)) == ({cell.id: ["grumpy.py"]}, [])
    again, notes = queued([cell], "outdated")
    assert notes == ["computed with another version of grumpy.py"]
    assert [waiting for waiting, _ in again.waiting] == [cell]
    assert cell.status() == "missing"


def interrupted(root: Path) -> store.Cell:
    cell = store.Cell(root, tiny_cells.config(1))
    with cell.lock():
        cell.journal({"event": "eval", "step": 0})
        cell.checkpoint({"x": 1}, step=1)
        cell.checkpoint({"x": 2}, step=2)
    return store.Cell(root, cell.config)


@pytest.mark.parametrize("what", ["pbrl", "grumpy.py"])
def test_a_cell_is_not_continued_by_other_code(
    what: str, tmp_path: Path, plugins: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = interrupted(tmp_path)
    if what == "pbrl":
        monkeypatch.setattr(provenance, "source_digest", lambda: "other")
    plugins["grumpy.py"] = "two" if what == "grumpy.py" else "one"
    with cell.lock():
        assert cell.restore() is None
        assert checkpoint.steps(cell.path / "checkpoints") == []
        complete(cell)
    expected = f"{what} changed after the checkpoint of step 2: the cell starts again"
    assert cell.notices[0].startswith(expected)
    assert expected in report.table(tmp_path)
    (manifest,) = [cell.manifest()]
    assert manifest is not None
    assert manifest["notices"] == cell.notices


def test_a_cell_continued_with_other_packages_says_so(
    tmp_path: Path, plugins: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = interrupted(tmp_path)
    monkeypatch.setattr(provenance, "installed", lambda name: "9.9.9")
    with cell.lock():
        assert cell.restore() == ({"x": 2}, 2)
    assert "continued from step 2 with other versions: " in cell.notices[0]
    assert "torch 9.9.9 after " in cell.notices[0]


def test_the_digest_of_a_plug_in_is_that_of_the_text_that_ran(tmp_path: Path) -> None:
    text = 'from pbrl import registry\nVALUE = 1\nregistry.teacher("edited")(lambda: None)\n'
    values = []
    for version in (text, text.replace("VALUE = 1", "VALUE = 2")):  # same size, same second
        plugin = tmp_path / "edited.py"
        plugin.write_text(version)
        os.utime(plugin, (1e9, 1e9))
        registry.load_plugin(plugin)
        name = next(n for n in sys.modules if n.startswith("pbrl_plugin_edited_"))
        values.append((sys.modules.pop(name).VALUE, registry.plugins()["edited.py"]))
        registry.finding.REGISTERED["teacher"].pop("edited")
    assert [value for value, _ in values] == [1, 2]
    assert values[0][1] != values[1][1]


# --- failures -----------------------------------------------------------------------------------


def set_(name: str, value: str) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(provenance, name, lambda: value)


CHANGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "pbrl": set_("source_digest", "other"),
    "grumpy.py": lambda patch: patch.setattr(registry, "plugins", lambda: {"grumpy.py": "two"}),
    "installed packages": set_("_installed", "other"),
    "python": lambda patch: patch.setattr(provenance.platform, "python_version", lambda: "4"),
    "MUJOCO_GL": lambda patch: patch.setenv("MUJOCO_GL", "another"),
    "graphics cards": lambda patch: patch.setattr(
        provenance, "graphics_cards", lambda: ["nvidia7"]
    ),
}


def failed(root: Path, config: dict[str, Any]) -> store.Cell:
    cell = store.Cell(root, config)
    with cell.lock():
        cell.fail("bug", "no ground", traceback="", command="again")
    return cell


@pytest.mark.parametrize("what", CHANGES)
def test_a_failed_cell_is_tried_again_when_what_it_depends_on_changed(
    what: str, tmp_path: Path, plugins: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = failed(tmp_path, tiny_cells.config(0))
    before, _ = queued([cell])
    assert (before.summary.failed, list(before.waiting)) == ([cell], [])
    CHANGES[what](monkeypatch)
    after, notes = queued([cell])
    assert notes == [f"changed since it failed: {what}"]
    assert [waiting for waiting, _ in after.waiting] == [cell]


@pytest.mark.parametrize("key", ["hang_timeout", "gpus", "checkpoint_seconds"])
def test_a_failed_cell_is_tried_again_with_other_execution_settings(
    key: str, tmp_path: Path
) -> None:
    config = tiny_cells.config(0)
    cell = failed(tmp_path, config)
    config = config | {"execution": config["execution"] | {key: 1234.0}}
    _, notes = queued([store.Cell(tmp_path, config)])
    assert notes == [f"changed since it failed: {key}"]
    assert store.Cell(tmp_path, config).id == cell.id


def test_a_failed_cell_is_tried_again_when_its_file_is_back(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(MATRIX)
    (config,) = planned(tmp_path, {"name": "csv", "path": "m.csv"})
    (tmp_path / "m.csv").write_text(OTHER)
    cell = failed(tmp_path / "out", config)
    (tmp_path / "m.csv").write_text(MATRIX)
    _, notes = queued([cell])
    assert notes == [f"changed since it failed: {tmp_path / 'm.csv'}"]


def test_a_failed_cell_is_tried_again_on_demand(tmp_path: Path) -> None:
    made, notes = queued([failed(tmp_path, tiny_cells.config(0))], "failed")
    assert notes == ["asked for by --retry failed"]
    assert len(made.waiting) == 1


def test_lines_of_a_moved_file_are_one_line(tmp_path: Path) -> None:
    for seed, place in enumerate(("here", "there")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "data").write_text("same")
        config = tiny_cells.config(seed)
        config["env"] = config["env"] | {"data": Path("data")}
        cell = store.Cell(tmp_path / "out", sealed_inputs(config, tmp_path / place))
        with cell.lock():
            complete(cell)
    (line,) = read(tmp_path / "out").lines
    assert line.runs == 2
