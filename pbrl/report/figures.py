"""Every figure of a results folder, drawn in the house style and saved as PNG and PDF."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from pbrl.report import regret_figures, scores, statistics, style
from pbrl.report.curves import MOST_LINES, MOST_PANELS, draw_mean, numbered, runs_note
from pbrl.report.study import Line, Study
from pbrl.report.tables import chosen_regrets


def draw_all(study: Study, folder: Path, *, regrets: Sequence[str] | None) -> list[Path]:
    """Write all figures the study has data for; returns the files, PNG and PDF of each.

    Raises ConfigError for a regret that no finished bandit cell recorded.
    """
    shown = chosen_regrets(study, regrets)
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
        for regret in shown:
            written += regret_figures.draw(study, folder, regret)
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
                draw_mean(axis, *found, styles[shown], shown)
            if name == "efficiency":
                _draw_truth(axis, study, lines)
            axis.set_xlabel("labels answered" if name == "efficiency" else "environment steps")
            axis.set_ylabel(unit)
            axis.xaxis.set_major_formatter(style.short_number)
            axis.margins(x=0.02)
            if name == "success":
                axis.set_ylim(-0.02, 1.02)
        notes = [
            runs_note([line for _, lines in panels for line in lines], "seed"),
            *study.problems(),
        ]
        if name == "efficiency":
            notes.insert(1, "Each point: the last evaluation with no more labels answered.")
        style.finish(figure, axes, notes)
        written += style.save(figure, folder, numbered(name, number, pages))
    return written


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
            _draw_profile(axis, thresholds, samples, styles[shown], shown)
        style.title(axis, f"{teacher} teacher" if split else "")
        axis.set_xlabel(f"score: {compared.scale}")
        axis.set_ylabel("share of runs above score")
        axis.set_ylim(-0.02, 1.02)
    tasks = f"{len(compared.tasks)} task" + ("s" if len(compared.tasks) > 1 else "")
    runs = sorted({run.shape[-1] for v in complete.values() for run in v.values()})
    number = str(runs[0]) if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    seeds = f"{tasks}, {number} seed" + ("." if runs == [1] else "s each.")
    if runs[-1] >= statistics.ENOUGH_RUNS:
        seeds = f"{seeds[:-1]}; shaded: Wilson's 95 % interval at each score, from 5 seeds on."
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
) -> None:
    share = statistics.performance_profile(samples, thresholds)
    axis.step(thresholds, share, where="post", label=label, **look.line)
    if min(task.shape[-1] for task in samples) >= statistics.ENOUGH_RUNS:
        low, high = statistics.profile_interval(samples, thresholds)
        axis.fill_between(
            thresholds, low, high, step="post", color=look.color, alpha=0.12, linewidth=0
        )
