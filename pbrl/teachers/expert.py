"""The values of a trained expert: what a teacher consults where no table holds the exact ones.

The expert is a soft actor-critic on the true reward (method `expert`). With its critics Q1, Q2:

    Q(s, a) = (Q1 + Q2) / 2
    V(s)    = mean of Q(s, a) over 64 actions drawn from its policy

without an entropy term, as in CPL's teacher for Meta-World (Hejna et al. 2024, released code). The
critics themselves expect the entropy of what follows: once the temperature has settled, about minus
the temperature for each number of an action, each step. That is nearly the same in Q and V, so
A = Q - V hardly feels it; r + gamma V(s') - V(s) is off by it in every step, which moves no
preference between segments of equal length. The mean of the critics, not the smaller one: the
smaller is biased down most where they disagree.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pbrl.errors import CellError

ACTIONS = 64
"""drawn for V of a state, the same noise for every state, so that V is not random"""
ROWS = 1 << 16  # state-action rows evaluated at once
LOG_STD = (-20.0, 2.0)  # SB3's clamp
LEVELS = ("poor", "medium", "good")
Layers = list[tuple[Tensor, Tensor]]


class Expert:
    """V and Q of one stage of an expert, from its weights in the names of SB3's policy."""

    def __init__(self, weights: Mapping[str, Tensor], *, gamma: float) -> None:
        self.gamma, self.exact = gamma, False
        self._body = _layers(weights, "actor.latent_pi")
        self._mean, self._log_std = (
            (weights[f"actor.{head}.weight"], weights[f"actor.{head}.bias"])
            for head in ("mu", "log_std")
        )
        self._critics = [_layers(weights, f"critic.qf{i}") for i in range(2)]
        self._width = len(self._mean[1])
        noise = torch.Generator().manual_seed(0)
        half = torch.randn(ACTIONS // 2, self._width, generator=noise)
        self._noise = torch.cat((half, -half))

    @torch.no_grad()
    def values(self, obs: Tensor) -> Tensor:
        """V(s), float64 [...] for observations [..., O]."""
        states = obs.reshape(-1, obs.shape[-1]).float()
        found = [self._values(part) for part in states.split(ROWS // ACTIONS)]
        return torch.cat(found).double().reshape(obs.shape[:-1])

    def _values(self, states: Tensor) -> Tensor:
        hidden = _through(self._body, states).relu()
        mean, log_std = F.linear(hidden, *self._mean), F.linear(hidden, *self._log_std)
        spread = log_std.clamp(*LOG_STD).exp()
        actions = torch.tanh(mean[:, None] + spread[:, None] * self._noise)  # [B, ACTIONS, A]
        rows = states[:, None].expand(-1, ACTIONS, -1)
        return self._critic(torch.cat((rows, actions), -1)).mean(1)

    @torch.no_grad()
    def action_values(self, obs: Tensor, act: Tensor) -> Tensor:
        """Q(s, a), float64 [...] for observations [..., O] and actions [..., A]."""
        rows = torch.cat((obs, act), -1).float()
        found = [self._critic(part) for part in rows.reshape(-1, rows.shape[-1]).split(ROWS)]
        return torch.cat(found).double().reshape(obs.shape[:-1])

    def _critic(self, rows: Tensor) -> Tensor:
        first, second = (_through(layers, rows).squeeze(-1) for layers in self._critics)
        return (first + second) / 2


class TrainedOracle:
    """The experts of one training run, from poor to good; a teacher consults one of them.

    `weights` is what the method `expert` keeps. Raises CellError when it is something else.
    """

    def __init__(self, weights: Any) -> None:
        try:
            kept = weights["experts"]
            self.gamma: float = kept["gamma"]
            self.levels = {
                level: Expert(kept[level]["weights"], gamma=self.gamma) for level in LEVELS
            }
        except (KeyError, TypeError) as error:
            raise CellError(
                f"the oracle's weights are not those of the method expert ({error!r}); build it "
                "again with `pbrl oracle`"
            ) from None

    def of(self, level: str) -> Expert:
        """The expert of a level: poor, medium or good."""
        return self.levels[level]

    def values(self, obs: Tensor) -> Tensor:
        return self.levels["good"].values(obs)

    def action_values(self, obs: Tensor, act: Tensor) -> Tensor:
        return self.levels["good"].action_values(obs, act)


def _layers(weights: Mapping[str, Tensor], name: str) -> Layers:
    """The linear layers of a sequential network, in order."""
    numbers = sorted(
        int(key.removeprefix(f"{name}.").removesuffix(".weight"))
        for key in weights
        if key.startswith(f"{name}.") and key.endswith(".weight")
    )
    return [(weights[f"{name}.{n}.weight"], weights[f"{name}.{n}.bias"]) for n in numbers]


def _through(layers: Layers, x: Tensor) -> Tensor:
    """The network's output: ReLU between the layers."""
    for index, (weight, bias) in enumerate(layers):
        x = F.linear(x.relu() if index else x, weight, bias)
    return x
