"""What a curve is worth as one number per run, raw and relative to baselines of the same folder.

    return       mean true return over the evaluations in the last tenth of the steps
    ratio        that return / the same of SAC trained on the true reward
    ratio_avg    mean over evaluations k >= 1 of return_k / return_k of SAC on the true reward
    normalized   (return - random) / (SAC on the true reward - random)

`ratio` is B-Pref's normalized return (Lee et al. 2021; its final window is not published), and
`ratio_avg` its average over training, as REED reports it (Metcalf et al. 2023).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pbrl.report import statistics
from pbrl.report.study import Line, Study

GROUND_TRUTH, RANDOM = "sac", "random"  # methods that serve as baselines
LAST_TENTH = 0.9


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; `low` and `high` are None below three runs.

    `few`: from so few runs that the interval is marked.
    """

    point: float
    low: float | None = None
    high: float | None = None
    few: bool = False


def estimate(
    point: np.ndarray,
    samples: Sequence[np.ndarray],
    interval: Callable[[], statistics.Interval],
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """The number and its interval, where the smallest of `samples` has enough runs for one.

    `within` is the range that the true value cannot leave.
    """
    fewest = min(sample.shape[-1] for sample in samples)
    if fewest < statistics.FEWEST_RUNS:
        return Estimate(float(point))
    low, high = (min(max(float(bound), within[0]), within[1]) for bound in interval())
    if math.isnan(low):  # no run differs from another
        return Estimate(float(point))
    return Estimate(float(point), low, high, few=fewest < statistics.ENOUGH_RUNS)


def estimated_mean(
    runs: np.ndarray, within: tuple[float, float] = (-math.inf, math.inf)
) -> Estimate:
    """The mean of one sample of runs."""
    return estimate(runs.mean(), [runs], lambda: statistics.mean_interval([runs]), within)


def final(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Mean over the evaluations in the last tenth of the steps: [E, runs] to [runs]."""
    return values[steps > LAST_TENTH * steps[-1]].mean(axis=0)


def is_baseline(line: Line) -> bool:
    """Whether a line is the ground-truth or the random baseline of its task."""
    return line.config["method"]["name"] in (GROUND_TRUTH, RANDOM)


def baseline(study: Study, line: Line, name: str) -> Line | None:
    """The one line of method `name` on the same task with as many steps; None if not exactly one.

    Among several variants of the baseline the one whose label is the method's own name counts.
    """
    found = [
        other
        for other in study.lines
        if other.task == line.task
        and other.config["method"]["name"] == name
        and other.config.get("steps") == line.config.get("steps")
    ]
    if len(found) > 1:
        found = [other for other in found if other.config["method"].get("label", name) == name]
    return found[0] if len(found) == 1 else None


def clearly_above(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether the mean of runs is above another by two standard errors (by anything at 1 run)."""
    errors = [x.var(ddof=1) / x.size for x in (ours, theirs) if x.size > 1]
    return bool(ours.mean() - theirs.mean() > 2 * math.sqrt(sum(errors)))


def ratio_interval(ours: np.ndarray, theirs: np.ndarray) -> statistics.Interval:
    """Of the ratio of means over runs, averaged over the first axis: [E, ..., runs] to [...]."""
    x, y = ours.mean(axis=-1, keepdims=True), theirs.mean(axis=-1, keepdims=True)
    parts = [(ours / y).mean(axis=0), (theirs * x / y**2).mean(axis=0)]
    return statistics.t_interval((x / y).mean(axis=0)[..., 0], parts)


def normalized_interval(
    ours: np.ndarray, top: np.ndarray, bottom: np.ndarray
) -> statistics.Interval:
    """Of (ours - bottom) / (top - bottom), each a mean over runs: [..., runs] to [...]."""
    x, t, b = (each.mean(axis=-1, keepdims=True) for each in (ours, top, bottom))
    point = (x - b) / (t - b)
    parts = [ours / (t - b), top * point / (t - b), bottom * (1 - point) / (t - b)]
    return statistics.t_interval(point[..., 0], parts)


def ratio(line: Line, truth: Line) -> Estimate | None:
    """`ratio` above; None unless the baseline's return is clearly positive."""
    ours, theirs = (final(each.returns, each.steps) for each in (line, truth))
    if not clearly_above(theirs, np.zeros(1)):
        return None
    if line is truth:
        return Estimate(1.0)
    return estimate(
        ours.mean() / theirs.mean(),
        [ours, theirs],
        lambda: ratio_interval(ours[None], theirs[None]),
    )


def ratio_avg(line: Line, truth: Line) -> Estimate | None:
    """`ratio_avg` above; None unless the baseline is clearly positive at every evaluation."""
    steps = np.intersect1d(line.steps, truth.steps)
    steps = steps[steps > 0]
    ours = line.returns[np.isin(line.steps, steps)]
    theirs = truth.returns[np.isin(truth.steps, steps)]
    if not steps.size or not all(clearly_above(each, np.zeros(1)) for each in theirs):
        return None
    if line is truth:
        return Estimate(1.0)
    point = (ours.mean(axis=-1) / theirs.mean(axis=-1)).mean()
    return estimate(point, [ours, theirs], lambda: ratio_interval(ours, theirs))


def normalized(line: Line, truth: Line, random: Line) -> Estimate | None:
    """`normalized` above; None unless the ground truth is clearly above random."""
    ours, top, bottom = (final(each.returns, each.steps) for each in (line, truth, random))
    if not clearly_above(top, bottom):
        return None
    if line is truth or line is random:
        return Estimate(float(line is truth))
    point = (ours.mean() - bottom.mean()) / (top.mean() - bottom.mean())
    return estimate(point, [ours, top, bottom], lambda: normalized_interval(ours, top, bottom))


@dataclass(frozen=True)
class Comparison:
    """Scores on one scale, so that tasks can be averaged: runs by label, then by task."""

    scale: str
    scores: dict[str, dict[str, np.ndarray]]
    tasks: list[str]


def comparison(study: Study) -> Comparison | None:
    """Every learner's runs scaled by the baselines' means; None where a task has no baseline.

    The scale is `normalized` when every task has both baselines, else `ratio` when every task has
    a positive ground truth. The baselines' own uncertainty is not in these scores.
    """
    tops, bottoms = [], []
    for line in study.lines:
        truth, random = (baseline(study, line, name) for name in (GROUND_TRUTH, RANDOM))
        if truth is None:
            return None
        tops.append(float(final(truth.returns, truth.steps).mean()))
        bottom = float(final(random.returns, random.steps).mean()) if random else -np.inf
        bottoms.append(bottom)
    if not tops:
        return None
    if all(np.isfinite(b) and t > b for t, b in zip(tops, bottoms, strict=True)):
        scale = "(return - random) / (SAC - random)"
    elif min(tops) > 0:
        scale, bottoms = "return / SAC's return", [0.0] * len(tops)
    else:
        return None
    scores: dict[str, dict[str, np.ndarray]] = {}
    for line, top, bottom in zip(study.lines, tops, bottoms, strict=True):
        scaled = (final(line.returns, line.steps) - bottom) / (top - bottom)
        scores.setdefault(line.label, {})[line.task] = scaled
    return Comparison(scale, scores, sorted({line.task for line in study.lines}))


def slope(duels: np.ndarray, regret: np.ndarray) -> np.ndarray | None:
    """Least-squares slope of regret [P, runs] against ln T over the last decade of duels, [runs].

    None with fewer than three recorded points there.
    """
    last = duels >= duels[-1] / 10
    if last.sum() < 3:
        return None
    log = np.log(duels[last].astype(np.float64))
    centered = log - log.mean()
    slopes = centered @ regret[last] / (centered @ centered)
    return np.where(np.ptp(regret[last], axis=0) > 0, slopes, 0.0)  # not what rounding leaves
