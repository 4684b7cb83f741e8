"""A world given by tables: where actions lead, what a transition is like, what that is worth."""

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Dynamics:
    """Everything about a world but its reward: what a learner may know.

    S states, A actions, d features. An episode ends in a terminal state, from which nothing leads
    away and where all features are 0. Raises ValueError for tables that are no such world: shapes,
    rows that are no probabilities, a discount outside [0, 1], states that no start leads to.
    """

    transitions: np.ndarray
    "[S, A, S] float64: P(s' | s, a)."
    features: np.ndarray
    "[S, A, S, d] float64: what the transition s, a, s' is like."
    start: np.ndarray
    "[S] float64: probability of beginning in a state; 0 for terminal ones."
    terminal: np.ndarray
    "[S] bool."
    gamma: float
    "Discount, in [0, 1]."
    places: np.ndarray | None = None
    "[S, 2] int: row and column of each state, where the world is a grid."

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem is not None:
            raise ValueError(problem)

    @property
    def states(self) -> int:
        return self.transitions.shape[0]

    @property
    def actions(self) -> int:
        return self.transitions.shape[1]

    @cached_property
    def expected_features(self) -> np.ndarray:
        """[S, A, d]: features of taking an action, over where it leads."""
        return np.einsum("sat,satd->sad", self.transitions, self.features)

    @cached_property
    def cumulative(self) -> np.ndarray:
        """[S, A, S]: P(next state <= s'), whose last column is 1 exactly, to draw from."""
        found = self.transitions.cumsum(-1)
        return found / found[..., -1:]


@dataclass(frozen=True, eq=False, kw_only=True)
class World(Dynamics):
    """A world with its true reward, r(s, a, s') = features . weights."""

    weights: np.ndarray
    "[d] float64: what each feature is worth."

    @cached_property
    def rewards(self) -> np.ndarray:
        """[S, A, S]: the true reward of each transition."""
        return self.features @ self.weights

    @cached_property
    def expected_rewards(self) -> np.ndarray:
        """[S, A]: the true reward of taking an action, over where it leads."""
        return self.expected_features @ self.weights

    @property
    def reward_range(self) -> tuple[float, float]:
        """Lowest and highest reward of a transition that can happen."""
        possible = self.rewards[self.transitions > 0]
        return float(possible.min()), float(possible.max())

    def without_reward(self) -> Dynamics:
        """The same world as a learner may see it, and cannot change: its tables are read-only."""
        found = {f.name: getattr(self, f.name) for f in fields(Dynamics)}
        for name, table in found.items():
            if isinstance(table, np.ndarray):
                found[name] = table.view()
                found[name].flags.writeable = False
        return Dynamics(**found)

    def with_discount(self, gamma: float) -> "World":
        return replace(self, gamma=gamma)


def reachable(transitions: np.ndarray, start: np.ndarray) -> np.ndarray:
    """[S] bool: the states that some policy gets to."""
    leads = np.asarray((transitions > 0).any(1))
    found = np.asarray(start > 0)
    while True:
        grown = found | leads[found].any(0)
        if (grown == found).all():
            return found
        found = grown


def pruned(world: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tables of a world (transitions, features, start, terminal, places) without the rest."""
    kept = reachable(world["transitions"], world["start"])
    found = {name: table[kept] for name, table in world.items()}
    for name in ("transitions", "features"):
        found[name] = found[name][:, :, kept]
    return found


def _problem(world: Dynamics) -> str | None:
    """What is wrong with the tables, as what was found and what was expected."""
    p, found = world.transitions, {f.name: np.shape(getattr(world, f.name)) for f in fields(world)}
    s, a = p.shape[:2] if p.ndim == 3 else (0, 0)
    expected = {"transitions": (s, a, s), "features": (s, a, s, *world.features.shape[3:4])}
    expected |= {"start": (s,), "terminal": (s,)}
    if isinstance(world, World):
        expected["weights"] = world.features.shape[3:4]
    for name, shape in expected.items():
        if found[name] != shape or 0 in shape:
            return (
                f"{name}: found shape {list(found[name])}; expected transitions [S, A, S], features"
                " [S, A, S, d], start [S], terminal [S], weights [d]"
            )
    if not 0 <= world.gamma <= 1:
        return f"gamma = {world.gamma}; expected a number in [0, 1]"
    for name, rows in (("transitions", p), ("start", world.start)):
        if not ((rows >= 0).all() and np.allclose(rows.sum(-1), 1, atol=1e-9)):
            worst = float(np.nanmax(np.abs(rows.sum(-1) - 1)))
            return f"{name}: rows sum to 1 +- {worst:g} or are negative; expected probabilities"
    ends = np.flatnonzero(world.terminal)
    if not (p[ends, :, ends] == 1).all() or world.features[ends].any() or world.start[ends].any():
        return "terminal states must lead to themselves alone, have features 0 and never be a start"
    if not np.isfinite(world.features).all():
        return "features: found a number that is not finite"
    lost = np.flatnonzero(~reachable(p, world.start))
    if lost.size:
        return (
            f"{lost.size} of {s} states cannot be reached, such as state {lost[0]}; leave them out "
            "(envs.tabular.world.pruned does)"
        )
    return None
