"""A replay buffer that lives on the device and can be relabeled as a whole."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pbrl.transfer import sent

RewardFunction = Callable[[Tensor, Tensor], Tensor]
RELABEL_BATCH = 8192


class Batch(NamedTuple):
    """B transitions; `terminal` is 1 where the state itself ended the episode, 0 at time limits."""

    obs: Tensor
    act: Tensor
    next_obs: Tensor
    reward: Tensor
    terminal: Tensor


class Replay:
    """The `capacity` most recent transitions, one float32 row each: a batch is one gather.

    Columns are s, a, s', r, terminal: (s, a) is the critics' input as it stands, and s' the part of
    the next that is known. Further columns would follow them; an update reads none.

    Only true terminals are stored, so a value is bootstrapped through time limits (as B-Pref does,
    and SB3 with `handle_timeout_termination`).
    """

    def __init__(
        self, obs_dim: int, act_dim: int, *, capacity: int, device: str | torch.device = "cpu"
    ) -> None:
        self.capacity, self.widths = capacity, (obs_dim, act_dim, obs_dim, 1, 1)
        self._starts = (0, *accumulate(self.widths[:-1]))
        self.rows = torch.empty(capacity, sum(self.widths), device=device)
        self._here = self.rows.numpy() if self.rows.device.type == "cpu" else None
        self._new = np.empty(sum(self.widths), dtype=np.float32)
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self.capacity)

    def add(
        self,
        obs: np.ndarray,
        act: np.ndarray,
        next_obs: np.ndarray,
        *,
        reward: float | Tensor,
        terminal: bool,
    ) -> None:
        """Write one transition over the oldest; a reward on the device stays there."""
        at = self._added % self.capacity
        new = self._new if self._here is None else self._here[at]
        s, a, s_next, r, _ = self._starts
        new[s:a], new[a:s_next], new[s_next:r], new[r + 1] = obs, act, next_obs, terminal
        new[r] = 0.0 if isinstance(reward, Tensor) else reward
        if self._here is None:
            self.rows[at] = sent(new, self.rows.device)
        if isinstance(reward, Tensor):
            self.rows[at, r] = reward
        self._added += 1

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Indices [n] of stored rows, uniform with replacement."""
        return torch.randint(len(self), (n,), generator=generator, device=self.rows.device)

    def at(self, chosen: Tensor) -> Batch:
        """The transitions of the rows chosen [B], as a copy."""
        return self._split(self.rows[chosen])

    def all(self) -> Batch:
        """Every stored transition, as views."""
        return self._split(self.rows[: len(self)])

    def _split(self, rows: Tensor) -> Batch:
        obs, act, next_obs, reward, terminal = rows.split(self.widths, dim=1)
        return Batch(obs, act, next_obs, reward.squeeze(1), terminal.squeeze(1))

    @torch.no_grad()
    def relabel(self, reward: RewardFunction) -> None:
        """Replace the reward of every stored transition by reward(obs [B, O], act [B, A]) -> [B].

        All valid rows, also after the ring has wrapped (B-Pref stops at the write position).
        """
        for rows in self.rows[: len(self)].split(RELABEL_BATCH):
            batch = self._split(rows)
            batch.reward.copy_(reward(batch.obs, batch.act))

    def state_dict(self) -> dict[str, Any]:
        """The stored rows only; where to write next follows from `added`."""
        return {"rows": self.rows[: len(self)].clone(), "added": self._added}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows[: len(state["rows"])] = state["rows"]
        self._added = state["added"]
