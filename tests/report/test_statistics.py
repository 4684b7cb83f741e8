import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pbrl.report import statistics

matrices = arrays(  # [tasks, runs]
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 12)),
    elements=st.floats(-100, 100, allow_subnormal=False),
)


# --- point estimates ----------------------------------------------------------------------------


def test_closed_forms() -> None:
    scores = np.array([[0.0, 1.0, 2.0, 100.0], [0.2, 0.4, 0.6, 0.8]])
    # Pooled and sorted: 0 .2 | .4 .6 .8 1 | 2 100; two of eight are cut on each side.
    assert statistics.iqm(scores) == pytest.approx((0.4 + 0.6 + 0.8 + 1.0) / 4, abs=1e-15)
    assert statistics.mean(scores) == pytest.approx((25.75 + 0.5) / 2)
    assert statistics.median(scores) == pytest.approx((25.75 + 0.5) / 2)
    assert statistics.optimality_gap(scores) == pytest.approx((0.25 + 0.5) / 2)
    profile = statistics.performance_profile(scores, np.array([-1.0, 0.5, 2.0, 100.0]))
    np.testing.assert_allclose(profile, [1, (3 / 4 + 1 / 2) / 2, 1 / 8, 0])
    better = statistics.probability_of_improvement(
        [np.array([1.0, 2.0]), np.array([0.0])], [np.array([1.0, 0.0]), np.array([5.0])]
    )
    assert better == pytest.approx(((0.5 + 1 + 1 + 1) / 4 + 0) / 2)


@given(matrices)
def test_iqm_is_scipys_trimmed_mean(scores: np.ndarray) -> None:
    expected = stats.trim_mean(scores, 0.25, axis=None)
    np.testing.assert_allclose(statistics.iqm(scores), expected, rtol=1e-12, atol=1e-12)


@given(matrices, st.floats(-50, 50), st.floats(0.1, 10))
def test_aggregates_follow_shift_and_scale(scores: np.ndarray, shift: float, scale: float) -> None:
    for statistic in (statistics.iqm, statistics.mean, statistics.median):
        moved = statistic(scores * scale + shift)
        np.testing.assert_allclose(moved, statistic(scores) * scale + shift, atol=1e-9)


@given(matrices, matrices)
def test_probability_of_improvement_laws(x: np.ndarray, y: np.ndarray) -> None:
    tasks = min(len(x), len(y))
    x, y = x[:tasks], y[:tasks]
    forward = statistics.probability_of_improvement(x, y)
    assert 0 <= forward <= 1
    np.testing.assert_allclose(forward + statistics.probability_of_improvement(y, x), 1)
    assert statistics.probability_of_improvement(x, x) == pytest.approx(0.5)


def test_probability_of_improvement_is_mann_whitney() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, size=(2, 9)).astype(float)
    u = stats.mannwhitneyu(x, y).statistic
    assert statistics.probability_of_improvement([x], [y]) == pytest.approx(u / 81, abs=1e-15)


def test_probability_of_improvement_needs_the_same_tasks() -> None:
    with pytest.raises(ValueError, match="1 tasks against 2"):
        statistics.probability_of_improvement([np.ones(3)], [np.ones(3)] * 2)


@given(matrices)
def test_profile_falls_and_its_area_is_the_mean(scores: np.ndarray) -> None:
    thresholds = np.linspace(-101, 101, 405)
    profile = statistics.performance_profile(scores, thresholds)
    assert profile[0] == 1
    assert profile[-1] == 0
    assert (np.diff(profile) <= 1e-15).all()
    area = -101 + profile.sum() * (thresholds[1] - thresholds[0])
    assert area == pytest.approx(statistics.mean(scores), abs=0.51)


def test_leading_axes_are_carried_along() -> None:
    batch = np.random.default_rng(0).normal(size=(3, 7, 6))  # [tasks, batch, runs]
    thresholds = np.array([0.0, 0.5])
    for statistic in (
        statistics.iqm,
        statistics.mean,
        statistics.median,
        statistics.optimality_gap,
        lambda s: statistics.performance_profile(s, thresholds),
        lambda s: statistics.probability_of_improvement(s, s[::-1]),
    ):
        whole = statistic(batch)
        one_by_one = np.stack([statistic(batch[:, i]) for i in range(7)], axis=-1)
        np.testing.assert_array_equal(whole, one_by_one)


def test_tasks_may_have_different_numbers_of_runs() -> None:
    ragged = [np.array([0.0, 1.0, 2.0]), np.array([5.0])]
    assert statistics.mean(ragged) == 3
    assert statistics.iqm(ragged) == 1.5
    low, high = statistics.bootstrap(statistics.mean, ragged, rng=np.random.default_rng(0))
    assert 2.5 <= low < 3 < high <= 3.5


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_rliable(seed: int) -> None:
    metrics = pytest.importorskip("rliable.metrics")
    rng = np.random.default_rng(seed)
    runs, tasks = rng.integers(2, 12), rng.integers(1, 8)
    x, y = rng.normal(0.5, 0.4, size=(2, runs, tasks)).round(1)  # rounded, so that ties occur
    for ours, theirs in (
        (statistics.iqm(x.T), metrics.aggregate_iqm(x)),
        (statistics.mean(x.T), metrics.aggregate_mean(x)),
        (statistics.median(x.T), metrics.aggregate_median(x)),
        (statistics.optimality_gap(x.T), metrics.aggregate_optimality_gap(x)),
        (
            statistics.probability_of_improvement(x.T, y.T),
            metrics.probability_of_improvement(x, y),
        ),
    ):
        assert ours == pytest.approx(theirs, abs=1e-12)


# --- intervals ----------------------------------------------------------------------------------


def test_bootstrap_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    sample, resamples = rng.gamma(2.0, size=12), 20_000
    ours = statistics.bootstrap(
        statistics.mean, [sample], rng=np.random.default_rng(0), resamples=resamples
    )
    theirs = stats.bootstrap(
        (sample,),
        np.mean,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    # A quantile q of N draws has standard error sqrt(q (1 - q) / N) / density; five of them.
    deviation = theirs.standard_error
    density = stats.norm.pdf(stats.norm.ppf(0.025)) / deviation
    tolerance = 5 * np.sqrt(2 * 0.025 * 0.975 / resamples) / density
    np.testing.assert_allclose(ours, theirs.confidence_interval, rtol=0, atol=tolerance)


def test_bootstrap_is_stratified() -> None:
    constant = [np.full(5, 1.0), np.full(5, 9.0)]  # only mixing the tasks could move the mean
    low, high = statistics.bootstrap(statistics.mean, constant, rng=np.random.default_rng(0))
    assert low == high == 5


def test_bootstrap_keeps_the_runs_of_a_curve_whole() -> None:
    runs = np.random.default_rng(0).normal(size=6)
    curve = np.stack([runs, runs + 10])  # [points, runs]
    low, high = statistics.bootstrap(
        lambda s: s[0].mean(axis=-1), [curve], rng=np.random.default_rng(0)
    )
    assert low.shape == (2,)
    np.testing.assert_allclose([low[1] - low[0], high[1] - high[0]], 10)


def test_a_seed_seeds() -> None:
    sample = [np.random.default_rng(0).normal(size=7)]

    def once(seed: int) -> tuple[float, float]:
        low, high = statistics.bootstrap(
            statistics.mean, sample, rng=np.random.default_rng(seed), resamples=200
        )
        return float(low), float(high)

    assert once(1) == once(1)
    assert once(1) != once(2)


def test_no_interval_below_three_runs() -> None:
    rng = np.random.default_rng(0)
    for runs in (1, 2):
        samples = [np.arange(5.0), np.arange(float(runs))]
        assert statistics.interval(statistics.mean, samples, rng=rng, tasks=2) is None
    assert statistics.interval(statistics.mean, [np.arange(3.0)], rng=rng) is not None
    with pytest.raises(ValueError, match="at least 2 runs, found 1"):
        statistics.expanded_level(0.95, 1)


def test_expanded_level_widens_less_with_more_runs() -> None:
    levels = [statistics.expanded_level(0.95, runs) for runs in (2, 3, 5, 10, 100, 10_000)]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] == pytest.approx(0.95, abs=1e-4)
    # Hesterberg 2015: the half width in standard errors becomes sqrt(n / (n - 1)) t.
    half = stats.norm.ppf((1 + statistics.expanded_level(0.95, 10)) / 2)
    assert half == pytest.approx(np.sqrt(10 / 9) * stats.t.ppf(0.975, 9))


def _coverage(draw, truth: float, runs: int, tasks: int, *, expanded: bool) -> float:
    """Share of 2,000 studies whose interval of the mean holds the true mean."""
    rng = np.random.default_rng([runs, tasks])
    level = statistics.expanded_level(0.95, runs, tasks) if expanded else 0.95
    hits = 0
    for _ in range(20):
        scores = draw(rng, (tasks, 100, runs))  # a hundred studies at once
        low, high = statistics.bootstrap(
            statistics.mean, scores, rng=rng, level=level, resamples=1000
        )
        hits += int(((low <= truth) & (truth <= high)).sum())
    return hits / 2000


SHAPES = {
    "normal": (lambda rng, shape: rng.normal(0, 1, shape), 0.0),
    "exponential": (lambda rng, shape: rng.exponential(1, shape), 1.0),
    "two modes": (
        lambda rng, shape: rng.normal(0, 0.3, shape) + 3.0 * (rng.random(shape) < 0.5),
        1.5,
    ),
}
COVERAGE = {  # as stated in the docstring of `interval`
    ("normal", 1): (0.76, 0.92, 0.95),
    ("exponential", 1): (0.70, 0.86, 0.89),
    ("two modes", 1): (0.76, 0.93, 0.96),
    ("normal", 4): (0.93, 0.94, 0.95),
    ("exponential", 4): (0.90, 0.91, 0.93),
    ("two modes", 4): (0.93, 0.95, 0.95),
}


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "tasks"), COVERAGE)
def test_coverage_is_what_the_docstring_says(shape: str, tasks: int) -> None:
    draw, truth = SHAPES[shape]
    for runs, stated in zip((3, 5, 10), COVERAGE[shape, tasks], strict=True):
        found = _coverage(draw, truth, runs, tasks, expanded=True)
        # Four standard errors of 2,000 studies, and half a unit of the last stated digit.
        assert found == pytest.approx(stated, abs=4 * np.sqrt(stated * (1 - stated) / 2000) + 0.005)


@pytest.mark.slow
def test_the_plain_percentile_interval_is_too_narrow() -> None:
    draw, truth = SHAPES["normal"]
    plain = [_coverage(draw, truth, runs, 1, expanded=False) for runs in (5, 10)]
    assert plain == pytest.approx([0.83, 0.90], abs=0.03)
