"""What a curve is worth as one number per run, raw and relative to baselines of the same folder.

    return       mean true return over the evaluations in the last tenth of the steps
    ratio        that return / the same of SAC trained on the true reward
    ratio_avg    mean over evaluations k >= 1 of return_k / return_k of SAC on the true reward
    normalized   (return - random) / (SAC on the true reward - random)

`ratio` is B-Pref's normalized return (Lee et al. 2021; its final window is not published), and
`ratio_avg` its average over training, as REED reports it (Metcalf et al. 2023).
"""

from dataclasses import dataclass

import numpy as np

from pbrl.report import statistics
from pbrl.report.study import Line, Study, generator

GROUND_TRUTH, RANDOM = "sac", "random"  # methods that serve as baselines
LAST_TENTH = 0.9


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; `low` and `high` are None below three runs."""

    point: float
    low: float | None = None
    high: float | None = None


def estimate(
    statistic: statistics.Statistic,
    samples: list[np.ndarray],
    *names: str,
    tasks: int = 1,
    bounded: bool = True,
) -> Estimate:
    """`statistic` of the samples and, where `bounded`, its interval from the stream `names`."""
    point = float(statistic(samples))
    found = None
    if bounded:
        found = statistics.interval(statistic, samples, rng=generator(*names), tasks=tasks)
    if found is None:
        return Estimate(point)
    return Estimate(point, float(found[0]), float(found[1]))


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


def ratio(line: Line, truth: Line) -> Estimate | None:
    """`ratio` above; None unless the baseline's return is positive (a ratio means nothing then).

    The interval resamples the runs of both lines.
    """
    samples = [final(line.returns, line.steps), final(truth.returns, truth.steps)]
    if samples[1].mean() <= 0:
        return None
    if line is truth:
        return Estimate(1.0)

    def statistic(both: list[np.ndarray]) -> np.ndarray:
        return both[0].mean(axis=-1) / both[1].mean(axis=-1)

    return estimate(
        statistic, samples, "ratio", line.task, line.label, bounded=bool(samples[1].min() > 0)
    )


def ratio_avg(line: Line, truth: Line) -> Estimate | None:
    """`ratio_avg` above; None unless the baseline's mean is positive at every evaluation."""
    steps = np.intersect1d(line.steps, truth.steps)
    steps = steps[steps > 0]
    ours = line.returns[np.isin(line.steps, steps)]
    theirs = truth.returns[np.isin(truth.steps, steps)]
    if not steps.size or theirs.mean(axis=-1).min() <= 0:
        return None
    if line is truth:
        return Estimate(1.0)

    def statistic(both: list[np.ndarray]) -> np.ndarray:
        return (both[0].mean(axis=-1) / both[1].mean(axis=-1)).mean(axis=0)

    bounded = bool(theirs.min() > 0)
    return estimate(statistic, [ours, theirs], "ratio_avg", line.task, line.label, bounded=bounded)


def normalized(line: Line, truth: Line, random: Line) -> Estimate | None:
    """`normalized` above; None unless the ground truth's return is over random's."""
    samples = [final(each.returns, each.steps) for each in (line, truth, random)]
    if samples[1].mean() <= samples[2].mean():
        return None
    if line is truth or line is random:
        return Estimate(float(line is truth))

    def statistic(all_three: list[np.ndarray]) -> np.ndarray:
        x, top, bottom = (sample.mean(axis=-1) for sample in all_three)
        return (x - bottom) / (top - bottom)

    bounded = bool(samples[1].min() > samples[2].max())
    return estimate(statistic, samples, "normalized", line.task, line.label, bounded=bounded)


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
    return centered @ regret[last] / (centered @ centered)
