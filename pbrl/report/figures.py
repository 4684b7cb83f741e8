"""Every figure of a results folder, drawn in the house style and saved as PNG and PDF."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from pbrl.report import scores, statistics, style
from pbrl.report.study import Bandit, Line, Study, generator, listed
from pbrl.report.tables import check_regrets

MOST_LINES = 8  # per panel; with more on a task, every teacher gets its own panels
MOST_PANELS = 8  # per figure, which then fills a page; more go to a second one
BAND = "shaded: 95 % bootstrap interval"


def draw_all(study: Study, folder: Path, *, regrets: Sequence[str]) -> list[Path]:
    """Write all figures the study has data for; returns the files, PNG and PDF of each.

    Raises ConfigError for a regret that no finished bandit cell recorded.
    """
    check_regrets(study, regrets)
    written: list[Path] = []
    with style.house_style():
        if study.lines:
            written += _curves(study, folder, "returns", _return_curve, "true return")
            written += _curves(study, folder, "efficiency", _efficiency_curve, "true return")
        if any(line.success is not None for line in study.lines):
            written += _curves(study, folder, "success", _success_curve, "success rate")
        compared = scores.comparison(study)
        if compared is not None:
            written += _profiles(study, compared, folder)
        for regret in regrets:
            written += _regrets(study, folder, regret)
    return written


# --- curves of agents ---------------------------------------------------------------------------


def _return_curve(line: Line) -> tuple[np.ndarray, np.ndarray]:
    return line.steps, line.returns


def _success_curve(line: Line) -> tuple[np.ndarray, np.ndarray] | None:
    return None if line.success is None else (line.steps, line.success)


def _efficiency_curve(line: Line) -> tuple[np.ndarray, np.ndarray] | None:
    """Return of each run at the last evaluation with at most that many labels answered."""
    if line.labels.max() == 0:
        return None
    counts = np.unique(line.labels)
    last = [np.searchsorted(labels, counts, side="right") - 1 for labels in line.labels.T]
    columns = [r[np.maximum(i, 0)] for r, i in zip(line.returns.T, last, strict=True)]
    return counts, np.stack(columns, axis=-1)


Curve = Callable[[Line], tuple[np.ndarray, np.ndarray] | None]


def _curves(study: Study, folder: Path, name: str, curve: Curve, unit: str) -> list[Path]:
    """One panel per task (and teacher, where lines are many): mean over seeds and its interval."""
    styles, split = _styles(study), _is_split(study)
    drawn = [line for line in study.lines if curve(line) is not None]
    pages = _pages(list(_panels(drawn, split=split)))
    written = []
    for number, panels in enumerate(pages):
        figure, axes = style.grid(len(panels), columns=2)
        for axis, (title, lines) in zip(axes, panels, strict=True):
            style.title(axis, title)
            for line in lines:
                found = curve(line)
                assert found is not None
                shown = line.learner if split else line.label
                _draw(axis, *found, styles[shown], shown, name, line.task, line.teacher)
            if name == "efficiency":
                _draw_truth(axis, study, lines)
            axis.set_xlabel("labels answered" if name == "efficiency" else "environment steps")
            axis.set_ylabel(unit)
            axis.xaxis.set_major_formatter(style.short_number)
            axis.margins(x=0.02)
            if name == "success":
                axis.set_ylim(-0.02, 1.02)
        notes = [_seeds([line for _, lines in panels for line in lines], "seed"), *study.problems()]
        if name == "efficiency":
            notes.insert(1, "Each point: the last evaluation with no more labels answered.")
        style.finish(figure, axes, notes)
        written += style.save(figure, folder, _numbered(name, number, pages))
    return written


def _draw(
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


def _draw_truth(axis: Axes, study: Study, lines: Sequence[Line]) -> None:
    """The level that learning from the true reward reaches, as a black line across."""
    truth = next((t for x in lines if (t := scores.baseline(study, x, scores.GROUND_TRUTH))), None)
    if truth is not None:
        level = scores.final(truth.returns, truth.steps).mean()
        axis.axhline(level, color=style.BLACK, linewidth=1.1, label=f"{truth.label}, at its end")


def _is_split(study: Study) -> bool:
    """Whether lines are so many that each teacher gets its own panels, and learners the styles."""
    counts = Counter(line.task for line in study.lines)
    return max(counts.values(), default=0) > MOST_LINES and any(x.teacher for x in study.lines)


def _panels(lines: Sequence[Line], *, split: bool) -> Iterator[tuple[str, list[Line]]]:
    """(title, lines) of each panel, baselines first."""
    for task in dict.fromkeys(line.task for line in lines):
        here = sorted(
            (line for line in lines if line.task == task), key=lambda x: not scores.is_baseline(x)
        )
        teachers = dict.fromkeys(line.teacher for line in here if line.teacher)
        if not split or not teachers:
            yield task, here
            continue
        for teacher in teachers:
            yield f"{task}, {teacher} teacher", [x for x in here if x.teacher in ("", teacher)]


def _pages(panels: list[tuple[str, list[Line]]]) -> list[list[tuple[str, list[Line]]]]:
    return [panels[i : i + MOST_PANELS] for i in range(0, len(panels), MOST_PANELS)]


def _styles(study: Study) -> dict[str, style.LineStyle]:
    """By label, or by learner where teachers have their own panels."""
    split = _is_split(study)
    names = {(line.learner if split else line.label): line for line in study.lines}
    baselines = [name for name, line in names.items() if scores.is_baseline(line)]
    return style.line_styles(list(names), sorted(baselines, reverse=True))


def _numbered(name: str, number: int, pages: Sequence[object]) -> str:
    return name if len(pages) == 1 else f"{name}-{number + 1}"


def _seeds(lines: Sequence[Line | Bandit], noun: str) -> str:
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


# --- performance profiles -----------------------------------------------------------------------


def _profiles(study: Study, compared: scores.Comparison, folder: Path) -> list[Path]:
    """Share of runs above each score, averaged over tasks, a line per learner on all tasks."""
    styles = _styles(study)
    complete = {k: v for k, v in compared.scores.items() if len(v) == len(compared.tasks)}
    complete = {k: v for k, v in complete.items() if k != scores.RANDOM}
    if not complete:
        return []
    pooled = np.concatenate([run for v in complete.values() for run in v.values()])
    thresholds = np.linspace(min(0.0, pooled.min()), max(1.0, pooled.max()) * 1.02, 101)
    split, line_of = _is_split(study), {line.label: line for line in study.lines}
    teachers = list(dict.fromkeys(x.teacher for x in study.lines if x.teacher)) if split else [""]
    figure, axes = style.grid(len(teachers), columns=2)
    for axis, teacher in zip(axes, teachers, strict=True):
        for label in sorted(complete, key=lambda name: line_of[name].teacher != ""):
            if split and line_of[label].teacher not in ("", teacher):
                continue
            shown = line_of[label].learner if split else label
            samples = list(complete[label].values())
            _draw_profile(axis, thresholds, samples, styles[shown], shown, teacher)
        style.title(axis, f"{teacher} teacher" if split else "")
        axis.set_xlabel(f"score: {compared.scale}")
        axis.set_ylabel("share of runs above score")
        axis.set_ylim(-0.02, 1.02)
    tasks = f"{len(compared.tasks)} task" + ("s" if len(compared.tasks) > 1 else "")
    seeds = _seeds([x for x in study.lines if x.label in complete], "seed")
    seeds = seeds.replace("Mean of", f"{tasks},")
    left_out = sorted(set(compared.scores) - set(complete) - {scores.RANDOM})
    partial = [f"Not on every task, so not drawn: {'; '.join(left_out)}."] if left_out else []
    style.finish(figure, axes, [seeds, *partial, *study.problems()])
    return style.save(figure, folder, "profiles")


def _draw_profile(
    axis: Axes,
    thresholds: np.ndarray,
    samples: list[np.ndarray],
    look: style.LineStyle,
    label: str,
    *names: str,
) -> None:
    def profile(tasks: list[np.ndarray]) -> np.ndarray:
        return statistics.performance_profile(tasks, thresholds)

    axis.step(
        thresholds,
        profile(samples),
        where="post",
        color=look.color,
        linestyle=look.dash,
        marker=look.marker,
        markevery=(0.06, 0.2),
        label=label,
    )
    rng = generator("profile", *names, label)
    found = statistics.interval(profile, samples, rng=rng, tasks=len(samples))
    if found is not None:
        axis.fill_between(
            thresholds, *found, step="post", color=look.color, alpha=0.12, linewidth=0
        )


# --- regret -------------------------------------------------------------------------------------


def _regrets(study: Study, folder: Path, regret: str) -> list[Path]:
    """Two panels per problem, the same curves against duels on a linear and on a log axis."""
    known = [bandit for bandit in study.bandits if regret in bandit.regret]
    tasks = list(dict.fromkeys(bandit.task for bandit in known))
    if not tasks:
        return []
    styles = style.line_styles([bandit.label for bandit in known])
    per_page = MOST_PANELS // 2
    pages = [tasks[i : i + per_page] for i in range(0, len(tasks), per_page)]
    written = []
    for number, page in enumerate(pages):
        figure, axes = style.grid(2 * len(page), columns=2)
        for row, task in enumerate(page):
            here = [bandit for bandit in known if bandit.task == task]
            for axis, log in zip(axes[2 * row : 2 * row + 2], (False, True), strict=True):
                _regret_panel(axis, here, styles, regret, log=log)
        shown = [bandit for bandit in known if bandit.task in page]
        style.finish(figure, axes, [_seeds(shown, "repetition"), *study.problems()])
        written += style.save(figure, folder, _numbered(f"regret-{regret}", number, pages))
    return written


def _regret_panel(
    axis: Axes,
    bandits: Sequence[Bandit],
    styles: dict[str, style.LineStyle],
    regret: str,
    *,
    log: bool,
) -> None:
    """Cumulative regret; a thin gray line at each change, the lower bound C ln T in black.

    The linear panel is cut where lines that grow far above the others would flatten them; the
    logarithmic one shows all, over the last four decades of duels.
    """
    style.title(axis, bandits[0].task)
    for bandit in bandits:
        values = bandit.regret[regret]
        _draw(axis, bandit.duels, values, styles[bandit.label], bandit.label, regret, bandit.task)
    for i, change in enumerate(bandits[0].changes):
        axis.axvline(change, color="#B0B0B0", linewidth=0.8, zorder=0.5,
                     label="problem changes" if i == 0 else None)  # fmt: skip
    bound = bandits[0].lower_bound.get(regret)
    if bound is not None:
        duels = np.unique(np.concatenate([bandit.duels for bandit in bandits]))
        duels = duels[duels > 1]
        axis.plot(duels, bound * np.log(duels), color=style.BLACK, linewidth=1.1,
                  linestyle=(0, (1, 1)), label="lower bound C ln T")  # fmt: skip
    axis.set_xlabel("duels")
    axis.set_ylabel(f"cumulative {regret.replace('_', ' ')} regret")
    if log:
        style.logarithmic(axis)
        first = max(1.0, max(bandit.duels[-1] for bandit in bandits) / 1e4)
        axis.set_xlim(left=first)
        seen = [b.regret[regret].mean(axis=-1)[b.duels >= first] for b in bandits]
        axis.set_ylim(bottom=min((v[v > 0].min() for v in seen if (v > 0).any()), default=None))
    else:
        axis.xaxis.set_major_formatter(style.short_number)
        axis.yaxis.set_major_formatter(style.short_number)
        axis.margins(x=0.02)
        axis.set_ylim(0, _cut([bandit.regret[regret][-1].mean() for bandit in bandits]))


def _cut(ends: Sequence[float]) -> float | None:
    """Top of the linear axis: above the widest gap between final regrets, if over threefold."""
    levels = sorted(end for end in ends if end > 0)
    gaps = [(above / below, below) for below, above in pairwise(levels[1:])]
    widest, below = max(gaps, default=(0.0, 0.0))
    return 1.6 * below if widest > 3 else None
