"""PEBBLE's unsupervised exploration: a particle estimate of the entropy of visited states."""

import math
from typing import Any

import torch
from torch import Tensor


class StateEntropy:
    """Distance to the k-th nearest visited state, over its running standard deviation.

    PEBBLE (Lee et al. 2021, sec. 4.1; k = 5 and no logarithm in its code) compares with every
    state in the replay buffer, which costs O(batch · buffer) and dominates a CPU run. Here a
    buffer of more than `particles` states is represented by that many drawn from it and the batch
    itself; with `particles` of at least the buffer's size this is the published estimate.

    The running variance is Welford's (merged per batch, Chan et al. 1979); the released code's
    update of the mean has a slip that makes its normalizer drift.
    """

    def __init__(self, *, k: int = 5, particles: int = 1024) -> None:
        self.k, self.particles = k, particles
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def bonus(self, obs: Tensor, visited: Tensor, generator: torch.Generator) -> Tensor:
        """Bonus [B] of states obs [B, O] that are among the visited [n, O].

        n must exceed k, so exploration starts after at least k + 1 steps.
        """
        if len(visited) > self.particles:
            shape, device = (self.particles,), visited.device
            chosen = torch.randint(len(visited), shape, generator=generator, device=device)
            visited = torch.cat((obs, visited[chosen]))
        # The smallest distance is that of a state to itself.
        nearest = torch.cdist(obs, visited).topk(self.k + 1, dim=1, largest=False).values
        distance = nearest[:, -1]
        self._observe(distance)
        return distance / max(self.std, 1e-8)

    @property
    def std(self) -> float:
        """Running standard deviation (of the population) of all distances so far."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0

    def _observe(self, values: Tensor) -> None:
        n, mean = len(values), values.mean().item()
        squares = (values - mean).square().sum().item()
        delta, total = mean - self.mean, self.count + n
        self.squares += squares + delta**2 * self.count * n / total
        self.mean += delta * n / total
        self.count = total

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count, self.mean, self.squares = state["count"], state["mean"], state["squares"]
