"""Problems: valid matrices, the rules they claim, closed forms by enumeration, clear refusals."""

import inspect
import itertools
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from bandits.preferences import (
    Problem,
    RandomProblem,
    check_matrix,
    complete,
    piecewise,
    relabel,
    stationary,
)
from bandits.problems import (
    adversarial,
    changing,
    contextual,
    intransitive,
    mallows,
    orders,
    published,
    random_matrices,
    utilities,
)
from bandits.problems.csv_file import csv, read_matrix
from bandits.registry import PROBLEMS
from bandits.simulate import simulate
from bandits.winners import (
    borda_scores,
    borda_winners,
    condorcet_winner,
    copeland_winners,
    von_neumann_winner,
)

FAMILIES = [
    *(adversarial, changing, contextual, intransitive, mallows, orders),
    *(published, random_matrices, utilities),
]
NAMES = sorted(
    n
    for n, f in PROBLEMS.items()
    if n not in ("csv", "battles") and f.__module__ in {m.__name__ for m in FAMILIES}
)


def first(problem: Problem | RandomProblem, seed: int = 0) -> Problem:
    if isinstance(problem, RandomProblem):
        return problem.sample(np.random.default_rng(seed))
    return problem


def matrix(problem: Problem | RandomProblem) -> np.ndarray:
    return first(problem).matrices[0]


# --- every problem ------------------------------------------------------------------------------


def test_all_families_are_registered() -> None:
    assert len(NAMES) == 23


@pytest.mark.parametrize("name", NAMES)
def test_a_problem_is_made_of_preference_matrices_and_segments(name: str) -> None:
    p = first(PROBLEMS[name]())
    for m in map(np.asarray, (p.matrices, p.truth)):
        assert m.dtype == np.float64
        assert m.shape == (len(p.matrices), p.K, p.K)
        assert (np.diagonal(m, axis1=1, axis2=2) == 0.5).all()
        assert np.abs(m + m.transpose(0, 2, 1) - 1).max() <= 1e-15
        assert m.min() >= 0
        assert m.max() <= 1
    assert p.starts.dtype == np.int64
    assert p.starts[0] == 0
    assert (np.diff(p.starts) > 0).all()
    assert p.order.shape == p.starts.shape
    assert p.order.max() < len(p.matrices)


@pytest.mark.parametrize("name", [n for n in NAMES if isinstance(PROBLEMS[n](), RandomProblem)])
def test_a_random_problem_repeats_with_its_seed_and_differs_without(name: str) -> None:
    make = PROBLEMS[name]
    assert np.array_equal(first(make(), seed=3).matrices, first(make(), seed=3).matrices)
    assert not np.array_equal(first(make(), seed=3).matrices, first(make(), seed=4).matrices)
    fixed = make(instance=3)
    assert isinstance(fixed, Problem)
    assert np.array_equal(fixed.matrices, first(make(), seed=3).matrices)
    with pytest.raises(ValueError, match="instance = -1; expected a whole number of at least 0"):
        make(instance=-1)


ANY_K = ["arithmetic", "geometric", "constant-gap", "hard-condorcet", "mallows", "utility"]
ANY_K += ["plackett-luce", "random-condorcet", "drifting", "geometric-phases"]


@pytest.mark.parametrize("name", ANY_K)
@pytest.mark.parametrize("K", [2, 3, 17])
def test_any_number_of_arms(name: str, K: int) -> None:
    p = first(PROBLEMS[name](K=K, **({"gap": 0.02} if name == "arithmetic" else {})))
    assert p.matrices.shape[1:] == (K, K)
    assert all(condorcet_winner(m) is not None for m in p.matrices)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("arithmetic", {"K": 0}, "arithmetic: K = 0; expected a whole number of at least 2"),
        ("arithmetic", {"K": 12}, "make p = 1.05; expected 0 < gap <= 0.045"),
        ("geometric", {"rho": 1.0}, r"expected a number in \(0, 1\)"),
        ("constant-gap", {"gap": 0.6}, r"gap = 0.6; expected a number in \(0, 0.5\]"),
        ("fixed-gap", {"K": 3, "gap": 0.8}, "K = 3; expected gap <= 0.75"),
        ("mallows", {"phi": 1.0}, r"expected a number in \(0, 1\)"),
        ("borda-versus-condorcet", {"K": 2}, "of at least 3"),
        ("swirl", {"K": 5}, "of at least 4, a multiple of 2"),
        ("cyclic-blocks", {"blocks": 0}, "blocks = 0; expected a whole number of at least 1"),
        ("utility", {"scale": 0.0}, "expected a number over 0"),
        ("utility", {"scale": 0.5}, "linear link needs scale >= 1"),
        ("utility", {"instance": 1}, "family 'arith' is not random"),
        ("utility", {"family": "2good"}, "family = '2good'; expected one of 'arith'"),
        ("utility", {"link": "cauchit"}, "link = 'cauchit'; expected one of 'linear'"),
        ("plackett-luce", {"B": 0.0}, "expected a number over 0"),
        ("random-condorcet", {"p_min": 0.5}, r"p_min = 0.5; expected a number in \(0.5, 1\]"),
        ("random-condorcet", {"p_min": 0.7, "p_max": 0.6}, "p_max = 0.6; expected p_min <= p_max"),
        ("random-copeland", {"K": 4}, "of at least 5"),
        ("random-copeland", {"gap": 0.5}, r"expected a number in \[0, 0.5\)"),
        ("piecewise", {"K": 2}, "at least 3 arms"),
        ("piecewise", {"delta": 0.0}, r"expected a number in \(0, 1\)"),
        ("piecewise", {"every": 1}, "every = 1; expected a whole number of at least 2"),
        ("piecewise", {"K": 3, "delta": 0.99, "segments": 50}, "lower delta or raise K"),
        ("drifting", {"sd": 0.0}, "expected a number over 0"),
        ("corrupted", {"budget": 0}, "budget = 0; expected a whole number of at least 1"),
        ("corrupted", {"matrix": "mslr6"}, "matrix = 'mslr6'; expected one of 'six-rankers'"),
        ("alternating", {"share": 0.5}, r"in \(0.5, 1\)"),
        ("alternating", {"share": 0.9, "every": 2}, "leaves none reversed"),
        ("hypercube", {"d": 9}, r"in \[1, 8\]"),
    ],
)
def test_bad_parameters_are_refused(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PROBLEMS[name](**parameters)


class FirstTwo:
    """Duels the first two arms for ever."""

    def start(self, K: int, T: int, rng: Any) -> None:
        self.pair = (0, 1)

    def choose(self, rng: Any) -> tuple[int, int]:
        return self.pair

    def observe(self, i: int, j: int, won: bool) -> None:
        pass


@pytest.mark.parametrize("name", NAMES)
def test_every_problem_can_be_played(name: str) -> None:
    found = simulate(PROBLEMS[name](), FirstTwo(), horizon=150, repetitions=2, seed=0)
    assert found.plays.sum() == 2 * 150
    assert np.isfinite(found.regret["copeland"]).all()
    no_winner = name in ("cyclic-blocks", "mslr5-noncondorcet", "random-copeland")
    assert np.isnan(found.regret["average"]).all() == no_winner


# --- checking matrices --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([[0.5, 0.6, 0.7], [0.4, 0.5, 0.6]], r"shape \(2, 3\); expected K x K"),
        ([0.5], r"shape \(1,\); expected K x K"),
        ([[0.5, 60], [40, 0.5]], r"p\[0, 1\] = 60 is not a probability.*divide percentages by 100"),
        ([[0.5, np.nan], [0.4, 0.5]], r"p\[0, 1\] = nan is not a probability"),
        ([[0.5, 0.6], [0.4, 0]], r"p\[1, 1\] = 0; an arm against itself is a fair coin: write 0.5"),
        ([[0.5, 0.6], [0.5, 0.5]], r"p\[0, 1\] = 0.6 and p\[1, 0\] = 0.5 add up to 1.1"),
    ],
)
def test_what_is_no_preference_matrix_is_refused_by_entry_and_rule(p: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"mine.*{message}"):
        check_matrix(np.array(p), "mine")


def test_rounded_halves_are_made_to_match_exactly() -> None:
    p = check_matrix(np.array([[0.5, 0.6 + 4e-7], [0.4, 0.5]]))
    assert p[1, 0] == 1 - p[0, 1]
    with pytest.raises(ValueError, match="add up to"):
        check_matrix(np.array([[0.5, 0.6 + 1e-5], [0.4, 0.5]]))


def test_segments_must_start_at_zero_and_increase() -> None:
    p = np.full((2, 2, 2), 0.5)
    for starts in ([1, 2], [0, 0]):
        with pytest.raises(ValueError, match="must start at 0 and increase"):
            piecewise(p, starts)
    with pytest.raises(ValueError, match=r"matrix 1: .*fair coin"):
        piecewise(np.stack([p[0], p[0] - 0.1]), [0, 9])


@given(st.integers(1, 7), st.integers(0, 100))
def test_relabelling_names_the_same_duels(K: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, order = complete(rng.random((K, K))), rng.permutation(K)
    q = relabel(p, order)
    assert all(q[i, j] == p[order[i], order[j]] for i in range(K) for j in range(K))
    assert np.array_equal(relabel(q, np.argsort(order)), p)


# --- files --------------------------------------------------------------------------------------


def test_a_csv_file_is_read_as_rows_beating_columns(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("# two arms\n0.5, 0.7\n\n0.3, 0.5\n")
    assert matrix(csv(str(file))).tolist() == [[0.5, 0.7], [1 - 0.7, 0.5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n0.5,0.7\n0.3,0.5\n", r"line 1: could not convert .*'a'.*no header"),
        ("0.5,0.7\n0.3,0.5,\n", "line 2: .*expected numbers separated by commas"),
        ("0.5,0.7\n0.3\n", "line 2 has 1 entries and the first row 2"),
        ("", r"shape \(0,\); expected K x K"),
        ("0.5,0.7\n0.4,0.5\n", r"mine.csv: p\[0, 1\] = 0.7 and p\[1, 0\] = 0.4 add up to 1.1"),
    ],
)
def test_a_bad_csv_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        csv(str(file))


def test_a_missing_or_binary_csv_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*none.csv: No such file"):
        read_matrix(str(tmp_path / "none.csv"))
    (tmp_path / "binary.csv").write_bytes(b"\x93NUMPY\xff")
    with pytest.raises(ValueError, match=r"binary.csv is not text"):
        read_matrix(str(tmp_path / "binary.csv"))


# --- families -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "winner", "gap"), [("six-rankers", 0, 0.04), ("cyclic", 0, 0.1), ("mslr5", 0, 0.035)]
)
def test_published_matrices_have_their_winners(name: str, winner: int, gap: float) -> None:
    p = matrix(PROBLEMS[name]())
    assert condorcet_winner(p) == winner
    assert np.delete(p[winner] - 0.5, winner).min() == pytest.approx(gap)


def test_orders_follow_their_rules() -> None:
    assert matrix(orders.arithmetic())[1, 6] == pytest.approx(0.75)
    assert matrix(orders.geometric(rho=0.5))[2, 4] == pytest.approx(2**-2 / (2**-2 + 2**-4))
    assert matrix(orders.constant_gap(gap=0.2))[3, 7] == pytest.approx(0.7)
    hard = matrix(orders.hard_condorcet(K=10))
    assert np.sort(hard[0] - 0.5)[[1, -1]] == pytest.approx([1 / 10, 1 / 2])
    assert hard[4, 6] == pytest.approx(0.5 + 7 / 20)


@given(st.integers(2, 20), st.floats(0.01, 0.5))
def test_fixed_gap_is_the_borda_gap(K: int, gap: float) -> None:
    scores = borda_scores(matrix(orders.fixed_gap(K=K, gap=gap)))
    assert scores[0] - scores[1:].max() == pytest.approx(gap)


@pytest.mark.parametrize("phi", [0.1, 0.5, 0.9])
def test_mallows_preferences_are_those_of_its_rankings(phi: float) -> None:
    K = 5
    p, total = np.zeros((K, K)), 0.0
    for ranking in itertools.permutations(range(K)):
        swapped = sum(a > b for a, b in itertools.combinations(ranking, 2))
        total += phi**swapped
        for better, worse in itertools.combinations(ranking, 2):
            p[better, worse] += phi**swapped
    assert matrix(mallows.mallows(K=K, phi=phi)) == pytest.approx(p / total + np.eye(K) / 2)


def test_mallows_near_its_limits() -> None:
    nearly_sure = matrix(mallows.mallows(phi=1e-6))
    assert nearly_sure[0, 1] == pytest.approx(1, abs=1e-5)
    nearly_fair = matrix(mallows.mallows(phi=1 - 1e-6))
    assert nearly_fair == pytest.approx(np.full((10, 10), 0.5), abs=1e-4)


def test_plackett_luce_preferences_are_those_of_its_rankings() -> None:
    u = np.array([0.3, 1.1, 0.0, 1.9])
    v, p = np.exp(u), np.eye(4) / 2
    for ranking in itertools.permutations(range(4)):
        chance = np.prod([v[ranking[k]] / v[list(ranking[k:])].sum() for k in range(4)])
        for better, worse in itertools.combinations(ranking, 2):
            p[better, worse] += chance
    assert utilities.linked(u, "logit") == pytest.approx(p)


def test_probit_and_linear_links_are_noisy_and_bernoulli_utilities() -> None:
    u, scale = np.array([0.9, 0.2, 0.5]), 0.7
    noisy = norm.cdf(np.subtract.outer(u, u), scale=np.sqrt(2) * scale)
    assert utilities.linked(u, "probit", scale) == pytest.approx(noisy)
    # Ailon et al.: both arms draw a bit with mean u; the better one wins, ties are fair coins.
    bits = np.multiply.outer(u, 1 - u)
    assert utilities.linked(u, "linear") - np.eye(3) / 2 == pytest.approx(
        (bits + (1 - bits - bits.T) / 2) * (1 - np.eye(3))
    )


@pytest.mark.parametrize("link", ["linear", "logit", "probit"])
@pytest.mark.parametrize("family", utilities.FAMILIES)
def test_utility_families_put_arm_zero_first(family: Any, link: Any) -> None:
    assert condorcet_winner(matrix(utilities.utility(K=6, link=link, family=family))) == 0


def test_intransitive_families_have_the_winners_they_claim() -> None:
    swirl = matrix(intransitive.swirl(K=20, gap=0.02))
    assert condorcet_winner(swirl) == 0
    assert ((swirl[1:, 1:] == 1).sum(axis=1) == 9).all()  # as published: each beats the next nine
    assert (swirl[1, 2:11] == 1).all()
    against = matrix(intransitive.borda_versus_condorcet())
    assert (condorcet_winner(against), borda_winners(against).tolist()) == (0, [1])
    blocks = matrix(intransitive.cyclic_blocks(blocks=2))
    assert condorcet_winner(blocks) is None
    assert copeland_winners(blocks).tolist() == [0, 1, 2]
    assert von_neumann_winner(blocks) == pytest.approx([1 / 3] * 3 + [0] * 3, abs=1e-9)


@given(st.integers(2, 12), st.floats(0.51, 0.9), st.integers(0, 1000))
def test_random_condorcet_has_its_winner_and_exact_smallest_gap(
    K: int, p_min: float, seed: int
) -> None:
    p = first(random_matrices.random_condorcet(K=K, p_min=p_min), seed).matrices[0]
    winner = condorcet_winner(p)
    assert winner is not None
    assert np.delete(p[winner], winner).min() == pytest.approx(p_min, abs=1e-12)
    hard = first(random_matrices.random_condorcet(K=K, p_min=p_min, p_max=p_min), seed).matrices[0]
    assert np.ptp(np.delete(hard, condorcet_winner(hard), axis=1)[condorcet_winner(hard)]) < 1e-12


def test_random_condorcet_picks_each_arm_equally_often() -> None:
    rng = np.random.default_rng(0)
    sample = random_matrices.random_condorcet(K=4).sample  # type: ignore[union-attr]
    winners = [condorcet_winner(sample(rng).matrices[0]) for _ in range(2000)]
    assert np.bincount(winners) == pytest.approx([500] * 4, abs=4 * np.sqrt(2000 * 3 / 16))


@given(st.integers(5, 12), st.floats(0, 0.3), st.integers(0, 1000))
def test_random_copeland_has_one_winner_that_loses_somewhere(K: int, gap: float, seed: int) -> None:
    p = first(random_matrices.random_copeland(K=K, gap=gap), seed).matrices[0]
    assert len(copeland_winners(p)) == 1
    assert condorcet_winner(p) is None
    assert np.abs(p - 0.5)[~np.eye(K, dtype=bool)].min() >= gap - 1e-12


# --- changing problems --------------------------------------------------------------------------


@settings(deadline=None)
@given(
    K=st.integers(4, 12),
    delta=st.floats(0.05, 0.7),
    p_min=st.sampled_from([0.55, 0.6, 0.7]),
    change=st.sampled_from(["winner", "anywhere"]),
    seed=st.integers(0, 1000),
)
def test_piecewise_changes_the_winner_and_one_entry_by_exactly_delta(
    K: int, delta: float, p_min: float, change: Any, seed: int
) -> None:
    p = first(
        changing.piecewise_stationary(K=K, segments=5, p_min=p_min, delta=delta, change=change),
        seed,
    )
    assert p.starts.tolist() == [0, 100_000, 200_000, 300_000, 400_000]
    winners = [condorcet_winner(m) for m in p.matrices]
    for m, winner in zip(p.matrices, winners, strict=True):
        assert winner is not None
        assert np.delete(m[winner], winner).min() == pytest.approx(p_min, abs=1e-12)
    for before, after, old, new in zip(
        p.matrices, p.matrices[1:], winners, winners[1:], strict=False
    ):
        assert old != new
        rows = [old] if change == "winner" else range(K)
        sizes = np.abs(after - before)[rows]
        assert np.abs(sizes - delta).min() <= 1e-12
    assert changing.mdb_delta(p) >= delta - 1e-12
    if change == "winner":
        assert changing.detect_delta(p) >= delta - 1e-12


def test_random_change_points_leave_half_a_segment_or_more() -> None:
    for seed in range(50):
        p = first(changing.piecewise_stationary(segments=8, every=100, spacing="random"), seed)
        assert len(p.starts) == 8
        assert np.diff(np.append(p.starts, 800)).min() >= 50


def test_change_sizes_by_hand() -> None:
    before = complete(np.array([[0, 0.7, 0.8], [0, 0, 0.9], [0, 0, 0]]))
    after = complete(np.array([[0, 0.6, 0.3], [0, 0, 0.1], [0, 0, 0]]))
    p = piecewise(np.stack([before, after]), [0, 10])
    assert changing.detect_delta(p) == pytest.approx(0.5)
    assert changing.mdb_delta(p) == pytest.approx(0.8)
    with pytest.raises(ValueError, match="needs at least two"):
        changing.detect_delta(stationary(before))


def test_geometric_phases_reorder_the_same_preferences() -> None:
    p = first(changing.geometric_phases(K=5))
    expected = orders.geometric_matrix(5, 0.5)
    assert p.starts.tolist() == [0, 12_500, 25_000, 37_500]
    for m in p.matrices:
        order = np.argsort(-borda_scores(m))
        assert relabel(m, order) == pytest.approx(expected)


def test_drifting_utilities_move_by_their_standard_deviation() -> None:
    p = first(changing.drifting(K=20, segments=2_000, every=25, sd=0.0002))
    # u_i - u_j = 2 p_ij - 1 moves by the sum of two independent steps of sd 0.0002 sqrt(25).
    walk = np.asarray(p.matrices)
    steps = np.diff(2 * walk[:, 0, 1:] - 1, axis=0)
    assert np.sqrt((steps**2).mean()) == pytest.approx(0.001 * np.sqrt(2), rel=0.1)
    assert walk.min() >= 0
    assert walk.max() <= 1


# --- adversarial and contextual -----------------------------------------------------------------


def test_corrupted_answers_are_reversed_until_the_budget_is_spent() -> None:
    p = adversarial.corrupted(budget=70)
    true = published.published_matrix("six-rankers")
    assert p.starts.tolist() == [0, 70]
    assert p.matrices[p.order[0]] == pytest.approx(true.T)
    assert p.matrices[p.order[1]] == pytest.approx(true)
    assert p.truth == pytest.approx(np.stack([true, true]))


def test_alternating_feedback_averages_to_what_regret_is_measured_by() -> None:
    p = adversarial.alternating(share=0.7, every=10, cycles=3)
    assert p.starts.tolist() == [0, 7, 10, 17, 20, 27]
    lengths = np.diff(np.append(p.starts, 30))
    average = np.average(p.matrices[p.order], axis=0, weights=lengths)
    assert p.truth == pytest.approx(np.stack([average, average]))
    assert condorcet_winner(p.truth[0]) == 0


def test_hypercube_prefers_larger_scores() -> None:
    p = contextual.hypercube(d=3, scale=2.0, instance=0)
    assert isinstance(p, Problem)
    assert p.features is not None
    assert p.features.shape == (8, 3)
    assert condorcet_winner(p.matrices[0]) == 7  # theta >= 0, so all +1 is best
    # Flipping every sign of the best arm moves its score by 2 |theta|_1.
    theta = np.log(p.matrices[0][7, [3, 5, 6]] / p.matrices[0][[3, 5, 6], 7]) / 2
    assert np.linalg.norm(theta) == pytest.approx(2.0)
    assert p.utilities == pytest.approx(p.features @ theta)


def test_utilities_of_the_utility_problem_are_recorded() -> None:
    p = first(utilities.utility(K=4, family="arith"))
    assert p.utilities == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert first(utilities.utility(K=4, family="uniform")).utilities is not None


def test_a_csv_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "marked.csv"
    file.write_text("0.5,0.9\n0.1,0.5\n", encoding="utf-8-sig")
    assert read_matrix(str(file))[0, 1] == 0.9


def test_the_matrices_to_choose_from_are_the_files_there_are() -> None:
    for make in (adversarial.corrupted, adversarial.alternating):
        annotation = inspect.signature(make).parameters["matrix"].annotation
        files = Path(published.__file__).parent.glob("*.csv")
        assert {*get_args(annotation)} == {file.stem for file in files}
