"""Cells of an oracle: it comes first and once, is part of what they are, and its failure theirs."""

import pytest
import tiny_cells

from pbrl import cli, store, suite
from pbrl.errors import ConfigError
from pbrl.jobs import oracles
from pbrl.store import Cell, atomic
from pbrl.suites.oracles import is_waiting, resolved, stand_in, with_oracles

TINY = {"hidden": 8, "batch_size": 8, "seed_steps": 50}
PEBBLE = {"name": "pebble", **TINY, "unsup_steps": 60, "reward_hidden": 8, "reward_epochs": 2}


def content(*, steps: int = 300, teacher: object = ("oracle", "regret"), **changes) -> dict:
    block = {
        "kind": "online",
        "env": "pointmass",
        "method": PEBBLE,
        "teacher": list(teacher) if isinstance(teacher, tuple) else teacher,
        "steps": 150,
        "labels": 20,
        "eval_every": 150,
        "eval_episodes": 1,
        "final_episodes": 1,
        "oracle": {"steps": steps, "stages": 5, **TINY},
        **changes,
    }
    return {"name": "t", "seeds": 1, "blocks": [block]}


def cells(root, what: dict) -> list[Cell]:
    return [Cell(root, resolved(config, root)) for config in suite.cells(what)]


def run(root, planned: list[Cell]):
    events: list[tuple[str, str, str]] = []
    store.write_plan(root, planned)
    summary, now = oracles.run_cells(
        planned, root, on_event=lambda what, cell, note: events.append((what, cell.id, note))
    )
    return summary, now, events


def test_an_oracle_is_built_once_before_what_consults_it_and_is_part_of_its_id(
    tmp_path, monkeypatch
) -> None:
    what = content(teacher=("regret", {"name": "regret", "expert": "poor"}))
    planned = cells(tmp_path, what)
    assert [is_waiting(c.config) for c in planned] == [False, True, True]
    oracle, before = planned[:2]
    assert oracle.config["method"]["name"] == "expert"
    summary, now, events = run(tmp_path, planned)
    assert [c.status() for c in now] == ["done"] * 3
    started = [cell_id for what, cell_id, _ in events if what == "started"]
    assert started == [oracle.id, now[1].id, now[2].id]
    assert now[1].id != before.id
    assert not before.path.exists()
    digest = now[1].config["inputs"][str((oracle.path / "weights").absolute())]
    assert len(digest) == 64
    # The plan holds the cells as they are now, and planning again finds them.
    assert {c.id for c in store.read_plan(tmp_path).cells} == {c.id for c in now}
    again = cells(tmp_path, what)
    assert {c.id for c in again} == {c.id for c in now}
    summary, _, events = run(tmp_path, again)
    assert len(summary.skipped) == 3
    assert store.cell_id(stand_in(now[1].config)) == before.id
    # Elsewhere the same weights make the same cell, other weights another.
    elsewhere = resolved(before.config, tmp_path)
    assert store.cell_id(elsewhere) == now[1].id
    path = next(iter(elsewhere["inputs"]))
    other = elsewhere | {"inputs": {path: "0" * 64}}
    assert store.cell_id(other) != now[1].id
    # A finished oracle can be given by its folder.
    given = content(teacher="regret", oracle=str(oracle.path))
    (config,) = suite.cells(given)
    assert store.cell_id(config) == now[1].id
    cartpole = {"name": "cartpole-swingup", "action_repeat": 20}
    with pytest.raises(ConfigError, match="is of pointmass; expected one of cartpole-swingup"):
        suite.cells(content(teacher="regret", env=cartpole, oracle=str(oracle.path)))
    weights = oracle.path / "weights" / "state.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # of the same size
    with pytest.raises(ConfigError, match=r"no finished oracle .* is damaged"):
        suite.cells(given)
    weights.write_bytes(whole)
    with monkeypatch.context() as patch:
        patch.setattr("pbrl.__version__", "9.9")
        other = Cell(oracle.root, oracle.config)  # an id is of a version, too
        oracle.path.rename(other.path)
        manifest = atomic.read_sealed(other.path / "manifest.json") | {"id": other.id}
        atomic.write_file(other.path / "manifest.json", atomic.sealed(manifest))
        with pytest.raises(ConfigError, match=r"is of pbrl 0\.1\.0; expected 9\.9"):
            suite.cells(content(teacher="regret", oracle=str(other.path)))
    manifest["environment"]["packages"]["mujoco"] = "1.0"
    manifest["id"] = oracle.id
    other.path.rename(oracle.path)
    atomic.write_file(oracle.path / "manifest.json", atomic.sealed(manifest))
    with pytest.raises(ConfigError, match=r"is of mujoco 1\.0; expected 3"):
        suite.cells(given)
    levels = oracle.weights()["experts"]
    assert levels["poor"]["step"] <= levels["medium"]["step"] <= levels["good"]["step"] == 300


@pytest.mark.faults
def test_an_oracle_that_fails_fails_its_cells_with_its_cause_and_no_others(tmp_path) -> None:
    (tmp_path / "bad.py").write_text(
        "import numpy as np, gymnasium\n"
        "from gymnasium.spaces import Box\n"
        "from pbrl import registry\n"
        "@registry.env('breaks', horizon=20, reward_range=(0.0, 1.0))\n"
        "class Breaks(gymnasium.Env):\n"
        "    '''Breaks late.'''\n"
        "    observation_space = Box(-1, 1, (2,), np.float32)\n"
        "    action_space = Box(-1, 1, (1,), np.float32)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        self.t = getattr(self, 't', 0)\n"
        "        return np.zeros(2, np.float32), {}\n"
        "    def step(self, action):\n"
        "        self.t += 1\n"
        "        if self.t > 200: raise ValueError('worn out')\n"
        "        return np.zeros(2, np.float32), 0.5, False, False, {}\n"
    )
    from pbrl import registry

    registry.load_plugin(tmp_path / "bad.py")
    root = tmp_path / "out"
    planned = cells(root, content(env=["breaks", "pointmass"], teacher="regret", steps=250))
    store.write_plan(root, planned)
    summary, now = oracles.run_cells(planned, root, plugins=[str(tmp_path / "bad.py")])
    status = {(c.config["env"]["name"], c.config["method"]["name"]): c.status() for c in now}
    assert status == {
        ("breaks", "expert"): "failed",
        ("breaks", "pebble"): "failed",
        ("pointmass", "expert"): "done",
        ("pointmass", "pebble"): "done",
    }
    (failed,) = (c for c in now if c.status() == "failed" and c.config["teacher"])
    failure = failed.failure()
    assert failure["message"].startswith("its oracle expert-breaks-s0-")
    assert "worn out" in failure["message"]
    assert failure["kind"] == "environment"
    assert "expert-breaks" in failure["command"]
    assert len(summary.failed) == 2


@pytest.mark.faults
def test_an_oracle_that_is_made_again_is_waited_for(tmp_path, monkeypatch) -> None:
    """Damaged, it is mended first; outdated and asked for again, it comes first too."""
    what = content(teacher="regret")
    _, now, _ = run(tmp_path, cells(tmp_path, what))
    oracle, taught = now
    weights = oracle.path / "weights" / "state.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    planned = cells(tmp_path, what)
    assert is_waiting(planned[1].config)
    summary, after, _ = run(tmp_path, planned)
    assert weights.read_bytes() == whole
    assert [cell.id for cell in after] == [oracle.id, taught.id]
    assert [cell.id for cell in summary.skipped] == [taught.id]
    assert {c.id for c in store.read_plan(tmp_path).cells} == {oracle.id, taught.id}
    for module in ("queue", "oracles"):
        monkeypatch.setattr(f"pbrl.jobs.{module}.code", lambda: {"source": "x", "plugins": {}})
    events: list[str] = []
    summary, after = oracles.run_cells(
        cells(tmp_path, what),
        tmp_path,
        retry=["outdated"],
        on_event=lambda what, cell, note: events.append(f"{what} {cell.id}"),
    )
    assert [cell.id for cell in summary.done] == [oracle.id, taught.id]
    assert events.index(f"done {oracle.id}") < events.index(f"started {taught.id}")


def test_a_plan_forgets_the_cells_that_others_stand_for(tmp_path) -> None:
    first, second = (Cell(tmp_path, tiny_cells.config(seed)) for seed in (0, 1))
    store.write_plan(tmp_path, [first])
    first.create()
    store.write_plan(tmp_path, [second], instead_of=[first.id])
    assert [cell.id for cell in store.read_plan(tmp_path).cells] == [second.id]
    assert not first.path.exists()


def test_only_chosen_cells_bring_their_oracle_along(tmp_path) -> None:
    planned = cells(tmp_path, content(teacher=("oracle", "regret")))
    assert [c.id for c in with_oracles(planned[:1], planned)] == [planned[0].id]
    assert [c.id for c in with_oracles(planned[2:], planned)] == [c.id for c in planned[1:]]


def test_plan_counts_the_oracle(tmp_path, capsys, monkeypatch) -> None:
    import yaml

    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content()))
    cli.plan("s.yaml")
    shown = capsys.readouterr().out
    assert "3 cells" in shown
    assert "oracle" in shown


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"oracle": {"steps": 0}}, "steps = 0; expected a whole number"),
        ({"oracle": {"gamma": 1.2}}, "gamma = 1.2; expected a number in"),
        ({"oracle": {"seed": -1}}, "seed = -1; expected a whole number"),
        ({"oracle": {"stepz": 5}}, "no parameter 'stepz'; did you mean"),
        ({"teacher": "oracle"}, "no teacher of the block consults one"),
        ({"oracle": "nowhere"}, "nowhere is no finished oracle"),
        (
            {"env": "gridworld", "teacher": {"name": "regret", "expert": "poor"}},
            "values of gridworld are exact and have no stages",
        ),
    ],
)
def test_oracles_that_cannot_be_are_refused_when_planned(changes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        suite.cells(content(teacher=changes.pop("teacher", "regret"), **changes))


def test_a_population_needs_an_oracle_if_an_annotator_does() -> None:
    crowd = {"name": "population", "annotators": ["oracle", "myopic"]}
    assert len(suite.cells(content(teacher=crowd, oracle=None))) == 1
    crowd["annotators"] = ["oracle", {"name": "majority", "annotators": ["regret"]}]
    assert len(suite.cells(content(teacher=crowd))) == 2


def test_a_folder_beside_exact_values_is_refused() -> None:
    """A finished oracle that nobody would consult is a mistake and not ignored."""
    block = {
        "kind": "online", "env": "gridworld", "method": "pebble", "teacher": "regret",
        "steps": 4000, "labels": 10, "oracle": "somewhere",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="somewhere is not consulted: the values of gridworld"):
        suite.cells({"name": "t", "blocks": [block]})


def test_the_command_builds_an_oracle_and_says_what_it_is(tmp_path, capsys) -> None:
    settings = [f"{key}={value}" for key, value in TINY.items()] + ["steps=300", "stages=5"]
    cli.oracle("pointmass", out=tmp_path, settings=settings)
    shown = capsys.readouterr().out
    assert "good    step       300" in shown
    (folder,) = (tmp_path / "cells").iterdir()
    assert str(folder) in shown
    (config,) = [c for c in suite.cells(content()) if c["method"]["name"] == "expert"]
    assert store.cell_id(config) == folder.name  # the one that a suite would build
    with pytest.raises(ConfigError, match="known exactly"):
        cli.oracle("gridworld", out=tmp_path)
