"""Bandit cells: many repetitions of one algorithm on one problem, resumed between repetitions."""

import time
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from bandits.detector import detections
from bandits.lower_bounds import lower_bound_constant
from bandits.preferences import as_problem
from bandits.problems.changing import detect_delta, mdb_delta
from bandits.regret import GAP, OTHER, REGRETS
from bandits.rng import generator
from bandits.simulate import PROBLEM, simulate
from bandits.winners import borda_winners, copeland_winners
from pbrl import registry
from pbrl.errors import CellError, ConfigError
from pbrl.run.signals import Interrupted, Stop, beat
from pbrl.store import title
from pbrl.store.inputs import opened

if TYPE_CHECKING:
    from pbrl.store import Cell

BOUNDED = ("average", "strong")  # regrets with a known lower bound above 0
SLOPE = (
    "the least slope of expected regret against ln T as T grows, for any algorithm that does well "
    "on every matrix (Komiyama et al. 2015); not a bound on regret itself"
)
# Counted over the repetitions of a cell.
NO_CONDORCET, ALL_COPELAND, ALL_BORDA = "no Condorcet winner", "all Copeland", "all Borda"
BATCH_SECONDS = 1.0  # repetitions are simulated in batches of about this long,
BATCH_PAIRS = 2**22  # which hold at most this many pairs' numbers of duels


def execute(cell: "Cell") -> dict[str, Any]:
    """Simulate the repetitions of a bandit cell; each depends on (seed, its number) alone."""
    config = opened(cell.config)
    repetitions, horizon = config["repetitions"], config["horizon"]
    restored = cell.restore()
    done = restored[1] if restored else 0
    seen = Counter(restored[0] if restored else {})
    batch, seconds, compile_seconds, began = 1, 0.0, 0.0, done
    due = time.monotonic() + config["execution"]["checkpoint_seconds"]
    warned: dict[str, None] = {}  # what an algorithm says of its own settings, once each
    problem = _problem(config["problem"])
    algorithm = registry.make("bandit", config["algorithm"])
    try:
        while done < repetitions:
            beat()
            if done > began and (Stop.signal is not None or time.monotonic() >= due):
                cell.checkpoint(dict(seen), step=done)
                due = time.monotonic() + config["execution"]["checkpoint_seconds"]
            if Stop.signal is not None:
                raise Interrupted(Stop.signal)
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always", UserWarning)
                result = simulate(
                    problem,
                    algorithm,
                    horizon=horizon,
                    repetitions=min(batch, repetitions - done),
                    seed=config["seed"],
                    first_repetition=done,
                )
            warned |= {str(w.message): None for w in told if w.category is UserWarning}
            _journal(cell, result, done, _Ends(problem, algorithm, config, seen))
            done += len(result.resets)
            seconds += result.seconds
            compile_seconds += result.compile_seconds
            room = BATCH_PAIRS // result.plays[0].size
            batch = max(1, min(room, int(BATCH_SECONDS * (done - began) / max(seconds, 1e-9))))
    except ValueError as error:
        raise CellError(f"{title(config)}: {error}") from error
    rate = (done - began) * horizon / seconds if seconds else None
    return {
        "duels_per_second": rate,
        "compile_seconds": compile_seconds,
        **_facts(problem, horizon),
        "notes": [*getattr(problem, "notes", ()), *warned, *_notes(seen, repetitions)],
    }


def _facts(problem: Any, horizon: int) -> dict[str, Any]:
    """What a figure draws beside the curves: change points, or the slope regret cannot undercut.

    `change_sizes` are the delta that `detect` and `mdb` would have to be told of these changes.
    """
    is_random = hasattr(problem, "sample")
    one, other = (
        as_problem(problem.sample(np.random.default_rng(n)) if is_random else problem)
        for n in (0, 1)
    )
    starts, others = (p.starts[(p.starts > 0) & (p.starts < horizon)] for p in (one, other))
    if starts.size and np.array_equal(starts, others):
        sizes = {"detect": detect_delta(one, horizon), "mdb": mdb_delta(one, horizon)}
        return {"changes": starts.tolist()} | ({} if is_random else {"change_sizes": sizes})
    if is_random or starts.size:
        return {}  # another instance, and another bound, in every repetition
    try:
        bound = {name: lower_bound_constant(one.truth[0], name) for name in BOUNDED}
    except ValueError:
        return {}  # no Condorcet winner, so no such bound
    return {"lower_bound": bound, "lower_bound_meaning": SLOPE}


def _notes(seen: Counter[str], repetitions: int) -> list[str]:
    """What a reader must know of the numbers: which are missing, and why; nothing if none is."""

    def where(what: str) -> str:
        return "" if seen[what] == repetitions else f" in {seen[what]} of {repetitions} repetitions"

    notes = []
    if seen[NO_CONDORCET]:
        undefined = ", ".join(name for name, (what, _) in REGRETS.items() if what in (GAP, OTHER))
        notes.append(
            f"no arm beats every other (no Condorcet winner){where(NO_CONDORCET)}: {undefined} "
            "regret compare with that arm, so they are undefined and left out; copeland, borda and "
            "policy regret are not"
        )
        notes.append("correct: the arm named is a Copeland winner, one of those that beat the most")
    for what, winner, column in (
        (ALL_COPELAND, "Copeland", "correct"),
        (ALL_BORDA, "Borda", "correct_borda"),
    ):
        if seen[what]:
            notes.append(
                f"every arm is a {winner} winner{where(what)}: {winner.lower()} regret is 0 "
                f"whatever is played, and no answer could be wrong, so {column} is left out"
            )
    return notes


def _problem(config: dict[str, Any]) -> Any:
    """The problem of a cell, checked; one that is drawn anew is checked at each draw."""
    made = registry.make("problem", config)
    try:
        return made if hasattr(made, "sample") else as_problem(made)
    except ValueError as error:
        raise ConfigError(f"problem {config['name']!r}: {error}") from error


class _Ends:
    """What became of one repetition: the answer, the duels it took, the changes it noticed.

    `seen` counts the repetitions in which something is undefined, for `_notes`.
    """

    def __init__(
        self, problem: Any, algorithm: Any, config: dict[str, Any], seen: Counter[str]
    ) -> None:
        self.problem, self.algorithm, self.config = problem, algorithm, config
        self.seen = seen

    def row(self, number: int, result: Any, r: int) -> dict[str, Any]:
        """The arm named at the end, judged by the matrix of that time, and the duels it took.

        `samples` are duels of different arms; `policy_regret` is that against the best single arm
        in hindsight, which needs no Condorcet winner. `correct`: it is a Copeland winner (the
        Condorcet winner where there is one); `correct_borda`: a Borda winner; both only where some
        arm is not. `beaten_by`: the largest gap by which another arm beats it, so at most epsilon
        for an epsilon-maximum.
        A monitor (an algorithm with `span(K, T)`) is also judged by its restarts: mean delay of the
        changes noticed within its span, false alarms, missed changes.
        """
        problem, horizon = self.problem, self.config["horizon"]
        if hasattr(problem, "sample"):
            problem = problem.sample(generator(self.config["seed"], number, PROBLEM))
        problem = as_problem(problem)
        plays, resets, winner = result.plays[r], result.resets[r], int(result.winner[r, -1])
        starts = problem.starts[problem.starts < horizon]
        p = problem.truth[problem.order[len(starts) - 1]]
        samples = int(plays.sum() - np.trace(plays))
        row: dict[str, Any] = {"winner": winner, "resets": len(resets), "samples": samples}
        row["policy_regret"] = float(result.policy_regret[r])
        for column, what, winners in (
            ("correct", ALL_COPELAND, copeland_winners(p)),
            ("correct_borda", ALL_BORDA, borda_winners(p)),
        ):
            if len(winners) == len(p):
                self.seen[what] += 1
            elif winner >= 0:
                row[column] = int(winner in winners)
        if winner >= 0:
            row["beaten_by"] = float(p[:, winner].max() - 0.5)
        if hasattr(self.algorithm, "span"):
            span = self.algorithm.span(problem.K, horizon)
            delays, false_alarms, missed = detections(resets, starts[1:], span)
            row |= {"false_alarms": false_alarms, "missed": missed}
            row["delay"] = float(delays.mean()) if delays.size else None
        return row


def _journal(cell: "Cell", result: Any, first: int, ends: _Ends) -> None:
    """One row per repetition and checkpoint, one per repetition for what happened at its end.

    A regret that becomes undefined in a repetition is left out of all rows of that repetition.
    """
    for r in range(len(result.resets)):
        known = {name: v[r] for name, v in result.regret.items() if not np.isnan(v[r]).any()}
        ends.seen[NO_CONDORCET] += len(known) < len(result.regret)
        for c, t in enumerate(result.checkpoints.tolist()):
            row = {"event": "regret", "repetition": first + r, "t": t}
            cell.journal(row | {name: float(values[c]) for name, values in known.items()})
        end = {"event": "end", "repetition": first + r} | ends.row(first + r, result, r)
        cell.journal(end)
        for t in result.resets[r].tolist():
            cell.journal({"event": "reset", "repetition": first + r, "t": t})
