"""Preferences that change: piecewise stationary, reshuffled and drifting problems.

Segments last `every` duels on average, so a run of segments * every duels meets them all.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval

from bandits.preferences import Later, Problem, RandomProblem, drawn, piecewise, relabel
from bandits.problems.orders import geometric_matrix
from bandits.problems.random_matrices import another, condorcet_matrix
from bandits.problems.utilities import linked
from bandits.registry import problem
from bandits.winners import beats


@problem("piecewise")
def piecewise_stationary(
    K: Annotated[int, Ge(2)] = 10,
    segments: Annotated[int, Ge(1)] = 10,
    every: Annotated[int, Ge(2)] = 100_000,
    p_min: Annotated[float, Interval(gt=0.5, le=1)] = 0.55,
    delta: Annotated[float, Interval(gt=0, lt=1)] = 0.6,
    change: Literal["winner", "anywhere"] = "winner",
    spacing: Literal["even", "random"] = "even",
    instance: Annotated[int, Ge(0)] | None = None,
) -> Problem | RandomProblem:
    """Each segment has a new Condorcet winner and one entry that moved by exactly delta.

    The instance generator of Kolpaczki et al. 2022: fresh `random-condorcet` matrices, in which one
    entry is then set to its old value +- delta: an entry of the old winner's row (change "winner",
    DETECT's assumption) or any entry (change "anywhere", MDB's). Other entries usually change more.
    Entries stay in [0, 1], which those of the published code may leave when delta > p_min.
    Spacing "even" changes after every `every` duels; "random" draws the change points uniformly
    such that no segment is shorter than every/2. Drawn anew in each repetition unless `instance`
    gives a seed.

    Raises ValueError for K < 3 with several segments, and a delta that no instance was found for.
    """
    if K < 3 and segments > 1:
        raise ValueError(f"piecewise: K = {K}; expected at least 3 arms where preferences change")

    def recipe(rng: np.random.Generator) -> Problem:
        starts = _even(segments, every)
        if spacing == "random":
            least = every // 2
            slack = rng.integers(segments * (every - least), size=segments - 1)
            starts[1:] = np.sort(slack) + np.arange(1, segments) * least
        return piecewise(changing_matrices(K, segments, p_min, delta, change, rng), starts)

    return drawn(recipe, instance)


@problem("geometric-phases")
def geometric_phases(
    K: Annotated[int, Ge(2)] = 10,
    segments: Annotated[int, Ge(1)] = 4,
    every: Annotated[int, Ge(2)] = 12_500,
    rho: Annotated[float, Interval(gt=0, lt=1)] = 0.5,
    instance: Annotated[int, Ge(0)] | None = None,
) -> Problem | RandomProblem:
    """The `geometric` preferences with the arms in a new random order in every segment.

    The setup of Suk & Agarwal's experiments with the default values (T = 50 000). Drawn anew
    in each repetition unless `instance` gives a seed.
    """

    def recipe(rng: np.random.Generator) -> Problem:
        p = geometric_matrix(K, rho)
        orders = [rng.permutation(K) for _ in range(segments)]
        return piecewise(np.stack([relabel(p, order) for order in orders]), _even(segments, every))

    return drawn(recipe, instance)


@problem("drifting")
def drifting(
    K: Annotated[int, Ge(2)] = 10,
    segments: Annotated[int, Ge(1)] = 1_000,
    every: Annotated[int, Ge(2)] = 100,
    sd: Annotated[float, Gt(0)] = 0.002,
    instance: Annotated[int, Ge(0)] | None = None,
) -> Problem | RandomProblem:
    """Utilities walk at random (sd per duel, reflected into [0, 1]) and are compared linearly.

    p_ij = (1 + u_i - u_j)/2, so there is always a Condorcet winner. The walk is shown in steps of
    `every` duels, each of sd sqrt(every). Drawn anew in each repetition unless `instance` gives a
    seed.
    """

    def recipe(rng: np.random.Generator) -> Problem:
        walk = rng.random(K) + sd * np.sqrt(every) * np.vstack(
            [np.zeros(K), rng.standard_normal((segments - 1, K))]
        ).cumsum(axis=0)
        # Reflecting a walk at 0 and 1 is folding it: positions modulo 2, the upper half mirrored.
        folded = 1 - np.abs(walk % 2 - 1)
        matrices = Later(segments, K, lambda m: linked(folded[m], "linear"))
        return piecewise(matrices, _even(segments, every))

    return drawn(recipe, instance)


def changing_matrices(
    K: int, segments: int, p_min: float, delta: float, change: str, rng: np.random.Generator
) -> np.ndarray:
    """Matrices [segments, K, K] of the problem `piecewise`, one per segment.

    Raises ValueError when 200 first matrices allowed no such sequence.
    """
    for _ in range(200):
        winner = int(rng.integers(K))
        matrices = [condorcet_matrix(K, winner, p_min, 1.0, rng)]
        while len(matrices) < segments:
            following = _following(matrices[-1], winner, p_min, delta, change, rng)
            if following is None:
                break
            p, winner = following
            matrices.append(p)
        else:
            return np.stack(matrices)
    raise ValueError(
        f"piecewise: found no {segments} matrices of {K} arms with p_min = {p_min} in which "
        f"an entry moves by delta = {delta}; lower delta or raise K"
    )


def _following(
    last: np.ndarray, old: int, p_min: float, delta: float, change: str, rng: np.random.Generator
) -> tuple[np.ndarray, int] | None:
    """The next matrix and its winner, or None when 10 draws allowed no change of size delta."""
    K = len(last)
    for _ in range(10):
        winner = another(K, old, rng)
        p = condorcet_matrix(K, winner, p_min, 1.0, rng)
        for _ in range(4 * K):
            i = old if change == "winner" else int(rng.integers(K))
            j = another(K, i, rng)
            if _move(p, last[i, j], (i, j), winner, p_min, delta, rng):
                return p, winner
    return None


def _move(
    p: np.ndarray,
    before: float,
    entry: tuple[int, int],
    winner: int,
    p_min: float,
    delta: float,
    rng: np.random.Generator,
) -> bool:
    """Set entry (i, j) of p to `before` + delta or - delta, if `winner` stays what it is.

    Both signs being possible, a fair coin decides. The winner's row keeps its exact p_min and its
    range [p_min, 1]. Returns whether either sign was possible.
    """
    i, j = entry
    low, high = 0.0, 1.0
    if winner in entry:
        if p[winner, i + j - winner] < p_min + 1e-9:
            return False
        low, high = (p_min, 1.0) if i == winner else (0.0, 1 - p_min)
    options = [x for x in (before - delta, before + delta) if low <= x <= high]
    if not options:
        return False
    p[i, j] = options[int(rng.integers(len(options)))]
    p[j, i] = 1 - p[i, j]
    return True


def detect_delta(problem: Problem, horizon: int | None = None) -> float:
    """DETECT's change size: the least, over changes, of the largest one in the old winner's row.

    Changes at `horizon` or later do not count. Raises ValueError for a problem without changes.
    """
    sizes = [
        np.abs(after - before)[beats(before).sum(axis=1).argmax()].max()
        for before, after in _changes(problem, horizon)
    ]
    return float(min(sizes))


def mdb_delta(problem: Problem, horizon: int | None = None) -> float:
    """MDB's change size: the least, over changes, of the largest one of any entry.

    Changes at `horizon` or later do not count. Raises ValueError for a problem without changes.
    """
    return float(min(np.abs(after - before).max() for before, after in _changes(problem, horizon)))


def _changes(problem: Problem, horizon: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The matrices before and after every change point."""
    starts = problem.starts if horizon is None else problem.starts[problem.starts < horizon]
    if len(starts) == 1:
        raise ValueError("the problem has one segment; a change size needs at least two")
    return pairwise(problem.matrices[m] for m in problem.order[: len(starts)])


def _even(segments: int, every: int) -> np.ndarray:
    return np.arange(segments, dtype=np.int64) * every
