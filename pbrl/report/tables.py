"""The tables of a results folder: what stands in them."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from pbrl.errors import ConfigError, StoreError, did_you_mean
from pbrl.report import scores, statistics
from pbrl.report.formats import FORMATS, Table, Value
from pbrl.report.scores import Estimate
from pbrl.report.study import Line, Study


def table_text(study: Study, *, format: str, strict: bool, regrets: Sequence[str] | None) -> str:
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
    return FORMATS[format](build(study, regrets=regrets))


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
    found = [
        _returns(study),
        *_aggregates(scores.comparison(study)),
        _bandits(study, chosen_regrets(study, regrets)),
        _left_out(study),
    ]
    return [one for one in found if one.rows]


# --- contents -----------------------------------------------------------------------------------

RETURN_NOTES = [
    "return, success: mean over seeds of the mean over evaluations in the last tenth of the steps.",
    "ratio to SAC: return divided by that of SAC trained on the true reward, same task and steps.",
    "ratio, training average: mean over evaluations, without the one before training, of the "
    "return divided by SAC's at the same step; empty where SAC's return is not always positive.",
    "normalized: (return - random) / (SAC - random), all of the same task and steps.",
    "[low, high]: 95 % bootstrap intervals over seeds, of the baseline too where there is one, "
    "widened for few seeds (expanded percentile); none below 3 seeds.",
]
RATIO, RATIO_AVG, NORMALIZED = "ratio to SAC", "ratio, training average", "normalized"


def _returns(study: Study) -> Table:
    rows = [_return_row(study, line) for line in study.lines]
    rows.sort(key=lambda row: (row["task"], row["teacher"] != "", row["teacher"], row["learner"]))
    found = Table("returns", "Return", rows)
    unused = {RATIO, RATIO_AVG, NORMALIZED} - set(found.columns)
    notes = [n for n in RETURN_NOTES if not n.startswith(tuple(f"{u}:" for u in unused))]
    return Table(found.name, found.title, rows, notes)


def _return_row(study: Study, line: Line) -> dict[str, Value]:
    def over_seeds(values: Any, name: str) -> Estimate:
        runs = scores.final(values, line.steps)
        return scores.estimate(lambda s: s[0].mean(axis=-1), [runs], name, line.task, line.label)

    truth = scores.baseline(study, line, scores.GROUND_TRUTH)
    random = scores.baseline(study, line, scores.RANDOM)
    answered = float(line.labels[-1].mean())
    return {
        "task": line.task,
        "learner": line.learner,
        "teacher": line.teacher,
        "seeds": line.runs,
        "labels": (int(answered) if answered.is_integer() else answered) or None,
        "return": over_seeds(line.returns, "return"),
        "success": None if line.success is None else over_seeds(line.success, "success"),
        RATIO: scores.ratio(line, truth) if truth else None,
        RATIO_AVG: scores.ratio_avg(line, truth) if truth else None,
        NORMALIZED: scores.normalized(line, truth, random) if truth and random else None,
    }


AGGREGATES: dict[str, statistics.Statistic] = {
    "IQM": statistics.iqm,
    "mean": statistics.mean,
    "median": statistics.median,
    "optimality gap": statistics.optimality_gap,
}


def _aggregates(compared: scores.Comparison | None) -> list[Table]:
    """Over tasks: each learner's aggregates, and the chance that one learner beats another."""
    if compared is None:
        return []
    rows: list[dict[str, Value]] = []
    for label, by_task in sorted(compared.scores.items()):
        samples = list(by_task.values())
        row: dict[str, Value] = {
            "learner": label,
            "tasks": f"{len(samples)} of {len(compared.tasks)}",
        }
        for name, statistic in AGGREGATES.items():
            row[name] = scores.estimate(statistic, samples, name, label, tasks=len(samples))
        rows.append(row)
    notes = [
        f"score of a run: {compared.scale}, the baselines taken as their mean over seeds.",
        "IQM: mean of all runs without the lowest and highest quarter. median: of the tasks' "
        "means. optimality gap: mean shortfall below 1, lower is better.",
        "[low, high]: as above, seeds resampled within each task.",
    ]
    return [
        Table("aggregates", "Score over tasks", rows, notes),
        Table("improvement", "Probability of improvement", _improvements(compared), [
            "chance that a run of A scores higher than one of B on the same task, ties half, "
            "averaged over the tasks both have; learners under the same teacher."]),
    ]  # fmt: skip


def _improvements(compared: scores.Comparison) -> list[dict[str, Value]]:
    rows: list[dict[str, Value]] = []
    for a, b in combinations(sorted(compared.scores), 2):
        if a.partition(" · ")[2] != b.partition(" · ")[2]:
            continue
        shared = sorted(compared.scores[a].keys() & compared.scores[b].keys())
        if not shared:
            continue
        ours = [compared.scores[a][task] for task in shared]
        theirs = [compared.scores[b][task] for task in shared]

        def beats(both: list[Any], n: int = len(shared)) -> Any:
            return statistics.probability_of_improvement(both[:n], both[n:])

        chance = scores.estimate(beats, ours + theirs, "improvement", a, b, tasks=len(shared))
        rows.append({"A": a, "B": b, "tasks": len(shared), "P(A > B)": chance})
    return rows


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
            if regret not in bandit.regret:
                continue
            values = bandit.regret[regret]
            for name, runs in (
                (f"{regret} regret", values[-1]),
                (f"{regret} slope", scores.slope(bandit.duels, values)),
            ):
                row[name] = runs if runs is None else scores.estimate(
                    lambda s: s[0].mean(axis=-1), [runs], name, bandit.task, bandit.label
                )  # fmt: skip
            row[f"{regret} lowest slope"] = bandit.lower_bound.get(regret)
        row["resets"] = bandit.ends.get("resets") or None
        if "false_alarms" in bandit.ends:
            row |= {f"{name.replace('_', ' ')}": bandit.ends.get(name) for name in MONITORED}
        row["correct"] = bandit.ends.get("correct")
        row["duels/s"] = bandit.rate
        rows.append(row)
    rows.sort(key=lambda row: (str(row["problem"]), str(row["algorithm"])))
    notes = [
        "regret: cumulative, after all duels; on a changing problem each duel is charged by the "
        "matrix of its time.",
        "slope: of regret against ln T, least squares over the last tenfold of duels; lowest "
        "slope: the constant that no slope stays below for large T on a stationary problem.",
        "[low, high]: 95 % bootstrap intervals over repetitions. duels/s: on one core, without "
        "compiling. Means per repetition: resets; for a monitor its false alarms, the changes it "
        "missed, and the delay in duels of those it noticed; correct: share that name a Copeland "
        "(Condorcet) winner.",
    ]
    return Table("bandits", "Dueling bandits", rows, notes)


def _left_out(study: Study) -> Table:
    rows: list[dict[str, Value]] = [
        {"status": one.status, "cell": one.title, "cause": " ".join(one.cause.split()) or None}
        for one in study.left
    ]
    mixed = [text for text in study.problems() if text.startswith("Mixed")]
    rows += [{"status": "mixed", "cell": "", "cause": text} for text in mixed]
    rows += [{"status": "notice", "cell": "", "cause": text} for text in study.notices]
    return Table("left out", "Not in the numbers above, or to be known about them", rows)
