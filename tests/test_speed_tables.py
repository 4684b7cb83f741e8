"""The speed scripts go on running as what they measure changes; their numbers are results/speed."""

import sys

import pytest

from tests.benchmarks import contestants, speed

TINY = {"obs": 24, "act": 6, "hidden": 8, "layers": 2, "batch": 4}
REWARD = {"obs": 24, "act": 6, "width": 8}
FIT = {"pairs": 4, "minibatch": 2}
WORK = [
    ("ours", "update", TINY | {"core": "compiled"}),
    ("ours", "update", TINY | {"core": "torch"}),
    ("ours", "acting", TINY | {"core": "compiled"}),
    ("ours", "step_reward", REWARD | {"core": "torch"}),
    ("ours", "fit", FIT | {"reed": True}),
    ("ours", "relabel", {"width": 8}),
    ("sb3", "update", TINY),
    ("sb3", "acting", TINY),
    ("bare", "update", TINY),
    ("bare", "fit", FIT | {"reed": True}),
    ("bare", "loop", FIT),
]


@pytest.mark.parametrize(("who", "task", "options"), WORK)
def test_a_contestant_works(who: str, task: str, options: dict[str, int], monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["contestants.py", who])
    assert contestants.TASKS[who][task](**options)(1) is None


@pytest.mark.slow
@pytest.mark.parametrize("who", ["ours", "sb3"])
def test_a_whole_run_is_timed(who: str, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["contestants.py", who])
    monkeypatch.setattr(contestants, "PLAYED", 1)
    given = {} if who == "ours" else {"evaluations": 2}
    found = contestants.TASKS[who]["run"](steps=1500, **given)(1)
    assert 0 < found["late"] <= found["training"] < found["whole"]


def test_a_table_shows_what_is_missing() -> None:
    rows = [("a", [speed.number(0.0123, 1e3), speed.number(None), speed.ratio(1.0, None)])]
    assert speed.table(["x", "y", "z"], rows).splitlines()[-1] == "| a | 12.3 | – | – |"
