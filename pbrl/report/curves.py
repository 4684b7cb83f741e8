"""What all curves share: a mean with its band, and the note that says how many runs it has."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from pbrl.report import statistics, style
from pbrl.report.names import listed
from pbrl.report.study import Bandit, Line, generator

MOST_LINES = 8  # that a panel of the usual size holds
MOST_PANELS = 8  # per figure, which then fills a page; more go to a second one
BAND = "shaded: 95 % bootstrap interval"


def draw_mean(
    axis: Axes,
    x: np.ndarray,
    values: np.ndarray,
    look: style.LineStyle,
    label: str,
    *names: str,
) -> None:
    """Mean of `values` [points, runs] over runs, with its interval when there are three or more."""
    axis.plot(
        x,
        values.mean(axis=-1),
        color=look.color,
        linestyle=look.dash,
        marker=look.marker,
        markevery=(0.06, 0.2),
        label=label,
    )
    found = statistics.interval(_mean, [values], rng=generator(*names, label))
    if found is not None:
        axis.fill_between(x, *found, color=look.color, alpha=0.15, linewidth=0)


def _mean(samples: list[np.ndarray]) -> np.ndarray:
    return samples[0].mean(axis=-1)


def numbered(name: str, number: int, pages: Sequence[object]) -> str:
    """The file name of one of several pages."""
    return name if len(pages) == 1 else f"{name}-{number + 1}"


def runs_note(lines: Sequence[Line | Bandit], noun: str) -> str:
    """How many runs stand behind the lines, and which lines have no interval."""
    counts = sorted({line.runs for line in lines})
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    plural = "" if counts == [1] else "s"
    text = f"Mean of {number} {noun}{plural}"
    few = [x for x in lines if x.runs < statistics.FEWEST_RUNS]
    if len(few) == len(lines):
        return f"{text}: too few for an interval, none is drawn."
    if few:
        named = listed([f"{x.label} on {x.task} ({x.runs})" for x in few])
        return f"{text}; {BAND}, not drawn below 3 {noun}s: {named}."
    return f"{text}; {BAND}."
