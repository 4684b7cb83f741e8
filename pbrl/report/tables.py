"""The tables of a results folder: what stands in them."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from pbrl.errors import ConfigError, StoreError, did_you_mean
from pbrl.report import coverage, formats, scores, statistics, tabular
from pbrl.report.formats import FORMATS, Table, Value
from pbrl.report.names import natural
from pbrl.report.scores import Estimate
from pbrl.report.study import Line, Study


def table_text(
    study: Study,
    *,
    format: str,
    strict: bool,
    regrets: Sequence[str] | None,
    room: int | None = None,
) -> str:
    """All tables of a study as text; see `pbrl.report.table`.

    Raises ConfigError for an unknown format or regret, StoreError with `strict` and problems.
    """
    if format not in FORMATS:
        raise ConfigError(f"unknown table format {format!r}; {did_you_mean(format, FORMATS)}")
    if strict and study.problems():
        raise StoreError(
            "the table is incomplete: " + ". ".join(study.problems()) + ". Run the suite again to "
            "finish it, or leave out --strict to see the table with these named"
        )
    tables = build(study, regrets=regrets)
    return FORMATS[format](tables) if room is None else formats.markdown(tables, room)


def chosen_regrets(study: Study, regrets: Sequence[str] | None) -> list[str]:
    """The asked regrets; by default average and weak, and copeland where average is undefined.

    Raises ConfigError for a regret that no bandit cell of the study recorded.
    """
    known = {name for bandit in study.bandits for name in bandit.regret}
    if regrets is None:
        undefined = any("average" not in bandit.regret for bandit in study.bandits)
        usual = ("average", "weak", "copeland") if undefined else ("average", "weak")
        return [name for name in usual if name in known]
    for regret in regrets:
        if regret not in known:
            raise ConfigError(f"no cell recorded regret {regret!r}; {did_you_mean(regret, known)}")
    return list(regrets)


def build(study: Study, *, regrets: Sequence[str] | None) -> list[Table]:
    """The tables a study has rows for, the excluded cells last."""
    known = scores.baselines(study)
    found = [
        _returns(study, known),
        _aggregates(scores.comparison(study, known)),
        _improvements(study),
        _bandits(study, chosen_regrets(study, regrets)),
        tabular.table(study),
        tabular.pairs(study),
        _left_out(study),
    ]
    return [one for one in found if one.rows]


# --- contents -----------------------------------------------------------------------------------

RATIO, RATIO_AVG, NORMALIZED = "ratio to SAC", "ratio, training average", "normalized"
OF_DUELS = {
    "resets": "restarts of a monitor, mean per repetition.",
    "false alarms": "restarts without a change; missed, delay: changes not noticed, and the duels "
    "until one was; means per repetition.",
    "correct": "share of repetitions that name a Copeland (Condorcet) winner.",
    "policy regret": "against the best single arm in hindsight.",
}
MEANINGS = {
    "simulator steps": "environment steps times action_repeat.",
    "undecided": "share of the pairs asked about whose two scores were equal: their label is the "
    "teacher's rule for draws, not a preference.",
    "noise": "share of labels, ties aside, that the teacher finds less likely than the opposite.",
    RATIO: "return divided by that of SAC trained on the true reward, same task and steps.",
    RATIO_AVG: "mean over evaluations, without the one before training, of the return divided by "
    "SAC's at the same step; empty where SAC's return is not clearly positive throughout.",
    NORMALIZED: "(return - random) / (SAC - random), all of the same task and steps.",
}
INTERVAL = (
    "[low, high]: 95 % t interval over seeds, of the baselines too where there are some; none "
    "below 3 seeds, and none where no seed differs from the others."
)


def _returns(study: Study, known: scores.Baselines) -> Table:
    rows = [_return_row(line, known) for line in study.lines]
    rows.sort(key=lambda row: [natural(str(row[key])) for key in ("task", "teacher", "learner")])
    found = Table("returns", "Return", rows)
    notes = [_score_note(study.lines)]
    notes += [f"{column}: {text}" for column, text in MEANINGS.items() if column in found.columns]
    notes += [*known.notes, *filter(None, [scores.withheld(study, known)])]
    notes += [INTERVAL, *_few_runs("mean", [line.runs for line in study.lines])]
    notes += study.notes_on(study.lines)
    return Table(found.name, found.title, rows, notes)


def _score_note(lines: Sequence[Line]) -> str:
    """What return and success are, as they are computed from what the cells recorded."""
    late = "evaluations in the last tenth of the steps, at least three where there are as many"
    have = [line for line in lines if "return" in line.last]
    if not have:
        return f"return, success: mean over seeds of the mean over {late}."
    numbers = [int(n) for line in have for n in line.last.get("episodes", ())]
    episodes = f" of {min(numbers)} episodes" if numbers else ""
    if numbers and max(numbers) > min(numbers):
        episodes = f" of {min(numbers)} to {max(numbers)} episodes"
    text = f"return, success: mean over seeds of a last evaluation{episodes}"
    return text + (f"; where it is missing, of {late}." if len(have) < len(lines) else ".")


def _few_runs(statistic: str, runs: Sequence[int], tasks: int = 1) -> list[str]:
    """What the mark means where it stands, and what intervals of so few runs cover."""
    bounded = [number for number in runs if number >= statistics.FEWEST_RUNS]
    if not bounded:
        return []
    enough, found = statistics.ENOUGH_RUNS, []
    if min(bounded) < enough:
        found.append(
            f"{formats.FEW}: fewer than {enough} runs; what happens to one run in five is in none "
            "of 3 runs half of the time."
        )
    worth = coverage.note(statistic, min(bounded), tasks)
    return found + ([f"{statistic}: {worth}."] if worth else [])


def _return_row(line: Line, known: scores.Baselines) -> dict[str, Value]:
    truth, random = (x.get(scores.place(line)) for x in (known.truth, known.random))
    success, answered = scores.final_success(line), float(line.labels[-1].mean())
    steps = int(line.config["steps"])
    return {
        "task": line.task,
        "learner": line.learner,
        "teacher": line.teacher,
        "seeds": line.runs,
        "steps": steps,
        "simulator steps": None if line.repeat == 1 else steps * line.repeat,
        "labels": (int(answered) if answered.is_integer() else answered) or None,
        "undecided": line.undecided,
        "noise": line.noise,
        "return": scores.estimated_mean(scores.final(line)),
        "success": None if success is None else scores.estimated_mean(success, within=(0, 1)),
        RATIO: scores.ratio(line, truth) if truth else None,
        RATIO_AVG: scores.ratio_avg(line, truth) if truth else None,
        NORMALIZED: (
            scores.normalized(line, truth, random)
            if known.normalizes and truth and random
            else None
        ),
    }


def _aggregates(compared: scores.Comparison | None) -> Table:
    """Each learner's aggregates over tasks."""
    rows: list[dict[str, Value]] = []
    if compared is None:
        return Table("aggregates", "Score over tasks", rows)
    for label, by_task in sorted(compared.scores.items(), key=lambda item: natural(item[0])):
        samples = list(by_task.values())
        head: dict[str, Value] = {
            "learner": label,
            "tasks": f"{len(samples)} of {len(compared.tasks)}",
            "seeds": min(sample.size for sample in samples),
        }
        rows.append(head | _aggregate(samples))
    runs = [sample.size for by_task in compared.scores.values() for sample in by_task.values()]
    tasks = min(len(by_task) for by_task in compared.scores.values())
    notes = [f"score of a run: {compared.scale}, the baselines taken as their mean over seeds."]
    if any("IQM" in row for row in rows):
        notes.append("IQM: mean of all runs without the lowest and highest quarter.")
    if any("median" in row for row in rows):
        notes.append(
            "median: of the tasks' means; without an interval, as none that was tried held for "
            "few runs."
        )
    notes += [
        "optimality gap: mean shortfall below 1, lower is better. seeds: the fewest on a task.",
        "[low, high]: 95 % t interval over the seeds of all tasks (Satterthwaite's degrees of "
        "freedom); as above otherwise.",
        *_few_runs("mean", runs, tasks),
    ]
    return Table("aggregates", "Score over tasks", rows, notes)


def _aggregate(samples: list[np.ndarray]) -> dict[str, Value]:
    """Mean and optimality gap; over several tasks also what differs from the mean only then."""
    found: dict[str, Value] = {}
    if len(samples) > 1:
        found["IQM"] = scores.estimate(
            statistics.iqm(samples), samples, lambda: statistics.iqm_interval(samples)
        )
    found["mean"] = scores.estimate(
        statistics.mean(samples), samples, lambda: statistics.mean_interval(samples)
    )
    if len(samples) > 2:
        found["median"] = float(statistics.median(samples))
    found["optimality gap"] = scores.estimate(
        statistics.optimality_gap(samples),
        samples,
        lambda: statistics.gap_interval(samples),
        within=(0, math.inf),
    )
    return found


def _improvements(study: Study) -> Table:
    """The chance that one learner beats another, at the same budget under the same teacher."""
    runs: dict[tuple[str, str], dict[tuple[object, ...], np.ndarray]] = defaultdict(dict)
    for line in study.lines:
        budget = (*scores.place(line), line.config.get("labels") if line.asks else None)
        runs[line.label, line.teacher][budget] = scores.final(line)
    rows: list[dict[str, Value]] = []
    sizes, tasks = [], []
    for (a, teacher), (b, other) in combinations(sorted(runs), 2):
        shared = [x for x in runs[a, teacher] if x in runs[b, other]] if teacher == other else []
        if not shared:
            continue
        ours, theirs = ([runs[key][x] for x in shared] for key in ((a, teacher), (b, other)))
        rows.append({"A": a, "B": b, "tasks": len(shared), "P(A > B)": _chance(ours, theirs)})
        sizes += [sample.size for sample in ours + theirs]
        tasks.append(len(shared))
    notes = [
        "chance that a run of A returns more than one of B on the same task after the same steps "
        "and labels, ties half, averaged over the tasks both have; learners under the same "
        "teacher.",
        "[low, high]: Newcombe's 95 % score interval; none below 3 seeds.",
    ]
    bounded = [size for size in sizes if size >= statistics.FEWEST_RUNS]
    worth = coverage.note("improvement", min(bounded), min(tasks)) if bounded else None
    notes += [f"{worth}."] if worth else []
    return Table("improvement", "Probability of improvement", rows, notes)


def _chance(ours: list[np.ndarray], theirs: list[np.ndarray]) -> Estimate:
    found = scores.estimate(
        statistics.probability_of_improvement(ours, theirs),
        ours + theirs,
        lambda: statistics.improvement_interval(ours, theirs),
    )
    return dataclasses.replace(found, few=False)  # it holds for 3 runs, too


MONITORED = ("false_alarms", "missed", "delay")


def _bandits(study: Study, regrets: Sequence[str]) -> Table:
    rows = []
    for bandit in study.bandits:
        row: dict[str, Value] = {
            "problem": bandit.task,
            "algorithm": bandit.label,
            "repetitions": bandit.runs,
            "duels": int(bandit.duels[-1]),
        }
        for regret in regrets:
            # Columns stand in the order of `regrets`, whichever problem lacks one.
            row |= {f"{regret} regret": None, f"{regret} slope": None}
            row[f"{regret} lowest slope"] = bandit.lower_bound.get(regret)
            if regret not in bandit.regret:
                continue
            values = bandit.regret[regret]
            for name, runs in (
                (f"{regret} regret", values[-1]),
                (f"{regret} slope", scores.slope(bandit.duels, values)),
            ):
                row[name] = (
                    None if runs is None else scores.estimated_mean(runs, within=(0, math.inf))
                )
        if "average" not in bandit.regret:  # the regret that needs no Condorcet winner
            row["policy regret"] = bandit.ends.get("policy_regret")
        row["resets"] = bandit.ends.get("resets") or None
        if "false_alarms" in bandit.ends:
            row |= {f"{name.replace('_', ' ')}": bandit.ends.get(name) for name in MONITORED}
        row["correct"] = bandit.ends.get("correct")
        row["duels/s"] = bandit.rate
        rows.append(row)
    rows.sort(key=lambda row: [natural(str(row[key])) for key in ("problem", "algorithm")])
    found = Table("bandits", "Dueling bandits", rows)
    notes = [
        "regret: cumulative, after all duels; on a changing problem each duel is charged by the "
        "matrix of its time.",
        "slope: of regret against ln T, least squares over the last tenfold of duels; lowest "
        "slope: the constant that no slope stays below for large T on a stationary problem.",
        "[low, high]: 95 % t interval over repetitions; none below 3. duels/s: on one core, "
        "without compiling.",
        *(f"{column}: {text}" for column, text in OF_DUELS.items() if column in found.columns),
        *_few_runs("mean", [bandit.runs for bandit in study.bandits]),
        *study.notes_on(study.bandits),
    ]
    return dataclasses.replace(found, notes=notes)


def _left_out(study: Study) -> Table:
    rows: list[dict[str, Value]] = [
        {"status": one.status, "cell": one.title, "cause": one.cause or None} for one in study.left
    ]
    rows += [{"status": "mixed", "cell": "", "cause": text} for text in study.mixed()]
    rows += [{"status": "notice", "cell": "", "cause": text} for text in study.notices]
    return Table("left out", "Not in the numbers above, or to be known about them", rows)
