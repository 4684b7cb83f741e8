"""What README shows is run: its three plug-ins pass `pbrl check` and learn, its suite expands."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from pbrl import check, cli, registry, suite

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
PLUGINS = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", README, re.DOTALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    for name, source in PLUGINS.items():
        (folder / name).write_text(source)
    return folder


def test_it_shows_a_teacher_an_environment_and_a_method(folder: Path) -> None:
    kinds = [kind for name in PLUGINS for kind, _ in check.targets(str(folder / name))]
    assert sorted(kinds) == ["env", "method", "teacher"]


@pytest.mark.parametrize("name", PLUGINS)
def test_its_plug_ins_keep_their_contract(name: str, folder: Path) -> None:
    for kind, found in check.targets(str(folder / name)):
        assert check.violations(kind, found) == []


def test_its_plug_ins_run_together(folder: Path, monkeypatch, capsys) -> None:
    """A label for a walk to the right end is worth something: the return rises."""
    block = {
        "kind": "online", "env": "corridor", "method": "patient", "teacher": "grumpy",
        "steps": 700, "labels": 60, "eval_every": 700, "eval_episodes": 3, "final_episodes": 3,
    }  # fmt: skip
    file = folder / "all.yaml"
    file.write_text(yaml.safe_dump({"name": "all", "seeds": 1, "blocks": [block]}))
    plugins = [word for name in PLUGINS for word in ("--plugin", str(folder / name))]
    out = folder / "out"
    monkeypatch.setattr(sys, "argv", ["pbrl", "run", str(file), "-o", str(out), *plugins])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    from pbrl import store

    evals = store.load(out).frame.filter(event="eval").sort("step")
    before, after = evals["return"].to_list()
    assert after > 2 * before + 5
    capsys.readouterr()


def test_its_suite_expands() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert len(suite.cells(yaml.safe_load(text))) > 10


def test_its_commands_exist() -> None:
    known = {c.name or c.callback.__name__ for c in cli.app.registered_commands}
    used = {
        shlex.split(line)[1] for line in re.findall(r"^ {4}(pbrl .*?)(?:  #.*)?$", README, re.M)
    }
    assert used
    assert used <= known


def test_its_battles_are_a_problem(tmp_path: Path) -> None:
    """The lines and the problem as they stand in the text."""
    (shown,) = re.findall(r"`problem: (\{name: battles.*?\})`", README)
    lines = re.findall(r"`(\w+, \w+, (?:win|tie|loss))`", README)
    (tmp_path / "arena.csv").write_text("\n".join(lines))
    block = {"kind": "bandit", "problem": yaml.safe_load(shown), "algorithm": "ws-w"}
    content = {"name": "mine", "seeds": 1, "blocks": [block | {"horizon": 100}]}
    (config,) = suite.cells(content, folder=tmp_path)
    assert len(lines) == 2
    config["problem"]["path"] = tmp_path / "arena.csv"
    assert registry.make("problem", config["problem"]).K == 3
