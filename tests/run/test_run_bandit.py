"""Bandit cells: what is recorded of a repetition, what a figure is told, errors with a name."""

import pytest

from pbrl import suite
from pbrl.check.method import MemoryCell
from pbrl.errors import CellError, ConfigError
from pbrl.run import bandit


def run(problem, algorithm, *, horizon=3000, repetitions=4) -> tuple[dict, list[dict]]:
    block = {
        "kind": "bandit", "problem": problem, "algorithm": algorithm, "horizon": horizon,
        "repetitions": repetitions,
    }  # fmt: skip
    (config,) = suite.cells({"name": "t", "seeds": 1, "blocks": [block]})
    cell = MemoryCell(config)
    return bandit.execute(cell), cell.rows  # type: ignore[arg-type]


def ends(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["event"] == "end"]


def test_rows_per_repetition_and_checkpoint() -> None:
    summary, rows = run("six-rankers", "rucb")
    regrets = [r for r in rows if r["event"] == "regret"]
    assert {r["repetition"] for r in regrets} == {0, 1, 2, 3}
    last = [r for r in regrets if r["t"] == 3000]
    assert len(last) == 4
    assert all(r["strong"] >= r["average"] >= r["weak"] >= 0 for r in regrets)
    assert set(summary["lower_bound"]) == {"average", "strong"}
    assert [r["samples"] <= 3000 for r in ends(rows)] == [True] * 4


def test_an_answer_is_judged_by_the_truth_not_by_what_the_adversary_shows() -> None:
    """`alternating` ends on the reversed matrix; the winner is that of the true one."""
    problem = {"name": "alternating", "matrix": "mslr5", "every": 500, "cycles": 3}
    _, rows = run(problem, {"name": "rmed1"}, horizon=3000, repetitions=6)
    named = [row for row in ends(rows) if row["winner"] >= 0]
    assert named
    assert all(row["correct"] == (row["winner"] == 0) for row in named)


def test_borda_and_copeland_answers_are_told_apart() -> None:
    problem = {"name": "borda-versus-condorcet", "K": 5, "gap": 0.1}
    _, rows = run(problem, "borda-elimination", horizon=400_000, repetitions=3)
    for row in ends(rows):
        assert (row["correct"], row["correct_borda"]) == (0, 1)
        assert row["beaten_by"] > 0


def test_a_base_plays_with_the_parameters_it_was_given() -> None:
    total = []
    for alpha in (0.51, 4.0):
        given = {"name": "mdb", "M": 1, "base": {"name": "rucb", "alpha": alpha}}
        _, rows = run("six-rankers", given, horizon=20_000)
        total.append(sum(r["average"] for r in rows if r["event"] == "regret" and r["t"] == 20_000))
    assert total[1] > 1.2 * total[0]


def test_change_points_are_told_when_every_repetition_has_the_same() -> None:
    problem = {"name": "piecewise", "K": 4, "segments": 5, "every": 1000}
    summary, rows = run(problem, "detect", horizon=3500)
    assert summary["changes"] == [1000, 2000, 3000]
    assert all(row["false_alarms"] >= 0 and 0 <= row["missed"] <= 3 for row in ends(rows))


def test_whose_fault_a_bad_parameter_is() -> None:
    with pytest.raises(ConfigError, match="problem 'arithmetic': K = -3"):
        run({"name": "arithmetic", "K": -3}, "uniform")
    with pytest.raises(CellError, match="detect on six-rankers"):
        run("six-rankers", "detect", horizon=2)
