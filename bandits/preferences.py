"""What a dueling-bandit problem is made of: preference matrices, and when each of them holds.

`bandits.simulate` states the contract; any object with the same attributes will do.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

FIELDS = ("matrices", "starts", "order", "truth", "features", "utilities", "notes")
TOLERANCE = 1e-6  # published tables are rounded, so their two halves may miss 1 by a little


@dataclass(frozen=True)
class Problem:
    """Preference matrices and the duels during which they hold.

    matrices  float64 [M, K, K]   P(i beats j), rows i, columns j; an array, or `Later`
    starts    int64 [S]           first duel (0-based) of each segment; starts[0] = 0
    order     int64 [S]           which matrix a segment plays
    truth     float64 [M, K, K]   what regret is measured by; not `matrices` if feedback is corrupt
    features  float64 [K, d]      what a contextual algorithm may know of each arm, or None
    utilities float64 [K]         what the arms are worth, when preferences come from that, or None
    notes     str, ...            what a reader of results must know of the problem

    Raises ValueError when a matrix is not a preference matrix, starts do not increase from 0, or
    something has another length than it should.
    """

    matrices: "np.ndarray | Later"
    starts: np.ndarray
    order: np.ndarray
    truth: "np.ndarray | Later"
    features: np.ndarray | None = None
    utilities: np.ndarray | None = None
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        starts = whole_numbers(self.starts, "starts", "the first duel of each segment")
        if not starts.size or starts[0] != 0 or (np.diff(starts) <= 0).any():
            raise ValueError(
                f"segments must start at 0 and increase; found starts {starts.tolist()[:8]}"
            )
        matrices = _checked(self.matrices, "matrix")
        truth = matrices if self.truth is self.matrices else _checked(self.truth, "truth")
        if truth.shape != matrices.shape:
            raise ValueError(
                f"truth has shape {truth.shape}, matrices {matrices.shape}; expected the same"
            )
        order, M = whole_numbers(self.order, "order", "a matrix of each segment"), len(matrices)
        if order.shape != starts.shape or order.min() < 0 or order.max() >= M:
            raise ValueError(
                f"order {order.tolist()[:8]} must give one of the {M} matrices (0..{M - 1}) for "
                f"each of the {len(starts)} segments"
            )
        checked = {"matrices": matrices, "starts": starts, "order": order, "truth": truth}
        for name, shape in (("features", "[K, d]: a row per arm"), ("utilities", "[K]")):
            if (found := getattr(self, name)) is not None:
                checked[name] = _of_arms(found, name, shape, matrices.shape[-1])
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def K(self) -> int:
        """Number of arms."""
        return self.matrices.shape[-1]


@dataclass(frozen=True)
class RandomProblem:
    """A problem that every repetition draws anew: `sample(rng) -> Problem`."""

    sample: Callable[[np.random.Generator], Problem]


def stationary(
    p: ArrayLike,
    features: ArrayLike | None = None,
    utilities: ArrayLike | None = None,
    *,
    notes: Sequence[str] = (),
) -> Problem:
    """The problem in which the matrix p [K, K] always holds.

    Raises ValueError when p is not a preference matrix, or `Problem` refuses something else.
    """
    return piecewise([p], [0], features=features, utilities=utilities, notes=notes)


def piecewise(
    matrices: "ArrayLike | Sequence[ArrayLike] | Later",
    starts: ArrayLike,
    *,
    order: ArrayLike | None = None,
    truth: "ArrayLike | Later | None" = None,
    features: ArrayLike | None = None,
    utilities: ArrayLike | None = None,
    notes: Sequence[str] = (),
) -> Problem:
    """The problem in which matrices[order[s]] holds from duel starts[s] on (order: 0..S-1 if None).

    Raises ValueError as `Problem` does.
    """
    given: Any = (matrices, starts, order, truth, features, utilities, notes)
    return as_problem(SimpleNamespace(**dict(zip(FIELDS, given, strict=True))))


def as_problem(given: Any) -> Problem:
    """Any object with the attributes of a problem, checked; a `Problem` is one already.

    Raises ValueError for an object without matrices and starts, and as `Problem` does.
    """
    if isinstance(given, Problem):
        return given
    found: list[Any] = [getattr(given, name, None) for name in FIELDS]
    matrices, starts, order, truth, features, utilities, notes = found
    if matrices is None or starts is None:
        raise ValueError(
            f"found {type(given).__name__} without matrices and starts; expected a problem, such "
            "as bandits.preferences.stationary(p) makes of a matrix"
        )
    order = np.arange(len(starts)) if order is None and np.ndim(starts) else order
    truth = matrices if truth is None else truth
    return Problem(matrices, starts, order, truth, features, utilities, notes or ())


def drawn(
    recipe: Callable[[np.random.Generator], Problem], instance: int | None
) -> Problem | RandomProblem:
    """A random problem: the same one for all repetitions, or a fresh one for each.

    `instance` None leaves the draw to the simulator, from the stream of each repetition; an integer
    >= 0 is the seed of the one instance that all repetitions play. The first form returns a
    RandomProblem after one trial draw, so that bad parameters are refused before anything runs.
    """
    if instance is not None:
        return recipe(np.random.default_rng(instance))
    recipe(np.random.default_rng(0))
    return RandomProblem(recipe)


def check_matrix(given: ArrayLike, name: str = "matrix") -> np.ndarray:
    """`given` as float64 [K, K], p + p^T = 1 exactly, if it is a preference matrix within 1e-6.

    Raises ValueError naming the entry, the rule it breaks and what to do.
    """
    p = numbers(given, name, "K x K: a row and a column per arm")
    if p.ndim != 2 or p.shape[0] != p.shape[1] or p.size == 0:
        raise ValueError(f"{name} has shape {p.shape}; expected K x K: a row and a column per arm")
    if len(p) == 1:
        raise ValueError(f"{name} is of one arm; expected at least two, for a duel needs a pair")
    for rows in _blocks(len(p)):
        inside = (p[rows] >= 0) & (p[rows] <= 1)
        if not inside.all():
            i, j = np.argwhere(~inside)[0] + [rows.start, 0]
            raise ValueError(
                f"{name}: p[{i}, {j}] = {p[i, j]:g} is not a probability; expected 0 <= p <= 1 "
                "(divide percentages by 100; leave no entry empty)"
            )
    off = np.abs(np.diag(p) - 0.5) > TOLERANCE
    if off.any():
        i = int(off.argmax())
        raise ValueError(
            f"{name}: p[{i}, {i}] = {p[i, i]:g}; an arm against itself is a fair coin: write 0.5"
        )
    for rows in _blocks(len(p)):
        sums = p[rows] + p[:, rows].T
        wrong = np.abs(sums - 1) > TOLERANCE
        if wrong.any():
            k, j = np.argwhere(wrong)[0]
            i = k + rows.start
            raise ValueError(
                f"{name}: p[{i}, {j}] = {p[i, j]:g} and p[{j}, {i}] = {p[j, i]:g} add up to "
                f"{sums[k, j]:g}; P(i beats j) + P(j beats i) must be 1: correct one of them"
            )
    return complete(p)


class Later(Sequence[np.ndarray]):
    """Matrices [M, K, K] that are made one by one when asked for, so that none is made in vain."""

    def __init__(self, M: int, K: int, make: Callable[[int], np.ndarray]) -> None:
        self.shape = (M, K, K)
        self.make = make

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, m: Any) -> Any:
        if not 0 <= m < len(self):
            raise IndexError(m)
        return check_matrix(self.make(int(m)), f"matrix {m}")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.stack([*self])


def _checked(matrices: Any, name: str) -> Any:
    """The checked preference matrices [M, K, K]."""
    if isinstance(matrices, Later):
        return matrices
    expected = "[M, K, K]: one preference matrix or several"
    if not isinstance(matrices, list | tuple):
        matrices = numbers(matrices, name, expected)
        if matrices.ndim != 3:
            raise ValueError(
                f"{name} has shape {matrices.shape}; expected {expected} (stationary(p) makes a "
                "problem of a single one)"
            )
    if not len(matrices):
        raise ValueError(f"found no {name}; expected at least one preference matrix")
    if len(matrices) == 1:
        return check_matrix(matrices[0], f"{name} 0")[None]
    checked = [check_matrix(p, f"{name} {m}") for m, p in enumerate(matrices)]
    for m, p in enumerate(checked):
        if len(p) != len(checked[0]):
            raise ValueError(
                f"{name} {m} is of {len(p)} arms and {name} 0 of {len(checked[0])}; expected the "
                "same arms in all"
            )
    return np.stack(checked)


def _of_arms(given: ArrayLike, name: str, shape: str, K: int) -> np.ndarray:
    """Finite numbers of K arms, [K] or [K, d] as `shape` says."""
    found = numbers(given, name, shape)
    if found.ndim != 1 + ("d" in shape) or not found.size:
        raise ValueError(f"{name} have shape {found.shape}; expected {shape}")
    if len(found) != K:
        raise ValueError(f"{name} are of {len(found)} arms, but the matrices of {K}")
    wrong = np.argwhere(~np.isfinite(found))
    if len(wrong):
        place = ", ".join(map(str, wrong[0]))
        raise ValueError(
            f"{name}[{place}] = {found[tuple(wrong[0])]:g}; expected a finite number for every arm"
        )
    return found


def numbers(given: ArrayLike, name: str, expected: str) -> np.ndarray:
    """`given` as float64; ValueError for rows of different lengths, text, complex numbers, None."""
    try:
        found = np.asarray(given)
        if found.dtype.kind in "biufOU":
            return found.astype(np.float64, copy=False)
        reason = f"found numbers of type {found.dtype}"
    except (TypeError, ValueError, OverflowError):
        rows = given if isinstance(given, list | tuple) else []
        lengths = {len(row) if hasattr(row, "__len__") else 1 for row in rows}
        some = " and ".join(map(str, sorted(lengths)[:2]))
        reason = f"found rows of {some} numbers" if len(lengths) > 1 else "found no numbers"
    raise ValueError(f"{name}: {reason}; expected {expected}")


def whole_numbers(given: ArrayLike, name: str, expected: str) -> np.ndarray:
    """`given` as int64 [S]; ValueError for what is no list of whole numbers."""
    found = numbers(given, name, f"whole numbers: {expected}")
    if found.ndim != 1:
        raise ValueError(f"{name} has shape {found.shape}; expected a list: {expected}")
    off = ~(np.abs(found) < 2**53) | (found != np.round(found))
    if off.any():
        raise ValueError(f"{name} holds {found[off].flat[0]:g}; expected whole numbers: {expected}")
    return found.astype(np.int64)


def complete(upper: np.ndarray) -> np.ndarray:
    """The preference matrix [K, K] whose entries above the diagonal are those of `upper`."""
    p = np.array(upper, dtype=np.float64, order="C")
    for rows in _blocks(len(p)):
        p[rows, : rows.start] = 1 - p[: rows.start, rows].T
        square = np.triu(p[rows, rows], 1)
        p[rows, rows] = square + np.tril(1 - square.T, -1) + np.eye(len(square)) / 2
    return p


def _blocks(K: int) -> Iterator[slice]:
    """A few rows at a time: a matrix may fill half the memory, and its copies the rest."""
    for start in range(0, K, 256):
        yield slice(start, min(K, start + 256))


def relabel(p: np.ndarray, permutation: np.ndarray) -> np.ndarray:
    """p [..., K, K] with arm permutation[i] now called i."""
    return p[..., permutation[:, None], permutation[None, :]]
