"""Battles to matrix: files of every layout, fits against scipy and closed forms, what is open."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from bandits.battles import Battles, describe, groups, preferences, ranks, read_battles, strengths
from bandits.problems.battles import battles as problem
from bandits.simulate import simulate


def made(wins, ties=None) -> Battles:
    wins = np.array(wins, float)
    ties = np.zeros_like(wins) if ties is None else np.array(ties, float)
    return Battles(tuple("abcdefgh"[: len(wins)]), wins, ties)


# --- files --------------------------------------------------------------------------------------

LINES = [("ann", "bob", 1), ("bob", "cy", 0.5), ("cy", "ann", 0), ("bob", "ann", 1)]
WORDS = {
    "numbers": {1: "1", 0: "0", 0.5: "0.5"},
    "words": {1: "win", 0: "Loss", 0.5: "tie"},
    "sides": {1: "a", 0: "b", 0.5: "draw"},
    "arena": {1: "model_a", 0: "model_b", 0.5: "tie (bothbad)"},
}


@pytest.mark.parametrize("separator", [", ", ";", "\t", "  "])
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("words", WORDS)
def test_battles_are_read_however_they_are_written(
    words: str, header: bool, separator: str, tmp_path: Path
) -> None:
    outcomes = {k: v if separator.strip() else v.split()[0] for k, v in WORDS[words].items()}
    rows = [[a, b, outcomes[outcome]] for a, b, outcome in LINES]
    if header:  # named columns, in another order and beside others
        rows = [["id", "winner", "Model_A", "model_b"], *(["7", o, a, b] for a, b, o in rows)]
    file = tmp_path / "arena.csv"
    file.write_text("# who beat whom\n\n" + "".join(separator.join(row) + "\n" for row in rows))
    found = read_battles(file)
    assert found.arms == ("ann", "bob", "cy")
    assert found.wins.tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert found.ties.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize(
    "text",
    ["x,y,3,1\ny,z,2,2\nx,y,1,0\n", "ties,b,a,wins_b,wins_a\n0,y,x,1,4\n0,z,y,2,2\n"],
    ids=["plain", "named"],
)
def test_counts_add_up(text: str, tmp_path: Path) -> None:
    (tmp_path / "counts.csv").write_text(text)
    found = read_battles(tmp_path / "counts.csv", "counts")
    assert found.wins.tolist() == [[0, 4, 0], [1, 0, 2], [0, 2, 0]]
    (tmp_path / "tied.csv").write_text("x y 3 1 5\n")
    assert read_battles(tmp_path / "tied.csv", "counts").ties.tolist() == [[0, 5], [5, 0]]


@pytest.mark.parametrize(
    ("text", "arms"),
    [
        ("nan 3 NaN\n1 nan 2\n- 0 nan\n", "0 1 2"),
        ("0,3,\n1,0,2\n,0,0\n", "0 1 2"),
        ("x,y,z\n0,3,nan\n1,0,2\nnan,0,0\n", "x y z"),
        (",x,y,z\nx,,3,\ny,1,,2\nz,,0,\n", "x y z"),
        ("x 9 3 nan\ny 1 9 2\nz nan 0 9\n", "x y z"),
    ],
)
def test_matrices_of_wins_are_read_with_or_without_names(
    text: str, arms: str, tmp_path: Path
) -> None:
    (tmp_path / "wins.txt").write_text(text)
    found = read_battles(tmp_path / "wins.txt", "matrix")
    assert found.arms == tuple(arms.split())
    assert found.wins.tolist() == [[0, 3, 0], [1, 0, 2], [0, 0, 0]]
    assert describe(found)[1] == f"1 of 3 pairs never met: {arms[0]} and {arms[-1]}"


@pytest.mark.parametrize(
    ("layout", "text", "message"),
    [
        ("battles", "", "holds no battles"),
        ("battles", "a,b,1\na,b,2\n", "line 2: outcome '2'; expected 1, win or a; 0, loss or b"),
        ("battles", "x,y,who\nx,y,1\n", "line 1: outcome 'who'.*a first line that names a, b and"),
        ("battles", "x,x,1\n", "line 1: 'x' against 'x'; expected the names of two arms"),
        ("battles", "x,,1\n", "line 1: 'x' against ''"),
        ("battles", "x,y,1\nx,y\n", "line 2 has 2 cells; expected as many as in line 1"),
        ("battles", "x,y,1,2,3\n", "line 1 has 5 cells; expected a, b, outcome.*layout: battles"),
        ("counts", "x,y,1\n", "line 1 has 3 cells; expected a, b, wins_a, wins_b, ties"),
        ("counts", "x,y,1,-2\n", "line 1: wins_b is '-2'; expected a number of battles, at least"),
        ("counts", "x,y,1,nan\n", "line 1: wins_b is 'nan'"),
        ("counts", "x,y,0,0\n", "found no battle between two arms"),
        ("matrix", "0 1\n2 0 1\n", "line 2 has 3 entries, but there are 2 rows"),
        ("matrix", "0 1 2\n2 0 1\n", "line 1 has 3 entries, but there are 2 rows"),
        ("matrix", "0 -1\n2 0\n", "line 1: entry 2 is '-1'"),
        ("matrix", "0 inf\n2 0\n", "line 1: entry 2 is 'inf'"),
        ("matrix", "3\n", "battles of 1 arm; expected at least two"),
        ("matrix", "x,x\n0,1\n1,0\n", "the arms are named x, x; expected 2 names"),
        ("matrix", "nan nan\nnan nan\n", "found no battle between two arms"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_line(
    layout: str, text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"mine.csv.*({message})"):
        read_battles(file, layout)  # type: ignore[arg-type]


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*none.csv: No such file"):
        read_battles(tmp_path / "none.csv")
    (tmp_path / "binary").write_bytes(b"\x93NUMPY\xff")
    with pytest.raises(ValueError, match="binary is not text"):
        read_battles(tmp_path / "binary")


# --- fits ---------------------------------------------------------------------------------------


def by_scipy(found: Battles, fit: str, prior: float) -> tuple[np.ndarray, float]:
    """The same maximum, with the probabilities written out and another optimizer."""
    K = len(found.arms)
    davidson = fit == "davidson" and found.ties.any()

    def loss(x: np.ndarray) -> float:
        v, nu, total = np.exp(x[:K]), np.exp(x[K]) if davidson else 0.0, 0.0
        for i in range(K):
            for j in range(K):
                z = v[i] + v[j] + nu * np.sqrt(v[i] * v[j])
                half_ties = found.ties[i, j] / 2
                total += found.wins[i, j] * np.log(v[i] / z)
                if half_ties and davidson:
                    total += half_ties * np.log(nu * np.sqrt(v[i] * v[j]) / z)
                elif half_ties:
                    total += half_ties * np.log(v[i] / z)
            total += prior / 2 * (np.log(v[i] / (1 + v[i])) + np.log(1 / (1 + v[i])))
        return -total + (0 if prior else x[:K].sum() ** 2)

    x = minimize(loss, np.zeros(K + davidson), method="BFGS", options={"gtol": 1e-7}).x
    return x[:K], x[K] if davidson else -np.inf


@settings(max_examples=25, deadline=None)
@given(
    K=st.integers(2, 5), seed=st.integers(0, 10_000), prior=st.sampled_from([0.0, 0.5, 3.0]),
    fit=st.sampled_from(["bradley-terry", "davidson"]),
)  # fmt: skip
def test_fits_agree_with_another_optimizer(K: int, seed: int, prior: float, fit: str) -> None:
    rng = np.random.default_rng(seed)
    wins = np.triu(rng.integers(0, 9, (K, K)), 1)
    wins = wins + np.tril(rng.integers(0, 9, (K, K)), -1)
    ties = np.triu(rng.integers(0, 4, (K, K)), 1)
    found = made(wins, ties + ties.T)
    assume(prior or len(ranks(found)) == 1)
    try:
        theta, lam = strengths(found, fit, prior)  # type: ignore[arg-type]
    except ValueError as error:
        assume("share of ties" not in str(error))
        raise
    expected, expected_lam = by_scipy(found, fit, prior)
    assert theta == pytest.approx(expected, abs=2e-4)
    assert lam == pytest.approx(expected_lam, abs=2e-4)


def test_fits_of_two_arms_are_their_shares() -> None:
    """One pair leaves either model free to match it exactly."""
    found = made([[0, 6], [2, 0]], [[0, 4], [4, 0]])
    theta, lam = strengths(found, "bradley-terry")
    assert theta[0] - theta[1] == pytest.approx(np.log(8 / 4))
    assert lam == -np.inf
    theta, lam = strengths(found, "davidson")
    assert theta[0] - theta[1] == pytest.approx(np.log(6 / 2))
    assert np.exp(lam) == pytest.approx(4 / np.sqrt(6 * 2))
    for fit in ("none", "bradley-terry", "davidson"):
        p, _ = preferences(found, fit)  # type: ignore[arg-type]
        assert p[0, 1] == pytest.approx(8 / 12)


def test_a_chain_that_never_closed_has_the_strengths_of_its_links() -> None:
    """Battles along a tree only: every difference is the log odds of its own pair."""
    found = made([[0, 3, 0], [1, 0, 5], [0, 2, 0]])
    p, notes = preferences(found, "bradley-terry")
    assert p[0, 1] == pytest.approx(3 / 4)
    assert p[1, 2] == pytest.approx(5 / 7)
    assert p[0, 2] == pytest.approx(7.5 / 8.5)  # odds 3 x 2.5
    assert "1 of 3 pairs never met: a and c" in notes


def test_a_prior_is_so_many_battles_against_an_average_arm() -> None:
    found = made([[0, 9], [0, 0]])
    theta, _ = strengths(found, "bradley-terry", prior=2.0)
    with_ghost = made([[0, 9, 1], [0, 0, 1], [1, 1, 0]])
    theirs, _ = strengths(with_ghost, "bradley-terry")
    assert theta == pytest.approx(theirs[:2] - theirs[2], abs=1e-6)


def test_thousand_arms_are_fitted() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=200)
    n = rng.integers(0, 3, (200, 200)) * 20
    wins = rng.binomial(np.triu(n, 1), 1 / (1 + np.exp(-np.subtract.outer(true, true))))
    wins = wins + np.triu(n, 1).T - wins.T
    found = Battles(tuple(map(str, range(200))), wins.astype(float), np.zeros((200, 200)))
    theta, _ = strengths(found, "bradley-terry")
    assert theta == pytest.approx(true - true.mean(), abs=0.3)


# --- what is left open --------------------------------------------------------------------------


def test_pairs_that_never_met_need_a_fit_and_are_named() -> None:
    found = made([[0, 3, 0], [1, 0, 5], [0, 2, 0]])
    with pytest.raises(ValueError, match=r"1 of 3 pairs never met: a and c; .*set fit to bradley"):
        preferences(found)


def test_groups_that_never_met_are_named_and_only_a_prior_joins_them() -> None:
    found = made([[0, 3, 0, 0], [1, 0, 0, 0], [0, 0, 0, 2], [0, 0, 2, 0]])
    assert groups(found) == [[0, 1], [2, 3]]
    for fit in ("bradley-terry", "davidson"):
        with pytest.raises(ValueError, match=r"2 groups .*: \{a, b\}, \{c, d\}; .*set prior"):
            preferences(found, fit)  # type: ignore[arg-type]
    p, notes = preferences(found, "bradley-terry", prior=1)
    assert p[2, 3] == pytest.approx(0.5)
    assert any("2 groups of arms never met each other: {a, b}, {c, d}" in note for note in notes)
    assert any("1 imagined battles of every arm" in note for note in notes)


def test_arms_that_never_lost_are_named_and_only_a_prior_bounds_them() -> None:
    found = made([[0, 3, 1], [0, 0, 5], [0, 2, 0]])
    assert ranks(found) == [[1, 2], [0]]
    with pytest.raises(ValueError, match=r"victories go one way: \{b, c\}, \{a\}; set prior"):
        preferences(found, "bradley-terry")
    p, _ = preferences(found, "bradley-terry", prior=1)
    assert 0.5 < p[0, 1] < 1
    assert preferences(found)[0][0, 1] == 1  # as it was fought, without a fit


@pytest.mark.parametrize(
    ("wins", "ties"),
    [
        ([[0, 5], [0, 0]], [[0, 5], [5, 0]]),
        ([[0, 0], [0, 0]], [[0, 5], [5, 0]]),
        ([[0, 1, 0], [0, 0, 0], [0, 0, 0]], [[0, 0, 1], [0, 0, 1], [1, 1, 0]]),
    ],
)
def test_ties_that_no_victory_outweighs_have_no_finite_share(wins: list, ties: list) -> None:
    """A victory is only ever answered by ties: the likelihood grows as ties grow likelier."""
    with pytest.raises(ValueError, match=r"no finite share of ties.*bradley-terry"):
        strengths(made(wins, ties), "davidson")
    strengths(made(wins, ties), "bradley-terry")


def test_a_circle_with_more_victories_than_ties_bounds_their_share() -> None:
    found = made([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [[0, 0, 1], [0, 0, 0], [1, 0, 0]])
    theta, lam = strengths(found, "davidson")
    assert theta == pytest.approx(by_scipy(found, "davidson", 0.0)[0], abs=1e-3)
    assert np.isfinite(lam)


@pytest.mark.parametrize(
    ("wins", "ties", "message"),
    [
        ([[0, 1], [-1, 0]], None, "wins must be"),
        ([[0, np.nan], [1, 0]], None, "wins must be"),
        ([[1, 1], [1, 0]], None, "fought itself"),
        ([[0, 1], [1, 0]], [[0, 1], [0, 0]], "symmetric"),
        ([[0]], None, "1 arm"),
    ],
)
def test_battles_of_python_are_checked(wins: list, ties: list | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(wins, ties)


@pytest.mark.parametrize(("fit", "prior"), [("none", 1.0), ("davidson", -1.0), ("none", np.nan)])
def test_a_prior_that_cannot_be_is_refused(fit: str, prior: float) -> None:
    with pytest.raises(ValueError, match="expected at least 0, and 0 without fit"):
        preferences(made([[0, 1], [1, 0]]), fit, prior)  # type: ignore[arg-type]


class Anyone:
    """Duels two random arms."""

    def start(self, K, T, rng) -> None:
        self.K = K

    def choose(self, rng) -> tuple[int, int]:
        return rng.integers(self.K), rng.integers(self.K)

    def observe(self, i, j, won) -> None:
        pass


def test_a_file_of_battles_is_a_problem_to_play_on(tmp_path: Path) -> None:
    """The example of the docstring: arena.csv, with a pair that never met."""
    (tmp_path / "arena.csv").write_text("gpt, llama, win\nllama, qwen, tie\nqwen, llama, b\n")
    made_of_it = problem(tmp_path / "arena.csv", fit="bradley-terry", prior=1)
    assert made_of_it.K == 3
    assert "3 battles of 3 arms (1 tied): 0 gpt, 1 llama, 2 qwen" in made_of_it.notes
    found = simulate(made_of_it, Anyone(), horizon=300, repetitions=2, seed=0)
    assert np.isfinite(found.regret["average"]).all()
