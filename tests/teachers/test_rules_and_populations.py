"""Rules over whole segments, functions of the user's, and crowds of annotators."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from pbrl import registry
from pbrl.errors import CellError, ConfigError
from pbrl.segments import Segments
from pbrl.teachers.population import Majority, Population, rock_paper_scissors
from pbrl.teachers.returns import PartialReturn
from pbrl.teachers.rules import Angle, Goal, LastQuarter, Scored

ALPHA = 1e-6


def segments(rewards, places=None, mask=None) -> Segments:
    """Segments with these rewards [N, T], each at its place [N, 2] all the time."""
    reward = torch.as_tensor(np.asarray(rewards, dtype=np.float64))
    n, t = reward.shape
    obs = torch.zeros(n, t, 2, dtype=torch.float64)
    if places is not None:
        obs += torch.as_tensor(np.asarray(places, dtype=np.float64))[:, None]
    mask = torch.ones(n, t, dtype=torch.bool) if mask is None else torch.as_tensor(mask)
    return Segments(obs, torch.zeros(n, t, 1), obs, torch.zeros_like(mask), mask, reward)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def at_angles(turns) -> Segments:
    turns = 2 * np.pi * np.asarray(turns)
    return segments(np.zeros((len(turns), 4)), np.stack([np.cos(turns), np.sin(turns)], 1))


# --- rules --------------------------------------------------------------------------------------


def test_the_last_quarter_may_earn_so_much_and_no_more() -> None:
    teacher = LastQuarter(bound=0.5)
    rows = segments(
        [
            [0.1, 0.2, 0.3, 0, 0, 0, 0.5, 0.5],  # holds back: worth 0.6
            [0.1, 0.1, 0, 0, 0, 0, 0, 0],  # worth 0.2
            [1, 1, 1, 1, 1, 1, 0.5, 0.7],  # 0.1 over the bound
            [1, 1, 1, 1, 1, 1, 1, 1],  # 0.5 over it
        ]
    )
    order = [0, 1, 2, 3]
    for i in order:
        for j in order:
            label = teacher.label(rows[[i]], rows[[j]], rng())
            assert label == (0.5 if i == j else float(j < i))
    short = segments([[1.0, 1, 1, 0.2, 9, 9, 9, 9]], mask=[[True] * 4 + [False] * 4])
    assert teacher.score(short) == pytest.approx(3.0)  # of four steps that exist


def test_the_last_quarter_is_no_sum_over_steps() -> None:
    """Moving a reward in time changes the preference, whatever each step is worth by itself."""
    early, late = segments([[1.0, 0, 0, 0]]), segments([[0, 0, 0, 1.0]])
    assert LastQuarter().label(late, early, rng()) == 1


def test_a_goal_is_to_be_near() -> None:
    near, far = segments(np.zeros((1, 3)), [[1, 0]]), segments(np.zeros((1, 3)), [[0, 2]])
    assert Goal(goal=[1.0, 1.0]).score(far) == pytest.approx(-(2**0.5))
    assert Goal(goal=[1.0, 1.0]).label(far, near, rng()) == 1
    with pytest.raises(CellError, match=r"goal = .*an observation has 2 numbers"):
        Goal(goal=[0.0] * 3).score(near)


def test_any_python_function_can_be_a_teacher(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def per_step(s):\n    return s.obs[..., 0]\n"
        "def score(s):\n    return -s.obs[:, 0, 1]\n"
        "def wrong(s):\n    return s.obs\n"
        "def crash(s):\n    return 1 / 0\n"
    )
    a, b = (
        segments(np.zeros((2, 3)), [[0, 1], [5, 0]]),
        segments(np.zeros((2, 3)), [[1, 0], [1, 1]]),
    )
    assert Scored(file=file).label(a, b, rng()).tolist() == [1, 0]
    assert Scored(file=file, function="per_step").score(b).tolist() == [3, 3]
    with pytest.raises(CellError, match=r"wrong of mine.py returned shape \[2, 3, 2\]"):
        Scored(file=file, function="wrong").score(a)
    with pytest.raises(ConfigError, match="no function 'scores'"):
        Scored(file=file, function="scores").score(a)
    with pytest.raises(ZeroDivisionError):
        Scored(file=file, function="crash").score(a)


# --- populations --------------------------------------------------------------------------------


def test_annotators_answer_by_their_shares_and_only_the_record_says_who() -> None:
    n = 20_000
    first, second = segments(np.zeros((n, 3))), segments(np.full((n, 3), 0.1))
    annotators = ["oracle", {"name": "mistake", "eps": 1.0}, {"name": "stochastic", "beta": 2.0}]
    shares = [0.5, 0.3, 0.2]
    population = Population(annotators, shares)
    found = population.answer(first, second, rng(3))
    for k, share in enumerate(shares):
        bounds = stats.binom.ppf([ALPHA / 2, 1 - ALPHA / 2], n, share)
        assert bounds[0] <= (found.annotator == k).sum() <= bounds[1]
    assert (found.labels[found.annotator == 0] == 1).all()
    assert (found.labels[found.annotator == 1] == 0).all()
    p = stats.logistic.cdf(2.0 * 0.3)
    np.testing.assert_allclose(found.probability, np.array([1, 0, p])[found.annotator])
    np.testing.assert_allclose(population.probability(first, second), 0.5 + 0.2 * p)
    np.testing.assert_array_equal(population.label(first, second, rng(3)), found.labels)


def test_one_annotators_noise_does_not_move_anothers_draws() -> None:
    g = rng(1)
    first, second = (segments(g.random((5000, 3))) for _ in range(2))
    noisy = {"name": "partial-return", "beta": 1.0}
    plain = Population(["oracle", noisy]).answer(first, second, rng(4))
    other = Population([{"name": "mistake", "eps": 0.5}, noisy]).answer(first, second, rng(4))
    np.testing.assert_array_equal(plain.annotator, other.annotator)
    theirs = plain.annotator == 1
    np.testing.assert_array_equal(plain.labels[theirs], other.labels[theirs])
    assert (plain.labels != other.labels).any()


def test_annotators_with_rewards_of_their_own() -> None:
    lazy = {"name": "partial-return", "effort": 10.0}
    first, second = segments(np.zeros((400, 3))), segments(np.ones((400, 3)))
    second.act[:] = 1.0
    found = Population([lazy, "oracle"], [0.3, 0.7]).answer(first, second, rng())
    np.testing.assert_array_equal(found.labels, found.annotator)


def test_the_majority_of_three_rankings_goes_round_in_circles() -> None:
    places = at_angles([0.01, 1 / 3 + 0.01, 2 / 3 + 0.01])
    teacher = rock_paper_scissors()
    for i in range(3):
        assert teacher.label(places[[i]], places[[(i + 1) % 3]], rng()) == 0
        assert teacher.label(places[[(i + 1) % 3]], places[[i]], rng()) == 1
    for turn in (0.0, 1 / 3, 2 / 3):  # each of them ranks
        scores = Angle(turn=turn).score(places)
        assert len(set(scores)) == 3


def test_a_majority_counts_shares_and_may_be_noisy() -> None:
    first, second = segments(np.zeros((1, 3))), segments(np.ones((1, 3)))
    against = {"name": "mistake", "eps": 1.0}
    assert (
        Majority(annotators=["oracle", against], shares=[0.4, 0.6]).label(first, second, rng()) == 0
    )
    assert Majority(annotators=["oracle", against]).label(first, second, rng()) == 0.5
    p = Majority(annotators=["oracle", against], shares=[0.7, 0.3], beta=2.0)
    assert p.probability(first, second)[0] == pytest.approx(stats.logistic.cdf(2.0 * 0.4))


def test_who_answers_less_counts_less_in_the_odds_of_a_population() -> None:
    """P(second | answered) weighs annotators by how likely they answer; labels come as often."""
    n = 20_000
    first, second = segments(np.zeros((n, 3))), segments(np.ones((n, 3)))
    first, second = (
        replace(side, stage=torch.full((n, 3), at)) for side, at in ((first, 0.1), (second, 0.9))
    )
    shy = {"name": "partial-return", "stage_skip": 0.75}  # refuses 0.6 of these
    wrong = {"name": "partial-return", "eps_mistake": 1.0}
    population = Population([shy, wrong], [0.5, 0.5])
    assert population.willing(first, second)[0] == pytest.approx(0.7)
    p = population.probability(first, second)
    assert p[0] == pytest.approx(0.2 / 0.7)
    labels = population.label(first, second, rng())
    answered = labels[~np.isnan(labels)]
    assert stats.binomtest(int(answered.sum()), len(answered), 0.2 / 0.7).pvalue > ALPHA


def test_an_angle_needs_a_plane() -> None:
    teacher, line = registry.make("teacher", "angle"), segments([[0.0]])
    line = replace(line, next_obs=line.next_obs[..., :1])
    with pytest.raises(ConfigError, match="a place in the plane, but an observation has 1 number"):
        teacher.label(line, line, np.random.default_rng(0))


@pytest.mark.parametrize("shares", [[0.5, 0.4], [1.0], [0.5, 0.6]])
def test_shares_that_are_no_distribution_are_refused(shares) -> None:
    with pytest.raises(ConfigError, match="which sum to 1"):
        Population(["oracle", "myopic"], shares)


def test_what_a_run_tells_reaches_every_annotator() -> None:
    nested = {"name": "population", "annotators": ["skip", "regret"]}
    population = registry.make("teacher", {"name": "population", "annotators": [nested, "equal"]})
    population.bind(horizon=10, reward_range=(0.0, 1.0))
    population.observe_episode(7.0)
    restored = registry.make("teacher", {"name": "population", "annotators": [nested, "equal"]})
    restored.bind(horizon=10, reward_range=(0.0, 1.0))
    restored.load_state_dict(population.state_dict())
    for crowd in (population, restored):
        inner = crowd._crowd.members[0]._crowd.members[0]
        assert inner._recent.threshold(0.1, 5) == pytest.approx(0.1 * 5 * 0.7)


def test_partial_return_is_a_population_of_one() -> None:
    g = rng(5)
    first, second = (segments(g.random((100, 3))) for _ in range(2))
    alone = Population(["partial-return"]).probability(first, second)
    np.testing.assert_array_equal(alone, PartialReturn().probability(first, second))
