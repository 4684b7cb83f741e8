"""What all curves share: a mean with its band or its runs, and the note that says which."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pbrl.report import coverage, statistics, style
from pbrl.report.names import listed
from pbrl.report.study import Bandit, Line

MOST_LINES = 8  # that a panel of the usual size holds
MOST_PANELS = 8  # per figure, which then fills a page; more go to a second one


def draw_mean(
    axis: Axes,
    x: np.ndarray,
    values: np.ndarray,
    look: style.LineStyle,
    label: str,
    *,
    among: int,
    least: float = -np.inf,
    shaded: bool = True,
) -> None:
    """Mean of `values` [points, runs] over runs, with its interval, or the runs where few.

    The more lines it is among, the lighter is what surrounds it. `least` is the smallest value that
    the mean can have.
    """
    light = min(1.0, MOST_LINES / among)
    axis.plot(x, values.mean(axis=-1), label=label, **look.line)
    if not shaded:
        return
    if values.shape[-1] >= statistics.ENOUGH_RUNS:
        low, high = statistics.mean_interval([values])
        axis.fill_between(
            x, np.maximum(low, least), high, color=look.color, alpha=0.15 * light, linewidth=0
        )
    elif values.shape[-1] > 1:
        axis.plot(x, values, color=look.color, linewidth=0.6, alpha=0.55 * light)


def draw_training(axis: Axes, lines: Sequence[Line], looks: Sequence[style.LineStyle]) -> None:
    """Returns of the training episodes since the evaluation before, thin and dotted."""
    how: dict[str, Any] = {"linewidth": 0.9, "linestyle": (0, (0.8, 1.4))}
    for line, look in zip(lines, looks, strict=True):
        known = np.isfinite(line.training)
        number = known.sum(axis=-1)
        mean = np.where(known, line.training, 0).sum(axis=-1)[number > 0] / number[number > 0]
        axis.plot(line.steps[number > 0], mean, color=look.color, **how)
    if any(np.isfinite(line.training).any(axis=-1).sum() > 1 for line in lines):
        axis.plot([], [], color=style.GRAY, label="in training", **how)


def panel_size(lines: int) -> dict[str, Any]:
    """How large panels of at most so many lines are."""
    return {"height": style.PANEL[1] * (1 if lines <= MOST_LINES else 1.6),
            "wide": lines > MOST_LINES}  # fmt: skip


def numbered(name: str, number: int, pages: Sequence[object]) -> str:
    """The file name of one of several pages."""
    return name if len(pages) == 1 else f"{name}-{number + 1}"


def runs_note(lines: Sequence[Line | Bandit], noun: str) -> str:
    """How many runs stand behind the lines, what is drawn of them, and what a band is worth."""
    counts = sorted({line.runs for line in lines})
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    text = f"Mean of {number} {noun}" + ("" if counts == [1] else "s")
    few = [x for x in lines if x.runs < statistics.ENOUGH_RUNS]
    if len(few) == len(lines):
        return text + (f"; thin: each {noun}." if counts[-1] > 1 else ".")
    fewest = min(count for count in counts if count >= statistics.ENOUGH_RUNS)
    text += "; shaded: 95 % t interval"
    worth = coverage.note("mean", fewest)
    text += f" ({worth})" if worth else ""
    if few:
        named = listed([f"{x.label} on {x.task} ({x.runs})" for x in few])
        text += f"; thin lines: each {noun}, where fewer than {statistics.ENOUGH_RUNS}: {named}"
    return text + "."
