"""What every teacher promises, checked: labels, probabilities, randomness, state."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from pbrl import registry
from pbrl.check.global_random import global_randomness
from pbrl.errors import ConfigError, PbrlError, where
from pbrl.run.teacher import as_labels
from pbrl.segments import Segments, concatenate
from pbrl.store.checkpoint import read_state, write_state

ALPHA = 1e-6  # of one binomial test: a sound teacher is blamed about once in 100,000 checks
HORIZON = 100
RANGES = (
    (0.0, 1.0),
    (-2.0, 3.0),
    (-np.inf, np.inf),
)  # of rewards; a teacher may refuse others than the first
RETURNS = (0.35, 0.6, 0.52)  # as shares of the best return
SHAPES = ((1000, 10, 3, 2), (1, 1, 1, 1), (0, 10, 3, 2), (7, 50, 30, 6))  # N, T, O, A
Factory = Callable[[], Any]


def violations(factory: Factory) -> list[str]:
    """Every broken promise of the teachers `factory()` makes, one sentence each; empty if sound.

    Checks labels and their shape, for segments of several sizes and rewards of several ranges, that
    noise comes from the generator passed in and from nowhere
    else, that segments are left alone, that all state is saved and restored, and that
    `probability` agrees with how often labels occur (exact binomial test at 1e-6). A teacher with
    `antisymmetric` true must turn P into 1 - P when a pair is swapped.
    """
    try:
        teacher = _made(factory)
    except Exception as error:
        return [f"cannot be made: {_raised(error)}"]
    missing = [name for name in ("label", "probability") if not hasattr(teacher, name)]
    if missing:
        return [f"has no method {name}" for name in missing]
    checks = (_labels, _probabilities, _randomness, _segments_untouched, _state, _frequencies)
    found: list[str] = []
    for check in checks:
        try:
            found += check(factory)
        except Exception as error:
            found.append(f"{check.__name__.strip('_')}: {_raised(error)}")
    return list(dict.fromkeys(found))


def _raised(error: Exception) -> str:
    return f"{type(error).__name__}: {error}{where(error)}"


def _made(factory: Factory, rewards: tuple[float, float] = RANGES[0], *, told: bool = True) -> Any:
    """A new teacher that knows the scale of episodes and, if `told`, has seen a few of them."""
    teacher = factory()
    if hasattr(teacher, "consult"):
        teacher.consult(_Hills())
    if hasattr(teacher, "bind"):
        teacher.bind(horizon=HORIZON, reward_range=rewards)
    if told and hasattr(teacher, "observe_episode"):
        low, high = _finite(rewards)
        for share in RETURNS:
            teacher.observe_episode(HORIZON * (low + share * (high - low)))
    return teacher


class _Hills:
    """An oracle of a task that does not exist: values between -1 and 1, every action but 0 worse.

    Values in quarters, so that some pairs are draws.
    """

    gamma = 0.9

    def values(self, obs: torch.Tensor) -> torch.Tensor:
        return (4 * obs.double().sum(-1).tanh()).round() / 4

    def action_values(self, obs: torch.Tensor, act: torch.Tensor) -> torch.Tensor:
        return self.values(obs) - (4 * act.double().square().sum(-1)).round() / 4


def _finite(rewards: tuple[float, float]) -> tuple[float, float]:
    return rewards if np.isfinite(rewards).all() else (-10.0, 10.0)


def _pairs(
    n: int, seed: int, shape: Sequence[int] = (10, 3, 2), rewards: Any = RANGES[0]
) -> tuple[Segments, Segments]:
    """n pairs of steps with rewards in a range, from close and poor to far apart; some short."""
    g = np.random.default_rng(seed)
    t, o, a = shape
    low, high = _finite(rewards)
    level = g.uniform(0, 1, (n, 1)) ** 2
    sides = []
    for _ in range(2):
        reward = np.clip(level + g.uniform(0, 1, (n, 1)) ** 3 * g.normal(size=(n, t)), 0, 1)
        length = np.where(g.random((n, 1)) < 0.1, g.integers(1, max(t, 2), (n, 1)), t)
        mask = np.arange(t) < length
        sides.append(
            Segments(
                obs=torch.from_numpy(g.normal(size=(n, t, o)) * mask[..., None]).float(),
                act=torch.from_numpy(g.uniform(-1, 1, (n, t, a)) * mask[..., None]).float(),
                next_obs=torch.from_numpy(g.normal(size=(n, t, o)) * mask[..., None]).float(),
                terminal=torch.zeros(n, t, dtype=torch.bool),
                mask=torch.from_numpy(mask),
                reward=torch.from_numpy((low + (high - low) * reward) * mask).float(),
                stage=torch.from_numpy(g.uniform(0, 1, (n, 1)) * mask).float(),
            )
        )
    return sides[0], sides[1]


def _label(teacher: Any, pairs: tuple[Segments, Segments], seed: int) -> np.ndarray:
    labels = teacher.label(*pairs, np.random.default_rng(seed))
    return as_labels(labels, len(pairs[0]))  # as a run takes them


def _labels(factory: Factory) -> Iterator[str]:
    """Segments of all sizes, and rewards of all ranges, as suites come to ask about them."""
    for rewards in RANGES:
        for n, *shape in SHAPES:
            try:
                teacher = _made(factory, rewards)
            except PbrlError as error:
                if rewards == RANGES[0]:
                    yield f"bind: refuses reward_range={rewards}: {error}"
                break
            pairs = _pairs(n, 0, shape, rewards)
            try:
                _label(teacher, pairs, 0)
                p = np.asarray(teacher.probability(*pairs), dtype=np.float64)
            except Exception as error:
                if isinstance(error, ConfigError) and (n, *shape) != SHAPES[0]:
                    continue  # says what it judges by is not in such segments
                what = str(error) if isinstance(error, PbrlError) else _raised(error)
                at = f"{n} pairs of shape {shape} with rewards in {rewards}"
                yield f"label or probability: {what}, for {at}"
                return
            if p.shape != (n,):
                yield f"probability: shape {list(p.shape)} for {n} pairs; expected [{n}]"
                return
            outside = p[~((p >= 0) & (p <= 1))]
            if len(outside):
                yield f"probability: found {outside[0]:g}; expected a number in [0, 1]"
                return


def _probabilities(factory: Factory) -> Iterator[str]:
    first, second = _pairs(1000, 0)
    teacher = _made(factory)
    p = np.asarray(teacher.probability(first, second), dtype=np.float64)
    if not np.array_equal(p, teacher.probability(first, second), equal_nan=True):
        yield "probability: differs when asked twice; it must not be random"
    swapped = np.asarray(teacher.probability(second, first), dtype=np.float64)
    if getattr(teacher, "antisymmetric", False) and not np.allclose(p + swapped, 1, atol=1e-9):
        worst = int(np.abs(p + swapped - 1).argmax())
        yield (
            f"probability: {p[worst]:g} becomes {swapped[worst]:g} when the pair is swapped; "
            f"`antisymmetric` promises {1 - p[worst]:g}"
        )


def _randomness(factory: Factory) -> Iterator[str]:
    pairs = _pairs(1000, 1)
    with global_randomness() as used:
        once, again = (_label(_made(factory), pairs, 0) for _ in range(2))
    for library in used:
        yield f"label: draws from the global generator of {library}; use the rng passed in"
    if not np.array_equal(once, again, equal_nan=True):
        yield "label: two new teachers with the same rng differ; draw only from the rng passed in"
    rows = torch.arange(20).repeat(200)
    repeated = pairs[0][rows], pairs[1][rows]
    one, other = (_label(_made(factory), repeated, seed) for seed in (0, 1))
    by_pair = np.nan_to_num(one, nan=-1).reshape(200, 20)
    if (by_pair != by_pair[0]).any() and np.array_equal(one, other, equal_nan=True):
        yield "label: is noisy, but the same for every rng; draw the noise from the rng passed in"


def _segments_untouched(factory: Factory) -> Iterator[str]:
    pairs, kept = _pairs(100, 2), _pairs(100, 2)
    teacher = _made(factory)
    _label(teacher, pairs, 0)
    teacher.probability(*pairs)
    for side, original in zip(pairs, kept, strict=True):
        for name, tensor in side.tensors().items():
            if not torch.equal(tensor, original.tensors()[name]):
                yield f"label or probability: changes `{name}` of the segments it was given"


def _state(factory: Factory) -> Iterator[str]:
    """A used teacher and a new one with its state restored must go on in the same way."""
    used, new = _made(factory), _made(factory, told=False)
    _label(used, _pairs(1000, 3), 0)
    if hasattr(used, "observe_episode"):
        used.observe_episode(90.0)
    saves = hasattr(used, "state_dict") and hasattr(used, "load_state_dict")
    if saves:
        with tempfile.TemporaryDirectory() as folder:  # through the format of checkpoints
            write_state(Path(folder), used.state_dict())
            new.load_state_dict(read_state(Path(folder)))
    pairs = _pairs(1000, 4)
    for _ in range(2):
        if not np.array_equal(_label(used, pairs, 1), _label(new, pairs, 1), equal_nan=True):
            yield (
                "state_dict: a teacher with restored state labels differently; save all of it"
                if saves
                else "label: depends on earlier calls; add state_dict() and load_state_dict()"
            )
            return


def _frequencies(factory: Factory) -> Iterator[str]:
    """Each of a few pairs labeled 4,000 times: P must be a plausible mean of the labels."""
    times, kinds = 4000, 12
    pairs = _pairs(kinds, 5)
    teacher = _made(factory)
    p = np.asarray(teacher.probability(*pairs), dtype=np.float64)
    repeated = concatenate([pairs[0]] * times), concatenate([pairs[1]] * times)
    labels = _label(teacher, repeated, 2).reshape(times, kinds)
    for kind in range(kinds):
        answered = labels[:, kind][~np.isnan(labels[:, kind])]
        if len(answered) and not plausible(answered, p[kind]):
            yield (
                f"probability: {p[kind]:.4g} for a pair whose {len(answered)} labels have mean "
                f"{answered.mean():.4g}"
            )


def plausible(labels: np.ndarray, p: float, *, alpha: float = ALPHA) -> bool:
    """Whether labels in {0, 0.5, 1} can have mean p: exact binomial test, Hoeffding's with ties."""
    n, mean = len(labels), float(labels.mean())
    if (labels == 0.5).all():
        return p == 0.5
    if (labels == 0.5).any():
        return abs(mean - p) <= np.sqrt(np.log(2 / alpha) / (2 * n))
    return stats.binomtest(int(labels.sum()), n, float(np.clip(p, 0, 1))).pvalue >= alpha


def check(name: str) -> list[str]:
    """Violations of the registered teacher of that name, with its default parameters."""
    return violations(registry.with_defaults("teacher", name))
