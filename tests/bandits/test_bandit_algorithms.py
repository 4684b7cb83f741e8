"""Algorithms against literal versions of themselves, closed forms and published values."""

import math

import bandit_references as naive
import numpy as np
import pytest
from interpreted import Interpreted, total_order
from scipy import stats

from bandits.algorithms import create, names
from bandits.detector import detections
from bandits.preferences import piecewise, stationary
from bandits.problems.changing import piecewise_stationary
from bandits.problems.orders import arithmetic
from bandits.problems.published import cyclic, mslr5, mslr5_noncondorcet, six_rankers
from bandits.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def final(problem, algorithm, horizon, repetitions, regret="average", seed=3):
    run = simulate(problem, algorithm, horizon=horizon, repetitions=repetitions, seed=seed)
    return run.regret[regret][:, -1]


def same_mean(a, b, z=4.5):
    error = math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    return abs(a.mean() - b.mean()) <= z * error + 1e-9


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("rucb", naive.NaiveRUCB()),
        ("ccb", naive.NaiveCCB()),
        ("rmed1", naive.NaiveRMED("rmed1")),
        ("rmed2", naive.NaiveRMED("rmed2")),
        ("rmed2fh", naive.NaiveRMED("rmed2fh")),
    ],
)
@pytest.mark.parametrize("matrix", ["order", "cycle"])
def test_fast_version_plays_exactly_as_the_literal_one(name, reference, matrix):
    p = total_order(5) if matrix == "order" else cyclic().matrices[0]
    how = {"horizon": 1500, "repetitions": 2, "seed": 5}
    slow = simulate(stationary(p), Interpreted(reference), **how)
    assert (simulate(stationary(p), create(name), **how).plays == slow.plays).all()


def test_winner_stays_in_rounds_has_the_law_of_its_score_form():
    p = stationary(total_order(6, 0.1))
    rounds = final(p, create("ws-w"), 400, 2000, "weak")
    scores = final(p, naive.NaiveWinnerStays(), 400, 150, "weak")
    assert same_mean(rounds, scores, z=4)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("rcs", naive.NaiveRCS()),
        ("d-ts", naive.NaiveDoubleThompson(plus=False)),
        ("d-ts-plus", naive.NaiveDoubleThompson(plus=True)),
    ],
)
def test_drawing_only_the_samples_that_matter_leaves_the_law(name, reference):
    """Twice: early, when most samples matter, and later, when few do."""
    p = cyclic() if name != "rcs" else stationary(total_order(4, 0.15))
    how = {"horizon": 400, "seed": 3, "checkpoints": [40, 400]}
    few = simulate(p, create(name), repetitions=4000, **how).regret["copeland"]
    all_drawn = simulate(p, reference, repetitions=60, **how).regret["copeland"]
    for c in range(2):
        assert same_mean(few[:, c], all_drawn[:, c], z=4)


@pytest.mark.parametrize("name", names())
def test_law_does_not_depend_on_the_labels(name):
    p = six_rankers().matrices[0]
    how = {"horizon": 1000, "repetitions": 150, "shuffle": False}
    one, other = (
        simulate(
            stationary(p[np.ix_(o, o)], features=np.eye(6)[o]), create(name), **how | {"seed": seed}
        )
        for seed, o in enumerate([[0, 1, 2, 3, 4, 5], [4, 1, 5, 0, 3, 2]])
    )
    assert same_mean(one.regret["copeland"][:, -1], other.regret["copeland"][:, -1])


@pytest.mark.parametrize("name", ["btw", "btwr", "mbtw", "ws-w", "detect"])
def test_no_weak_regret_with_two_arms_when_pairs_are_distinct(name):
    assert (final(stationary(total_order(2)), create(name), 2000, 5, "binary_weak") == 0).all()


def test_uniform_pays_the_mean_gap():
    p = six_rankers()
    regret = final(p, create("uniform"), 10_000, 100)
    assert abs(regret.mean() - 600.0) < 3 * regret.std(ddof=1) / 10


@pytest.mark.parametrize("c", [1, 2, 5, 10, 20])
def test_race_is_lost_as_often_as_the_negative_binomial_says(c):
    race = create("btw")
    draws = np.random.default_rng(c)
    lost = 0
    for _ in range(4000):
        race.start(2, 10, draws)
        race.c = c
        challenger = race.challenger
        while race.c == c:
            race.observe(race.incumbent, race.challenger, draws.random() < 0.6)
        lost += race.incumbent == challenger
    expected = stats.nbinom.sf(c - 1, c, 0.6)
    assert abs(lost / 4000 - expected) < 4 * math.sqrt(expected / 4000)


def test_race_lemma():
    for p in np.arange(0.51, 1, 0.02):
        for c in range(1, 51):
            assert stats.nbinom.sf(c - 1, c, p) <= 0.5 * math.exp(-c * (2 * p - 1) ** 2)
    table = [0.40000, 0.35200, 0.26657, 0.18609, 0.10206]
    assert [stats.nbinom.sf(c - 1, c, 0.6) for c in (1, 2, 5, 10, 20)] == pytest.approx(
        table, abs=5e-6
    )


def test_double_thompson_never_plays_a_sure_winner_of_the_first_arm():
    """L_ib <= 1/2 for the second arm b against the first a; W counts every duel of two arms."""
    algorithm = create("d-ts")
    played = Interpreted(algorithm)
    choose = played.choose

    def checked(rng):
        a, b = choose(rng)
        _, L = naive.bounds(algorithm.W, 0.51, algorithm.t + 1)
        assert L[b, a] <= 0.5 + 1e-12
        return a, b

    played.choose = checked
    run = simulate(stationary(total_order(4, 0.3)), played, horizon=1500, repetitions=1, seed=0)
    assert algorithm.W.sum() == 1500 - np.trace(run.plays[0])


def test_savage_pays_what_the_authors_of_double_thompson_measured():
    """Their result file: mslr5, Copeland regret, mean of 10 runs, compared at 3 standard errors."""
    for horizon, measured in [(1000, 485.8), (3000, 1054.5), (10_000, 1846.6), (30_000, 2339.8)]:
        regret = final(mslr5(), create("savage"), horizon, 200, "copeland")
        assert abs(regret.mean() - measured) < 3 * regret.std(ddof=1) / math.sqrt(10)
        assert regret.mean() == pytest.approx(measured, rel=0.08)


def test_beat_the_mean_is_random_play_at_these_horizons():
    assert final(mslr5(), create("btm"), 3000, 40, "copeland").mean() == pytest.approx(
        1505, rel=0.01
    )


@pytest.mark.parametrize(
    ("problem", "slope"), [(six_rankers, 20.735), (arithmetic, 12.712), (mslr5, 11.120)]
)
def test_rmed1_grows_with_its_asymptotic_constant(problem, slope):
    times = [10_000, 300_000]
    run = simulate(
        problem(), create("rmed1"), horizon=300_000, repetitions=20, seed=0, checkpoints=times
    )
    early, late = run.regret["average"].mean(0)
    assert (late - early) / math.log(30) == pytest.approx(slope, rel=0.3)


def test_rmed2fh_is_far_below_rmed1_where_the_winner_is_an_expensive_opponent():
    rmed1, rmed2fh = (final(cyclic(), create(n), 100_000, 10).mean() for n in ("rmed1", "rmed2fh"))
    assert rmed2fh < rmed1 / 3


def test_copeland_regret_flattens_without_a_condorcet_winner():
    """mslr5-noncondorcet, smallest gap 0.016: a Condorcet algorithm's regret is linear there."""
    how = {"horizon": 10**6, "repetitions": 8, "seed": 0, "checkpoints": [10**5, 10**6]}
    slopes = {}
    for name in ("ecw-rmed", "rmed1"):
        early, late = simulate(mslr5_noncondorcet(), create(name), **how).regret["copeland"].mean(0)
        slopes[name] = (late - early) / early
    assert slopes["ecw-rmed"] < 0.5
    assert slopes["rmed1"] > 5


def test_weak_regret_of_winner_stays_stops_growing():
    run = simulate(
        six_rankers(), create("ws-w"), horizon=100_000, repetitions=200, seed=0,
        checkpoints=[10_000, 100_000],
    )  # fmt: skip
    assert same_mean(*run.regret["weak"].T)


@pytest.mark.parametrize(
    "name",
    ["rucb", "rcs", "rmed1", "rmed2fh", "d-ts", "d-ts-plus", "ccb", "ecw-rmed", "merge-rucb"],
)
def test_regret_becomes_sublinear_with_a_condorcet_winner(name):
    times = [20_000, 40_000]
    run = simulate(
        stationary(total_order(5)), create(name), horizon=40_000, repetitions=20, seed=0,
        checkpoints=times,
    )  # fmt: skip
    early, late = run.regret["average"].mean(0)
    assert late - early < 0.35 * early
    assert (run.winner[:, -1] == 0).mean() >= 0.9


def changing(K=5, segments=5, every=20_000):
    """A total order whose winner moves to the last place at every change."""
    base = total_order(K, 0.3)
    orders = [np.roll(np.arange(K), m) for m in range(segments)]
    matrices = np.array([base[np.ix_(o, o)] for o in orders])
    return piecewise(matrices, starts=every * np.arange(segments))


def test_reset_pays_off_when_preferences_change():
    regret = {n: final(changing(), create(n), 100_000, 50, "binary_weak").mean() for n in WEAK}
    assert regret["btwr"] < 0.5 * min(regret["btw"], regret["ws-w"])


WEAK = ("btwr", "btw", "ws-w")


@pytest.mark.parametrize("name", ["detect", "mdb"])
def test_monitors_stay_silent_without_a_change(name):
    algorithm = create(name, delta=0.6)
    p = stationary(total_order(5, 0.3))
    run = simulate(p, algorithm, horizon=200_000, repetitions=20, seed=0)
    assert sum(len(times) for times in run.resets) == 0


@pytest.mark.parametrize("name", ["detect", "mdb"])
def test_monitors_notice_every_change_within_their_span(name):
    algorithm = create(name, delta=0.6)
    run = simulate(changing(), algorithm, horizon=100_000, repetitions=20, seed=0)
    changes, span = 20_000 * np.arange(1, 5), algorithm.span(5, 100_000)
    for resets in run.resets:
        delays, false_alarms, missed = detections(resets, changes, span)
        assert (false_alarms, missed) == (0, 0)
        assert (delays <= span).all()


def test_restarts_beat_the_base_algorithm_on_changing_preferences():
    """The published instance generator: 10 segments, changes of exactly 0.6."""
    problem = piecewise_stationary(K=3, segments=10, every=30_000, p_min=0.6, delta=0.6)
    mdb = simulate(problem, create("mdb", base="rucb"), horizon=300_000, repetitions=20, seed=0)
    rucb = final(problem, create("rucb"), 300_000, 20, seed=0).mean()
    assert mdb.regret["average"][:, -1].mean() < 0.7 * rucb
    assert np.mean([len(times) for times in mdb.resets]) == pytest.approx(9, abs=0.5)
