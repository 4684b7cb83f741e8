"""Every figure of a results folder, drawn in the house style and saved as PNG and PDF."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from pbrl.report import regret_figures, scores, statistics, style, tabular_figures
from pbrl.report.curves import (
    MOST_LINES,
    MOST_PANELS,
    draw_mean,
    draw_training,
    numbered,
    panel_size,
    runs_note,
)
from pbrl.report.study import Line, Study
from pbrl.report.tables import chosen_regrets


def draw_all(study: Study, folder: Path, *, regrets: Sequence[str] | None) -> list[Path]:
    """Write all figures the study has data for; returns the files, PNG and PDF of each.

    Figures that an earlier call left in the folder and that are not written again are removed.
    Raises ConfigError for a regret that no finished bandit cell recorded.
    """
    shown = chosen_regrets(study, regrets)
    known = scores.baselines(study)
    written: list[Path] = []
    with style.house_style():
        written += _curves(study, known, folder, RETURNS)
        written += _curves(study, known, folder, EFFICIENCY)
        written += _curves(study, known, folder, SUCCESS)
        compared = scores.comparison(study, known)
        if compared is not None:
            written += _profiles(study, compared, folder)
        for regret in shown:
            written += regret_figures.draw(study, folder, regret)
        written += tabular_figures.draw(study, folder)
    style.remove_others(folder, written)
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


@dataclass(frozen=True)
class _Kind:
    """One kind of figure: its file's name, the curve it draws of a line, its axes."""

    name: str
    curve: Callable[[Line], tuple[np.ndarray, np.ndarray] | None]
    unit: str
    against: str = "environment steps"


RETURNS = _Kind("returns", _return_curve, "true return")
SUCCESS = _Kind("success", _success_curve, "success rate")
EFFICIENCY = _Kind("efficiency", _efficiency_curve, "true return", "labels answered")


def _curves(study: Study, known: scores.Baselines, folder: Path, kind: _Kind) -> list[Path]:
    """One panel per task (and teacher, where lines are many): mean over seeds and its interval."""
    styles, split = _styles(study), _is_split(study)
    drawn = [line for line in study.lines if kind.curve(line) is not None]
    pages = _pages(list(_panels(drawn, split=split)))
    written = []
    for number, panels in enumerate(pages):
        most = max(len(lines) for _, lines in panels)
        figure, axes = style.grid(len(panels), columns=2, **panel_size(most))
        for axis, (title, lines) in zip(axes, panels, strict=True):
            style.title(axis, title)
            for line in lines:
                found = kind.curve(line)
                assert found is not None
                shown = line.learner if split else line.label
                draw_mean(axis, *found, styles[shown], shown, among=len(lines))
            if kind is RETURNS:
                looks = [styles[line.learner if split else line.label] for line in lines]
                draw_training(axis, lines, looks)
            if kind is EFFICIENCY:
                _draw_truth(axis, known, lines, styles)
            axis.set_xlabel(_against(kind, lines))
            axis.set_ylabel(kind.unit)
            axis.xaxis.set_major_formatter(style.short_number)
            axis.margins(x=0.02)
            if kind is SUCCESS:
                axis.set_ylim(-0.02, 1.02)
        here = [line for _, lines in panels for line in lines]
        notes = [runs_note(here, "seed")]
        if kind is EFFICIENCY:
            notes.append("Each point: the last evaluation with no more labels answered.")
        if kind is RETURNS and any(np.isfinite(line.training).any() for line in here):
            notes.append("In training: mean of the episodes since the evaluation before.")
        if kind is RETURNS and all("return" in line.last for line in here):
            notes.append("Scores in tables are of one more evaluation, after the last step.")
        style.finish(figure, axes, [*notes, *study.notes_on(here), *study.problems()])
        written += style.save(figure, folder, numbered(kind.name, number, pages))
    return written


def _against(kind: _Kind, lines: Sequence[Line]) -> str:
    """What the horizontal axis counts, and how many simulator steps each stands for."""
    repeats = sorted({line.repeat for line in lines})
    if kind is EFFICIENCY or repeats == [1]:
        return kind.against
    return f"{kind.against} (x {' or '.join(map(str, repeats))} simulator steps)"


def _draw_truth(
    axis: Axes,
    known: scores.Baselines,
    lines: Sequence[Line],
    styles: dict[str, style.LineStyle],
) -> None:
    """The level that learning from the true reward reaches, as a line across in its style."""
    found = {scores.place(line): known.truth.get(scores.place(line)) for line in lines}
    for truth in found.values():
        if truth is not None:
            look = styles[truth.label]
            level = scores.final(truth).mean()
            axis.axhline(level, color=look.color, linestyle=look.dash, linewidth=1.1,
                         label=f"{truth.label}, at its end")  # fmt: skip


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
    styles, split = _styles(study), _is_split(study)
    line_of = {line.label: line for line in study.lines}
    wanted = [x for x in compared.scores if not scores.is_random(line_of[x])]
    complete = {x: compared.scores[x] for x in wanted if compared.is_complete(x)}
    if not complete:
        return []
    pooled = np.concatenate([run for v in complete.values() for run in v.values()])
    thresholds = np.linspace(min(0.0, pooled.min()), max(1.0, pooled.max()) * 1.02, 101)
    teachers = list(dict.fromkeys(x.teacher for x in study.lines if x.teacher)) if split else [""]
    panels = [
        [x for x in sorted(complete, key=lambda x: line_of[x].asks)
         if not split or line_of[x].teacher in ("", teacher)]
        for teacher in teachers
    ]  # fmt: skip
    most = max(map(len, panels))
    shaded = most <= MOST_LINES  # more intervals would hide each other
    figure, axes = style.grid(len(panels), columns=2, **panel_size(most))
    for axis, teacher, labels in zip(axes, teachers, panels, strict=True):
        for label in labels:
            shown = line_of[label].learner if split else label
            samples = list(complete[label].values())
            _draw_profile(axis, thresholds, samples, styles[shown], shown, shaded=shaded)
        style.title(axis, f"{teacher} teacher" if split else "")
        axis.set_xlabel(f"score: {compared.scale}")
        axis.set_ylabel("share of runs above score")
        axis.set_ylim(-0.02, 1.02)
    tasks = f"{len(compared.tasks)} task" + ("s" if len(compared.tasks) > 1 else "")
    runs = sorted({run.shape[-1] for v in complete.values() for run in v.values()})
    number = str(runs[0]) if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    seeds = f"{tasks}, {number} seed" + ("." if runs == [1] else "s each.")
    if shaded and runs[-1] >= statistics.ENOUGH_RUNS:
        seeds = f"{seeds[:-1]}; shaded: Wilson's 95 % interval at each score, from 5 seeds on."
    left_out = sorted(set(wanted) - set(complete))
    partial = [f"Not on every task, so not drawn: {'; '.join(left_out)}."] if left_out else []
    style.finish(figure, axes, [seeds, *partial, *study.problems()])
    return style.save(figure, folder, "profiles")


def _draw_profile(
    axis: Axes,
    thresholds: np.ndarray,
    samples: list[np.ndarray],
    look: style.LineStyle,
    label: str,
    *,
    shaded: bool,
) -> None:
    share = statistics.performance_profile(samples, thresholds)
    axis.step(thresholds, share, where="post", label=label, **look.line)
    if shaded and min(task.shape[-1] for task in samples) >= statistics.ENOUGH_RUNS:
        low, high = statistics.profile_interval(samples, thresholds)
        axis.fill_between(
            thresholds, low, high, step="post", color=look.color, alpha=0.08, linewidth=0
        )
