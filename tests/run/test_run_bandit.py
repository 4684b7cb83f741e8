"""Bandit cells: what is recorded of a repetition, what a figure is told, errors with a name."""

import pytest

from bandits.preferences import RandomProblem, stationary
from bandits.problems.published import published_matrix
from pbrl import registry, suite
from pbrl.check.method import MemoryCell
from pbrl.errors import CellError, ConfigError
from pbrl.run import bandit


def config(problem, algorithm, *, horizon=3000, repetitions=4) -> dict:
    block = {
        "kind": "bandit", "problem": problem, "algorithm": algorithm, "horizon": horizon,
        "repetitions": repetitions,
    }  # fmt: skip
    (found,) = suite.cells({"name": "t", "seeds": 1, "blocks": [block]})
    return found


def run(problem, algorithm, **how) -> tuple[dict, list[dict]]:
    cell = MemoryCell(config(problem, algorithm, **how))
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
    summary, rows = run(problem, {"name": "rmed1"}, horizon=3000, repetitions=6)
    named = [row for row in ends(rows) if row["winner"] >= 0]
    assert named
    assert all(row["correct"] == (row["winner"] == 0) for row in named)
    # Preferences are reversed and back: the largest gap of the winner, 0.765 - 0.235, changes.
    assert summary["change_sizes"] == pytest.approx({"detect": 0.53, "mdb": 0.53})


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


ROCK_PAPER_SCISSORS = {"name": "cyclic-blocks", "blocks": 1}


def test_without_a_condorcet_winner_it_is_said_what_is_missing_and_why() -> None:
    summary, rows = run("mslr5-noncondorcet", "rucb")
    undefined, correct = summary["notes"]
    assert "no Condorcet winner): average, unhalved, strong, weak, binary_strong, binary_weak" in (
        undefined
    )
    assert "Copeland winner" in correct
    assert all({"copeland", "borda"} <= row.keys() for row in rows if row["event"] == "regret")
    assert not any("average" in row or "weak" in row for row in rows)
    assert all(row["policy_regret"] > 0 for row in ends(rows))
    assert "lower_bound" not in summary


def test_an_answer_that_cannot_be_wrong_is_not_called_correct() -> None:
    summary, rows = run(ROCK_PAPER_SCISSORS, "ccb")
    assert not any("correct" in row or "correct_borda" in row for row in ends(rows))
    assert [
        note
        for note in summary["notes"]
        if "every arm is a Copeland winner: copeland regret is 0" in note
    ]
    assert [
        note
        for note in summary["notes"]
        if "every arm is a Borda winner: borda regret is 0" in note
    ]


def test_what_an_algorithm_says_of_its_settings_is_noted_once() -> None:
    base = {"name": "rucb", "alpha": 1.0}
    summary, _ = run("six-rankers", {"name": "mdb", "base": base}, horizon=3000, repetitions=6)
    (note,) = summary["notes"]
    assert "mdb monitors in a share of" in note
    assert "rucb(alpha=1.0) hardly plays" in note


def test_a_problem_with_a_condorcet_winner_needs_no_notes() -> None:
    summary, _ = run("six-rankers", "rucb")
    assert summary["notes"] == []
    assert "slope" in summary["lower_bound_meaning"]


def test_repetitions_without_a_winner_are_counted_also_across_a_resume(monkeypatch) -> None:
    """Each repetition either has every row of a regret or none; the count survives a stop."""

    def either(rng):
        return stationary(published_matrix("mslr5" if rng.random() < 0.5 else NONE))

    NONE = "mslr5-noncondorcet"
    with registry.temporarily("problem", "either", lambda: RandomProblem(either)):
        summary, rows = run("either", "uniform", repetitions=40, horizon=50)
        monkeypatch.setattr(bandit, "BATCH_SECONDS", 0.0)  # one repetition after another
        alone = run("either", "uniform", repetitions=40, horizon=50)
        assert alone == (summary | {k: alone[0][k] for k in TIMES}, rows)
        with monkeypatch.context() as stopping:
            cell = stopped_after(stopping, 7, "either")
        resumed = bandit.execute(cell)  # type: ignore[arg-type]
    without = {r["repetition"] for r in rows if r["event"] == "regret" and "average" not in r}
    assert 5 < len(without) < 35
    assert f"in {len(without)} of 40 repetitions" in summary["notes"][0]
    assert (resumed["notes"], cell.rows) == (summary["notes"], rows)


TIMES = ("duels_per_second", "compile_seconds")


def stopped_after(stopping, repetitions: int, problem: str) -> MemoryCell:
    """A cell that was told to stop in the middle, with its checkpoint."""
    cell = MemoryCell(config(problem, "uniform", repetitions=40, horizon=50))
    journal = cell.journal

    def journal_and_stop(row: dict) -> None:
        journal(row)
        if row["event"] == "end" and row["repetition"] == repetitions:
            stopping.setattr(bandit.Stop, "signal", 15)

    stopping.setattr(cell, "journal", journal_and_stop)
    with pytest.raises(bandit.Interrupted):
        bandit.execute(cell)  # type: ignore[arg-type]
    return cell
