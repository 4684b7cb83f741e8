"""Near-optimal policies of learners in tabular worlds, against labels."""

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from pbrl.report import style, tabular
from pbrl.report.curves import MOST_PANELS, numbered, panel_size
from pbrl.report.names import natural
from pbrl.report.study import Study, Tabular


def draw(study: Study, folder: Path) -> list[Path]:
    """Share of near-optimal policies against labels, a panel per world and teacher."""
    drawn = [one for one in study.tabular if one.known("near_optimal").size]
    if not drawn:
        return []
    styles = style.line_styles(sorted({one.learner for one in drawn}, key=natural))
    panels: dict[str, list[Tabular]] = defaultdict(list)
    for one in sorted(drawn, key=lambda one: natural(f"{one.task} {one.teacher}")):
        panels[_panel(one)].append(one)
    titles = list(panels)
    pages = [titles[i : i + MOST_PANELS] for i in range(0, len(titles), MOST_PANELS)]
    written = []
    for number, page in enumerate(pages):
        figure, axes = style.grid(len(page), columns=2, **panel_size(len(styles)))
        for axis, title in zip(axes, page, strict=True):
            style.title(axis, title)
            _curves(axis, panels[title], styles)
        runs = sorted({one.runs for title in page for one in panels[title]})
        count = str(runs[0]) if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
        notes = [f"Of {count} repetitions; bars: Wilson's 95 % interval."]
        style.finish(figure, axes, [*notes, *study.notes_on(drawn), *study.problems()])
        written += style.save(figure, folder, numbered("tabular", number, pages))
    return written


def _panel(one: Tabular) -> str:
    said = tabular.setting(one)
    parts = [f"{one.task}, {one.teacher} teacher"]
    parts += ["no absorbing steps"] * (said["absorbing"] is not None)
    parts += [f"segments of {said['steps']}"] * (said["steps"] is not None)
    return ", ".join(parts)


def _curves(axis: Axes, lines: Sequence[Tabular], styles: dict[str, style.LineStyle]) -> None:
    learners: dict[str, list[Tabular]] = defaultdict(list)
    for one in lines:
        learners[one.learner].append(one)
    for place, (learner, points) in enumerate(learners.items()):
        points = sorted(points, key=lambda one: one.config["labels"])
        found = [tabular.share(one.known("near_optimal")) for one in points]
        # Bars of several learners at one number of labels stand side by side.
        shift = 1.06 ** (place - (len(learners) - 1) / 2)
        labels = np.array([one.config["labels"] for one in points]) * shift
        look = styles[learner]
        axis.plot(labels, [x.point for x in found], label=learner,
                  **(look.line | {"markevery": None}))  # fmt: skip
        for x, share in zip(labels, found, strict=True):
            if share.low is not None and share.high is not None:
                axis.plot([x, x], [share.low, share.high], color=look.color, linewidth=0.8)
    axis.set_xscale("log")
    counts = sorted({one.config["labels"] for one in lines})
    axis.set_xticks(counts, [style.short_number(n) for n in counts])
    axis.minorticks_off()
    low, high = counts[0], counts[-1]
    room = math.sqrt(high / low) ** 0.15 * 1.2
    axis.set_xlim(low / room, high * room)
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlabel("labels")
    axis.set_ylabel("near-optimal policies")
