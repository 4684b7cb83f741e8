"""Rules and constants of the smaller algorithms, one arithmetic fact or invariant each."""

import itertools
import math

import numpy as np
import pytest
from interpreted import Draws, Interpreted, total_order

from bandits.algorithms import create
from bandits.base_bandits import UCB
from bandits.preferences import stationary
from bandits.problems.orders import constant_gap, fixed_gap
from bandits.simulate import simulate


def started(name, K, T, seed=0, **settings):
    algorithm = create(name, **settings)
    draws = Draws(np.random.default_rng(seed))
    algorithm.start(K, T, draws)
    return algorithm, draws


def watched(name, after, K=5, horizon=2000, seed=0, gap=0.2, **settings):
    """Play the algorithm in Python and call after(algorithm, i, j, won) when it has learned."""
    algorithm = create(name, **settings)
    played = Interpreted(algorithm)
    learn = algorithm.observe

    def observe(i, j, won):
        learn(i, j, won)
        after(algorithm, int(i), int(j), bool(won))

    played.observe = observe
    p = stationary(total_order(K, gap))
    simulate(p, played, horizon=horizon, repetitions=1, seed=seed, shuffle=False)
    return algorithm


@pytest.mark.parametrize("name", ["btw", "btwr"])
def test_beat_the_winner_keeps_all_arms_and_its_race_length(name):
    races = []

    def after(a, i, j, won):
        assert sorted([a.incumbent, a.challenger, *a.queue]) == [0, 1, 2, 3, 4]
        assert max(a.incumbent_wins, a.challenger_wins) < a.c
        if a.incumbent_wins == a.challenger_wins == 0:
            races.append((i, j, a.incumbent, a.c))

    watched(name, after)
    before = 1
    for incumbent, _, winner, c in races:
        assert c == (1 if name == "btwr" and winner != incumbent else before + 1)
        before = c


def test_losers_wait_at_the_back_of_the_queue():
    a, _ = started("btw", 5, 10)
    first, second, waiting = a.incumbent, a.challenger, [*a.queue]
    a.observe(first, second, True)
    assert (a.incumbent, a.challenger) == (first, waiting[0])
    seen = []
    while a.challenger != second:
        seen.append(a.challenger)
        for _ in range(a.c):
            a.observe(a.incumbent, a.challenger, True)
    assert seen == waiting


def test_modified_beat_the_winner_moves_one_point_per_race():
    sums = []

    def after(a, i, j, won):
        assert a.r.min() >= 1
        sums.append(a.r.sum())

    watched("mbtw", after)
    assert set(np.diff(sums)) <= {0, 1}


def test_winner_stays_scores_sum_to_zero_and_stay_in_reach():
    def after(a, i, j, won):
        assert a.C.sum() == 0
        assert a.C.min() >= -a.round

    watched("ws-w", after)


def test_exploitation_of_winner_stays_grows_by_beta():
    runs = []

    def after(a, i, j, won):
        if i == j:
            runs[-1] += 1
        elif not runs or runs[-1]:
            runs.append(0)

    watched("ws-s", after, horizon=6000, beta=1.5)
    assert len(runs) > 5
    assert runs[:-1] == [math.floor(1.5**n) for n in range(1, len(runs))]


def test_interleaved_filter_radius():
    a, _ = started("if2", 6, 10**6)
    radius = [math.sqrt(4 * a.log_term / n) for n in (27_838, 27_839)]
    assert radius[0] > 0.05 > radius[1]


def test_savage_needs_this_many_duels_for_the_closest_pair_of_mslr5():
    a, _ = started("savage", 5, 30_000)
    assert math.ceil(a.log_term / (2 * 0.0352**2)) == 9530


def test_beat_the_mean_counts_only_working_arms():
    def after(a, i, j, won):
        assert (a.n == (a.begun * a.working).sum(1)).all()
        assert (a.w == (a.won * a.working).sum(1)).all()
        if a.left > 1:
            n = a.n[a.working]
            assert n.max() <= n.min() + 1 or a.left < 4

    a = watched("btm", after, K=4, horizon=12_000, gap=0.45, gamma=1.0)
    assert a.left < 4


def test_the_tight_radius_is_a_third_of_the_papers():
    paper, tight = (started("btm", 4, 1000, radius=radius)[0] for radius in ("paper", "tight"))
    assert paper.scale == pytest.approx(3 * 1.3**2 * math.sqrt(math.log(2 * 1000 * 4)))
    assert tight.scale == pytest.approx(paper.scale / 3)


def test_beat_the_mean_answers_a_pac_question():
    a, _ = started("btm-pac", 4, 10)
    assert a.enough == math.ceil(3600 * math.log(64 * a.enough / 0.05))
    problem, horizon = constant_gap(4, 0.3), 500_000
    run = simulate(problem, create("btm-pac"), horizon=horizon, repetitions=20, seed=0)
    assert (run.winner[:, -1] == 0).all()
    between = horizon - np.trace(run.plays, axis1=1, axis2=2)
    assert (between < 4 * (a.enough + 1)).all()
    short = simulate(problem, create("btm-pac"), horizon=1000, repetitions=5, seed=0)
    assert (short.winner[:, -1] == -1).all()


def test_merge_rucb_never_loses_an_arm_in_a_merge():
    def after(a, i, j, won):
        arms = np.concatenate([a.members[m, : a.size[m]] for m in range(a.count)])
        assert len(arms) == len(set(arms)) == a.left
        assert 0 in arms

    a = watched("merge-rucb", after, K=16, horizon=6000, gap=0.45)
    assert a.count < 4


@pytest.mark.parametrize(
    ("name", "K", "batch"),
    [("merge-rucb", 3, 2), ("merge-rucb", 7, 2), ("merge-rucb", 14, 3), ("merge-dts", 7, 2)],
)
def test_batches_of_one_arm_each_merge_whatever_the_stage(name, K, batch):
    """With sure outcomes every batch is soon down to one arm while more than K/2^stage are left."""
    algorithm = create(name, batch=batch)
    run = simulate(
        stationary(total_order(K, 0.5)), algorithm, horizon=60_000, repetitions=3, seed=0
    )
    assert (run.winner[:, -1] == 0).all()


def test_merge_rucb_keeps_the_logarithm_of_a_constant_that_overflows():
    a, _ = started("merge-rucb", 5, 1000, alpha=0.51)
    assert a.log_C == pytest.approx(50 * math.log(1.04 * 25 / (0.02 * 0.01)))
    a, _ = started("merge-rucb", 5, 1000)
    C = (3.04 * 25 / (1.02 * 0.01)) ** (1 / 1.02)
    a.t = 10**6
    assert a.budget(1.01, a.log_C) == pytest.approx(1.01 * math.log(10**6 + C))
    tiny, _ = started("merge-rucb", 5, 1000, alpha=0.5001)
    assert math.isfinite(tiny.budget(tiny.alpha, tiny.log_C))


def test_ccb_judges_all_arms_anew_in_the_duel_after_it_forgot():
    a, draws = started("ccb", 3, 1000)
    a.choose(draws)
    a.loss[1, 0] = a.loss[2, 0] = 1e9  # arm 0 surely beats both others
    a.flip[:] = a.next_flip = 0.0
    a.B[:] = [False, True, False]  # the only arm left is not a winner, so everything is forgotten
    a.choose(draws)
    assert a.B.all()
    a.choose(draws)
    assert a.B.tolist() == [True, False, False]


def test_savage_names_no_arm_before_it_knows_anything():
    a, draws = started("savage", 4, 1000)
    assert a.winner() == -1
    a.observe(*a.choose(draws), True)
    assert a.winner() == -1
    single, draws = started("savage", 1, 1000)
    assert (single.winner(), single.choose(draws)) == (0, (0, 0))


def test_double_thompson_plus_breaks_the_ties_of_a_regular_tournament_at_random():
    """Every arm beats one and loses to one in the sample, so all R are 0; any arm may be first."""
    firsts = []
    for seed in range(300):
        a, draws = started("d-ts-plus", 3, 1000, seed=seed)
        a.t = 10
        for i in range(3):
            a.W[i, (i + 1) % 3] = 10**9  # the samples are the cycle itself
        firsts.append(a.first(1e12, draws))
    assert np.bincount(firsts, minlength=3) == pytest.approx([100] * 3, abs=4 * math.sqrt(200 / 3))


def test_merge_rucb_finds_the_winner_of_many_arms():
    run = simulate(
        constant_gap(64, 0.3), create("merge-rucb"), horizon=100_000, repetitions=10, seed=0
    )
    assert (run.winner[:, -1] == 0).all()


def test_scalable_copeland_finds_the_winner_within_a_phase():
    run = simulate(constant_gap(8, 0.3), create("scb"), horizon=60_000, repetitions=10, seed=0)
    assert (run.winner[:, -1] == 0).all()


def test_multi_sbm_hands_the_right_arm_over():
    pairs = []
    watched("multi-sbm", lambda a, i, j, won: pairs.append((i, j)), horizon=300)
    assert all(j == following for (_, j), (following, _) in itertools.pairwise(pairs))


def test_doubler_draws_from_the_right_arms_of_the_epoch_before():
    pairs = []
    watched("doubler", lambda a, i, j, won: pairs.append((i, j)), horizon=1023)
    for e in range(1, 10):
        now, before = pairs[2**e - 1 : 2 ** (e + 1) - 1], pairs[2 ** (e - 1) - 1 : 2**e - 1]
        assert {i for i, _ in now} <= {j for _, j in before}


def test_ucb_prefers_the_largest_index():
    ucb = UCB()
    ucb.start(1, 3, 100, None)
    ucb.n[0], ucb.rewards[0], ucb.t[0] = [10, 20, 40], [5.0, 12.0, 22.0], 70
    index = ucb.rewards[0] / ucb.n[0] + np.sqrt(5 * math.log(71) / (2 * ucb.n[0]))
    assert ucb.propose(0, None) == index.argmax()


def test_self_sparring_ignores_an_arm_against_itself():
    a, _ = started("self-sparring", 3, 10)
    a.observe(1, 1, True)
    assert a.S.sum() == a.F.sum() == 0
    a.observe(1, 2, False)
    assert (a.S[2], a.F[1]) == (1, 1)


def test_dueling_exp3_estimates_the_shifted_borda_score_without_bias():
    p = total_order(4, 0.3)
    a, _ = started("d-exp3", 4, 10**9)
    a.q[:] = q = np.array([0.4, 0.3, 0.2, 0.1])
    exact = sum(
        q[i] * q[j] * p[i, j] * np.eye(4)[i] / (4 * q[i] * q[j]) for i in range(4) for j in range(4)
    )
    assert exact == pytest.approx(p.sum(1) / 4)
    a.observe(1, 2, True)
    assert pytest.approx([0, 1 / (4 * 0.3 * 0.2), 0, 0]) == a.S
    assert a.eta == pytest.approx((math.log(4) / (10**9 * 2)) ** (2 / 3))
    assert a.gamma == pytest.approx(math.sqrt(a.eta * 4))


def test_borda_confidence_commits_to_the_borda_winner_of_a_wide_gap():
    run = simulate(fixed_gap(5, 0.5), create("bcb"), horizon=20_000, repetitions=20, seed=0)
    assert (run.winner[:, -1] == 0).all()
    assert (run.plays[:, 0, 0] > 10_000).all()


@pytest.mark.parametrize("reduced", [True, False])
def test_versatile_weights_solve_their_equation(reduced):
    def after(a, i, j, won):
        assert a.w.sum(1) == pytest.approx([1, 1], abs=1e-9)

    a = watched("versatile-db", after, horizon=500, reduced_variance=reduced)
    a.solve(0)
    assert a.w[0] == pytest.approx(4 / (a.eta * (a.L[0] - a.x[0])) ** 2)


def test_reduced_variance_loss_is_unbiased():
    a, _ = started("versatile-db", 3, 100)
    a.eta, a.w[0] = 0.3, [0.6, 0.35, 0.05]  # 1/2 is the baseline where w >= eta^2 = 0.09
    mean = np.zeros(3)
    for arm, loss in enumerate([0.2, 0.7, 1.0]):
        a.L[0] = 0
        a.charge(0, arm, loss)
        mean += a.w[0, arm] * a.L[0]
    assert mean == pytest.approx([0.2, 0.7, 1.0])


def test_rex3_moves_two_weights_in_opposite_directions():
    a, _ = started("rex3", 4, 1000)
    assert a.gamma == pytest.approx(math.sqrt(4 * math.log(4) / (math.e * 500)))
    a.observe(0, 3, True)
    step = a.gamma / 4 * 0.5 / (2 * 0.25)
    assert a.log_w == pytest.approx([step, 0, 0, -step])
    assert a.q.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "name",
    ["sparring", "multi-sbm", "self-sparring", "versatile-db", "d-exp3", "rex3", "doubler", "scb"],
)
def test_learns_in_a_linear_order(name):
    """Far below the 0.2 regret per duel of uniform play on 5 arms with gap 0.25."""
    p = stationary(total_order(5, 0.25))
    run = simulate(p, create(name), horizon=100_000, repetitions=10, seed=0)
    assert run.regret["average"][:, -1].mean() < 0.5 * 0.2 * 100_000


@pytest.mark.parametrize("name", ["rmed1", "rmed2fh", "ecw-rmed"])
def test_a_duel_it_did_not_choose_only_adds_to_the_counts_of_rmed(name):
    """As when mdb shows it a monitoring duel."""
    a, draws = started(name, 4, 1000)
    for _ in range(60):
        i, j = a.choose(draws)
        a.observe(i, j, i <= j)
    sets = (a.LC.copy(), a.LR.copy(), a.LN.copy())
    duels = a.N.sum()
    a.observe(3, 1, False)
    assert all((was == now).all() for was, now in zip(sets, (a.LC, a.LR, a.LN), strict=True))
    assert a.N.sum() == duels + 2
