"""PEBBLE's unsupervised exploration: a particle estimate of the entropy of visited states."""

import math
from typing import Any

import torch
from torch import Tensor

from pbrl.errors import ConfigError

EQUAL = 1e-4  # a deviation below this part of the mean is rounding: the distances are all equal


class StateEntropy:
    """Distance to the k-th nearest visited state, over its running standard deviation.

    PEBBLE (Lee et al. 2021, sec. 4.1; k = 5 and no logarithm in its code) compares with every
    state in the replay buffer, which costs O(batch · buffer) and dominates a CPU run. Here a
    buffer of more than `particles` states is represented by that many drawn from it and the batch
    itself; with `particles` of at least the buffer's size this is the published estimate.

    The running variance is Welford's (merged per batch, Chan et al. 1979); the released code's
    update of the mean has a slip that makes its normalizer drift. As long as all distances are
    equal there is nothing to divide by, and the bonus is the distance itself.
    """

    def __init__(self, *, k: int = 5, particles: int = 1024) -> None:
        self.k, self.particles = k, particles
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def bonus(self, obs: Tensor, visited: Tensor, generator: torch.Generator) -> Tensor:
        """Bonus [B] of states obs [B, O] that are among the visited [n, O].

        Neighbors are found among centered states, because the products inside `cdist` cancel
        digits far from the origin; the distance to the k-th is then computed exactly.
        Raises ConfigError unless more than k states are there to compare with.
        """
        if len(visited) > self.particles:
            shape, device = (self.particles,), visited.device
            chosen = torch.randint(len(visited), shape, generator=generator, device=device)
            visited = torch.cat((obs, visited[chosen]))
        if len(visited) <= self.k:
            raise ConfigError(
                f"the entropy bonus needs more than entropy_k = {self.k} states and found "
                f"{len(visited)}; expected seed_steps and entropy_particles of at least entropy_k"
            )
        center = visited.mean(0)
        apart = torch.cdist(obs - center, visited - center)
        # The smallest distance is that of a state to itself.
        kth = apart.topk(self.k + 1, dim=1, largest=False).indices[:, -1]
        distance = torch.linalg.vector_norm(obs - visited[kth], dim=1)
        self._observe(distance)
        return distance / (self.std if self.std > EQUAL * self.mean else 1.0)

    @property
    def std(self) -> float:
        """Running standard deviation (of the population) of all distances so far."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0

    def _observe(self, values: Tensor) -> None:
        values = values.double()
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
