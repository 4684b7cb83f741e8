"""How good what was learned is: against the true reward, and against the teacher's own odds."""

import numpy as np
from scipy.special import expit

from envs.tabular import starc
from envs.tabular.solvers import NEAR_OPTIMAL, Scale
from envs.tabular.world import Dynamics, World
from pbrl.tabular.learner import Learned, Learner
from pbrl.tabular.learner import margins as difference
from pbrl.tabular.logistic import cross_entropy
from pbrl.tabular.walks import Pairs, Walks

BINS = 10


def of_policy(scale: Scale, learned: Learned) -> dict[str, float | None]:
    """Of the policy under the true reward: scaled return, and whether it is near-optimal.

    None where every policy is equally good. The distance of the learned reward from the true one is
    `starc.distance`; None where there is no such reward or gamma = 1.
    """
    world: World = scale.world
    scaled = scale(learned.policy)
    known = not np.isnan(scaled)
    near = learned.reward is not None and world.gamma < 1
    return {
        "scaled_return": scaled if known else None,
        "near_optimal": float(scaled >= NEAR_OPTIMAL) if known else None,
        "starc": starc.distance(world, world.rewards, learned.reward) if near else None,  # type: ignore[arg-type]
        **learned.measures,
    }


def of_model(
    learned: Learned, first: Walks, second: Walks, chance: np.ndarray
) -> dict[str, float | None]:
    """Of the model's odds on pairs it did not learn from, whose true odds are `chance` [N].

    accuracy: share of pairs whose likelier side it finds likelier, of those where there is one (a
    model that is undecided is half right). cross_entropy: expected over the teacher's labels, so
    at least `entropy`, that of the odds. calibration: expected distance, in ten bins of its odds,
    between mean odds and mean true odds.
    """
    margins = difference(learned, first, second)
    odds = expit(margins)
    clear = chance != 0.5
    right = (1 + np.sign(margins) * np.sign(chance - 0.5))[clear] / 2
    bins = np.minimum((odds * BINS).astype(int), BINS - 1)
    gap = np.abs(np.bincount(bins, odds - chance, BINS)).sum() / len(odds)
    return {
        "accuracy": float(right.mean()) if clear.any() else None,
        "cross_entropy": float(cross_entropy(margins, chance).mean()),
        "entropy": float(_entropy(chance).mean()),
        "calibration": float(gap),
    }


def _entropy(p: np.ndarray) -> np.ndarray:
    inside = np.clip(p, 1e-300, 1), np.clip(1 - p, 1e-300, 1)
    return -(p * np.log(inside[0]) + (1 - p) * np.log(inside[1]))


def folded(
    learner: Learner, world: Dynamics, pairs: Pairs, folds: int, rng: np.random.Generator
) -> float:
    """Cross-entropy per label, each of `folds` parts predicted by what the others teach."""
    part = rng.permutation(len(pairs)) % folds
    total = 0.0
    for fold in range(folds):
        held = pairs[part == fold]
        learned = learner.learn(world, pairs[part != fold], rng)
        margins = difference(learned, held.first, held.second)
        total += float(cross_entropy(margins, held.labels).sum())
    return total / len(pairs)
