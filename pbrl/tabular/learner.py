"""What a tabular learner is given and gives back.

It may also have `prepare(world, rng)`, called once for every world before anything is learned in
it. No learner is ever given the true reward: `Dynamics` holds none, and pairs hold labels alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from envs.tabular.world import Dynamics
from pbrl.errors import CellError
from pbrl.tabular.walks import Pairs, Walks


@dataclass(frozen=True)
class Learned:
    """What came of learning: a policy, and the model of preferences behind it."""

    policy: np.ndarray
    "[S, A] float64: the probability of each action."
    score: Callable[[Walks], np.ndarray]
    "Of walks, [N]: P(second preferred) = logistic(score(second) - score(first))."
    reward: np.ndarray | None = None
    "[S, A] or [S, A, S]: what was learned, read as a reward; None where there is no such thing."
    measures: dict[str, float | None] = field(default_factory=dict)
    "Further numbers worth recording, by name."


class Learner(Protocol):
    """Learns from labeled pairs; `pbrl.check.learner` checks one."""

    def learn(self, world: Dynamics, pairs: Pairs, rng: np.random.Generator) -> Learned:
        """What the pairs teach about the world; every draw comes from `rng`."""
        ...


RECORDED = {
    "repetition", "answered", "ties", "undecided", "noisy", "wrong", "scaled_return",
    "near_optimal", "starc", "accuracy", "cross_entropy", "entropy", "calibration",
    "folded_cross_entropy", "event",
}  # fmt: skip
"""What a run says of a repetition; a learner's own measures have other names."""


def margins(learned: Learned, first: Walks, second: Walks) -> np.ndarray:
    """Scores of the second walks less those of the first, [N]; CellError where they are none."""
    scores = [np.asarray(learned.score(side), np.float64) for side in (first, second)]
    for found in scores:
        if found.shape != (len(first),) or not np.isfinite(found).all():
            what = f"shape {list(found.shape)}" if found.shape != (len(first),) else "NaN or inf"
            raise CellError(f"score returned {what} for {len(first)} walks; expected numbers [N]")
    return scores[1] - scores[0]


def violation(learned: Any, world: Any) -> str | None:
    """What is wrong with what a learner gave back, as found and expected."""
    if not isinstance(learned, Learned):
        return f"learn returned a {type(learned).__name__}; expected pbrl.tabular.learner.Learned"
    clash = sorted({*learned.measures} & RECORDED)
    if clash:
        return f"measures named {', '.join(clash)}, which a run computes itself; rename them"
    shape, policy = (world.states, world.actions), np.asarray(learned.policy)
    if policy.shape != shape:
        return f"policy of shape {list(policy.shape)}; expected [S, A] = {list(shape)}"
    if not ((policy >= 0).all() and np.allclose(policy.sum(-1), 1, atol=1e-6)):
        return "a row of the policy is no probability; expected numbers >= 0 with sum 1"
    if learned.reward is None:
        return None
    reward = np.asarray(learned.reward)
    if reward.shape not in (shape, (*shape, world.states)):
        return f"reward of shape {list(reward.shape)}; expected [S, A] or [S, A, S], or None"
    return None if np.isfinite(reward).all() else "a reward is not finite"
