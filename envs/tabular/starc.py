"""How far apart two rewards are, whatever does not change the order of policies aside."""

import numpy as np

from envs.tabular.world import Dynamics


def canonical(world: Dynamics, rewards: np.ndarray) -> np.ndarray:
    """c(R)(s, a) = E_{s'}[R(s, a, s') - V(s) + gamma V(s')], V that of uniformly random actions.

    `rewards` [S, A, S], or [S, A] where the next state does not matter. The same for rewards that
    differ by potential shaping or by how a reward is spread over next states (Skalse et al. 2024,
    STARC metrics). Terminal states count as states that hold, so that a potential may be anything.
    Raises ValueError for gamma = 1.
    """
    if world.gamma == 1:
        raise ValueError("STARC distances need a discount below 1; found gamma = 1")
    expected = _expected(world, rewards)
    moves = world.transitions.mean(1)
    system = np.eye(world.states) - world.gamma * moves
    values = np.linalg.solve(system, expected.mean(1))
    return expected - values[:, None] + world.gamma * world.transitions @ values


def distance(world: Dynamics, one: np.ndarray, other: np.ndarray) -> float:
    """|s(R1) - s(R2)| in [0, 2], s the canonical reward divided by its length (0 if it has none).

    0 for rewards that order policies alike by their canonical form, 2 for opposite ones.
    """
    return float(
        np.linalg.norm(_unit(canonical(world, one), one) - _unit(canonical(world, other), other))
    )


def _unit(canonical_reward: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(canonical_reward)
    # A reward that is all shaping leaves rounding, which has no direction.
    return (
        canonical_reward * 0
        if length <= 1e-9 * np.abs(rewards).max()
        else canonical_reward / length
    )


def _expected(world: Dynamics, rewards: np.ndarray) -> np.ndarray:
    rewards = np.asarray(rewards, np.float64)
    return rewards if rewards.ndim == 2 else (world.transitions * rewards).sum(-1)
