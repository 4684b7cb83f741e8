"""Q-learning from the optimal advantage that regret labels teach, and from the true reward.

The study of Knox et al. (arXiv 2310.02456, Fig. 6): does an agent that takes the learned advantage
for its reward learn faster? Prints the area above the curve of scaled returns, clipped to [-1, 1],
of both, and Wilcoxon's test over worlds. Minutes on one core:

    python tests/benchmarks/q_learning.py [WORLDS] [LABELS]
"""

import sys

import numba
import numpy as np
from scipy import stats

from envs.tabular import grids, solvers
from pbrl.tabular import logistic, walks
from pbrl.tabular.advantage import advantage

EPISODES, EVERY, STEPS = 1600, 20, 1000
LR, EPSILON, DECAY = 0.5, 0.4, 0.99  # epsilon decays with every step, as in the released code


@numba.njit
def learn(leads, rewards, terminal, starts, gamma, rng):
    """Q [evaluations, S, A] of tabular Q-learning in a deterministic world."""
    states, actions = rewards.shape
    q = np.zeros((states, actions))
    kept = np.zeros((EPISODES // EVERY, states, actions))
    epsilon = EPSILON
    for episode in range(EPISODES):
        s = starts[int(rng.random() * len(starts))]
        for _ in range(STEPS):
            if rng.random() < epsilon:
                a = int(rng.random() * actions)
            else:
                best = q[s].max()
                ties = np.flatnonzero(q[s] == best)
                a = ties[int(rng.random() * len(ties))]
            epsilon *= DECAY
            to = leads[s, a]
            ahead = 0.0 if terminal[to] else gamma * q[to].max()
            q[s, a] += LR * (rewards[s, a] + ahead - q[s, a])
            s = to
            if terminal[s]:
                break
        if (episode + 1) % EVERY == 0:
            kept[episode // EVERY] = q
    return kept


def area(world, scale, rewards, rng) -> float:
    """Mean of 1 - clipped scaled return over the evaluations."""
    leads, starts = world.transitions.argmax(-1), np.flatnonzero(world.start)
    kept = learn(leads, rewards, world.terminal, starts, world.gamma, rng)
    policies = solvers.greedy(kept)
    values = solvers.evaluate(world, policies, world.expected_rewards) @ world.start
    scaled = (values - scale.floor) / (scale.best - scale.floor)
    return float(1 - np.clip(scaled, -1, 1).mean())


def main(worlds: int, labels: int) -> None:
    areas, greedy = [], []
    for number in range(worlds):
        streams = np.random.SeedSequence([number]).spawn(4)
        world = grids.random_mdp().sample(np.random.default_rng(streams[0]))
        scale = solvers.Scale(world)
        sides = walks.draw(world, labels, 3, np.random.default_rng(streams[1]))
        table = scale.action_values - scale.values[:, None]
        first, second = (logistic.counts(world, side) @ table.ravel() for side in sides)
        answers = 0.5 + 0.5 * np.sign(np.round(second, 2) - np.round(first, 2))
        found = advantage(world.without_reward(), walks.Pairs(*sides, answers), 1e-4)
        areas.append(
            [
                area(world, scale, rewards, np.random.default_rng(streams[2]))
                for rewards in (found, world.expected_rewards)
            ]
        )
        greedy.append(1 - np.clip(scale(solvers.greedy(found)), -1, 1))
        print(f"world {number}: {areas[-1][0]:.3f} from the advantage, {areas[-1][1]:.3f} from the "
              f"reward; greedy {greedy[-1]:.3f}", flush=True)  # fmt: skip
    ours, theirs = np.array(areas).T
    gain = theirs - ours
    half = stats.t.ppf(0.975, worlds - 1) * gain.std(ddof=1) / np.sqrt(worlds)
    print(f"\narea above the curve: advantage {ours.mean():.3f}, reward {theirs.mean():.3f}; "
          f"reward - advantage {gain.mean():.3f} +- {half:.3f}, "
          f"Wilcoxon p = {stats.wilcoxon(gain).pvalue:.2g}")  # fmt: skip
    print(f"greedy on the advantage, no learning by acting: {np.mean(greedy):.3f}")


if __name__ == "__main__":
    main(*(int(x) for x in [*sys.argv[1:], *("30", "100000")[len(sys.argv) - 1 :]]))
