"""PEBBLE's unsupervised exploration: a particle estimate of the entropy of visited states."""

from typing import Any

import torch
from torch import Tensor

from pbrl.errors import ConfigError

EQUAL = 1e-4  # a deviation below this part of the mean is rounding: the distances are all equal
BLOCK = 16384  # visited states compared at a time: bounds memory, changes nothing but rounding
SPARE = 8  # neighbors kept beyond the k-th, in case rounding has put a nearer one behind it


class StateEntropy:
    """Distance to the k-th nearest other visited state, over its running standard deviation.

    PEBBLE (Lee et al. 2021, sec. 4.1; k = 5 and no logarithm in its code) with every state of the
    replay buffer, as published. The cost is O(batch · buffer): on one core 0.07 s for 1,024 of
    10,000 states, a sixth of the update of networks of 2 x 1024 on that batch.

    The running variance is Welford's (merged per batch, Chan et al. 1979); the released code's
    update of the mean has a slip that makes its normalizer drift. As long as all distances are
    equal there is nothing to divide by, and the bonus is the distance itself.
    """

    def __init__(self, *, k: int, device: str | torch.device = "cpu") -> None:
        self.k = k
        self.count = 0
        self.mean, self.squares = torch.zeros(2, dtype=torch.float64, device=device).unbind()

    def bonus(self, obs: Tensor, visited: Tensor) -> Tensor:
        """Bonus [B] of states obs [B, O] that are among the visited [n, O].

        Raises ConfigError unless more than k states are there to compare with.
        """
        if len(visited) <= self.k:
            raise ConfigError(
                f"the entropy bonus needs more than entropy_k = {self.k} states and found "
                f"{len(visited)}; expected seed_steps of at least entropy_k"
            )
        distance = distance_to_neighbor(obs, visited, self.k)
        self._observe(distance)
        std = torch.where(self.std > EQUAL * self.mean, self.std, 1.0)
        return distance / std.to(distance.dtype)

    @property
    def std(self) -> Tensor:
        """Running standard deviation (of the population) of all distances so far; a scalar."""
        return (self.squares / max(1, self.count)).sqrt()

    def _observe(self, values: Tensor) -> None:
        values, n = values.double(), len(values)
        delta, total = values.mean() - self.mean, self.count + n
        self.squares += (values - values.mean()).square().sum()
        self.squares += delta.square() * (self.count * n / total)
        self.mean += delta * (n / total)
        self.count = total

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "mean": self.mean.clone(), "squares": self.squares.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]
        self.mean.copy_(state["mean"])
        self.squares.copy_(state["squares"])


def distance_to_neighbor(obs: Tensor, visited: Tensor, k: int) -> Tensor:
    """Distance [B] from each of obs [B, O] to its k-th nearest among the other visited [n, O].

    Each of obs is one of the visited, and n > k. Neighbors are found among centered states,
    because the products inside `cdist` cancel digits far from the origin; the distances to the
    nearest k + 1 + SPARE are then computed exactly, and the smallest is that of a state to itself.
    """
    center = visited.mean(0)
    centered, kept = obs - center, k + 1 + SPARE
    apart = obs.new_empty(len(obs), 0)
    index = torch.empty(len(obs), 0, dtype=torch.long, device=obs.device)
    for start in range(0, len(visited), BLOCK):
        block = torch.cdist(centered, visited[start : start + BLOCK] - center)
        near = block.topk(min(kept, block.shape[1]), dim=1, largest=False)
        apart = torch.cat((apart, near.values), dim=1)
        index = torch.cat((index, near.indices + start), dim=1)
        nearest = apart.topk(min(kept, apart.shape[1]), dim=1, largest=False)
        apart, index = nearest.values, index.gather(1, nearest.indices)
    exact = torch.linalg.vector_norm(obs[:, None] - visited[index], dim=2)
    return exact.kthvalue(k + 1, dim=1).values
