"""What a curve is worth as one number per run, raw and relative to baselines of the same folder.

    return       mean true return of the last, large evaluation; without one, over the evaluations
                 in the last tenth of the steps, but at least three
    ratio        that return / the same of SAC trained on the true reward
    ratio_avg    mean over evaluations k >= 1 of return_k / return_k of SAC on the true reward
    normalized   (return - random) / (SAC on the true reward - random)

`ratio` is B-Pref's normalized return (Lee et al. 2021; its final window is not published), and
`ratio_avg` its average over training, as REED reports it (Metcalf et al. 2023).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pbrl.report import statistics
from pbrl.report.names import flat
from pbrl.report.study import Line, Study

GROUND_TRUTH, RANDOM = "sac", "random"  # methods that serve as baselines
LAST_TENTH, FEWEST_LATE = 0.9, 3


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


# --- one number per run -------------------------------------------------------------------------


def final(line: Line) -> np.ndarray:
    """`return` above, [runs]."""
    return line.last["return"] if "return" in line.last else line.returns[_late(line)].mean(axis=0)


def final_success(line: Line) -> np.ndarray | None:
    """The same of the success rate; None where the task has no such notion."""
    if "success" in line.last:
        return line.last["success"]
    return None if line.success is None else line.success[_late(line)].mean(axis=0)


def _late(line: Line) -> np.ndarray:
    """Which evaluations count without a last, large one: one alone would be chance."""
    late = line.steps > LAST_TENTH * line.steps[-1]
    late[-FEWEST_LATE:] = True
    late[line.steps == 0] = len(line.steps) == 1
    return late


# --- baselines ----------------------------------------------------------------------------------


def is_baseline(line: Line) -> bool:
    """Whether a line is the ground-truth or the random baseline of its task."""
    return line.config["method"]["name"] in (GROUND_TRUTH, RANDOM)


def is_random(line: Line) -> bool:
    """Whether a line is the random baseline of its task."""
    return bool(line.config["method"]["name"] == RANDOM)


Place = tuple[str, int]  # task and steps: where returns can be compared


def place(line: Line) -> Place:
    """Where a line stands."""
    return line.task, line.config["steps"]


@dataclass(frozen=True)
class Baselines:
    """What the returns of each place are measured by; absent where there is none to be had."""

    truth: dict[Place, Line]
    random: dict[Place, Line]
    normalizes: bool  # whether normalized returns mean something, on all tasks that have them
    notes: list[str]  # what is not shown, and why


def baselines(study: Study) -> Baselines:
    """The ground-truth and the random line of each place.

    Of several, the one that shares most settings with the other learners there; none where that is
    a tie. Normalized returns are withheld everywhere when SAC hardly beats random somewhere.
    """
    notes: list[str] = []
    truth, random = (_chosen(study, method, notes) for method in (GROUND_TRUTH, RANDOM))
    weak = [
        where
        for where in truth.keys() & random.keys()
        if not clearly_above(final(truth[where]), final(random[where]))
    ]
    if weak:
        named = ", ".join(sorted({task for task, _ in weak}))
        notes.append(
            "normalized returns are not shown: SAC on the true reward is less than two standard "
            f"errors above random actions on {named}."
        )
    return Baselines(truth, random, not weak and bool(truth.keys() & random.keys()), notes)


def _chosen(study: Study, method: str, notes: list[str]) -> dict[Place, Line]:
    found: dict[Place, Line] = {}
    candidates: dict[Place, list[Line]] = defaultdict(list)
    for line in study.lines:
        if line.config["method"]["name"] == method:
            candidates[place(line)].append(line)
    for where, lines in candidates.items():
        others = [flat(x.config["method"]) for x in study.lines
                  if place(x) == where and not is_baseline(x)]  # fmt: skip
        shared = [_shared(flat(line.config["method"]), others) for line in lines]
        if shared.count(max(shared)) == 1:
            found[where] = lines[shared.index(max(shared))]
        else:
            named = " and ".join(line.label for line in lines)
            notes.append(
                f"nothing is divided by a baseline on {where[0]}: {named} share as many settings "
                "with the other learners."
            )
    return found


def _shared(settings: dict[str, Any], others: list[dict[str, Any]]) -> int:
    return sum(key in other and other[key] == value for other in others
               for key, value in settings.items())  # fmt: skip


def clearly_above(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether means of runs are all above others by two standard errors (by anything at 1 run).

    Shapes [..., runs]: leading axes must hold everywhere.
    """
    several = [x for x in (ours, theirs) if x.shape[-1] > 1]
    errors = np.sqrt(sum(x.var(axis=-1, ddof=1) / x.shape[-1] for x in several))
    return bool((ours.mean(axis=-1) - theirs.mean(axis=-1) > 2 * errors).all())


# --- relative to baselines ----------------------------------------------------------------------


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
    ours, theirs = final(line), final(truth)
    if not clearly_above(theirs, np.zeros(1)):
        return None
    if line is truth:
        return Estimate(1.0)
    point = ours.mean() / theirs.mean()
    return estimate(point, [ours, theirs], lambda: ratio_interval(ours[None], theirs[None]))


def ratio_avg(line: Line, truth: Line) -> Estimate | None:
    """`ratio_avg` above; None unless the baseline is clearly positive at every evaluation."""
    steps = np.intersect1d(line.steps, truth.steps)
    steps = steps[steps > 0]
    ours = line.returns[np.isin(line.steps, steps)]
    theirs = truth.returns[np.isin(truth.steps, steps)]
    if not steps.size or not clearly_above(theirs, np.zeros(1)):
        return None
    if line is truth:
        return Estimate(1.0)
    point = (ours.mean(axis=-1) / theirs.mean(axis=-1)).mean()
    return estimate(point, [ours, theirs], lambda: ratio_interval(ours, theirs))


def normalized(line: Line, truth: Line, random: Line) -> Estimate:
    """`normalized` above, where `Baselines.normalizes`."""
    if line is truth or line is random:
        return Estimate(float(line is truth))
    ours, top, bottom = (final(each) for each in (line, truth, random))
    point = (ours.mean() - bottom.mean()) / (top.mean() - bottom.mean())
    return estimate(point, [ours, top, bottom], lambda: normalized_interval(ours, top, bottom))


@dataclass(frozen=True)
class Comparison:
    """Scores on one scale, so that tasks can be averaged: runs by label, then by task."""

    scale: str
    scores: dict[str, dict[str, np.ndarray]]
    tasks: list[str]

    def is_complete(self, label: str) -> bool:
        """Whether a learner ran on every task."""
        return len(self.scores[label]) == len(self.tasks)


def withheld(study: Study, known: Baselines) -> str | None:
    """Why agents have no score over tasks; None where they have one."""
    places = {place(line) for line in study.lines}
    lacking = sorted({task for task, _ in places - known.truth.keys()})
    if lacking:
        return (
            "scores over tasks are not shown: they need one SAC on the true reward for each task "
            f"and number of steps, to divide by; there is none on {', '.join(lacking)}."
        )
    low = sorted({t for t, n in places if not clearly_above(final(known.truth[t, n]), np.zeros(1))})
    if low and not _all_normalized(places, known):
        return (
            "scores over tasks are not shown: SAC's return is not clearly above 0 on "
            f"{', '.join(low)}, and normalized returns are not there for every task."
        )
    return None


def _all_normalized(places: set[Place], known: Baselines) -> bool:
    return known.normalizes and places <= known.random.keys()


def comparison(study: Study, known: Baselines) -> Comparison | None:
    """Every learner's runs scaled by the baselines' means; None where `withheld` says why.

    The scale is `normalized` when every task has both baselines, else `ratio`. The baselines' own
    uncertainty is not in these scores.
    """
    places = {place(line) for line in study.lines}
    if not places or withheld(study, known):
        return None
    tops = {where: final(known.truth[where]) for where in places}
    if _all_normalized(places, known):
        scale = "(return - random) / (SAC - random)"
        bottoms = {where: final(known.random[where]).mean() for where in places}
    else:
        scale, bottoms = "return / SAC's return", dict.fromkeys(places, np.float64(0.0))
    found: dict[str, dict[str, np.ndarray]] = {}
    for line in study.lines:
        top, bottom = tops[place(line)].mean(), bottoms[place(line)]
        found.setdefault(line.label, {})[line.task] = (final(line) - bottom) / (top - bottom)
    return Comparison(scale, found, sorted({line.task for line in study.lines}))


# --- bandits ------------------------------------------------------------------------------------


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
