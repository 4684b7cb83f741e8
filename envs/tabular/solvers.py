"""Exact solutions of a world: every function takes all states at once, most also many problems.

Leading axes of `rewards` [..., S, A] and `policy` [..., S, A] are free, so that a bank of policies
is evaluated by one call. A policy holds the probability of each action. The reward of an action
is the expected one, r(s, a); terminal states are worth 0.
"""

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array

from envs.tabular.world import Dynamics, World

TIE = 1e-9  # actions within this share of the largest value are equally good: rounding, not worth
SWEEPS = 50_000


def greedy(action_values: np.ndarray) -> np.ndarray:
    """The policy [..., S, A] that takes the best action; equal ones with equal probability."""
    scale = np.maximum(1, np.abs(action_values).max(axis=(-2, -1), keepdims=True))
    best = action_values >= action_values.max(-1, keepdims=True) - TIE * scale
    return best / best.sum(-1, keepdims=True)


def uniform(world: Dynamics) -> np.ndarray:
    """The policy [S, A] that takes every action equally often."""
    return np.full((world.states, world.actions), 1 / world.actions)


def ahead(
    world: Dynamics, rewards: np.ndarray, values: np.ndarray, gamma: float | None = None
) -> np.ndarray:
    """Q [..., S, A] of taking an action and being in a world of these values [..., S] then."""
    gamma = world.gamma if gamma is None else gamma
    return rewards + gamma * np.einsum("sat,...t->...sa", world.transitions, values)


def evaluate(
    world: Dynamics, policy: np.ndarray, rewards: np.ndarray, gamma: float | None = None
) -> np.ndarray:
    """V [..., S] of a policy: (I - gamma P_pi)^-1 r_pi over the states that are not terminal.

    Raises ValueError where that does not exist: gamma = 1 and an episode that may never end.
    """
    values = _discounted_sum(world, policy, (policy * rewards).sum(-1)[..., None], gamma)
    return values[..., 0]


def successor_features(
    world: Dynamics, policy: np.ndarray, gamma: float | None = None
) -> np.ndarray:
    """psi [..., S, d]: the discounted sum of features a policy expects from each state."""
    expected = np.einsum("...sa,sad->...sd", policy, world.expected_features)
    return _discounted_sum(world, policy, expected, gamma)


def _discounted_sum(
    world: Dynamics, policy: np.ndarray, each: np.ndarray, gamma: float | None
) -> np.ndarray:
    """The sum over time of gamma^t times `each` [..., S, d], from every state."""
    gamma = world.gamma if gamma is None else gamma
    alive = ~world.terminal
    moves = np.einsum("...sa,sat->...st", policy, world.transitions)[..., alive, :][..., alive]
    system = np.eye(alive.sum()) - gamma * moves
    try:
        inside = np.linalg.solve(
            system, np.broadcast_to(each, (*moves.shape[:-2], *each.shape[-2:]))[..., alive, :]
        )
    except np.linalg.LinAlgError:
        inside = np.full((1,), np.inf)
    if not np.isfinite(inside).all() or np.abs(inside).max(initial=0) > 1e12:
        raise ValueError(
            "a policy has no value: with gamma = 1 every episode must end; lower gamma, or take a "
            "policy that ends"
        )
    found = np.zeros((*inside.shape[:-2], world.states, inside.shape[-1]))
    found[..., alive, :] = inside
    return found


def optimal(
    world: Dynamics, rewards: np.ndarray, gamma: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """V* [..., S] and Q* [..., S, A]: by policy iteration (Howard 1960), exact up to rounding.

    With gamma = 1 by value iteration, whose fixed point may lie in not ending at all; raises
    ValueError where reward can be collected without end.
    """
    gamma = world.gamma if gamma is None else gamma
    if gamma == 1:
        return value_iteration(world, rewards, gamma)
    rewards = np.asarray(rewards, np.float64)
    batch, shape = rewards.reshape(-1, world.states, world.actions), rewards.shape
    values = np.empty(batch.shape[:2])
    action_values = np.empty_like(batch)
    choice = batch.argmax(-1)
    active = np.arange(len(batch))
    while active.size:
        policy = np.eye(world.actions)[choice[active]]
        values[active] = evaluate(world, policy, batch[active], gamma)
        action_values[active] = found = ahead(world, batch[active], values[active], gamma)
        held = np.take_along_axis(found, choice[active][..., None], -1)[..., 0]
        scale = np.maximum(1, np.abs(found).max(axis=(-2, -1)))[:, None]
        better = found.max(-1) > held + TIE * scale  # keeps a tie, so that it ends
        choice[active] = np.where(better, found.argmax(-1), choice[active])
        active = active[better.any(-1)]
    action_values[:, world.terminal] = 0
    return values.reshape(shape[:-1]), action_values.reshape(shape)


def value_iteration(
    world: Dynamics,
    rewards: np.ndarray,
    gamma: float | None = None,
    *,
    tolerance: float = 1e-12,
) -> tuple[np.ndarray, np.ndarray]:
    """V* and Q*, as `optimal`, from values of 0, until no value changes by more than `tolerance`.

    Raises ValueError when it does not settle in 50,000 sweeps.
    """
    values = np.zeros(np.shape(rewards)[:-1])
    alive = ~world.terminal[:, None]
    for _ in range(SWEEPS):
        action_values = ahead(world, rewards, values, gamma) * alive
        new = action_values.max(-1)
        change = np.abs(new - values).max()
        values = new
        if change <= tolerance * max(1.0, np.abs(values).max()):
            return values, ahead(world, rewards, values, gamma) * alive
    raise ValueError(
        f"value iteration still changes by {change:g} after {SWEEPS:,} sweeps: with gamma = 1, "
        "reward can be collected without end; lower gamma"
    )


def finite_horizon(
    world: Dynamics, rewards: np.ndarray, steps: int, policy: np.ndarray | None = None
) -> np.ndarray:
    """Undiscounted values [steps + 1, S] with 0, 1, ..., `steps` steps to go.

    The best that can be had, or what a policy [S, A] gets.
    """
    values = np.zeros((steps + 1, world.states))
    for i in range(steps):
        found = ahead(world, rewards, values[i], 1.0)
        values[i + 1] = found.max(-1) if policy is None else (policy * found).sum(-1)
    return values


def occupancy(world: Dynamics, policy: np.ndarray, gamma: float | None = None) -> np.ndarray:
    """[S, A]: how often each action is taken, discounted, from the start on; 0 in terminal states.

    Its product with any r(s, a) is the return. Raises ValueError as `evaluate` does.
    """
    gamma = world.gamma if gamma is None else gamma
    alive = ~world.terminal
    moves = np.einsum("sa,sat->st", policy, world.transitions)[np.ix_(alive, alive)]
    try:
        visits = np.linalg.solve(np.eye(len(moves)) - gamma * moves.T, world.start[alive])
    except np.linalg.LinAlgError:
        raise ValueError(
            "a policy has no occupancy: with gamma = 1 every episode must end; lower gamma"
        ) from None
    found = np.zeros((world.states, world.actions))
    found[alive] = visits[:, None] * policy[alive]
    return found


def linear_program(
    world: Dynamics, rewards: np.ndarray, gamma: float | None = None
) -> tuple[float, np.ndarray]:
    """The best return from the start, and an occupancy [S, A] that has it (Puterman 1994, 6.9).

    maximize <d, r> over d >= 0 with sum_a d(s, a) = start(s) + gamma sum P(s | s', a') d(s', a').
    Raises ValueError when the program has no solution (gamma = 1 and reward without end).
    """
    gamma = world.gamma if gamma is None else gamma
    alive = np.flatnonzero(~world.terminal)
    flow = world.transitions[alive][:, :, alive].reshape(-1, len(alive)).T
    outward = np.repeat(eye_array(len(alive)).toarray(), world.actions, axis=1)
    found = linprog(
        -rewards[alive].ravel(),
        A_eq=csr_array(outward - gamma * flow),
        b_eq=world.start[alive],
        method="highs",
    )
    if not found.success:
        raise ValueError(f"the linear program of the world has no solution: {found.message}")
    visits = np.zeros((world.states, world.actions))
    visits[alive] = found.x.reshape(len(alive), -1)
    return -float(found.fun), visits


def mean_return(world: World, policy: np.ndarray, gamma: float | None = None) -> float:
    """The true return of a policy from the start."""
    return float(world.start @ evaluate(world, policy, world.expected_rewards, gamma))


NEAR_OPTIMAL = 0.9  # of a scaled return (Knox et al., arXiv 2206.02231)


class Scale:
    """The true return of a policy between 0, uniformly random actions, and 1, the best.

    `best` and `floor` are the two returns from the start; at least 0.9 counts as near-optimal.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.values, self.action_values = optimal(world, world.expected_rewards)
        self.best = float(world.start @ self.values)
        self.floor = mean_return(world, uniform(world))

    def __call__(self, policy: np.ndarray) -> float:
        """(J(pi) - J(uniform)) / (J* - J(uniform)); NaN where all policies are equally good."""
        room = self.best - self.floor
        if room <= TIE * max(1.0, abs(self.best)):
            return float("nan")
        return (mean_return(self.world, policy) - self.floor) / room
