from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pbrl.report import coverage, scores, statistics
from tests.benchmarks import interval_coverage

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
    low, high = statistics.mean_interval([ragged[0], np.array([4.0, 6.0])])
    assert low < 3 < high


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


def test_one_sample_is_students_interval() -> None:
    sample = np.random.default_rng(0).gamma(2.0, size=7)
    expected = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    np.testing.assert_allclose(statistics.mean_interval([sample]), expected, rtol=1e-12)


def test_two_samples_have_satterthwaites_degrees_of_freedom() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 1, 6), rng.normal(1, 4, 9)
    expected = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    found = statistics.t_interval(x.mean() - y.mean(), [x, y])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


studies = arrays(  # [tasks, runs] with at least three runs, often equal ones
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(3, 9)),
    elements=st.sampled_from([0.0, 0.1, 0.3, 1.0, 1e6])
    | st.floats(-100, 100, allow_subnormal=False),
)
INTERVALS = {
    statistics.mean: statistics.mean_interval,
    statistics.iqm: statistics.iqm_interval,
    statistics.optimality_gap: statistics.gap_interval,
}


@given(studies, st.sampled_from(list(INTERVALS)))
def test_an_interval_holds_its_point_and_has_a_width(scores: np.ndarray, statistic: Any) -> None:
    low, high = INTERVALS[statistic](scores)
    point = statistic(scores)
    assert np.isnan([low, high]).all() or low < point < high
    if not np.ptp(scores, axis=-1).any():
        assert np.isnan([low, high]).all()


@given(studies, st.randoms())
def test_neither_the_order_of_tasks_nor_of_runs_matters(scores: np.ndarray, order: Any) -> None:
    rows, columns = list(range(len(scores))), list(range(scores.shape[1]))
    order.shuffle(rows)
    order.shuffle(columns)
    for interval in INTERVALS.values():
        found, expected = interval(scores[rows][:, columns]), interval(scores)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@given(studies, st.floats(-50, 50), st.floats(0.1, 10))
def test_intervals_follow_shift_and_scale(scores: np.ndarray, shift: float, scale: float) -> None:
    for interval in (statistics.mean_interval, statistics.iqm_interval):
        moved, low_high = interval(scores * scale + shift), interval(scores)
        expected = np.array(low_high) * scale + shift
        if np.isnan(moved).any() or np.isnan(expected).any():
            continue  # runs that differ by rounding alone
        np.testing.assert_allclose(moved, expected, rtol=1e-6, atol=1e-6 * np.abs(scores).max())


def test_the_interquartile_mean_of_one_task_is_tukey_and_mclaughlins() -> None:
    scores = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 50.0])
    winsorized = np.clip(scores, 2, 5)  # two of eight on each side
    error = winsorized.std(ddof=1) / (0.5 * np.sqrt(8))
    half = stats.t.ppf(0.975, 7 * 0.5) * error
    np.testing.assert_allclose(statistics.iqm_interval([scores]), (3.5 - half, 3.5 + half))


def test_shares_have_wilsons_interval() -> None:
    scores, thresholds = np.arange(10.0), np.array([-1.0, 2.5, 9.0])
    found = np.stack(statistics.profile_interval([scores], thresholds), axis=-1)
    for share, ours in zip((10, 7, 0), found, strict=True):
        expected = stats.binomtest(share, 10).proportion_ci(method="wilson")
        np.testing.assert_allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize(("runs", "low"), [(3, 0.50), (5, 0.64), (10, 0.80)])
def test_complete_separation_is_not_certainty(runs: int, low: float) -> None:
    ours, theirs = [np.arange(runs) + 100.0], [np.arange(runs) * 1.0]
    found = statistics.improvement_interval(ours, theirs)
    np.testing.assert_allclose(found, (low, 1), atol=0.005)


@given(studies, studies)
def test_improvement_interval_laws(x: np.ndarray, y: np.ndarray) -> None:
    tasks = min(len(x), len(y))
    x, y = x[:tasks], y[:tasks]
    low, high = statistics.improvement_interval(x, y)
    point = statistics.probability_of_improvement(x, y)
    assert 0 <= low <= point <= high <= 1
    assert high - low > 0.05
    other_low, other_high = statistics.improvement_interval(y, x)
    np.testing.assert_allclose([low, high], [1 - other_high, 1 - other_low], atol=1e-9)


def test_relative_scores_to_certain_baselines_have_the_interval_of_the_mean() -> None:
    runs, sure = np.random.default_rng(0).normal(5, 1, 6), np.ones(4)
    plain = np.array(statistics.mean_interval([runs]))
    np.testing.assert_allclose(scores.ratio_interval(runs[None], 4 * sure[None]), plain / 4)
    found = scores.normalized_interval(runs, 9 * sure, sure)
    np.testing.assert_allclose(found, (plain - 1) / 8)


def test_relative_scores_to_uncertain_baselines_are_linearized() -> None:
    """The derivative by each run, taken numerically, gives the same interval."""
    rng = np.random.default_rng(0)
    samples = [rng.normal(level, 0.3, runs) for level, runs in ((5, 4), (9, 6), (1, 3))]

    def value(ours: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> float:
        return (ours.mean() - bottom.mean()) / (top.mean() - bottom.mean())

    parts = []
    for i, sample in enumerate(samples):
        moved = [*samples[:i], sample + 1e-6, *samples[i + 1 :]]
        parts.append(sample * (value(*moved) - value(*samples)) / 1e-6)
    expected = statistics.t_interval(np.float64(value(*samples)), parts)
    np.testing.assert_allclose(scores.normalized_interval(*samples), expected, rtol=1e-5)


def test_curves_are_carried_along() -> None:
    curve = np.random.default_rng(0).normal(size=(7, 5))
    low, high = statistics.mean_interval([curve])
    for i, point in enumerate(curve):
        np.testing.assert_array_equal((low[i], high[i]), statistics.mean_interval([point]))


def test_an_interval_needs_two_runs() -> None:
    with pytest.raises(ValueError, match="at least 2 runs, found 1"):
        statistics.mean_interval([np.arange(5.0), np.ones(1)])


# --- measured coverage --------------------------------------------------------------------------


def test_a_note_names_what_is_too_low_and_only_that() -> None:
    assert "one run in five failing" in str(coverage.note("mean", 5))
    assert "5 runs" in str(coverage.note("mean", 5))
    assert coverage.note("profile", 10, 4) is None
    assert coverage.note("mean", 6) == coverage.note("mean", 5)
    assert coverage.note("mean", 3, 9) == coverage.note("mean", 3, 4)
    assert "3 runs on each of 4 tasks" in str(coverage.note("mean", 3, 9))
    assert {row.runs for row in coverage.measured("mean", 1000)} == {50}
    assert len(coverage.measured("mean", 1000)) == len(coverage.NAMES)


def test_the_intervals_in_use_hold_on_normal_scores() -> None:
    for row in coverage.table():
        if row.distribution == "normal" and row.interval != "bootstrap" and row.runs >= 5:
            assert row.coverage >= (0.88 if row.statistic == "iqm" else 0.9), row


@pytest.mark.slow
@pytest.mark.parametrize("name", interval_coverage.DISTRIBUTIONS)
def test_the_coverage_table_is_remade(name: str) -> None:
    kept = {row[:-1]: row.coverage for row in coverage.table()}
    again = [*interval_coverage.aggregates(name, 2, 1000), *interval_coverage.relative(name, 1000)]
    again += interval_coverage.improvement(name, 2, 1000)
    for row in again:
        error = np.sqrt(0.25 / 1000 + 0.25 / 2000) if row.coverage < 0.8 else 0.01
        assert row.coverage == pytest.approx(kept[row[:-1]], abs=5 * error), row
