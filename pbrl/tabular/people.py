"""What people meant by a preference: the likelihood study of Knox et al. (arXiv 2206.02231).

Reads a folder of answers in the format released with arXiv 2501.06416, one condition of an
experiment in three files (the data themselves are not part of this package):

    NAME_full_filtered_segment_pairs.npy  [n, 2, 4, 2] int: of both segments the start (row, column)
                                          and three moves (down, right)
    NAME_full_filtered_Y.npy              [n] float: 0 first preferred, 1 second, 0.5 the same
    NAME_full_filtered_X.npy              [n, 3] float, optional: second minus first of the sum of
                                          rewards, V*(first state), V*(last state), gamma = 1

on the delivery grid, whose values are computed and held against X. Each model of what is compared
is one logistic regression, judged on answers it did not see.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.tabular import grids, solvers
from envs.tabular.world import World
from pbrl.errors import ConfigError, did_you_mean
from pbrl.tabular import logistic
from pbrl.tabular.walks import Pairs, Walks

PAIRS, LABELS, FEATURES = (f"_full_filtered_{part}.npy" for part in ("segment_pairs", "Y", "X"))
STEPS = 3
# Rows: what multiplies the difference of return, start value, end value in each free weight.
MODELS = {
    "uninformed": np.zeros((0, 3)),
    "partial return": np.array([[1, 0, 0]]),
    "regret": np.array([[1, -1, 1]]),
    "bootstrapped": np.array([[1, 0, 1]]),
    "change of value": np.array([[0, -1, 1]]),
    "end value": np.array([[0, 0, 1]]),
    "logistic-linear": np.eye(3),
}
L2 = 1e-9  # nothing is separable here; only for a direction that no pair moves in


@dataclass(frozen=True)
class Answers:
    """Pairs as people answered them, and what of the segments could have mattered."""

    pairs: Pairs
    differences: np.ndarray
    "[N, 3]: second minus first of return, V*(s_0), V*(s_L), undiscounted."


@dataclass(frozen=True)
class Fit:
    """One model of the answers; cross-entropies are per answer, in nats."""

    model: str
    weights: np.ndarray
    "of the model's rows, an inverse temperature where there is one"
    cross_entropy: float
    held_out: float
    "of each fold, by what the others teach"
    losses: np.ndarray
    "[N]: the held-out cross-entropy of each answer"
    accuracy: float | None
    "share of answers that the model without noise would give, ties included"


def conditions(folder: Path) -> list[str]:
    """The names NAME for which the folder holds answers; raises ConfigError when there is none."""
    found = sorted(p.name.removesuffix(PAIRS) for p in folder.glob(f"*{PAIRS}"))
    if not found:
        raise ConfigError(f"{folder} holds no answers; expected files NAME{PAIRS} and NAME{LABELS}")
    return found


def read(folder: Path, condition: str) -> Answers:
    """The answers of one condition; nothing in the files is run.

    Raises ConfigError for an unknown condition, for files that are pickles or of another shape, for
    segments that are not on the grid, and where X is not what the segments say.
    """
    known = conditions(folder)
    if condition not in known:
        raise ConfigError(f"{folder}: no condition {condition!r}; {did_you_mean(condition, known)}")
    segments = _array(folder / f"{condition}{PAIRS}", (None, 2, STEPS + 1, 2))
    if (
        not np.isfinite(segments).all()
        or (segments != np.trunc(segments)).any()
        or not len(segments)
    ):
        raise ConfigError(
            f"{folder / (condition + PAIRS)}: expected at least one pair, of whole numbers"
        )
    labels = _array(folder / f"{condition}{LABELS}", (len(segments),))
    if not np.isin(labels, (0, 0.5, 1)).all():
        raise ConfigError(f"{folder / (condition + LABELS)}: expected labels 0, 0.5 or 1 alone")
    world = grids.delivery()
    first, second = (
        _walks(world, segments[:, side], folder / f"{condition}{PAIRS}") for side in (0, 1)
    )
    pairs = Pairs(first, second, labels.astype(np.float64))
    answers = Answers(pairs, differences(world, first, second))
    path = folder / f"{condition}{FEATURES}"
    if path.is_file():
        claimed = _array(path, answers.differences.shape)
        wrong = np.flatnonzero(~(np.abs(claimed - answers.differences).max(1) <= 1e-6))
        if wrong.size:
            raise ConfigError(
                f"{path}: {wrong.size} of {len(labels)} rows are not what the segments say, the "
                f"first is row {wrong[0]}: found {claimed[wrong[0]].tolist()}, computed "
                f"{answers.differences[wrong[0]].round(6).tolist()}"
            )
    return answers


def _array(path: Path, shape: tuple[int | None, ...]) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{path} cannot be read as a plain array: {error}") from None
    fits = found.ndim == len(shape) and found.dtype.kind in "iuf"
    if not fits or any(n not in (None, m) for n, m in zip(shape, found.shape, strict=True)):
        expected = ["n" if n is None else n for n in shape]
        raise ConfigError(
            f"{path}: found {found.dtype} {list(found.shape)}; expected numbers {expected}"
        )
    return found


def _walks(world: World, segments: np.ndarray, path: Path) -> Walks:
    """Segments [N, 4, 2] as walks; a move counts while the episode goes on."""
    places: np.ndarray = world.places  # type: ignore[assignment]
    number = np.full((places.max(0) + 1), -1)
    number[tuple(places.T)] = np.arange(world.states)
    start = segments[:, 0].astype(int)
    inside = ((start >= 0) & (start < number.shape)).all(1)
    first = np.where(inside, number[tuple(start.clip(0, np.array(number.shape) - 1).T)], -1)
    lost = np.flatnonzero((first < 0) | world.terminal[first])
    if lost.size:
        raise ConfigError(
            f"{path}: pair {lost[0]} starts at {start[lost[0]].tolist()}, where no episode of the "
            "delivery grid goes on"
        )
    states, actions = [first], []
    for t in range(STEPS):
        match = (segments[:, 1 + t, None] == np.array(grids.MOVES)).all(-1)
        action = match.argmax(1)
        odd = np.flatnonzero(~match.any(1) & ~world.terminal[states[-1]])
        if odd.size:
            raise ConfigError(
                f"{path}: pair {odd[0]} moves by {segments[odd[0], 1 + t].tolist()}; expected one "
                f"of {', '.join(map(str, grids.MOVES))}"
            )
        actions.append(action)
        states.append(world.transitions[states[-1], action].argmax(-1))
    visited = np.stack(states, axis=1)
    return Walks(visited, np.stack(actions, axis=1), ~world.terminal[visited[:, :-1]])


def differences(world: World, first: Walks, second: Walks) -> np.ndarray:
    """[N, 3]: second minus first of return, V*(s_0), V*(s_L), undiscounted."""
    values, _ = solvers.optimal(world, world.expected_rewards, 1.0)

    def told(side: Walks) -> np.ndarray:
        returns = side.features(world) @ world.weights
        return np.stack([returns, values[side.states[:, 0]], values[side.states[:, -1]]], axis=1)

    return told(second) - told(first)


def study(answers: Answers, *, folds: int = 10, seed: int = 0) -> Iterator[Fit]:
    """Each model fitted to the answers, and judged by cross-validation."""
    labels = answers.pairs.labels
    if len(labels) < folds:
        raise ConfigError(
            f"{len(labels)} answers in {folds} parts; ask for at most {len(labels)} (--folds)"
        )
    part = np.random.default_rng(seed).permutation(len(labels)) % folds
    for name, rows in MODELS.items():
        design = answers.differences @ rows.T
        weights = _fitted(design, labels)
        losses = np.empty(len(labels))
        for fold in range(folds):
            kept = part != fold
            found = _fitted(design[kept], labels[kept])
            losses[~kept] = logistic.cross_entropy(design[~kept] @ found, labels[~kept])
        entropy = float(logistic.cross_entropy(design @ weights, labels).mean())
        # A model of one weight says which side is better, whatever sign was fitted.
        margins = design[:, 0] if len(rows) == 1 else design @ weights
        sure = 0.5 + 0.5 * np.sign(np.round(margins, 9))
        accuracy = float((sure == labels).mean()) if len(rows) else None
        yield Fit(name, weights, entropy, float(losses.mean()), losses, accuracy)


def _fitted(design: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if not design.shape[1]:
        return np.zeros(0)
    return logistic.fit(design, labels, np.ones(len(labels)), l2=L2)


def policies(
    answers: Answers, learner: str, size: int | None, *, most: int = 20, seed: int = 0
) -> np.ndarray:
    """Scaled returns of what a learner makes of disjoint parts of `size` answers, `most` at most.

    Of all answers at once where `size` is None.
    """
    from pbrl import registry

    scale = solvers.Scale(grids.delivery())
    hidden = scale.world.without_reward()
    made, rng = registry.make("learner", learner), np.random.default_rng(seed)
    if hasattr(made, "prepare"):
        made.prepare(hidden, rng)
    total = len(answers.pairs)
    order, size = rng.permutation(total), total if size is None else size
    parts = [order[i : i + size] for i in range(0, total - size + 1, size)][:most]
    return np.array([scale(made.learn(hidden, answers.pairs[part], rng).policy) for part in parts])


def learning(answers: Answers, sizes: Sequence[int]) -> str:
    """What two learners make of all answers and of parts of them, as text."""
    lines = [f"{'learner':<16} {'answers':>7} {'fits':>5} {'near-optimal':>13} {'median':>7}"]
    for learner in ("partial-return", "regret"):
        for size in (None, *sizes):
            found = policies(answers, learner, size)
            if not found.size:
                raise ConfigError(
                    f"--learn {size}: there are {len(answers.pairs)} answers; ask less"
                )
            near, middle = (found >= solvers.NEAR_OPTIMAL).mean(), np.median(found)
            shown = "all" if size is None else size
            lines.append(f"{learner:<16} {shown:>7} {len(found):5} {near:13.2f} {middle:7.3f}")
    return "\n".join(lines) + "\n"


def table(answers: Answers, condition: str, *, folds: int = 10) -> str:
    """The study as text: one line a model, and what regret explains that the return does not."""
    labels = answers.pairs.labels
    counts = ", ".join(f"{(labels == y).sum()} {w}" for y, w in ANSWERED)
    lines = [f"{condition}: {len(labels)} answers, {counts}; cross-entropy per answer, in nats", ""]
    lines.append(f"{'model':<16} {'fitted':>7} {f'{folds}-fold':>8} {'agrees':>7}  weights")
    fits = {fit.model: fit for fit in study(answers, folds=folds)}
    for name, fit in fits.items():
        agrees = "" if fit.accuracy is None else f"{fit.accuracy:.3f}"
        weights = ", ".join(f"{w:.4f}" for w in fit.weights)
        lines.append(
            f"{name:<16} {fit.cross_entropy:7.4f} {fit.held_out:8.4f} {agrees:>7}  {weights}"
        )
    gain = fits["partial return"].losses - fits["regret"].losses
    half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
    lines += ["", f"partial return - regret, held out: {gain.mean():+.4f} +- {half:.4f}"]
    return "\n".join(lines) + "\n"


ANSWERED = ((0, "first"), (1, "second"), (0.5, "the same"))
