"""REED's reward network and its dynamics (Metcalf et al., CoRL 2023; architecture from ml-reed).

The encoder of (s, a) also predicts the embedding of the next state, from all transitions the agent
has seen and without labels: self-future consistency (SFC).
"""

import math
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from pbrl.errors import ConfigError
from pbrl.networks import StackedMLP
from pbrl.rewards.fit import RewardModule

Variant = Literal["distill", "contrast"]
SLOPE = 0.01
HELD_OUT = 0.2


class EncodedRewardNet(RewardModule):
    """Per member: state and action encoders, a trunk of both, a tanh head; rewards in (-1, 1)."""

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        *,
        members: int,
        obs_width: int,
        act_width: int,
        hidden: int,
        layers: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.members, self.dims = members, (obs_dim, act_dim)
        device = generator.device

        def mlp(*sizes: int) -> StackedMLP:
            return StackedMLP(members, sizes, slope=SLOPE, generator=generator, device=device)

        self.encode_obs = mlp(obs_dim, obs_width)
        self.encode_act = mlp(act_dim, act_width)
        self.trunk = mlp(obs_width + act_width, *[hidden] * layers)
        self.head = mlp(hidden, 1)

    def state_embedding(self, obs: Tensor) -> Tensor:
        """States [members, B, O] or [B, O] -> [members, B, obs_width]."""
        return F.leaky_relu_(self.encode_obs(obs), SLOPE)

    def embedding(self, x: Tensor) -> Tensor:
        """Inputs [members, R, O + A] or [R, O + A] -> z_sa [members, R, hidden]."""
        obs, act = x.split(self.dims, dim=-1)
        act = F.leaky_relu_(self.encode_act(act), SLOPE)
        both = torch.cat((self.state_embedding(obs), act), dim=-1)
        return F.leaky_relu_(self.trunk(both), SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs [members, R, O + A] or [R, O + A] -> rewards [members, R]."""
        return self.head(self.embedding(x)).squeeze(-1).tanh()


class FuturePredictor(nn.Module):
    """What SFC adds per member: next-state predictor, projector and, to distill, a bottleneck.

    The bottleneck is an eighth of `hidden`, or as wide where hidden <= 16 (ml-reed: 32 of 256).
    """

    def __init__(
        self, net: EncodedRewardNet, variant: Variant, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        obs_width, hidden = net.encode_obs.sizes[-1], net.head.sizes[0]
        members, device = net.members, generator.device

        def mlp(*sizes: int) -> StackedMLP:
            return StackedMLP(members, sizes, generator=generator, device=device)

        self.predict = mlp(hidden, obs_width)
        self.project = mlp(obs_width, hidden)
        if variant == "distill":
            bottleneck = hidden // 8 if hidden > 16 else hidden
            # The paper's first layer has no bias; batch normalization cancels the one here.
            self.squeeze, self.expand = mlp(hidden, bottleneck), mlp(bottleneck, hidden)
            self.gain = nn.Parameter(torch.ones(members, 1, bottleneck, device=device))
            self.shift = nn.Parameter(torch.zeros(members, 1, bottleneck, device=device))

    def future(self, z: Tensor) -> Tensor:
        """Projected prediction [members, B, hidden] of the next state's embedding from z_sa."""
        return self.project(self.predict(z))

    def distilled(self, future: Tensor) -> Tensor:
        """Linear, batch normalization, ReLU, linear: the asymmetric head of SimSiam."""
        narrow = self.squeeze(future)
        centered = narrow - narrow.mean(1, keepdim=True)
        normal = centered * (centered.square().mean(1, keepdim=True) + 1e-5).rsqrt()
        return self.expand(torch.relu(normal * self.gain + self.shift))


def distillation_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """[members]: minus the mean cosine of [members, B, D]; -1 at best (REED, SimSiam)."""
    return -F.cosine_similarity(predicted, target, dim=-1).mean(-1)


def contrastive_loss(predicted: Tensor, target: Tensor, *, tau: float) -> Tensor:
    """[members]: NT-Xent of [members, B, D] at temperature tau (REED, SimCLR).

    Each of the 2B vectors must find its partner among the other 2B - 1.
    """
    both = F.normalize(torch.cat((predicted, target), dim=1), dim=-1)
    similarity = both @ both.mT / tau
    own = torch.eye(both.shape[1], dtype=torch.bool, device=both.device)
    logits = similarity.masked_fill(own, -math.inf)
    partner = torch.arange(both.shape[1], device=both.device).roll(predicted.shape[1])
    partner = partner.expand(len(both), -1)
    return F.cross_entropy(logits.mT, partner, reduction="none").mean(-1)


class Dynamics:
    """Trains the encoders of `net`, of all members, to predict the next state.

    Shared with the reward are exactly the two encoders and the trunk. Each phase starts a fresh
    optimizer, Adam for every task, where ml-reed has plain SGD on walker and cheetah. Published: 3
    members, trunk 3 x 256, by task

    | task | loss | widths | tau | epochs | batch | optimizer |
    |---|---|---|---|---|---|---|
    | walker | both | 20, 10 | 0.5 | 20 | 12 | SGD 1e-3 |
    | cheetah | both | 17, 6 | 0.5 | 20 | 12 | SGD 1e-3 |
    | quadruped | both | 78, 12 | 0.5 | 20 | 128 | Adam 1e-4 |
    | Meta-World | distill | 39, 4 | - | 20 | 256 | Adam 5e-5 |
    | Meta-World | contrast | 10, 4 | 0.1 | 10 | 128 | Adam 1e-4 |
    | sweep-into | distill | 78, 12 | - | 20 | 128 | Adam 1e-4 |
    | sweep-into | contrast | 10, 4 | 0.1 | 5 | 256 | Adam 5e-5 |
    """

    def __init__(
        self, net: EncodedRewardNet, variant: Variant, *, tau: float, generator: torch.Generator
    ) -> None:
        self.net, self.variant, self.tau, self.generator = net, variant, tau, generator
        self.predictor = FuturePredictor(net, variant, generator=generator)

    def loss(self, obs: Tensor, act: Tensor, next_obs: Tensor) -> Tensor:
        """[members]: the SFC loss of transitions [members, B, .]; the target has no gradient."""
        future = self.predictor.future(self.net.embedding(torch.cat((obs, act), dim=-1)))
        with torch.no_grad():
            target = self.predictor.project(self.net.state_embedding(next_obs))
        if self.variant == "distill":
            return distillation_loss(self.predictor.distilled(future), target)
        return contrastive_loss(future, target, tau=self.tau)

    def fit(
        self,
        obs: Tensor,
        act: Tensor,
        next_obs: Tensor,
        *,
        epochs: int,
        max_updates: int,
        batch_size: int,
        learning_rate: float,
    ) -> float:
        """Train encoders and predictor on transitions [n, .]; the SFC loss of those held out.

        A fifth, at least one, is held out; the rest is seen for `epochs` epochs or `max_updates`
        updates, each member in an order of its own. The published runs have no cap on updates: the
        ten sessions of walker-walk take about 1.3 million. The loss is the mean over members and
        over all that is held out, `batch_size` at a time, which the contrastive one depends on.

        Raises ConfigError without transitions.
        """
        if len(obs) == 0:
            raise ConfigError(
                "a dynamics phase found no transitions; expected some: raise seed_steps, so that "
                "the first session comes later"
            )
        n, device = len(obs), obs.device
        order = torch.randperm(n, generator=self.generator, device=device)
        held_out, train = order.tensor_split([max(1, int(HELD_OUT * n))])
        trained = [*self.net.encode_obs.parameters(), *self.net.encode_act.parameters()]
        trained += [*self.net.trunk.parameters(), *self.predictor.parameters()]
        optimizer = Adam(trained, lr=learning_rate, fused=True)
        per_epoch = math.ceil(len(train) / batch_size)
        for update in range(min(max_updates, epochs * per_epoch)):
            if update % per_epoch == 0:
                shuffled = [self._shuffled(train) for _ in range(self.net.members)]
                batches = torch.stack(shuffled).split(batch_size, dim=1)
            chosen = batches[update % per_epoch]
            optimizer.zero_grad()
            self.loss(obs[chosen], act[chosen], next_obs[chosen]).sum().backward()
            optimizer.step()
        total = torch.zeros((), device=device)
        with torch.no_grad():
            for part in held_out.split(batch_size):
                chosen = part.expand(self.net.members, -1)
                losses = self.loss(obs[chosen], act[chosen], next_obs[chosen])
                total += len(part) * losses.mean()
        return total.item() / len(held_out)

    def _shuffled(self, indices: Tensor) -> Tensor:
        order = torch.randperm(len(indices), generator=self.generator, device=indices.device)
        return indices[order]

    def state_dict(self) -> dict[str, Any]:
        """Predictor and generator; a resumed run gets the encoders from the ensemble of `net`."""
        own = {"predictor": self.predictor.state_dict(), "generator": self.generator.get_state()}
        return deepcopy(own)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.predictor.load_state_dict(state["predictor"])
        self.generator.set_state(state["generator"])
