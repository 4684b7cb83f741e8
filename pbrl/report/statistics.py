"""Point estimates over runs and tasks, and intervals chosen by measured coverage.

Scores are given as one array per task, each `[..., runs]`; a `[tasks, runs]` matrix is such a
sequence. Tasks may have different numbers of runs. Leading axes are carried along.

No interval draws anything: the same scores give the same digits. What each covers for few runs is
measured by `tests/benchmarks/interval_coverage.py` and kept in `coverage.csv` beside this file.

Source of the estimators: Agarwal et al. 2021, "Deep RL at the Edge of the Statistical Precipice".
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

Scores = Sequence[np.ndarray] | np.ndarray
Interval = tuple[np.ndarray, np.ndarray]

FEWEST_RUNS = 3  # with one or two runs no interval means anything
ENOUGH_RUNS = 5  # below, figures show the runs and tables mark the interval
LEVEL = 0.95


# --- point estimates ----------------------------------------------------------------------------


def iqm(scores: Scores) -> np.ndarray:
    """Interquartile mean: mean of the pooled runs without the lowest and highest quarter.

    `floor(n / 4)` runs are cut on each side (no fractional weights), so below four runs it is the
    mean. A task with more runs weighs more.
    """
    pooled = np.sort(np.concatenate(list(scores), axis=-1), axis=-1)
    cut = pooled.shape[-1] // 4
    return pooled[..., cut : pooled.shape[-1] - cut].mean(axis=-1)


def mean(scores: Scores) -> np.ndarray:
    """Mean over tasks of each task's mean over runs."""
    return _task_means(scores).mean(axis=-1)


def median(scores: Scores) -> np.ndarray:
    """Median over tasks of each task's mean over runs."""
    return np.median(_task_means(scores), axis=-1)


def optimality_gap(scores: Scores, gamma: float = 1.0) -> np.ndarray:
    """Mean shortfall below `gamma`, averaged over tasks; scores above `gamma` earn nothing more."""
    return gamma - _task_means([np.minimum(task, gamma) for task in scores]).mean(axis=-1)


def probability_of_improvement(ours: Scores, theirs: Scores) -> np.ndarray:
    """P(a run of ours beats a run of theirs), ties counted half, averaged over tasks."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} tasks against {len(theirs)}; give the same tasks to both")
    per_task = [
        (np.sign(x[..., :, None] - y[..., None, :]).mean(axis=(-2, -1)) + 1) / 2
        for x, y in zip(ours, theirs, strict=True)
    ]
    return np.stack(per_task, axis=-1).mean(axis=-1)


def performance_profile(scores: Scores, thresholds: np.ndarray) -> np.ndarray:
    """Fraction of runs scoring above each threshold, averaged over tasks, `[thresholds, ...]`."""
    above = [
        np.stack([(task > threshold).mean(axis=-1) for threshold in thresholds]) for task in scores
    ]
    return np.stack(above, axis=-1).mean(axis=-1)


# --- intervals ----------------------------------------------------------------------------------


def t_interval(point: np.ndarray, parts: Scores, *, kept: float = 1.0) -> Interval:
    """Student's t interval of a statistic that sums the means of independent samples.

    `parts` holds one `[..., runs]` array per sample: what each run adds to the statistic, to first
    order where it is not linear (delta method). The variance is the sum of s² / n, the degrees of
    freedom are Satterthwaite's (1946); for one sample of runs this is Student's interval. `kept`
    scales the degrees of freedom where a statistic leaves runs out.

    Returns (low, high), NaN where no run of any sample differs from the others: an interval is
    never of zero width.
    """
    runs = np.array([part.shape[-1] for part in parts])
    if runs.min() < 2:
        raise ValueError(f"an interval needs at least 2 runs, found {runs.min()}")
    variances = np.stack([part.var(axis=-1, ddof=1) for part in parts], axis=-1) / runs
    total = variances.sum(axis=-1)
    # Rounding alone makes equal runs differ in the last bits.
    sizes = [np.abs(point), *(np.abs(part).max(axis=-1) for part in parts)]
    total = np.where(total > (1e-12 * np.max(sizes, axis=0)) ** 2, total, np.nan)
    shares = variances / total[..., None]
    freedom = kept / (shares**2 / (runs - 1)).sum(axis=-1)
    half = stdtrit(freedom, (1 + LEVEL) / 2) * np.sqrt(total)
    return point - half, point + half


def mean_interval(scores: Scores) -> Interval:
    """Of `mean`."""
    return t_interval(mean(scores), [task / len(scores) for task in scores])


def gap_interval(scores: Scores, gamma: float = 1.0) -> Interval:
    """Of `optimality_gap`."""
    parts = [np.minimum(task, gamma) / len(scores) for task in scores]
    return t_interval(optimality_gap(scores, gamma), parts)


def iqm_interval(scores: Scores) -> Interval:
    """Of `iqm`: the winsorized runs take the place of the runs (Tukey and McLaughlin 1963)."""
    pooled = np.sort(np.concatenate(list(scores), axis=-1), axis=-1)
    total = pooled.shape[-1]
    cut = total // 4
    low, high = pooled[..., [cut]], pooled[..., [total - cut - 1]]
    left = total - 2 * cut
    parts = [np.clip(task, low, high) * task.shape[-1] / left for task in scores]
    return t_interval(iqm(scores), parts, kept=left / total)


def profile_interval(scores: Scores, thresholds: np.ndarray) -> Interval:
    """Of `performance_profile`, at each threshold: Wilson's score interval (1927).

    For shares averaged over tasks the variance p (1 - p) of the average bounds that of the parts,
    so the interval is wider than need be where tasks differ. Open at 0 and 1.
    """
    p = performance_profile(scores, thresholds)
    runs = len(scores) ** 2 / sum(1 / task.shape[-1] for task in scores)
    z = _z()
    center = (p + z**2 / (2 * runs)) / (1 + z**2 / runs)
    half = z / (1 + z**2 / runs) * np.sqrt(p * (1 - p) / runs + z**2 / (4 * runs**2))
    return np.clip(center - half, 0, 1), np.clip(center + half, 0, 1)


def improvement_interval(ours: Scores, theirs: Scores) -> Interval:
    """Of `probability_of_improvement`: Newcombe's score interval (2006, method 5).

    All x with (theta - x)² <= z² V(x), V the mean over tasks of x (1 - x) [1 + (n - 1) ((1 - x) /
    (2 - x) + x / (1 + x))] / (m k), over tasks again; m and k are the runs of both, n their mean.
    Open at 0 and 1 and never of zero width: 3 runs all above 3 others give 0.50 to 1.
    """
    theta = probability_of_improvement(ours, theirs)
    sizes = [(x.shape[-1], y.shape[-1]) for x, y in zip(ours, theirs, strict=True)]

    def variance(x: np.ndarray) -> np.ndarray:
        skew = (1 - x) / (2 - x) + x / (1 + x)
        inner = [(1 + ((m + k) / 2 - 1) * skew) / (m * k) for m, k in sizes]
        return x * (1 - x) * np.sum(inner, axis=0) / len(sizes) ** 2

    def bound(outer: np.ndarray) -> np.ndarray:
        inside, outside = theta, outer
        for _ in range(60):  # bisection to the last bit
            middle = (inside + outside) / 2
            holds = (theta - middle) ** 2 <= _z() ** 2 * variance(middle)
            inside, outside = np.where(holds, middle, inside), np.where(holds, outside, middle)
        return inside

    return bound(np.zeros_like(theta)), bound(np.ones_like(theta))


def _z() -> float:
    return float(ndtri((1 + LEVEL) / 2))


def _task_means(scores: Scores) -> np.ndarray:
    return np.stack([task.mean(axis=-1) for task in scores], axis=-1)
