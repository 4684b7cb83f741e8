"""PEBBLE's reward ensemble (Lee et al. 2021; architecture and training from the B-Pref code)."""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from pbrl import compiled
from pbrl.networks import StackedMLP
from pbrl.rewards.fit import (
    Fit,
    LossChoice,
    RewardModule,
    chosen_loss,
    fit,
    preference_probability,
)
from pbrl.segments import Preferences, Segments
from pbrl.transfer import sent


class RewardNet(RewardModule):
    """Per member (s, a) -> leaky ReLU layers -> tanh, so each step's reward is in (-1, 1).

    Published: 3 members of 3 layers of 256.
    """

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        *,
        members: int,
        hidden: int,
        layers: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        sizes = [obs_dim + act_dim, *[hidden] * layers, 1]
        device = generator.device
        self.mlp = StackedMLP(members, sizes, slope=0.01, generator=generator, device=device)
        self.members = members

    def forward(self, x: Tensor) -> Tensor:
        """Inputs [members, R, O + A] or [R, O + A] -> rewards [members, R]."""
        return self.mlp(x).squeeze(-1).tanh()


class RewardEnsemble:
    """The members of `net`, trained together on the same labels, each in its own order.

    They differ by initialization and order alone (no bootstrap). Training continues from the
    previous weights and optimizer state. Everything is on the device of `generator`.
    With core "compiled" the reward of one step is computed so, where the net is a `RewardNet`.
    Published: Adam 3e-4, minibatches of 128 pairs.
    """

    def __init__(
        self,
        net: RewardModule,
        *,
        generator: torch.Generator,
        learning_rate: float,
        batch_size: int,
        loss: LossChoice,
        core: str = "torch",
    ) -> None:
        self.net, self.generator, self.batch_size = net, generator, batch_size
        self._compiled = None
        if core == "compiled" and isinstance(net, RewardNet):
            self._compiled = compiled.Reward(net.mlp)
        self.optimizer = Adam(net.parameters(), lr=learning_rate, fused=True)
        self.loss = chosen_loss(loss)

    @torch.no_grad()
    def __call__(self, obs: Tensor, act: Tensor) -> Tensor:
        """Reward [B] of steps (obs [B, O], act [B, A]): the mean over members, in (-1, 1)."""
        return self.net(torch.cat((obs, act), dim=1)).mean(0)

    def one(self, obs: np.ndarray, act: np.ndarray) -> float | Tensor:
        """Reward of one step: a number, or from torch a scalar that stays on the device."""
        if self._compiled is not None:
            return self._compiled(obs, act)
        x = sent(np.concatenate((obs, act), dtype=np.float32), self.generator.device)
        with torch.no_grad():
            return self.net(x[None]).mean()

    def probability(self, first: Segments, second: Segments) -> Tensor:
        """[members, N]: each member's P(second preferred)."""
        return preference_probability(self.net, first, second)

    def fit(self, preferences: Preferences, *, epochs: int) -> Fit:
        """Train on all labels for up to `epochs` epochs, fewer once they are fitted."""
        return fit(
            self.net,
            preferences,
            optimizer=self.optimizer,
            loss=self.loss,
            epochs=epochs,
            batch_size=self.batch_size,
            generator=self.generator,
        )

    def weights(self) -> dict[str, Any]:
        """The reward networks alone: what a finished run keeps."""
        return self.net.state_dict()

    def state_dict(self) -> dict[str, Any]:
        own = {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }
        return deepcopy(own)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
