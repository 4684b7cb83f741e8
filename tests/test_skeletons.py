"""`pbrl new`: what it writes of every kind passes `pbrl check` and runs; the page shows it too."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from pbrl import check, cli, registry, skeletons, store
from pbrl.errors import ConfigError, PluginError

PAGE = (Path(__file__).parent.parent / "docs" / "plugins.md").read_text(encoding="utf-8")
ONLINE = {
    "kind": "online", "env": "pointmass", "method": "pebble", "teacher": "oracle",
    "steps": 400, "labels": 10, "eval_every": 400, "eval_episodes": 1, "final_episodes": 1,
}  # fmt: skip
PEBBLE = {"name": "pebble", "labels_per_session": 5, "unsup_steps": 60, "reward_epochs": 2}
DUELS = {
    "kind": "bandit", "problem": "six-rankers", "algorithm": "uniform", "horizon": 200,
    "repetitions": 2,
}  # fmt: skip


TABLES = {
    "kind": "tabular", "world": "riverswim", "learner": "partial-return", "labels": 20,
    "repetitions": 2, "test_pairs": 20,
}  # fmt: skip


def block(kind: str, name: str) -> dict:
    """A small cell with the plug-in in its place."""
    if kind in ("world", "learner"):
        return TABLES | {kind: name}
    if kind in ("bandit", "problem"):
        return DUELS | {"algorithm" if kind == "bandit" else kind: name}
    method = PEBBLE | ({"name": name} if kind == "method" else {})
    method |= {kind: name} if kind in ("query", "loss") else {}
    return ONLINE | {"method": method} | ({kind: name} if kind in ("env", "teacher") else {})


@pytest.mark.parametrize("kind", registry.KINDS)
def test_each_is_checked_listed_and_runs(kind: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"new-{kind}"

    def pbrl(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["pbrl", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        shown = capsys.readouterr()
        assert not stop.value.code, shown
        return shown.out

    assert "next: pbrl check" in pbrl("new", kind, name)
    file = f"new_{kind}.py"
    assert check.targets(file) == [(kind, name)]
    assert check.violations(kind, name) == []
    plural = {value: key for key, value in cli.PLURALS.items()}[kind]
    assert re.search(rf"^{name}$", pbrl("list", plural, "--plugin", file), re.MULTILINE)
    Path("s.yaml").write_text(
        yaml.safe_dump({"name": "s", "seeds": 1, "blocks": [block(kind, name)]})
    )
    pbrl("run", "s.yaml", "--plugin", file, "-o", "out")
    (cell,) = store.read_plan(Path("out")).cells
    assert cell.status() == "done"
    with pytest.raises(ConfigError, match=r"exists already; choose another name"):
        skeletons.write(kind, name)
    with pytest.raises(ConfigError, match=rf"{file} exists already; give another file"):
        skeletons.write(kind, f"{name}-2", Path(file))


@pytest.mark.parametrize("kind", registry.KINDS)
def test_the_page_shows_what_it_writes(kind: str) -> None:
    assert f"```python\n{skeletons.text(kind, 'mine')}```" in PAGE


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("teachr", "x", "unknown kind 'teachr'; did you mean 'teacher'"),
        ("teacher", "oracle", "teacher 'oracle' exists already"),
        ("teacher", "My Teacher", "found name 'My Teacher'; expected a to z"),
    ],
)
def test_refused(kind: str, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        skeletons.write(kind, name, tmp_path / "x.py")


def test_a_plug_in_looked_for_by_its_name_is_offered_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "my_teacher.py").touch()
    with pytest.raises(PluginError, match=r"is not a file; did you mean 'my_teacher\.py'\?"):
        registry.load_plugin(tmp_path / "my-teacher.py")
