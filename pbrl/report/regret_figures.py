"""Regret of dueling bandits against the number of duels."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from pbrl import errors
from pbrl.report import style
from pbrl.report.curves import MOST_PANELS, draw_mean, numbered, panel_size, runs_note
from pbrl.report.study import Bandit, Study

SLOPE = (
    "C ln T: for large T no algorithm that works on every such problem has a lower slope against "
    "ln T. Only the slope is drawn, from the lowest curve on; its height says nothing."
)
MOST_CHANGES = 40  # a drifting problem changes all the time; lines would fill the panel


def draw(study: Study, folder: Path, regret: str) -> list[Path]:
    """Two panels per problem, the same curves against duels on a linear and on a log axis."""
    known = [bandit for bandit in study.bandits if regret in bandit.regret]
    tasks = list(dict.fromkeys(bandit.task for bandit in known))
    if not tasks:
        return []
    styles = style.line_styles([bandit.label for bandit in study.bandits])
    per_page = MOST_PANELS // 2
    pages = [tasks[i : i + per_page] for i in range(0, len(tasks), per_page)]
    written = []
    for number, page in enumerate(pages):
        most = max(sum(bandit.task == task for bandit in known) for task in page)
        figure, axes = style.grid(2 * len(page), columns=2, **panel_size(most))
        for row, task in enumerate(page):
            here = [bandit for bandit in known if bandit.task == task]
            here.sort(key=lambda bandit: -bandit.regret[regret][-1].mean())  # as lines end
            for axis, log in zip(axes[2 * row : 2 * row + 2], (False, True), strict=True):
                _regret_panel(axis, here, styles, regret, log=log)
        shown = [bandit for bandit in known if bandit.task in page]
        notes = [runs_note(shown, "repetition")]
        if any("cut at the top" in axis.get_xlabel() for axis in axes):
            notes.append("Where curves are cut, they are drawn without interval or runs.")
        if any(bandit.lower_bound.get(regret) for bandit in shown):
            notes.append(SLOPE)
        style.finish(figure, axes, [*notes, *study.notes_on(study.bandits), *study.problems()])
        written += style.save(figure, folder, numbered(f"regret-{regret}", number, pages))
    return written


def _regret_panel(
    axis: Axes,
    bandits: Sequence[Bandit],
    styles: dict[str, style.LineStyle],
    regret: str,
    *,
    log: bool,
) -> None:
    """Cumulative regret; a thin gray line at each change.

    The linear panel is cut where lines that grow far above the others would flatten them, and says
    how many; the logarithmic one shows all, over the last four decades of duels, and the slope of
    the lower bound.
    """
    style.title(axis, bandits[0].task)
    ends = [bandit.regret[regret][-1].mean() for bandit in bandits]
    top = None if log else _cut(ends)
    for bandit, end in zip(bandits, ends, strict=True):
        draw_mean(
            axis,
            bandit.duels,
            bandit.regret[regret],
            styles[bandit.label],
            bandit.label,
            among=len(bandits),
            least=0.0,
            shaded=top is None or end <= top,  # the intervals of a cut curve would fill the panel
        )
    changes = bandits[0].changes if len(bandits[0].changes) <= MOST_CHANGES else ()
    for i, change in enumerate(changes):
        axis.axvline(change, color="#B0B0B0", linewidth=0.8, zorder=0.5,
                     label="problem changes" if i == 0 else None)  # fmt: skip
    axis.set_xlabel("duels")
    axis.set_ylabel(f"cumulative {regret.replace('_', ' ')} regret")
    if log:
        bound = bandits[0].lower_bound.get(regret)
        if bound:
            _draw_slope(axis, bandits, regret, bound)
        style.logarithmic(axis)
        end = max(bandit.duels[-1] for bandit in bandits)
        first = max(1.0, end / 1e4)
        axis.set_xlim(first, end * 1.15)
        seen = [b.regret[regret].mean(axis=-1)[b.duels >= first] for b in bandits]
        axis.set_ylim(bottom=min((v[v > 0].min() for v in seen if (v > 0).any()), default=None))
    else:
        axis.xaxis.set_major_formatter(style.short_number)
        axis.yaxis.set_major_formatter(style.short_number)
        axis.margins(x=0.02)
        axis.set_ylim(0, top)
        if top is not None:
            cut = sum(end > top for end in ends)
            axis.set_xlabel(f"duels ({cut} of {errors.count(len(ends), 'curve')} cut at the top)")


def _draw_slope(axis: Axes, bandits: Sequence[Bandit], regret: str, bound: float) -> None:
    """How fast C ln T grows over the last tenfold of duels, from where the lowest curve is."""
    end = max(bandit.duels[-1] for bandit in bandits)
    duels = np.geomspace(end / 10, end, 50)
    means = [(bandit.duels, bandit.regret[regret].mean(axis=-1)) for bandit in bandits]
    lowest = min(np.interp(duels[0], x, y) for x, y in means)
    axis.plot(duels, lowest + bound * np.log(duels / duels[0]), color=style.BLACK, linewidth=1.3,
              linestyle=(0, (1, 1)), zorder=3, label="slope of C ln T")  # fmt: skip


def _cut(ends: Sequence[float]) -> float | None:
    """Top of the linear axis: above the widest gap between final regrets, if over threefold."""
    levels = sorted(end for end in ends if end > 0)
    gaps = [(above / below, below) for below, above in pairwise(levels[1:])]
    widest, below = max(gaps, default=(0.0, 0.0))
    return 1.6 * below if widest > 3 else None
