"""The store: identities, rows, state and results survive a round trip; damage is named."""

import json
import math
import os
import re
import subprocess
import sys
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
import tiny_cells
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pbrl
from pbrl import store
from pbrl.errors import CellError, Damaged, StoreError
from pbrl.jobs import queue
from pbrl.store import atomic, checkpoint, frames, journal

NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=90)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats() | st.just("eval")
ROWS = st.lists(
    st.dictionaries(st.sampled_from(["event", "step", "return", "x y"]), SCALARS, max_size=4),
    max_size=8,
)


@pytest.fixture
def cell(tmp_path: Path) -> store.Cell:
    return store.Cell(tmp_path, tiny_cells.config(3))


def finished(root: Path, seed: int) -> store.Cell:
    made = store.Cell(root, tiny_cells.config(seed))
    with made.lock():
        result = tiny_cells.execute(made)
        made.finish({"counts": result["counts"]}, weights=result["weights"])
    return made


# --- identity -----------------------------------------------------------------------------------


@given(NAMES, NAMES, st.integers(0, 2**40))
def test_cell_id_is_a_safe_folder_name(method: str, env: str, seed: int) -> None:
    config = {"method": {"name": method}, "env": {"name": env}, "teacher": None, "seed": seed}
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,79}", store.cell_id(config))


def test_cell_id_ignores_labels_and_execution_and_key_order() -> None:
    base = tiny_cells.config(1)
    other = dict(reversed(base.items())) | {"execution": {"hang_timeout": 1.0}}
    other["method"] = base["method"] | {"label": "another label"}
    assert store.cell_id(base) == store.cell_id(other)


@pytest.mark.parametrize("change", [{"seed": 2}, {"steps": 21}, {"device": "cuda"}])
def test_cell_id_depends_on_everything_else(change: dict[str, object]) -> None:
    base = tiny_cells.config(1)
    assert store.cell_id(base) != store.cell_id(base | change)


PLAIN = st.none() | st.booleans() | st.integers() | FINITE | NAMES
VALUES = PLAIN | st.dictionaries(NAMES, PLAIN | st.lists(PLAIN))


@given(st.lists(st.dictionaries(st.sampled_from(["seed", "a", "execution", "ü"]), VALUES)))
def test_ids_of_many_cells_are_those_of_each_alone(configs: list[dict[str, Any]]) -> None:
    configs += [config | {"seed": 7, "method": {"name": "m"}} for config in configs]
    for cell in store.cells_of(Path("results"), configs):
        content = {"config": store.identity(cell.config), "version": pbrl.__version__}
        assert cell.id.endswith("-" + sha256(atomic.canonical(content)).hexdigest()[:12])
        assert cell.id == store.cell_id(cell.config)


def test_cell_id_depends_on_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = store.cell_id(tiny_cells.config(1))
    monkeypatch.setattr("pbrl.__version__", "9.9.9")
    assert store.cell_id(tiny_cells.config(1)) != before


def test_store_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path; from pbrl import store; from pbrl.jobs import queue;"
        "store.Cell(Path('nowhere'), {'seed': 1}).status();"
        "print([m for m in ('torch', 'polars', 'numpy', 'ray', 'pydantic') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


# --- rows ---------------------------------------------------------------------------------------


def same(first: object, second: object) -> bool:
    if isinstance(first, float) and isinstance(second, float):
        return first == second or (math.isnan(first) and math.isnan(second))
    return type(first) is type(second) and first == second


@given(ROWS)
def test_rows_round_trip_with_nan_and_infinity(rows: list[journal.Row]) -> None:
    for row in rows:
        line = journal.encode(row)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        json.loads(line[9:], parse_constant=lambda text: pytest.fail(f"not JSON: {text}"))
        decoded = journal.decode(line[:-1])
        assert decoded is not None
        assert list(decoded) == list(row)
        assert all(same(decoded[key], row[key]) for key in row)


def test_numpy_and_torch_scalars_become_plain_numbers() -> None:
    row = {"a": np.float32(0.5), "b": np.int64(3), "c": torch.tensor(2.0), "d": np.bool_(True)}
    assert journal.decode(journal.encode(row)[:-1]) == {"a": 0.5, "b": 3, "c": 2.0, "d": True}


@pytest.mark.parametrize("value", [[1], np.zeros(2), torch.zeros(2), {"a": 1}, b"x"])
def test_a_row_refuses_what_is_not_a_scalar(value: object) -> None:
    with pytest.raises(CellError, match=r"log: loss = .*expected|log: loss = .*a value is"):
        journal.encode({"loss": value})


@given(ROWS, st.data())
@settings(max_examples=60, deadline=None)
def test_a_torn_journal_gives_all_whole_rows_and_appends_cleanly(
    tmp_path_factory: pytest.TempPathFactory, rows: list[journal.Row], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    lines = [journal.encode(row) for row in rows]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    found, damaged = journal.read(path)
    assert (len(found), damaged) == (kept, 0)
    size = len(b"".join(lines[:kept]))
    opened = journal.Journal(path, size=size)
    opened.append({"event": "after"})
    seal = opened.sync()
    opened.close()
    found, damaged = journal.read(path)
    assert (len(found), damaged, found[-1]) == (kept + 1, 0, {"event": "after"})
    assert seal == atomic.seal_of(path)


@given(st.lists(st.binary(max_size=40), max_size=5), st.data())
@settings(max_examples=60, deadline=None)
def test_interleaved_lines_are_counted_and_the_others_kept(
    tmp_path_factory: pytest.TempPathFactory, garbage: list[bytes], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    good = [journal.encode({"step": i}) for i in range(4)]
    bad = [junk.replace(b"\n", b"?") + b"\n" for junk in garbage]
    lines = data.draw(st.permutations(good + bad))
    path.write_bytes(b"".join(lines))
    found, damaged = journal.read(path)
    assert sorted(row["step"] for row in found) == [0, 1, 2, 3]
    assert damaged == len(bad)


@given(st.integers(0, 200), st.integers(1, 255))
def test_no_flipped_byte_passes_the_checksum(offset: int, change: int) -> None:
    line = bytearray(journal.encode({"event": "eval", "step": 7, "return": 1.25})[:-1])
    line[offset % len(line)] ^= change
    row = journal.decode(bytes(line))
    # A flip may only turn one hexadecimal digit of the checksum into its other case.
    assert row is None or int(line[:8], 16) == zlib.crc32(bytes(line[9:]))


def test_equal_rows_give_equal_parquet_bytes() -> None:
    rows = [{"event": "eval", "step": i, "return": i / 3, "success": None} for i in range(50)]
    again = frames.to_parquet(frames.from_rows([dict(row) for row in rows]))
    assert frames.to_parquet(frames.from_rows(rows)) == again


@given(st.lists(st.tuples(st.sampled_from(["a", "ab", "b"]), st.integers(0, 5)), min_size=1))
@settings(max_examples=10, deadline=None)
def test_cells_that_are_read_together_keep_their_own_rows(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[tuple[str, int]]
) -> None:
    root, written = tmp_path_factory.mktemp("batches"), {}
    for seed, (columns, number) in enumerate(shapes):
        made = store.Cell(root, tiny_cells.config(seed))
        rows = [dict.fromkeys(columns, 1000 * seed + i) for i in range(number)]
        with made.lock():
            for row in rows:
                made.journal(row)
            made.finish({})
        written[made.id] = rows
    frame = store.load(root).frame
    for cell_id, rows in written.items() if frame.height else ():
        found = frame.filter(cell=cell_id).select(sorted({c for row in rows for c in row}))
        assert found.to_dicts() == rows
    assert frame.height == sum(number for _, number in shapes)


def test_columns_are_the_union_with_nulls_and_mixed_numbers_become_floats() -> None:
    frame = frames.from_rows([{"a": 1, "b": "x"}, {"a": 2.5, "c": True}, {"d": None}])
    assert frame.columns == ["a", "b", "c", "d"]
    assert frame["a"].to_list() == [1.0, 2.5, None]
    assert frame.dtypes == [polars.Float64, polars.String, polars.Boolean, polars.Float64]


def test_a_column_of_text_and_numbers_is_refused() -> None:
    with pytest.raises(CellError, match=r"column 'a' holds int, str; expected one type"):
        frames.from_rows([{"a": 1}, {"a": "x"}])


# --- state --------------------------------------------------------------------------------------

ARRAYS = st.sampled_from(
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.arange(3, dtype=np.uint64) + 2**63,
        np.zeros((0, 4)),
        np.array(True),
        np.arange(12.0).reshape(3, 4).T,
        torch.arange(4, dtype=torch.bfloat16),
        torch.tensor(float("nan")),
        torch.arange(10)[2:5],
        np.float32(0.1),
        np.int8(-3),
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | ARRAYS
STATES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=4) | st.integers(-3, 3), inner, max_size=3)
    ),
    max_leaves=8,
)


def assert_same_state(first: object, second: object) -> None:
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert isinstance(second, dict)
        assert list(first) == list(second)
        for key in first:
            assert_same_state(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        assert isinstance(second, (list, tuple))
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same_state(one, other)
    elif isinstance(first, torch.Tensor):
        assert isinstance(second, torch.Tensor)
        assert first.dtype == second.dtype
        assert torch.equal(first.nan_to_num(7.0), second.nan_to_num(7.0))
    elif isinstance(first, (np.ndarray, np.generic)):
        assert isinstance(second, (np.ndarray, np.generic))
        assert first.dtype == second.dtype
        assert np.array_equal(first, second)
    else:
        assert same(first, second)


@given(STATES)
@settings(max_examples=80, deadline=None)
def test_any_state_round_trips_with_its_types(
    tmp_path_factory: pytest.TempPathFactory, state: object
) -> None:
    folder = tmp_path_factory.mktemp("state")
    seals = checkpoint.write_state(folder, {"state": state})
    assert_same_state(checkpoint.read_state(folder), {"state": state})
    assert all(atomic.check(folder / name, seal) is None for name, seal in seals.items())


def test_generators_optimizers_and_shared_tensors_round_trip(tmp_path: Path) -> None:
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(3)).sum().backward()
    optimizer.step()
    rng = np.random.default_rng(5)
    rng.normal(size=3)
    whole = torch.arange(6.0)
    state: dict[str, object] = {"optimizer": optimizer.state_dict(), "rng": rng.bit_generator.state}
    state |= {"torch": torch.get_rng_state(), "whole": whole, "part": whole[1:3]}
    checkpoint.write_state(tmp_path, state)
    assert_same_state(checkpoint.read_state(tmp_path), state)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (object(), r"state\.agent\.0 is a builtins\.object"),
        (np.array(["a"]), r"state\.agent\.0 is an array of dtype <U1"),
        ({(1, 2): 3}, r"state\.agent\.0 is a dict whose keys"),
    ],
)
def test_a_state_that_cannot_be_stored_is_named(
    cell: store.Cell, value: object, found: str
) -> None:
    with cell.lock(), pytest.raises(CellError, match=found):
        cell.checkpoint({"agent": [value]}, step=1)
    assert not list((cell.path / "checkpoints").iterdir())


# --- a cell -------------------------------------------------------------------------------------


def test_a_cell_creates_nothing_before_it_is_locked(cell: store.Cell, tmp_path: Path) -> None:
    assert (cell.status(), cell.failure(), cell.progress(), cell.manifest()) == (
        "missing",
        None,
        None,
        None,
    )
    assert list(tmp_path.iterdir()) == []


def test_statuses_follow_the_life_of_a_cell(cell: store.Cell) -> None:
    with cell.lock():
        assert cell.status() == "running"
        cell.fail("numeric", "loss is nan", traceback="...", command="again")
    assert cell.status() == "failed"
    failure = cell.failure()
    assert failure is not None
    assert (failure["kind"], failure["seed"], failure["command"]) == ("numeric", 3, "again")
    with cell.lock():
        assert cell.status() == "running"
        assert cell.failure() is None
    assert cell.status() == "missing"
    with cell.lock():
        cell.finish({})
    assert cell.status() == "done"


def test_two_checkpoints_are_kept_and_resume_cuts_later_rows(cell: store.Cell) -> None:
    with cell.lock():
        assert cell.restore() is None
        for step in range(1, 6):
            cell.journal({"event": "eval", "step": step})
            cell.checkpoint({"x": step}, step=step)
        cell.journal({"event": "eval", "step": 99})
    assert checkpoint.steps(cell.path / "checkpoints") == [5, 4]
    assert cell.progress() == {"step": 99, "checkpoint": 5}
    with cell.lock():
        assert cell.restore() == ({"x": 5}, 5)
        assert [row["step"] for row in journal.read(cell.path / "journal.jsonl")[0]] == [
            1,
            2,
            3,
            4,
            5,
        ]


def test_a_finished_cell_keeps_rows_and_weights_only(tmp_path: Path) -> None:
    made = finished(tmp_path, 0)
    left = {path.name for path in made.path.iterdir()}
    assert left == {".guard", "config.json", "manifest.json", "metrics.parquet", "weights"}
    assert list(made.weights()) == ["position"]
    manifest = made.manifest()
    assert manifest is not None
    assert manifest["environment"]["packages"]["torch"] == torch.__version__
    assert store.Cell.at(made.path).config == made.config


def test_equal_cells_give_equal_bytes_in_other_folders(tmp_path: Path) -> None:
    first, second = finished(tmp_path / "a", 1), finished(tmp_path / "b", 1)
    for name in ("metrics.parquet", "weights/state.safetensors", "weights/state.json"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes()


def test_writing_without_the_lock_is_an_error(cell: store.Cell) -> None:
    for write in (lambda: cell.journal({}), lambda: cell.finish({}), cell.restore):
        with pytest.raises(RuntimeError, match=r"with cell\.lock"):
            write()


def test_a_link_out_of_the_folder_is_refused(cell: store.Cell, tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    (tmp_path / "outside").mkdir()
    cell.path.symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match="leads out of the results folder"), cell.lock():
        pass
    assert list((tmp_path / "outside").iterdir()) == []


def test_an_edited_config_is_not_taken_for_the_cell(tmp_path: Path) -> None:
    made = finished(tmp_path, 0)
    (made.path / "config.json").write_bytes(atomic.sealed(made.config | {"seed": 8}))
    with pytest.raises(StoreError, match="was edited"):
        store.Cell.at(made.path)


def test_no_permission_is_one_sentence(tmp_path: Path) -> None:
    planned = store.Cell(tmp_path / "secret", tiny_cells.config(0))
    store.write_plan(tmp_path / "secret", [planned])
    (tmp_path / "secret").chmod(0o000)
    tmp_path.chmod(0o500)
    as_root = os.geteuid() == 0
    if as_root:
        os.seteuid(65534)
    try:
        with pytest.raises(StoreError, match=r"cannot write .*: no permission; choose a folder"):
            store.Cell(tmp_path / "results", tiny_cells.config(0)).create()
        with pytest.raises(StoreError, match="no permission"):
            store.write_plan(tmp_path / "results", [])
        for look in (planned.status, lambda: store.load(tmp_path / "secret")):
            with pytest.raises(StoreError, match=r"cannot read .*secret.*: no permission"):
                look()
    finally:
        if as_root:
            os.seteuid(0)
        tmp_path.chmod(0o700)
        (tmp_path / "secret").chmod(0o700)


def test_a_file_where_the_folder_should_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(StoreError, match="a file stands where a folder is expected"):
        store.Cell(tmp_path / "results", tiny_cells.config(0)).create()


# --- a folder -----------------------------------------------------------------------------------


def test_the_plan_names_missing_cells_and_merges(tmp_path: Path) -> None:
    cells = [store.Cell(tmp_path, tiny_cells.config(seed)) for seed in range(4)]
    store.write_plan(tmp_path, cells[:3])
    store.write_plan(tmp_path, cells[2:])
    assert [cell.id for cell in store.read_plan(tmp_path).cells] == [cell.id for cell in cells]
    finished(tmp_path, 0)
    extra = finished(tmp_path, 9)
    results = store.load(tmp_path)
    assert [info.status for info in results.cells] == [
        "done",
        "missing",
        "missing",
        "missing",
        "done",
    ]
    assert results.cells[-1].id == extra.id


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a results folder"):
        store.load(tmp_path / "nowhere")


@pytest.mark.parametrize("harm", ["torn", "flipped", "folder", "another file"])
def test_a_damaged_plan_is_named_and_made_anew_from_the_cells(harm: str, tmp_path: Path) -> None:
    cells = [finished(tmp_path, seed) for seed in (0, 1)]
    path = tmp_path / "plan.json"
    store.write_plan(tmp_path, [*cells, store.Cell(tmp_path, tiny_cells.config(7))])
    text = path.read_bytes()
    if harm == "torn":
        path.write_bytes(text[:-9])
    elif harm == "flipped":  # one learner would become two
        path.write_bytes(text.replace(b'"label": "walk"', b'"label": "wall"', 1))
    elif harm == "another file":
        path.write_bytes((cells[0].path / "config.json").read_bytes())
    else:
        path.unlink()
        path.mkdir()
    plan = store.read_plan(tmp_path)
    assert {cell.id for cell in plan.cells} == {cell.id for cell in cells}
    (named,) = plan.damaged
    assert (named.id, named.status) == ("plan.json", "damaged")
    assert "cells that were never begun are not known" in str(named.problem)
    assert store.load(tmp_path).cells[-1] == named
    if harm == "folder":
        path.rmdir()
    assert len(store.write_plan(tmp_path, cells[:1])) == (harm != "folder")
    assert store.read_plan(tmp_path).damaged == []
    assert len(store.read_plan(tmp_path).cells) == 2


def test_the_frame_is_labeled_and_holds_finished_and_running_rows(tmp_path: Path) -> None:
    finished(tmp_path, 0)
    running = store.Cell(tmp_path, tiny_cells.config(1))
    with running.lock():
        running.journal({"event": "eval", "step": 0, "return": 2.0, "new": True})
        running.checkpoint({}, step=1)
        frame = store.load(tmp_path).frame
    assert frame.columns[:6] == ["cell", "kind", "task", "learner", "teacher", "seed"]
    assert frame.filter(polars.col("seed") == 1)["return"].to_list() == [2.0]
    assert frame.filter(polars.col("seed") == 0).height == 20


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "harm", "problem"),
    [
        ("metrics.parquet", _truncate, "metrics.parquet is damaged: it has"),
        ("metrics.parquet", lambda path: path.write_bytes(b""), "it has 0 bytes"),
        ("metrics.parquet", _flip, "its SHA-256 differs"),
        ("metrics.parquet", Path.unlink, "metrics.parquet is missing"),
        ("manifest.json", _truncate, "manifest.json is torn"),
        ("manifest.json", lambda path: path.write_text("[]"), "is torn"),
        ("manifest.json", lambda path: path.write_text('{"seal": "0"}'), "seal does not match"),
        ("config.json", _truncate, "config.json is torn"),
    ],
)
def test_a_damaged_cell_is_named_and_the_others_are_read(
    tmp_path: Path, name: str, harm: object, problem: str
) -> None:
    whole, harmed = finished(tmp_path, 0), finished(tmp_path, 1)
    assert callable(harm)
    harm(harmed.path / name)
    results = store.load(tmp_path)
    problems = {info.id: info.problem for info in results.cells}
    assert problem in str(problems[harmed.id])
    assert problems[whole.id] is None
    assert set(results.frame["cell"]) == {whole.id}


def test_a_damaged_journal_line_is_named(tmp_path: Path) -> None:
    running = store.Cell(tmp_path, tiny_cells.config(1))
    with running.lock():
        running.journal({"event": "eval", "step": 0})
    with (running.path / "journal.jsonl").open("ab") as file:
        file.write(b"00000000 {}\nhalf a li")
    (info,) = store.load(tmp_path).cells
    assert info.problem == "journal.jsonl: 1 damaged lines left out"


@given(st.dictionaries(st.text(max_size=5), FINITE | st.text(max_size=9), max_size=4), st.data())
@settings(max_examples=60, deadline=None)
def test_a_seal_shows_every_change(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, object], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("seal") / "manifest.json"
    content.pop("seal", None)
    atomic.write_file(path, atomic.sealed(content))
    assert atomic.read_sealed(path) == content
    text = bytearray(path.read_bytes())
    offset = data.draw(st.integers(0, len(text) - 1))
    text[offset] ^= data.draw(st.integers(1, 255))
    path.write_bytes(text)
    with pytest.raises(Damaged):
        atomic.read_sealed(path)


@pytest.mark.parametrize("damage", ["truncate", "remove", "manifest"])
def test_a_damaged_result_is_computed_again(damage: str, tmp_path: Path) -> None:
    cell = store.Cell(tmp_path, {"kind": "online", "env": {"name": "e"}, "method": {"name": "m"}})
    with cell.lock():
        cell.journal({"event": "eval", "step": 0, "return": 1.0})
        cell.finish({})
    assert store.look(cell).status == "done"
    metrics = cell.path / "metrics.parquet"
    if damage == "truncate":
        metrics.write_bytes(metrics.read_bytes()[:-5])
    elif damage == "remove":
        metrics.unlink()
    else:
        (cell.path / "manifest.json").write_text("{bad")
    assert (cell.status(), store.look(cell).status) == ("done", "damaged")
    schedule = queue._Queue([cell], plugins=[], on_event=lambda *_: None)
    assert [queued.id for queued, _ in schedule.waiting] == [cell.id]
    with cell.lock():
        assert cell.restore() is None
        cell.journal({"event": "eval", "step": 0, "return": 1.0})
        cell.finish({})
    assert store.look(cell).status == "done"
