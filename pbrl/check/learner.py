"""What a tabular learner promises: a policy and a score, replayable, without the true reward."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import numpy as np
from scipy.special import expit

from pbrl import registry
from pbrl.check.global_random import global_randomness

CASES = (0, 1, 40)  # labeled pairs


def check(name: str) -> list[str]:
    """Violations of the registered learner of that name, with its default parameters."""
    return violations(registry.with_defaults("learner", name))


def violations(factory: Callable[[], Any]) -> list[str]:
    """Every broken promise of a learner, one sentence each; empty if sound.

    Checks, with none, one and many labels of a small deterministic and a small random world: what
    it gives back; that all randomness comes from the rng it is given and nothing is kept from one
    call to the next; that it leaves what it is given alone; and that it does without reward.
    """
    found: list[str] = []
    for n in CASES:
        for seed in (0, 1):
            try:
                found += _case(factory, n, seed)
            except Exception as error:
                found.append(f"{type(error).__name__} with {n} labels: {error}")
    return list(dict.fromkeys(found))


def _case(factory: Callable[[], Any], n: int, seed: int) -> Iterator[str] | list[str]:
    from pbrl.tabular.learner import violation

    inputs = [_inputs(n, seed) for _ in range(3)]  # the third is never shown
    learners = [factory(), factory()]
    with global_randomness() as used:
        for learner, (world, _) in zip(learners, inputs, strict=False):
            if hasattr(learner, "prepare"):
                learner.prepare(world, np.random.default_rng(1))
        one, again = (
            learner.learn(world, pairs, np.random.default_rng(2))
            for learner, (world, pairs) in zip(learners, inputs, strict=False)
        )
    found = [
        f"draws from the global generator of {library}; use the rng passed in" for library in used
    ]
    world, pairs = inputs[0]
    problem = violation(one, world)
    if problem:
        return [*found, problem]
    score = np.asarray(one.score(pairs.first))
    if score.shape != (n,) or not np.isfinite(score).all():
        found.append(f"score gives shape {list(score.shape)} for {n} walks; expected finite [{n}]")
    later = learners[1].learn(world, pairs, np.random.default_rng(2))
    if not all(np.array_equal(one.policy, other.policy) for other in (again, later)):
        found.append(
            "learning twice from the same pairs and rng gives two policies; draw from rng alone, "
            "and keep nothing between calls"
        )
    for shown, kept in zip(inputs[0], inputs[2], strict=True):
        for name in (f.name for f in fields(shown)):
            if not _same(getattr(shown, name), getattr(kept, name)):
                found.append(f"learn changes `{name}` of what it was given")
    return found


def _same(one: Any, other: Any) -> bool:
    if hasattr(one, "mask"):
        return all(_same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return bool(np.array_equal(one, other))


def _inputs(n: int, seed: int) -> tuple[Any, Any]:
    """A world without its reward, and pairs labeled by noisy sums of the reward it had."""
    from envs.tabular.grids import board, from_board
    from envs.tabular.world import World
    from pbrl.tabular import walks

    rng = np.random.default_rng(seed)
    if seed == 0:
        world = from_board(board("...\n.S.\n..G"), np.array([-1, 5, -5, 1, -1, -2]), 0.95)
    else:
        leads, like = rng.dirichlet(np.ones(5), (5, 3)), rng.normal(size=(5, 3, 5, 4))
        start, ends = np.full(5, 0.2), np.zeros(5, bool)
        world = World(leads, like, start, ends, 0.9, weights=rng.normal(size=4))
    first, second = walks.draw(world, n, 3, rng)
    gain = (second.features(world) - first.features(world)) @ world.weights
    labels = (rng.random(n) < expit(gain)).astype(np.float64)
    labels[::7] = 0.5
    return world.without_reward(), walks.Pairs(first, second, labels)
