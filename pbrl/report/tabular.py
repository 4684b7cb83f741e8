"""Learners in tabular worlds: the table, and pairs of learners on the same data."""

import math
from collections import defaultdict
from itertools import combinations
from typing import Any

import numpy as np

from pbrl.report import scores, statistics
from pbrl.report.formats import Table, Value
from pbrl.report.names import natural
from pbrl.report.study import Study, Tabular

CLIP = (-1.0, 1.0)  # of scaled returns: how bad a bad policy is says little
# What a repetition records, and how it is called in the table; near_optimal and scaled_return apart
COLUMNS = {
    "accuracy": "accuracy",
    "cross_entropy": "cross-entropy",
    "entropy": "teacher's entropy",
    "calibration": "calibration error",
    "folded_cross_entropy": "k-fold cross-entropy",
    "starc": "STARC distance",
    "max_advantage": "max advantage",
    "best_loop": "best loop",
    "ties": "ties",
    "undecided": "undecided",
    "noisy": "errors",
    "wrong": "against the return",
}
COUNTS = ("ties", "undecided", "noisy", "wrong")
POSITIVE = (0.0, math.inf)
WITHIN = {"accuracy": (0.0, 1.0), "calibration": (0.0, 1.0), "starc": (0.0, 2.0)}
WITHIN |= {"max_advantage": (-math.inf, math.inf), "best_loop": (-math.inf, math.inf)}
MEANINGS = {
    "near-optimal": "share of repetitions with a scaled return of at least 0.9, with Wilson's 95 % "
    "interval.",
    "scaled return": "(J - J of random actions) / (J of the best policy - J of random actions), J "
    "the exact true return from the start; clipped to [-1, 1] before averaging.",
    "accuracy": "share of new pairs whose likelier side by the teacher's odds was found likelier.",
    "cross-entropy": "of the odds learned, expected over the teacher's labels of new pairs; the "
    "teacher's entropy is the least it can be.",
    "calibration error": "expected distance between odds and true odds, in ten bins.",
    "k-fold cross-entropy": "per label, predicted by what the other folds teach.",
    "STARC distance": "between the reward learned and the true one, 0 to 2.",
    "max advantage": "mean over states of max g(s, a); 0 for the true advantage.",
    "best loop": "highest sum of g around a loop of one or two steps; above 0 it pays, taken for a "
    "reward, to go round forever.",
    "ties": "labels that say so, mean per repetition; undecided: pairs of equal scores.",
    "errors": "labels that the teacher finds less likely than their opposite.",
    "against the return": "labels that contradict the true return.",
}


def table(study: Study) -> Table:
    """One row per world, teacher, learner and size of data."""
    rows = [_row(one) for one in study.tabular]
    keys = ("world", "teacher", "labels", "absorbing", "steps", "learner")
    rows.sort(key=lambda row: [natural(str(row.get(key))) for key in keys])
    found = Table("tabular", "Tabular worlds", rows)
    notes = [f"{column}: {text}" for column, text in MEANINGS.items() if column in found.columns]
    notes.append(
        "other [low, high]: 95 % t interval over repetitions, each with its own pairs and, where "
        "worlds are drawn, its own world."
    )
    notes += study.notes_on(study.tabular)
    return Table(found.name, found.title, rows, notes)


def setting(one: Tabular) -> dict[str, Value]:
    config = one.config
    return {
        "world": one.task,
        "teacher": one.teacher,
        "labels": int(config["labels"]),
        "absorbing": None if config["absorbing"] else "left out",
        "steps": None if config["segment_length"] == 3 else int(config["segment_length"]),
    }


def _row(one: Tabular) -> dict[str, Value]:
    row = setting(one) | {"learner": one.learner, "repetitions": one.runs}
    near, scaled = one.known("near_optimal"), one.known("scaled_return")
    if near.size:
        row["near-optimal"] = share(near)
        row["scaled return"] = scores.estimated_mean(np.clip(scaled, *CLIP), within=CLIP)
    for key, column in COLUMNS.items():
        values = one.known(key)
        if values.size and (key not in COUNTS or values.any()):
            row[column] = scores.estimated_mean(values, within=WITHIN.get(key, POSITIVE))
    return row


def share(runs: np.ndarray) -> scores.Estimate:
    half = np.array([0.5])
    return scores.estimate(
        runs.mean(), [runs], lambda: _first(statistics.profile_interval([runs], half)), (0, 1)
    )


def _first(interval: statistics.Interval) -> statistics.Interval:
    return interval[0][0], interval[1][0]


def pairs(study: Study) -> Table:
    """Two learners on the same worlds, pairs and labels: what one does better, and how surely."""
    families: dict[tuple[Any, ...], list[Tabular]] = defaultdict(list)
    for one in study.tabular:
        families[tuple(setting(one).items())].append(one)
    rows: list[dict[str, Value]] = []
    for head, members in families.items():
        members = sorted(members, key=lambda one: natural(one.learner))
        for a, b in combinations(members, 2):
            if a.runs == b.runs:
                rows.append({**dict(head), "A": a.learner, "B": b.learner, **_difference(a, b)})
    rows = [row for row in rows if len(row) > len(setting(study.tabular[0])) + 2]
    keys = ("A", "B", "world", "teacher", "labels", "absorbing", "steps")
    rows.sort(key=lambda row: [natural(str(row.get(key))) for key in keys])
    notes = [
        "A - B, over repetitions in which both learn from the same pairs in the same world; "
        "[low, high]: 95 % t interval.",
        "p: Wilcoxon's signed-rank test of the scaled returns, clipped to [-1, 1], two-sided; not "
        "corrected for the number of rows.",
    ]
    return Table("pairs", "Learners on the same labels", rows, notes)


def _difference(a: Tabular, b: Tabular) -> dict[str, Value]:
    found: dict[str, Value] = {}
    near = a.values["near_optimal"] - b.values["near_optimal"]
    scaled = np.clip(a.values["scaled_return"], *CLIP) - np.clip(b.values["scaled_return"], *CLIP)
    near, scaled = near[~np.isnan(near)], scaled[~np.isnan(scaled)]
    if not near.size:
        return found
    found["near-optimal"] = scores.estimated_mean(near, within=(-1, 1))
    found["scaled return"] = scores.estimated_mean(scaled, within=(-2, 2))
    found["p"] = wilcoxon(scaled)
    return found


def wilcoxon(differences: np.ndarray) -> float | None:
    """p of the signed-rank test, two-sided; None where nothing differs beyond rounding."""
    from scipy import stats  # takes as long as all else that a table imports

    moved = np.where(np.abs(differences) < 1e-9, 0, differences)
    return float(stats.wilcoxon(moved).pvalue) if moved.any() else None
