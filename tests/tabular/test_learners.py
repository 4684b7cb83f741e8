"""Tabular learners: gradients, aggregation, and what exact labels teach them."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from envs.tabular import grids, solvers, starc
from pbrl.errors import CellError
from pbrl.tabular import advantage, logistic, measures, walks
from pbrl.tabular.advantage import AdvantageAsReward, GreedyAdvantage
from pbrl.tabular.learner import Learned, violation
from pbrl.tabular.partial_return import PartialReturn
from pbrl.tabular.regret import Regret, _Model, bank
from pbrl.tabular.walks import Pairs

DELIVERY = grids.delivery()
SCALE = solvers.Scale(DELIVERY)
SMALL = grids.from_board(grids.board("...\n.S.\n.cG"), np.array([-1, 9, -7, 1, -1, -2.0]), 0.95)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def taught(world, n, how, *, beta, seed=0, absorbing=True, gamma=1.0) -> Pairs:
    """Pairs labeled by partial return or regret; with `beta` infinite odds are the labels."""
    first, second = walks.draw(world, n, 3, rng(seed), absorbing=absorbing)
    scale = solvers.Scale(world)
    table = scale.action_values - scale.values[:, None]

    def score(side: walks.Walks) -> np.ndarray:
        if how == "return":
            return side.features(world) @ world.weights
        return logistic.counts(world, side, gamma) @ table.ravel()

    gain = score(second) - score(first)
    if beta is None:
        labels = 0.5 + 0.5 * np.sign(np.round(gain, 2))
    elif beta == np.inf:
        labels = expit(gain)
    else:
        labels = (rng(seed + 1).random(n) < expit(beta * gain)).astype(float)
    return Pairs(first, second, labels)


# --- logistic regression ------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_duplicates_aggregated_with_weights_are_the_same_problem(seed: int) -> None:
    g = rng(seed)
    rows = g.integers(-1, 2, (200, 3))
    labels = g.choice([0, 0.5, 1], 200)
    index, mean, often = logistic.aggregated(rows, labels)
    assert often.sum() == 200
    assert len(index) == len(np.unique(rows, axis=0))
    whole = logistic.fit(rows.astype(float), labels, np.ones(200), l2=0.1)
    short = logistic.fit(rows[index].astype(float), mean, often, l2=0.1)
    np.testing.assert_allclose(whole, short, atol=1e-4)


def test_a_later_step_counts_less_by_the_discount_and_none_after_an_end() -> None:
    side, _ = walks.draw(SMALL, 200, 4, rng())
    sums = np.asarray(logistic.counts(SMALL, side, 0.5).sum(1)).ravel()
    np.testing.assert_allclose(sums, (side.mask * 0.5 ** np.arange(4)).sum(1))
    whole = side.actions + 4 * side.states[:, :-1]
    first = logistic.counts(SMALL, side, 0.0).toarray()
    np.testing.assert_array_equal(first.argmax(1), whole[:, 0])


@pytest.mark.parametrize("l2", [0.5, 20.0])
def test_the_prior_has_the_precision_it_is_given(l2: float) -> None:
    """The loss of `fit`, written out, is least where it ends: no direction is downhill."""
    design, labels, weight = rng().normal(size=(40, 3)), rng(1).random(40), rng(2).random(40)

    def loss(x: np.ndarray) -> float:
        return weight @ logistic.cross_entropy(design @ x, labels) + l2 / 2 * x @ x

    found = logistic.fit(design, labels, weight, l2=l2)
    sides = [found + step * way for step in (-1e-3, 1e-3) for way in np.eye(3)]
    assert loss(found) <= min(map(loss, sides))


def test_the_fit_is_where_the_gradient_vanishes() -> None:
    g = rng()
    x, y = g.normal(size=(300, 4)), (g.random(300) < 0.4).astype(float)
    w = logistic.fit(x, y, np.ones(300), l2=0.3)
    assert np.abs(x.T @ (expit(x @ w) - y) + 0.3 * w).max() < 1e-3


def test_separable_labels_have_a_finite_fit() -> None:
    x = np.array([[1.0], [2.0], [-1.0]])
    w = logistic.fit(x, np.array([1.0, 1.0, 0.0]), np.ones(3), l2=1e-4)
    assert 5 < w[0] < 20


# --- the regret learner -------------------------------------------------------------------------


def test_a_bank_may_hold_the_best_policy_of_the_true_reward() -> None:
    psi = bank(DELIVERY.without_reward(), 100, rng(4), grids.DELIVERY_WEIGHTS)
    values = (psi @ DELIVERY.weights).max(0)
    assert np.abs(values - SCALE.values).max() <= 1e-10
    assert len({p.round(6).tobytes() for p in psi}) == len(psi) > 50


def test_no_bank_is_better_than_the_best() -> None:
    world = grids.random_mdp("stochastic").sample(rng(1))
    psi = bank(world.without_reward(), 30, rng())
    best = solvers.optimal(world, world.expected_rewards)[0]
    assert (psi @ world.weights).max() <= best.max() + 1e-9
    assert ((psi @ world.weights).max(0) <= best + 1e-9).all()


def test_refining_brings_the_loss_closer_to_that_of_the_truth() -> None:
    hidden = SMALL.without_reward()
    pairs = taught(SMALL, 5000, "regret", beta=np.inf, gamma=0.95)
    above = []
    for refine in (0, 4):
        learner = Regret(bank=10, refine=refine, steps=300)
        learner.prepare(hidden, rng())
        score = learner.learn(hidden, pairs, rng()).score
        margins = score(pairs.second) - score(pairs.first)
        above.append(logistic.cross_entropy(margins, pairs.labels).mean())
    odds = np.log(pairs.labels) - np.log1p(-pairs.labels)
    floor = logistic.cross_entropy(odds, pairs.labels).mean()
    assert floor <= above[1] + 1e-9
    assert above[1] - floor < 0.3 * (above[0] - floor)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_the_gradient_of_advantages_is_that_of_finite_differences(seed: int) -> None:
    world = grids.random_mdp().sample(rng(seed)).without_reward()
    model = _Model(world, bank(world, 10, rng(seed)), temperature=0.5)
    w, force = rng(seed).normal(size=6), rng(seed + 1).normal(size=(world.states, 4))
    _, gradient = model.advantages(w)
    found = model.pulled(force, gradient)
    for i, step in enumerate(1e-5 * np.eye(6)):
        change = (force * (model.advantages(w + step)[0] - model.advantages(w - step)[0])).sum()
        assert found[i] == pytest.approx(change / 2e-5, rel=1e-4, abs=1e-4)


def test_regret_labels_teach_the_regret_learner_from_few_labels() -> None:
    hidden = DELIVERY.without_reward()
    learner = Regret()
    learner.prepare(hidden, rng())
    for seed in range(2):
        pairs = taught(DELIVERY, 300, "regret", beta=1.0, seed=seed)
        assert SCALE(learner.learn(hidden, pairs, rng(seed)).policy) > 0.9


def test_what_a_learner_believes_of_the_world_is_its_own() -> None:
    hidden = SMALL.without_reward()
    learners = [
        Regret(bank=20, refine=3, steps=300, **own) for own in ({}, {"slip": 0.3}, {"gamma": 0.5})
    ]
    for learner in learners:
        learner.prepare(hidden, rng())
    pairs = taught(SMALL, 2000, "regret", beta=np.inf, gamma=0.95)
    rewards = [learner.learn(hidden, pairs, rng()).reward for learner in learners]
    away = [starc.distance(SMALL, SMALL.rewards, reward) for reward in rewards]
    assert away[0] < 0.05 < min(away[1:])


def test_a_learner_that_was_not_prepared_says_so() -> None:
    with pytest.raises(CellError, match="prepare"):
        Regret().learn(SMALL.without_reward(), taught(SMALL, 3, "return", beta=None), rng())


# --- the others ---------------------------------------------------------------------------------


def test_return_labels_teach_the_partial_return_learner_the_reward() -> None:
    pairs = taught(SMALL, 20_000, "return", beta=np.inf)
    learned = PartialReturn().learn(SMALL.without_reward(), pairs, rng())
    assert starc.distance(SMALL, SMALL.rewards, learned.reward) < 1e-3
    assert solvers.Scale(SMALL)(learned.policy) == pytest.approx(1)


def test_regret_labels_teach_the_advantage_up_to_what_they_cannot_tell() -> None:
    """With absorbing steps g is A*; without, g is A* plus a constant."""
    table = solvers.Scale(SMALL)
    truth = (table.action_values - table.values[:, None])[~SMALL.terminal]
    for absorbing, tolerance in ((True, 0.05), (False, np.inf)):
        pairs = taught(SMALL, 30_000, "regret", beta=np.inf, absorbing=absorbing)
        found = advantage.advantage(SMALL.without_reward(), pairs, 1e-6)[~SMALL.terminal]
        shift = (found - truth).mean()
        assert abs(shift) <= tolerance
        np.testing.assert_allclose(found - shift, truth, atol=0.1)


def test_greedy_advantage_does_not_see_a_shift_that_misleads_advantage_as_reward() -> None:
    pairs = taught(SMALL, 30_000, "regret", beta=np.inf)
    hidden, scale = SMALL.without_reward(), solvers.Scale(SMALL)
    found = advantage.advantage(hidden, pairs, 1e-6)
    # As pairs of whole walks would allow: every advantage too high by 3, so that never ending pays.
    greedy = scale(solvers.greedy(found + 3))
    planned = scale(solvers.greedy(solvers.optimal(hidden, found + 3)[1]))
    assert greedy == pytest.approx(1)
    assert planned < 0
    for learner in (GreedyAdvantage(), AdvantageAsReward()):
        learned = learner.learn(hidden, pairs, rng())
        assert scale(learned.policy) == pytest.approx(1)
        assert abs(learned.measures["max_advantage"]) < 0.1


def test_the_best_loop_is_found_among_steps_and_bumps() -> None:
    to = SMALL.transitions.argmax(-1)
    g = rng().normal(size=(SMALL.states, 4))
    loops = []
    for s in np.flatnonzero(~SMALL.terminal):
        for a in range(4):
            if to[s, a] == s:
                loops.append(g[s, a])
            back = [b for b in range(4) if to[to[s, a], b] == s and to[s, a] != s]
            loops += [g[s, a] + g[to[s, a], b] for b in back if not SMALL.terminal[to[s, a]]]
    assert advantage.best_loop(SMALL, g) == pytest.approx(max(loops))


# --- measures -----------------------------------------------------------------------------------


def exact(world=SMALL) -> Learned:
    policy = solvers.greedy(solvers.Scale(world).action_values)
    return Learned(policy, lambda side: side.features(world) @ world.weights, world.rewards)


def test_who_knows_the_truth_has_the_best_of_all_measures() -> None:
    first, second = walks.draw(SMALL, 2000, 3, rng())
    score = exact().score
    chance = expit(score(second) - score(first))
    found = measures.of_policy(solvers.Scale(SMALL), exact())
    found |= measures.of_model(exact(), first, second, chance)
    assert found["scaled_return"] == pytest.approx(1)
    assert found["near_optimal"] == 1
    assert found["starc"] < 1e-9
    assert found["accuracy"] == 1
    assert found["cross_entropy"] == pytest.approx(found["entropy"])
    assert found["calibration"] < 1e-12


def test_who_knows_nothing_is_half_right() -> None:
    first, second = walks.draw(SMALL, 2000, 3, rng())
    blank = Learned(solvers.uniform(SMALL), lambda side: np.zeros(len(side)))
    found = measures.of_model(blank, first, second, rng().random(2000).round())
    assert found["accuracy"] == 0.5
    assert found["cross_entropy"] == pytest.approx(np.log(2))
    assert found["entropy"] == pytest.approx(0)
    assert measures.of_policy(solvers.Scale(SMALL), blank)["starc"] is None


def test_odds_that_are_right_on_average_are_calibrated() -> None:
    """In a bin, what is too high makes up for what is too low; a shift does not."""
    side, _ = walks.draw(SMALL, 40, 2, rng())
    unsure = Learned(solvers.uniform(SMALL), lambda w: np.zeros(len(w)))
    chance = np.tile([0.2, 0.8], 20)
    assert measures.of_model(unsure, side, side, chance)["calibration"] == pytest.approx(0)
    found = measures.of_model(unsure, side, side, chance + 0.1)["calibration"]
    assert found == pytest.approx(0.1)


def test_cross_validation_predicts_labels_it_did_not_learn_from() -> None:
    pairs = taught(SMALL, 600, "return", beta=1.0)
    seen = PartialReturn().learn(SMALL, pairs, rng())
    margins = seen.score(pairs.second) - seen.score(pairs.first)
    training = logistic.cross_entropy(margins, pairs.labels).mean()
    folded = measures.folded(PartialReturn(), SMALL.without_reward(), pairs, 10, rng())
    assert training < folded < training + 0.1


@pytest.mark.parametrize(
    "score", [lambda w: np.zeros((len(w), 1)), lambda w: np.full(len(w), np.nan)]
)
def test_scores_that_are_no_number_a_walk_are_told(score) -> None:
    pairs = taught(SMALL, 20, "return", beta=1.0)
    learned = Learned(solvers.uniform(SMALL), score)
    with pytest.raises(CellError, match=r"score returned .* for 20 walks; expected numbers \[N\]"):
        measures.of_model(learned, pairs.first, pairs.second, np.full(20, 0.5))


def test_a_learner_cannot_change_the_world_it_is_measured_in() -> None:
    hidden = SMALL.without_reward()
    for table in (hidden.transitions, hidden.features, hidden.start, hidden.terminal):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 0


@pytest.mark.parametrize(
    ("learned", "message"),
    [
        (3, "learn returned a int"),
        (Learned(np.ones((2, 2)), len), r"policy of shape \[2, 2\]; expected \[S, A\]"),
        (Learned(np.ones((SMALL.states, 4)), len), "no probability"),
        (Learned(solvers.uniform(SMALL), len, np.ones(3)), r"reward of shape \[3\]"),
        (Learned(solvers.uniform(SMALL), len, np.full((SMALL.states, 4), np.nan)), "not finite"),
        (
            Learned(solvers.uniform(SMALL), len, measures={"scaled_return": 1.0}),
            "measures named scaled_return",
        ),
    ],
)
def test_what_is_no_result_is_told(learned, message: str) -> None:
    assert re.search(message, violation(learned, SMALL) or "")
    assert violation(exact(), SMALL) is None
