"""Learners of the optimal advantage, and of what it is mistaken for (Knox et al., 2310.02456).

Who fits P(second) = logistic(sum g - sum g) to regret preferences, one number g(s, a) for each
action, learns the optimal advantage, since -regret = sum A*. Steps from an absorbing state are
worth 0 and not learned; they anchor g where pairs of whole walks only tell it up to a shift. The
step that enters a terminal state is learned as any other.
"""

import numpy as np

from envs.tabular import solvers
from envs.tabular.world import Dynamics
from pbrl import registry
from pbrl.tabular import logistic
from pbrl.tabular.learner import Learned
from pbrl.tabular.partial_return import Prior
from pbrl.tabular.walks import Pairs, Walks


def advantage(world: Dynamics, pairs: Pairs, l2: float) -> np.ndarray:
    """g [S, A], 0 in terminal states: the mode under a Gaussian prior of precision `l2`."""
    index, labels, weight = logistic.aggregated(logistic.kinds(world, pairs), pairs.labels)
    sides = (logistic.counts(world, side[index]) for side in (pairs.second, pairs.first))
    design = next(sides) - next(sides)
    return logistic.fit(design, labels, weight, l2=l2).reshape(world.states, world.actions)


def _learned(world: Dynamics, found: np.ndarray, policy: np.ndarray) -> Learned:
    def score(walks: Walks) -> np.ndarray:
        return logistic.counts(world, walks) @ found.ravel()

    highest = float(found.max(-1)[~world.terminal].mean())
    measures = {"max_advantage": highest, "best_loop": best_loop(world, found)}
    return Learned(policy, score, reward=found, measures=measures)


def best_loop(world: Dynamics, rewards: np.ndarray) -> float | None:
    """The highest sum of `rewards` [S, A] on the way round a loop of one or two sure steps.

    Above 0, who takes them for a reward goes round it forever; below 0 for all, who does hurries
    to an end. None without such a loop.
    """
    sure = (world.transitions == 1) & ~world.terminal[:, None, None]
    leads = np.where(sure, rewards[..., None], -np.inf).max(1)  # S, S: the best action from s to s'
    there_and_back = leads + leads.T
    np.fill_diagonal(there_and_back, leads.diagonal())
    highest = float(there_and_back.max())
    return highest if np.isfinite(highest) else None


@registry.learner("greedy-advantage")
class GreedyAdvantage:
    """Learns the optimal advantage and takes the action where it is highest, without planning."""

    def __init__(self, l2: Prior = 1e-4) -> None:
        self.l2 = l2

    def learn(self, world: Dynamics, pairs: Pairs, rng: np.random.Generator) -> Learned:
        found = advantage(world, pairs, self.l2)
        return _learned(world, found, solvers.greedy(found))


@registry.learner("advantage-as-reward")
class AdvantageAsReward:
    """Learns the same, takes it for a reward and plans for it: the usual mistake."""

    def __init__(self, l2: Prior = 1e-4) -> None:
        self.l2 = l2

    def learn(self, world: Dynamics, pairs: Pairs, rng: np.random.Generator) -> Learned:
        found = advantage(world, pairs, self.l2)
        _, action_values = solvers.optimal(world, found)
        return _learned(world, found, solvers.greedy(action_values))
