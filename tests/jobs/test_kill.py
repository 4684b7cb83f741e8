"""Real methods killed without grace at random moments end with the bytes of an unkilled run."""

import sys
from pathlib import Path

import numpy as np
import pytest
from kill_resume import kill_and_resume

from pbrl import store, suite
from pbrl.check import method as check

ONLINE = {
    "kind": "online",
    "env": {"name": "cartpole-swingup", "action_repeat": 20},
    "teacher": {"name": "composed", "beta": 0.5, "eps_mistake": 0.2, "eps_equal": 0.1},
    "steps": 300,
    "labels": 24,
    "eval_every": 90,
    "eval_episodes": 1,
    "final_episodes": 2,
}
BANDIT = {"kind": "bandit", "problem": "random-condorcet", "horizon": 20_000, "repetitions": 40}
CELLS = {
    "sac": ONLINE | {"method": {"name": "sac", "hidden": 16, "seed_steps": 50}, "labels": 0},
    "pebble": ONLINE | {"method": {"name": "pebble", **check.SMALL}},
    "pebble-torch": ONLINE | {"method": {"name": "pebble", "core": "torch", **check.SMALL}},
    "reed": ONLINE | {"method": {"name": "reed", "sfc_updates": 5, **check.SMALL}},
    "bandit": BANDIT | {"algorithm": "d-ts"},
    "tabular": {
        "kind": "tabular",
        "world": "loop-mdp",
        "learner": "regret",
        "teacher": "stochastic",
        "labels": 200,
        "repetitions": 12,
    },
}


def trials(name: str, times: int, seed: int, folder: Path) -> tuple[int, bool]:
    """(how often a process was killed, whether every result had the bytes of the unkilled one)."""
    block = CELLS[name] | {"checkpoint_seconds": 0}
    (config,) = suite.cells({"name": "kill", "seeds": [seed], "blocks": [block]})

    def command(root: Path) -> list[str]:
        cell = store.Cell(root, config)
        cell.create()
        return [sys.executable, "-m", "pbrl.jobs.worker", str(cell.path)]

    rng = np.random.default_rng(seed)
    expected, found = kill_and_resume(command, times, rng, folder=folder)
    assert any(path.endswith("metrics.parquet") for path in expected)
    assert name in ("bandit", "tabular") or any("/weights/" in path for path in expected)
    return sum(t.kills for t in found), all(t.digest == expected for t in found)


@pytest.mark.parametrize(
    "name",
    [n if n in ("pebble", "bandit") else pytest.param(n, marks=pytest.mark.faults) for n in CELLS],
)
def test_a_killed_run_ends_with_the_same_bytes(name: str, tmp_path: Path) -> None:
    kills, equal = trials(name, 1, 0, tmp_path)
    assert equal
    assert kills > 0


@pytest.mark.faults
@pytest.mark.parametrize("name", CELLS)
def test_a_killed_run_ends_with_the_same_bytes_4_times(name: str, tmp_path: Path) -> None:
    kills, equal = trials(name, 4, 2, tmp_path)
    assert equal
    assert kills >= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_a_killed_run_ends_with_the_same_bytes_25_times(name: str, tmp_path: Path) -> None:
    kills, equal = trials(name, 25, 1, tmp_path)
    assert equal
    assert kills >= 25
