"""Simulated teachers against closed forms: golden values, frequencies, order of operations."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from pbrl import registry
from pbrl.errors import CellError, ConfigError, EnvironmentFault
from pbrl.segments import GroundTruthError, Segments
from pbrl.teachers.bpref import composed, equal, mistake, myopic, oracle, skip, stochastic
from pbrl.teachers.comparison import softened
from pbrl.teachers.returns import PartialReturn, imitation, noisy_returns, range_noise, rime

PAIRS = 100_000
ALPHA = 1e-6


def segments(rewards, mask=None) -> Segments:
    reward = torch.as_tensor(np.asarray(rewards, dtype=np.float64))
    n, t = reward.shape
    mask = torch.ones(n, t, dtype=torch.bool) if mask is None else torch.as_tensor(mask)
    obs = torch.zeros(n, t, 1)
    return Segments(obs, obs, obs, torch.zeros(n, t, dtype=torch.bool), mask, reward)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def told(teacher: PartialReturn, *returns: float, horizon=1000, reward_range=(0.0, 1.0)):
    teacher.bind(horizon=horizon, reward_range=reward_range)
    for value in returns:
        teacher.observe_episode(value)
    return teacher


def random_pairs(n: int, seed: int = 0, length: int = 50) -> tuple[Segments, Segments]:
    """Pairs whose returns differ by a little to a lot; levels from 0 to the maximum."""
    g = rng(seed)
    level = g.uniform(0, 1, (n, 1))
    return tuple(
        segments(np.clip(level + 0.05 * g.normal(size=(n, 1)), 0, 1) * g.random((n, length)))
        for _ in range(2)
    )


EARLY, LATE = segments([[1.0, 0, 0]]), segments([[0, 0, 0.95]])


# --- golden values: r1 = (1, 0, 0), r2 = (0, 0, 0.95) -------------------------------------------


def test_the_oracle_prefers_the_larger_sum_and_the_myopic_teacher_the_later_reward() -> None:
    assert oracle().label(EARLY, LATE, rng()) == 0
    assert oracle().label(LATE, EARLY, rng()) == 1
    assert myopic(0.9).label(EARLY, LATE, rng()) == 1  # 0.81 < 0.95
    assert oracle().label(EARLY, EARLY, rng()) == 0  # a draw goes to the first


@pytest.mark.parametrize(("beta", "expected"), [(1.0, 0.4875), (10.0, 0.3775)])
def test_the_stochastic_choice_is_logistic_in_the_raw_difference(beta, expected) -> None:
    p = stochastic(beta).probability(EARLY, LATE)[0]
    assert p == pytest.approx(1 / (1 + math.exp(beta * 0.05)), abs=1e-12)
    assert p == pytest.approx(expected, abs=5e-5)


def padded(segment: Segments, length: int = 50) -> Segments:
    """The golden segment inside one of 50 steps: zeros in front, so that H = 50."""
    return segments(np.pad(segment.ground_truth.numpy(), ((0, 0), (length - 3, 0))))


def test_the_adaptive_threshold_has_the_golden_values() -> None:
    first, second = padded(EARLY), padded(LATE)  # H = 50, T = 1000
    assert told(equal(0.1), 100.0).label(first, second, rng()) == 0.5  # 0.05 < delta = 0.5
    assert told(skip(0.1), 100.0).label(first, second, rng()) == 0  # max 1 > 0.5
    assert np.isnan(told(skip(0.1), 250.0).label(first, second, rng()))  # 1 <= delta = 1.25
    apart = segments([[0.0] * 49 + [0.5]]), segments([[0.0] * 49 + [1.0]])
    assert told(equal(0.1), 100.0).label(*apart, rng()) == 1  # a difference of delta is no tie
    assert np.isnan(told(skip(0.1), 200.0).label(first, second, rng()))  # max = delta is skipped


def test_the_threshold_follows_the_last_ten_episodes() -> None:
    first, second = padded(EARLY), padded(LATE)
    assert np.isnan(told(skip(0.1), 1e6, *[100.0] * 9).label(first, second, rng()))
    assert told(skip(0.1), 1e6, *[100.0] * 10).label(first, second, rng()) == 0
    assert np.isnan(told(skip(0.1), 1e6, *[300.0] * 10).label(first, second, rng()))


def test_legacy_squares_eps_from_the_second_session_and_starts_with_a_zero() -> None:
    first, second = segments([[0.4] + [0.0] * 49]), segments([[0.2] + [0.0] * 49])
    teacher = told(equal(0.1, legacy_squared_eps=True), 200.0)  # with the zero: average 100
    assert teacher.label(first, second, rng()) == 0.5  # 0.2 < 0.5
    assert teacher.label(first, second, rng()) == 0  # 0.2 > 0.05
    sound = told(equal(0.1), 200.0)
    assert [float(sound.label(first, second, rng())[0]) for _ in range(3)] == [0.5] * 3
    for _ in range(9):
        teacher.observe_episode(20_000.0)
    assert teacher.label(first, second, rng()) == 0.5  # ten real episodes: the zero is gone


# --- order of operations ------------------------------------------------------------------------


def test_certain_mistakes_invert_every_label_except_ties() -> None:
    first, second = random_pairs(2000)
    plain = told(composed(eps_equal=0.1), 300.0).label(first, second, rng())
    wrong = told(composed(eps_equal=0.1, eps_mistake=1.0), 300.0).label(first, second, rng())
    assert 0 < (plain == 0.5).mean() < 1
    np.testing.assert_array_equal(wrong, 1 - plain)


def test_skip_wins_over_tie_and_both_use_undiscounted_sums() -> None:
    first, second = random_pairs(5000)
    sums = [side.ground_truth.sum(1).numpy() for side in (first, second)]
    delta = 0.1 * 50 / 1000 * 3000
    skipped = np.maximum(*sums) <= delta
    tied = np.abs(sums[0] - sums[1]) < 0.1 * delta
    teacher = told(composed(gamma=0.5, eps_skip=0.1, eps_equal=0.01, eps_mistake=0.3), 3000.0)
    labels = teacher.label(first, second, rng())
    assert (skipped & tied).any()
    assert (skipped & ~tied).any()
    assert (~skipped & tied).any()
    np.testing.assert_array_equal(np.isnan(labels), skipped)
    np.testing.assert_array_equal(labels == 0.5, tied & ~skipped)


def test_a_myopic_sum_ends_at_the_last_step_that_exists() -> None:
    mask = [[True, True, True, False, False]]
    first = segments([[1.0, 0, 0, 0, 0]], mask)
    second = segments([[0, 0, 0.95, 0, 0]], mask)
    assert myopic(0.9).label(first, second, rng()) == 1
    p = composed(gamma=0.9, beta=1.0).probability(first, second)
    assert p[0] == pytest.approx(1 / (1 + math.exp(0.81 - 0.95)), abs=1e-12)


def test_everything_skipped_is_a_valid_session() -> None:
    first, second = random_pairs(7)
    labels = told(skip(1.0), 1000.0).label(first, second, rng())
    assert labels.shape == (7,)
    assert np.isnan(labels).all()


def test_skip_is_off_while_every_episode_earned_nothing() -> None:
    zero = segments(np.zeros((3, 50)))
    assert not np.isnan(told(skip(0.1), 0.0, 0.0).label(zero, zero, rng())).any()


# --- frequencies --------------------------------------------------------------------------------

RETURN = 400.0
KINDS = {
    "oracle": partial(oracle),
    "beta=1": partial(stochastic, 1.0),
    "beta=0.2": partial(stochastic, 0.2),
    "myopic": partial(myopic, 0.9),
    "mistake": partial(mistake, 0.1),
    "skip": partial(skip, 0.4),
    "equal": partial(equal, 0.1),
    "rime": partial(rime, 0.3),
    "imitation": partial(imitation, 5.0, 0.95),
    "imitation without noise": partial(imitation, 0.0),
    "noisy returns": partial(noisy_returns, 0.1),
    "uniform answers": partial(PartialReturn, beta=0.3, eps_uniform=0.4),
    "all": partial(composed, 0.95, 0.3, eps_mistake=0.2, eps_skip=0.2, eps_equal=0.05),
}


def closed_form(teacher: PartialReturn, first: Segments, second: Segments):
    """P(skip), P(tie), P(second | answered, no tie) of each pair, computed on its own."""
    r1, r2 = (side.ground_truth.numpy() for side in (first, second))
    weights = teacher.recall ** np.arange(49, -1, -1) * teacher.gamma ** np.arange(50)
    gain = (r2 * weights).sum(1) - (r1 * weights).sum(1)
    if teacher.score_noise:
        sizes = ((r1 * weights).sum(1) ** 2 + (r2 * weights).sum(1) ** 2) ** 0.5
        p = stats.norm.cdf(gain / np.maximum(teacher.score_noise * sizes, 1e-300))
    elif teacher.beta is None:
        p = (gain > 0).astype(float)
    else:
        p = stats.logistic.cdf(teacher.beta * gain)
    p = (1 - teacher.eps_uniform) * p + teacher.eps_uniform / 2
    p = p + teacher.eps_mistake * (1 - 2 * p)
    margin = RETURN * 50 / 1000
    skipped = np.maximum(r1.sum(1), r2.sum(1)) <= teacher.eps_skip * margin
    tied = np.abs(r1.sum(1) - r2.sum(1)) < teacher.eps_equal * margin
    tied |= (gain == 0) & (teacher.on_draws == "tie")
    return skipped & (teacher.eps_skip > 0), tied, p


@pytest.mark.parametrize("name", KINDS)
def test_label_frequencies_match_the_closed_form(name: str) -> None:
    """1e5 pairs, by decile of the probability: exact binomial bounds at alpha = 1e-6.

    Within a bin the count is a sum of independent Bernoulli draws of different p, whose tails are
    lighter than the binomial's of the mean p (Hoeffding 1956), so the bound is valid.
    """
    first, second = random_pairs(PAIRS, seed=11)
    teacher = told(KINDS[name](), RETURN)
    labels = teacher.label(first, second, rng(12))
    skipped, tied, p = closed_form(teacher, first, second)
    np.testing.assert_array_equal(np.isnan(labels), skipped)
    np.testing.assert_array_equal(labels == 0.5, tied & ~skipped)
    np.testing.assert_allclose(
        teacher.probability(first, second), np.where(tied, 0.5, p), rtol=0, atol=1e-12
    )
    clear = ~skipped & ~tied
    bins = np.minimum((p * 10).astype(int), 9)
    for k in np.unique(bins[clear]):
        inside = clear & (bins == k)
        mean, n = p[inside].mean(), int(inside.sum())
        low, high = stats.binom.ppf([ALPHA / 2, 1 - ALPHA / 2], n, mean)
        assert low <= labels[inside].sum() <= high, (k, n, mean, labels[inside].mean())


# --- randomness ---------------------------------------------------------------------------------


def test_switching_a_part_on_does_not_move_another_parts_draws() -> None:
    first, second = random_pairs(5000)
    plain = oracle().label(first, second, rng(5))
    flipped = mistake(0.3).label(first, second, rng(5)) != plain
    assert 0.2 < flipped.mean() < 0.4
    for parts in ({"eps_skip": 0.4}, {"eps_equal": 0.1}, {"eps_skip": 0.2, "eps_equal": 0.1}):
        without = told(composed(**parts), RETURN).label(first, second, rng(5))
        with_slips = told(composed(**parts, eps_mistake=0.3), RETURN).label(first, second, rng(5))
        clear = ~np.isnan(without) & (without != 0.5)
        np.testing.assert_array_equal((without != with_slips)[clear], flipped[clear])
    noisy = stochastic(0.3).label(first, second, rng(5))
    both = composed(beta=0.3, eps_mistake=0.3).label(first, second, rng(5))
    np.testing.assert_array_equal(noisy != both, flipped)


def test_every_teacher_leaves_the_generator_at_the_same_place() -> None:
    first, second = random_pairs(100)
    after = set()
    for make in KINDS.values():
        generator = rng(3)
        told(make(), RETURN).label(first, second, generator)
        after.add(generator.random())
    assert len(after) == 1


PLAIN = PartialReturn(beta=0.3).label(*random_pairs(5000), rng(5))


@pytest.mark.parametrize(
    ("part", "size"),
    [("eps_mistake", 0.3), ("eps_uniform", 0.5), ("stage_mistake", 1.0), ("stage_skip", 1.0)],
)
@pytest.mark.parametrize("other", ["eps_mistake", "eps_uniform", "stage_mistake", "stage_skip"])
def test_no_part_moves_what_another_draws(part: str, size: float, other: str) -> None:
    """What a part alone changes, it changes in the same pairs beside any other part.

    Where both flip, or one answers at random or refuses, the later part decides.
    """
    if other == part:
        return
    first, second = staged(5000)

    def labels(**parts: float) -> np.ndarray:
        return PartialReturn(beta=0.3, **parts).label(first, second, rng(5))

    plain, with_part = labels(), labels(**{part: size})
    with_other, both = labels(**{other: 0.4}), labels(**{part: size, other: 0.4})
    np.testing.assert_array_equal(plain, PLAIN)
    touched = {x: (y != plain) for x, y in ((part, with_part), (other, with_other))}
    assert 0.05 < touched[part].mean() < 0.6
    neither = ~touched[part] & ~touched[other]
    if "eps_uniform" not in (part, other):
        np.testing.assert_array_equal(both[neither], plain[neither])
        only = touched[part] & ~touched[other]
        np.testing.assert_array_equal(both[only], with_part[only])
    assert np.isnan(both).sum() == np.isnan(with_part).sum() + np.isnan(with_other).sum()


def staged(n: int) -> tuple[Segments, Segments]:
    """Random pairs whose stages are anywhere."""
    g = rng(8)
    return tuple(
        dataclasses.replace(side, stage=torch.from_numpy(g.random((n, 1))).expand(n, 50))
        for side in random_pairs(n)
    )


def test_errors_and_refusals_grow_with_the_distance_of_the_stages() -> None:
    first, second = staged(PAIRS)
    apart = (first.stage - second.stage)[:, 0].abs().numpy()
    teacher = PartialReturn(stage_mistake=0.6, stage_skip=0.5, draws="first")
    plain, labels = (one.label(first, second, rng(1)) for one in (oracle(), teacher))
    flipped = np.abs(labels - plain) == 1
    assert_binomial(np.isnan(labels), 0.5 * apart)
    assert_binomial(flipped[~np.isnan(labels)], 0.6 * apart[~np.isnan(labels)])
    np.testing.assert_allclose(teacher.willing(first, second), 1 - 0.5 * apart)
    p = teacher.probability(first, second)
    np.testing.assert_allclose(p, np.where(plain == 1, 1 - 0.6 * apart, 0.6 * apart))
    with pytest.raises(CellError, match="segments with their stage"):
        teacher.label(dataclasses.replace(first, stage=None), second, rng())


def assert_binomial(happened: np.ndarray, p: np.ndarray) -> None:
    """As often as independent events of these probabilities may (Hoeffding 1956)."""
    low, high = stats.binom.ppf([ALPHA / 2, 1 - ALPHA / 2], len(p), p.mean())
    assert low <= happened.sum() <= high


@pytest.mark.parametrize(
    ("draws", "expected"), [("first", 0), ("tie", 0.5), ("skip", np.nan), ("coin", None)]
)
@pytest.mark.parametrize("beta", [None, 1.0])
def test_a_draw_gets_what_the_suite_names(draws: str, expected: float, beta) -> None:
    first, second = segments(np.ones((4000, 5))), segments(np.ones((4000, 5)))
    second.ground_truth[:1000] = 100.0
    teacher = PartialReturn(draws=draws, beta=beta)
    found = teacher.answer(first, second, rng())
    np.testing.assert_array_equal(found.undecided, np.arange(4000) >= 1000)
    assert (found.labels[:1000] == 1).all()
    if expected is None:
        assert_binomial(found.labels[1000:] == 1, np.full(3000, 0.5))
    else:
        np.testing.assert_array_equal(found.labels[1000:], np.full(3000, expected))
    assert set(found.probability[1000:]) == {0.0 if draws == "first" else 0.5}
    assert teacher.antisymmetric == (draws != "first")


def test_b_prefs_six_give_draws_to_the_first_and_the_others_call_them_ties() -> None:
    same = segments(np.ones((1, 5)))
    for name in ("oracle", "myopic", "mistake", "skip", "equal", "composed"):
        assert registry.make("teacher", name).on_draws == "first"
    assert registry.make("teacher", "stochastic").on_draws == "coin"
    for name in ("partial-return", "imitation", "noisy-returns", "regret", "bootstrapped", "goal"):
        settings = {"temperature": 0.0} if name == "imitation" else {}
        assert registry.make("teacher", {"name": name, **settings}).on_draws == "tie"
    assert PartialReturn().label(same, same, rng()) == 0.5


def test_effort_makes_the_reward_an_annotators_own() -> None:
    first, second = segments(np.ones((1, 4))), segments(np.full((1, 4), 1.1))
    second.act[:] = 0.5  # 4 steps of |a|² = 0.25
    assert PartialReturn().label(first, second, rng()) == 1
    p = PartialReturn(effort=2.0, beta=1.0).probability(first, second)
    assert p[0] == pytest.approx(stats.logistic.cdf(0.4 - 2.0))


def test_noise_on_scores_and_a_noisy_choice_are_averaged_over() -> None:
    a, b = segments([[3.0, 1.0]]), segments([[2.0, 3.0]])
    found = PartialReturn(score_noise=0.2, beta=0.7).probability(a, b)[0]
    z = np.linspace(-9, 9, 20_001)
    values = stats.norm.pdf(z) * stats.logistic.cdf(0.7 * (1 + 0.2 * np.hypot(4, 5) * z))
    assert found == pytest.approx(np.trapezoid(values, z), abs=1e-9)


@pytest.mark.parametrize("spread", [0.1, 1.9, 2.1, 10.0, 300.0])
def test_a_noisy_choice_by_scores_of_any_noise_has_its_exact_probability(spread: float) -> None:
    gains = np.linspace(-3, 3, 13) * max(spread, 1)
    z = np.linspace(-9, 9, 100_001)
    for gain, found in zip(gains, softened(gains, np.full(13, spread)), strict=True):
        values = stats.norm.pdf(z) * stats.logistic.cdf(gain + spread * z)
        assert found == pytest.approx(np.trapezoid(values, z), abs=1e-9)


@given(st.floats(-50, 50), st.floats(0.01, 20), st.floats(0, 1))
def test_noisy_probabilities_are_antisymmetric(gain: float, beta: float, eps: float) -> None:
    a, b = segments([[0.0, gain]]), segments([[1.0, 0.0]])
    teacher = composed(beta=beta, eps_mistake=eps)
    assert teacher.antisymmetric
    assert teacher.probability(a, b) + teacher.probability(b, a) == pytest.approx(1, abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(-10, 0))
def test_a_negative_reward_range_is_shifted_to_zero(rewards: list[float], low: float) -> None:
    """Teachers see the same pair in reward [0, 1] and in [low, low + 1]."""
    for make in (skip, equal):
        plain = told(make(0.5), 6.0, horizon=10)
        moved = told(make(0.5), 6.0 + 10 * low, horizon=10, reward_range=(low, low + 1))
        a, b = np.array([rewards[:2]]), np.array([rewards[2:]])
        near = (abs(max(a.sum(), b.sum()) - 0.6), abs(abs(a.sum() - b.sum()) - 0.6))
        if min(near) > 1e-6:
            expected = plain.label(segments(a), segments(b), rng())
            found = moved.label(segments(a + low), segments(b + low), rng())
            if abs(a.sum() - b.sum()) > 1e-6:
                np.testing.assert_array_equal(found, expected)


# --- wrong use ----------------------------------------------------------------------------------


def test_thresholds_need_the_scale_of_episodes() -> None:
    first, second = random_pairs(3)
    with pytest.raises(ConfigError, match="bind"):
        skip().label(first, second, rng())
    with pytest.raises(CellError, match="before any training episode"):
        told(equal()).label(first, second, rng())
    with pytest.raises(ConfigError, match="lower bound"):
        told(skip(), reward_range=(-math.inf, 1.0))
    with pytest.raises(EnvironmentFault, match="reward_range"):
        told(skip(), -5.0).label(first, second, rng())
    told(oracle(), reward_range=(-math.inf, 1.0)).label(first, second, rng())


@pytest.mark.parametrize(
    "wrong",
    [
        {"gamma": 0.0},
        {"gamma": 1.1},
        {"beta": 0.0},
        {"beta": math.inf},
        {"eps_mistake": 1.5},
        {"eps_skip": -1},
        {"eps_equal": math.nan},
    ],
)
def test_settings_out_of_range_are_refused_by_plan_and_cell(wrong) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"'composed': {name} = .*; expected a number"):
        registry.make("teacher", {"name": "composed", **wrong})
    with pytest.raises(ConfigError, match=f"'composed': {name} = .*; expected a number"):
        registry.check_parameters(registry.describe("teacher", "composed"), wrong, "here")


def test_a_teacher_without_ground_truth_says_so() -> None:
    with pytest.raises(GroundTruthError):
        oracle().label(EARLY.without_reward(), LATE, rng())


def test_noise_as_wide_as_a_share_of_the_range_confuses_good_and_poor_alike() -> None:
    """P against a grid of both truncated normals; draws of them come as often."""
    pairs = [((0.0, 0.0), (1.0, 1.0)), ((9.0, 9.0), (10.0, 10.0)), ((4.0, 5.0), (5.0, 5.0))]
    first, second = (segments([list(pair[side]) for pair in pairs]) for side in (0, 1))
    teacher = told(range_noise(0.2, gamma=1.0), reward_range=(0.0, 10.0))
    p = teacher.probability(first, second)
    for noise in (0.05, 0.1, 0.3):
        finer = told(range_noise(noise, gamma=1.0), reward_range=(0.0, 10.0))
        for k, (a, b) in enumerate(pairs):
            left, right = (
                stats.truncnorm(-sum(s) / w, (20 - sum(s)) / w, sum(s), w)
                for s, w in ((a, 20 * noise), (b, 20 * noise))
            )
            exact = integrate.quad(lambda x, f=left, g=right: g.pdf(x) * f.cdf(x), 0, 20)[0]
            assert finer.probability(first, second)[k] == pytest.approx(exact, abs=1e-7)
    x = (np.arange(20_000) + 0.5) / 1000
    for k, (a, b) in enumerate(pairs):
        density = [stats.norm.pdf(x, sum(side), 4.0) for side in (a, b)]
        density = [d / d.sum() for d in density]
        below = density[0].cumsum() - density[0] / 2
        assert p[k] == pytest.approx((density[1] * below).sum(), abs=1e-5)
    assert p[0] == pytest.approx(p[1], abs=1e-9)  # a unit apart at the bottom and at the top
    labels = teacher.label(first[[0] * 20_000], second[[0] * 20_000], rng())
    assert_binomial(labels == 1, np.full(20_000, p[0]))
    with pytest.raises(ConfigError, match="needs bounds of the reward"):
        told(range_noise(), reward_range=(0.0, math.inf))
    exact = told(range_noise(0.0, gamma=1.0), reward_range=(0.0, 10.0))
    assert exact.label(first, second, rng()).tolist() == [1, 1, 1]
