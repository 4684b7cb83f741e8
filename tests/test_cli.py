"""The command line: exit codes, messages, and that looking around imports no torch."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pbrl import cli

TINY = {
    "name": "tiny",
    "seeds": 1,
    "blocks": [
        {"kind": "bandit", "problem": "six-rankers", "algorithm": "uniform", "horizon": 100,
         "repetitions": 2},
    ],
}  # fmt: skip


def call(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["pbrl", *map(str, arguments)])
    try:
        cli.main()
        code: object = 0
    except SystemExit as stop:
        code = stop.code or 0
    shown = capsys.readouterr()
    return int(str(code)), shown.out, shown.err


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(TINY))
    return file


QUICK_LOOKS = [
    ["list"],
    ["list", "--json"],
    ["list", "methods"],
    ["list", "losses"],
    ["list", "bandits"],
    ["plan", "quick"],
    ["status", "{folder}"],
]


@pytest.mark.parametrize("arguments", QUICK_LOOKS, ids=[" ".join(a) for a in QUICK_LOOKS])
def test_looking_imports_neither_torch_nor_a_simulator(arguments, tiny, tmp_path) -> None:
    from pbrl import store, suite

    cells = [store.Cell(tmp_path / "out", c) for c in suite.cells(TINY)]
    store.write_plan(tmp_path / "out", cells)
    code = (
        "import sys\nfrom pbrl import cli\nsys.argv = ['pbrl', *sys.argv[1:]]\n"
        "try:\n    cli.main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'gymnasium', 'numba', 'scipy', 'polars', 'matplotlib', 'ray'}\n"
        "heavy |= {'dm_control', 'mujoco', 'metaworld', 'rich.console', 'rich.table'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    filled = [a.replace("{folder}", str(tmp_path / "out")) for a in arguments]
    done = subprocess.run([sys.executable, "-c", code, *filled], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_list_json_names_every_kind(monkeypatch, capsys) -> None:
    code, out, _ = call(monkeypatch, capsys, "list", "--json")
    listed = json.loads(out)
    assert code == 0
    assert {e["name"] for e in listed["methods"]} >= {"sac", "pebble", "reed"}
    assert all(e["summary"] for entries in listed.values() for e in entries)


def test_planning_5000_cells_takes_under_two_seconds(monkeypatch, capsys, tmp_path) -> None:
    block = {
        "kind": "online", "env": "pointmass", "method": "pebble", "steps": 4000, "labels": 40,
        "teacher": ["oracle", "equal", {"name": "mistake", "eps": [0.1, 0.2, 0.3]}],
    }  # fmt: skip
    file = tmp_path / "large.yaml"
    file.write_text(yaml.safe_dump({"name": "large", "seeds": 1000, "blocks": [block]}))
    began = time.process_time()
    code, out, _ = call(monkeypatch, capsys, "plan", file)
    assert code == 0
    assert "5,000 cells" in out
    assert time.process_time() - began < 4  # twice the promise: other processes share the machine


def test_the_plan_says_when_first_questions_are_about_few_episodes(
    monkeypatch, capsys, tmp_path
) -> None:
    block = {
        "kind": "online", "env": ["walker-walk", "pointmass"], "method": ["sac", "pebble"],
        "teacher": ["oracle", "skip"], "steps": 20_000, "labels": 100,
    }  # fmt: skip
    file = tmp_path / "long.yaml"
    file.write_text(yaml.safe_dump({"name": "long", "seeds": 2, "blocks": [block]}))
    _, out, _ = call(monkeypatch, capsys, "plan", file)
    (note,) = [" ".join(n.split()) for n in out.split("note: ")[1:]]
    assert note.startswith("pebble on walker-walk first asks at step 1,000, about 1 whole episode;")
    _, out, _ = call(monkeypatch, capsys, "plan", file, "--json")
    for row in json.loads(out)["rows"]:
        if row["learner"] == "pebble":  # the last labels come when a quarter of the run is left
            assert 0.6 * 20_000 < row["last_session"] < 0.8 * 20_000


def test_a_listing_of_one_name_says_what_its_settings_are_and_take(monkeypatch, capsys) -> None:
    """Choices and defaults as a suite gives them, and what is told of settings in the docstring."""
    _, told, _ = call(monkeypatch, capsys, "list", "regret")
    assert "draws=null  first | tie | skip | coin" in told
    assert "beta=null  over 0" in told
    assert "`bank`: policies whose successor features" in " ".join(told.split())
    _, told, _ = call(monkeypatch, capsys, "list", "pebble")
    assert "in parentheses: what the papers use" in told
    assert "\n    2. At the switch: " in told
    assert max(map(len, told.splitlines())) <= 110


def test_run_continue_status_table(monkeypatch, capsys, tiny, tmp_path) -> None:
    out = tmp_path / "out"
    code, shown, _ = call(monkeypatch, capsys, "run", tiny, "-o", out)
    assert code == 0
    assert "1 done" in shown
    (metrics,) = out.glob("cells/*/metrics.parquet")
    before = metrics.stat().st_mtime_ns
    code, shown, _ = call(monkeypatch, capsys, "run", tiny, "-o", out)
    assert code == 0
    assert metrics.stat().st_mtime_ns == before
    code, shown, _ = call(monkeypatch, capsys, "status", out, "--json")
    assert [row["status"] for row in json.loads(shown)] == ["done"]
    code, shown, _ = call(monkeypatch, capsys, "table", out)
    assert code == 0
    assert "uniform" in shown


BAD = [
    (["plan", "nowhere.yaml"], "'nowhere.yaml' does not exist"),
    (["plan", "quik"], "did you mean 'quick'"),
    (["list", "method"], "did you mean 'methods'"),
    (["run", "{tiny}", "--executor", "slurm"], "expected local or ray"),
    (["run", "{tiny}", "--plugin", "nowhere.py"], "'nowhere.py' is not a file"),
    (["run", "{tiny}", "--plugin", "{broken}"], "line 2: ZeroDivisionError"),
    (["run", "{tiny}", "--plugin", "{empty}"], "registers nothing"),
    (["run", "{tiny}", "--set", "seeds=0"], "seeds: found 0"),
    (["check", "pebbel"], "did you mean 'pebble'"),
    (["status", "{nowhere}"], "nowhere"),
    (["table", "{nowhere}"], "nowhere"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_message_and_exit_code_2(
    arguments, message, monkeypatch, capsys, tiny, tmp_path
) -> None:
    (tmp_path / "broken.py").write_text("x = 1\ny = x / 0\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    places = {"{tiny}": tiny, "{broken}": tmp_path / "broken.py", "{empty}": tmp_path / "empty.py"}
    places["{nowhere}"] = tmp_path / "nowhere"
    filled = [str(places.get(a, a)) for a in arguments]
    code, _, err = call(monkeypatch, capsys, *filled)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert err.count("\n") <= 2


def test_a_part_of_a_suite_is_run_and_the_rest_stays_planned(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    from pbrl.jobs import queue

    given = []
    monkeypatch.setattr(
        queue, "run_cells", lambda cells, root, **_: given.extend(cells) or queue.Summary()
    )
    block = TINY["blocks"][0] | {"algorithm": ["uniform", "rucb"], "problem": "six-rankers"}
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(TINY | {"blocks": [block]}))
    arguments = ("run", file, "-o", tmp_path / "out")
    code, out, _ = call(monkeypatch, capsys, *arguments, "--only", "rucb on *")
    assert (code, [cell.config["algorithm"]["name"] for cell in given]) == (0, ["rucb"])
    assert "--only left out 1 cell of the suite" in out
    code, out, _ = call(monkeypatch, capsys, "status", tmp_path / "out", "--json")
    assert len(json.loads(out)) == 2
    code, _, error = call(monkeypatch, capsys, *arguments, "--only", "sac*")
    assert code == 2
    assert "--only 'sac*' fits no cell; the first is 'uniform on six-rankers' (" in error
    given.clear()
    call(monkeypatch, capsys, *arguments, "--only", "rucb-*", "--only", "uniform*")
    assert len(given) == 2  # the first by its id


def test_an_unknown_retry_is_refused(tiny: Path, monkeypatch, capsys) -> None:
    code, _, error = call(monkeypatch, capsys, "run", tiny, "--retry", "all")
    assert (code, error) == (2, "pbrl: --retry 'all'; expected failed or outdated\n")


def test_one_name_of_any_kind_is_listed(monkeypatch, capsys) -> None:
    for name, kind in (("pebble", "method"), ("rucb", "bandit"), ("pointmass", "env")):
        code, out, _ = call(monkeypatch, capsys, "list", name)
        assert code == 0
        assert out.startswith(f"--- {kind}\n{name}\n")
    code, _, err = call(monkeypatch, capsys, "list", "pebbel")
    assert (code, "did you mean 'pebble'?" in err) == (2, True)


def test_a_folder_without_cells_is_told_as_such(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "cells").mkdir()
    code, out, _ = call(monkeypatch, capsys, "status", tmp_path)
    assert (code, out) == (0, f"{tmp_path}: no cells\n")
