"""Pairs of walks through a tabular world: drawn, labeled, and as the segments teachers read."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from envs.tabular.world import Dynamics, World
from pbrl.errors import CellError
from pbrl.segments import Segments

BLOCK = 1024  # pairs are drawn in blocks, so that fewer pairs are the first of more
BLOCKS = 1000


@dataclass(frozen=True)
class Walks:
    """N walks of T steps; after an end the walk stays there, in steps that do not exist."""

    states: np.ndarray
    "[N, T + 1] int: where each step begins, and where the last one leads."
    actions: np.ndarray
    "[N, T] int."
    mask: np.ndarray
    "[N, T] bool: the step exists; others begin in a terminal state."

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, index: Any) -> "Walks":
        return Walks(self.states[index], self.actions[index], self.mask[index])

    def counts(self, world: Dynamics) -> tuple[np.ndarray, np.ndarray]:
        """(state * A + action) [N, T] of each step, and whether it counts [N, T]."""
        return self.states[:, :-1] * world.actions + self.actions, self.mask

    def features(self, world: Dynamics) -> np.ndarray:
        """[N, d]: the sum of the features of the transitions that happened."""
        steps = world.features[self.states[:, :-1], self.actions, self.states[:, 1:]]
        return (steps * self.mask[..., None]).sum(1)


@dataclass(frozen=True)
class Pairs:
    """Labeled pairs of walks, those a teacher skipped left out."""

    first: Walks
    second: Walks
    labels: np.ndarray
    "[N] float64: 0 first preferred, 1 second, 0.5 tie."

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> "Pairs":
        return Pairs(self.first[index], self.second[index], self.labels[index])


def draw(
    world: Dynamics, n: int, length: int, rng: np.random.Generator, *, absorbing: bool = True
) -> tuple[Walks, Walks]:
    """n pairs of independent walks: a start of the world's, then uniformly random actions.

    Without `absorbing`, pairs in which a walk ends before its last step are drawn again. The first
    m pairs are the same for every n >= m. Raises CellError when hardly any walk is long enough.
    """
    found: list[Walks] = []
    have = 0
    for _ in range(BLOCKS):
        both = _walk(world, rng.random((BLOCK, 2, 1 + 2 * length)))
        kept = np.ones(BLOCK, bool) if absorbing else both.mask.all((1, 2))
        found.append(both[kept])
        have += int(kept.sum())
        if have >= n:
            joined = Walks(*(np.concatenate([getattr(w, f) for w in found])[:n] for f in FIELDS))
            return joined[:, 0], joined[:, 1]
    raise CellError(
        f"of {BLOCK * BLOCKS:,} pairs of walks only {have} go on for {length} steps; {n} are asked "
        "for: lower segment_length, or keep absorbing steps (absorbing: true)"
    )


FIELDS = ("states", "actions", "mask")


def _walk(world: Dynamics, chances: np.ndarray) -> Walks:
    """Walks [N, 2] from uniform numbers [N, 2, 1 + 2 T]: of the start, actions, outcomes."""
    length = chances.shape[-1] // 2
    starts = world.start.cumsum() / world.start.sum()
    actions = (chances[..., 1 : 1 + length] * world.actions).astype(np.int64)
    states = np.empty((*chances.shape[:-1], length + 1), np.int64)
    states[..., 0] = np.searchsorted(starts, chances[..., 0], side="right")
    for t in range(length):
        leads = world.cumulative[states[..., t], actions[..., t]]
        states[..., t + 1] = (leads <= chances[..., 1 + length + t, None]).sum(-1)
    return Walks(states, actions, ~world.terminal[states[..., :-1]])


def segments(world: World, walks: Walks) -> Segments:
    """The walks as a teacher reads them, with the true reward: states and actions as numbers."""
    now, then = walks.states[:, :-1], walks.states[:, 1:]
    mask = torch.from_numpy(walks.mask)
    reward = torch.from_numpy(world.rewards[now, walks.actions, then] * walks.mask)

    def numbers(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values * walks.mask)[..., None].float()

    return Segments(
        obs=numbers(now),
        act=numbers(walks.actions),
        next_obs=numbers(then),
        terminal=torch.from_numpy(world.terminal[then]) & mask,
        mask=mask,
        reward=reward,
    )
