"""How often each interval of the report holds the true value, measured by simulation.

    python tests/benchmarks/interval_coverage.py [--studies 2000] [--write]

Nominal is 95 %. A study has 3 to 50 runs on each of 1 to 4 tasks whose scores are drawn from

    normal      mean 0, standard deviation 1
    heavy       Student's t with 2.5 degrees of freedom
    lognormal   sigma 1
    failing     0.9, but 0.1 for one run in five, with standard deviation 0.05

and shifted by half a standard deviation from task to task. The percentile bootstrap, expanded for
few runs (Hesterberg 2015), is measured beside the intervals in use, as the reason why it is not.
P(A > B) is measured where B's runs are lower by as much as makes it 0.5, 0.7, 0.9 or 0.97 for
normal scores. `--write` puts the table where the report reads it, `pbrl/report/coverage.csv`; its
standard error is at most 0.011. Ten minutes on one core.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from pbrl.report import coverage, scores, statistics

SEED = 20_240_229
RUNS, TASKS = (3, 4, 5, 7, 10, 20, 50), (1, 2, 3, 4)
BOOTSTRAP_RUNS = (3, 5, 10)
SHARES = np.array([0.05, 0.25, 0.5, 0.75, 0.95])  # of runs below the thresholds of a profile
CHANCES = (0.5, 0.7, 0.9, 0.97)

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
DISTRIBUTIONS: dict[str, tuple[Draw, float]] = {  # with the standard deviation
    "normal": (lambda rng, shape: rng.normal(size=shape), 1.0),
    "heavy": (lambda rng, shape: rng.standard_t(2.5, size=shape), 5**0.5),
    "lognormal": (lambda rng, shape: rng.lognormal(size=shape), ((np.e - 1) * np.e) ** 0.5),
    "failing": (
        lambda rng, shape: (
            np.where(rng.random(shape) < 0.2, 0.1, 0.9) + 0.05 * rng.normal(size=shape)
        ),
        0.324,
    ),
}


def study(name: str, runs: int, tasks: int, rng: np.random.Generator, studies: int) -> list:
    """Scores of many studies at once: per task [studies, runs]."""
    draw, deviation = DISTRIBUTIONS[name]
    return [draw(rng, (studies, runs)) + 0.5 * k * deviation for k in range(tasks)]


def bootstrap(statistic: Callable, data: Sequence[np.ndarray], rng: np.random.Generator) -> tuple:
    """The expanded percentile interval, runs resampled within each task."""
    runs, tasks = data[0].shape[-1], len(data)
    t = stdtrit(tasks * (runs - 1), 0.975)
    tail = ndtr(-np.sqrt(runs / (runs - 1)) * t)
    resampled = []
    for _ in range(500):
        chosen = [rng.integers(runs, size=runs) for _ in data]
        resampled.append(
            statistic([task[:, rows] for task, rows in zip(data, chosen, strict=True)])
        )
    return tuple(np.quantile(resampled, [tail, 1 - tail], axis=0))


def held(interval: tuple[np.ndarray, np.ndarray], truth: np.ndarray | float) -> float:
    """The share of intervals that hold the truth; one that is not there does not."""
    return float(((interval[0] <= truth) & (truth <= interval[1])).mean())


CHOSEN = {
    "mean": (statistics.mean, statistics.mean_interval),
    "iqm": (statistics.iqm, statistics.iqm_interval),
    "optimality gap": (statistics.optimality_gap, statistics.gap_interval),
}
RESAMPLED = {
    "mean": statistics.mean,
    "iqm": statistics.iqm,
    "median": statistics.median,
}


def aggregates(name: str, tasks: int, studies: int) -> Iterator[coverage.Row]:
    """Mean, interquartile mean, median, optimality gap and profile."""
    rng = np.random.default_rng([SEED, tasks, list(DISTRIBUTIONS).index(name)])
    population = [task.ravel() for task in study(name, 1, tasks, rng, 1_000_000)]
    thresholds = np.quantile(np.concatenate(population), SHARES)
    shares = statistics.performance_profile(population, thresholds)[:, None]
    for runs in RUNS:
        data = study(name, runs, tasks, rng, studies)
        for statistic, (point, interval) in CHOSEN.items():
            yield coverage.Row(
                statistic, "t", name, tasks, runs, held(interval(data), point(population))
            )
        found = held(statistics.profile_interval(data, thresholds), shares)
        yield coverage.Row("profile", "Wilson", name, tasks, runs, found)
        for statistic, point in RESAMPLED.items() if runs in BOOTSTRAP_RUNS else ():
            found = held(bootstrap(point, data, rng), point(population))
            yield coverage.Row(statistic, "bootstrap", name, tasks, runs, found)


def relative(name: str, studies: int) -> Iterator[coverage.Row]:
    """Ratio to a baseline and normalized return, both baselines with as many runs."""
    rng = np.random.default_rng([SEED, 10, list(DISTRIBUTIONS).index(name)])
    draw, deviation = DISTRIBUTIONS[name]
    center = float(draw(rng, (1_000_000,)).mean())

    def sample(level: float, runs: int) -> np.ndarray:  # a coefficient of variation of 0.3
        return level * (1 + 0.3 * (draw(rng, (1, studies, runs)) - center) / deviation)

    for runs in RUNS:
        ours, top, bottom = sample(0.6, runs), sample(1.0, runs), sample(0.1, runs)
        for statistic, interval, truth in (
            ("ratio", scores.ratio_interval(ours, top), 0.6),
            ("normalized", scores.normalized_interval(ours[0], top[0], bottom[0]), 0.5 / 0.9),
        ):
            yield coverage.Row(statistic, "t", name, 1, runs, held(interval, truth))


def improvement(name: str, tasks: int, studies: int) -> Iterator[coverage.Row]:
    """P(A > B), the least coverage over `CHANCES`."""
    rng = np.random.default_rng([SEED, 20, tasks, list(DISTRIBUTIONS).index(name)])
    _, deviation = DISTRIBUTIONS[name]
    for runs in RUNS:
        found = []
        for chance in CHANCES:
            shift = 2**0.5 * ndtri(chance) * deviation
            large = np.sort(study(name, 1, 1, rng, 400_000)[0].ravel())
            other = study(name, 1, 1, rng, 400_000)[0].ravel()
            truth = float((np.searchsorted(large, other - shift) / large.size).mean())
            ours = study(name, runs, tasks, rng, studies)
            theirs = [task - shift for task in study(name, runs, tasks, rng, studies)]
            found.append(held(statistics.improvement_interval(ours, theirs), 1 - truth))
        yield coverage.Row("improvement", "Newcombe", name, tasks, runs, min(found))


def rows(studies: int) -> Iterator[coverage.Row]:
    """The whole table."""
    for name in DISTRIBUTIONS:
        for tasks in TASKS:
            yield from aggregates(name, tasks, studies)
            yield from improvement(name, tasks, studies)
        yield from relative(name, studies)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    found = sorted(rows(arguments.studies))
    path = Path(coverage.__file__).with_name("coverage.csv")
    with path.open("w", newline="") if arguments.write else sys.stdout as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(coverage.Row._fields)
        writer.writerows([*row[:-1], f"{row.coverage:.3f}"] for row in found)


if __name__ == "__main__":
    main()
