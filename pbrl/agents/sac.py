"""Soft actor-critic (Haarnoja et al. 2018) driven by a loop of ours, every piece of it restorable.

A subclass of Stable-Baselines3's SAC with the same mathematics and the same networks, so its
`predict` and the policy's own tools work on it; `save` and `load` do not, `state_dict` does. Three
things differ, for speed and for exact resume: the twin critics are one batched network, and SB3's
modules are views of its and the actor's weights; the actor's gradient does not pass into the
critics' weights; noise and batches come from one generator of the agent's own, whose state is
saved. One update on the same batch and noise equals SB3's up to rounding (tested).

What computes is the agent's core: "compiled" (`pbrl.compiled`, for the CPU) or "torch" (below), on
the same noise and equal up to rounding.

Where SB3's SAC and that of B-Pref differ, this one is SB3's:

- the log standard deviation is clamped to [-20, 2] (B-Pref: rescaled by tanh to [-5, 2]);
- weights start as torch's linear layers do (B-Pref: orthogonal, biases 0);
- the gradient of the log temperature lacks the factor alpha, which Adam nearly cancels;
- the temperature moves before the critics, not after the actor;
- the critic loss is half of B-Pref's, which Adam cancels too.

`target_update_interval` counts updates; B-Pref counts environment steps, and updates in the burst
after the critics' reset.
"""

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import partial
from typing import Any, NoReturn

import numpy as np
import stable_baselines3
import torch
from gymnasium import Space
from gymnasium.spaces import Box
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from pbrl import compiled
from pbrl.agents.captured import Captured
from pbrl.agents.replay import Batch, Replay
from pbrl.compiled import TANH_EPS
from pbrl.errors import ConfigError
from pbrl.networks import StackedMLP
from pbrl.transfer import sent

INSTEAD = "keep state_dict() and give it to load_state_dict() of an agent of the same settings"
IN_TORCH = (
    *("mean_and_log_std", "sample_action", "_act"),
    *("_step", "_update", "_update_critic", "_move_target"),
)
"""What the compiled core does in its own way: a subclass that changes one needs core 'torch'."""


class SAC(stable_baselines3.SAC):
    """A Gaussian policy squashed by tanh, twin critics, a learned temperature, a replay buffer.

    Unlike SB3's, the temperature may have its own learning rate, and `target_update_interval`
    counts updates (SB3 counts within one `train` call, so one update per step ignores it).

    `pbrl.methods.sac.Config` has the ranges and defaults of its settings. Raises ConfigError for
    observations that are not a flat Box and actions not a Box in [-1, 1].
    """

    log_ent_coef: Tensor
    ent_coef_optimizer: Adam
    target_entropy: float

    def __init__(
        self,
        observation_space: Space[Any],
        action_space: Space[Any],
        *,
        seed: int,
        device: str | torch.device = "cpu",
        capacity: int,
        net_arch: Iterable[int],
        batch_size: int,
        learning_rate: float,
        temperature: float,
        temperature_lr: float,
        gamma: float,
        tau: float,
        target_update_interval: int,
        core: str,
    ) -> None:
        self.obs_dim, self.act_dim = flat_dims(observation_space, action_space)
        if core == "compiled" and torch.device(device).type != "cpu":
            raise ConfigError(
                f"core 'compiled' is for the CPU, found device {str(device)!r}; expected core "
                "'torch' there"
            )
        changed = [name for name in IN_TORCH if getattr(type(self), name) is not getattr(SAC, name)]
        if core == "compiled" and changed:
            raise ConfigError(
                f"{type(self).__name__} has {changed[0]} of its own, found core 'compiled', which "
                "does not call it; expected core 'torch'"
            )
        self.core = core
        super().__init__(
            "MlpPolicy",
            env=None,  # type: ignore[arg-type]
            learning_rate=learning_rate,
            batch_size=batch_size,
            gamma=gamma,
            tau=tau,
            target_update_interval=target_update_interval,
            policy_kwargs={"net_arch": list(net_arch)},
            device=device,
            _init_setup_model=False,
        )
        self.observation_space, self.action_space, self.n_envs = observation_space, action_space, 1
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.replay = Replay(self.obs_dim, self.act_dim, capacity=capacity, device=self.device)
        self.target_entropy = -float(self.act_dim)
        self.log_ent_coef = torch.full((1,), math.log(temperature), device=self.device)
        self.ent_coef_optimizer = _adam([self.log_ent_coef], temperature_lr)
        self._dtype = self.log_ent_coef.numpy(force=True).dtype
        self._build_networks(list(net_arch))

    def _build_networks(self, hidden: list[int]) -> None:
        self._setup_lr_schedule()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):  # SB3 draws weights that are replaced below
            policy = self.policy_class(
                self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
            )
        self.policy = policy.to(self.device)  # type: ignore[assignment]
        self._create_aliases()
        make = partial(StackedMLP, generator=self.generator, device=self.device)
        self.gaussian = make(1, [self.obs_dim, *hidden, 2 * self.act_dim])
        critic = (2, [self.obs_dim + self.act_dim, *hidden, 1])
        self.twin, self.twin_target = make(*critic), make(*critic).requires_grad_(False)
        self._share_weights()
        self.actor.optimizer = _adam(self.gaussian.parameters(), self.lr_schedule(1))
        self.reset_critic()

    def _share_weights(self) -> None:
        """Make SB3's modules views of the stacked weights: one memory, two ways to see it."""
        *hidden, (weight, bias) = self.gaussian.member(0)
        _look_at(self.actor.latent_pi, hidden)
        halves = zip(weight.split(self.act_dim), bias.split(self.act_dim), strict=True)
        for layer, half in zip((self.actor.mu, self.actor.log_std), halves, strict=True):
            _look_at(layer, [half])  # type: ignore[arg-type]
        for index in range(2):
            _look_at(self.critic.q_networks[index], self.twin.member(index))
            _look_at(self.critic_target.q_networks[index], self.twin_target.member(index))

    def reset_critic(self) -> None:
        """New weights for both critics and their targets, a new optimizer; the actor is kept."""
        self.twin.reset(self.generator)
        self.twin_target.load_state_dict(self.twin.state_dict())
        self.critic.optimizer = _adam(self.twin.parameters(), self.lr_schedule(1))
        self._look()

    def _look(self) -> None:
        """Let compiled code look at the optimizers' state, which may be another object now."""
        self._graphs: dict[Any, Captured] = {}
        self._machine = compiled.Machine(self) if self.core == "compiled" else None

    # --- acting ---------------------------------------------------------------------------------

    def act(self, obs: np.ndarray, deterministic: bool = False) -> np.ndarray:
        """Action [A] for an observation [O], or [N, A] for [N, O]: the mean, or one drawn.

        Raises ValueError for an observation of another shape.
        """
        several = np.array(obs, self._dtype, order="C", ndmin=2)  # writable, as torch wants it
        if several.shape[1:] != (self.obs_dim,):
            raise ValueError(
                f"found observations {list(obs.shape)}; expected [{self.obs_dim}], or several "
                f"[N, {self.obs_dim}]"
            )
        if self._machine is not None:
            action = self._machine.act(several, deterministic=deterministic)
        else:
            action = self._act(several, deterministic)
        return action if obs.ndim > 1 else action[0]

    @torch.no_grad()
    def _act(self, obs: np.ndarray, deterministic: bool) -> np.ndarray:
        mean, log_std = self.mean_and_log_std(sent(obs, self.device))
        if not deterministic:
            mean += log_std.exp_() * self._noise(mean)
        return mean.tanh_().cpu().numpy()

    def sample_action(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Reparameterized action [B, A] and its log-probability [B] (Haarnoja et al., app. C)."""
        mean, log_std = self.mean_and_log_std(obs)
        noise = self._noise(mean)
        action = torch.tanh(mean + log_std.exp() * noise)
        gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        return action, (gaussian - torch.log(1 - action.square() + TANH_EPS)).sum(1)

    def mean_and_log_std(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Of the Gaussian before tanh, [B, A] each."""
        mean, log_std = self.gaussian(obs)[0].split(self.act_dim, dim=1)
        return mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)

    def _noise(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator, device=self.device)

    # --- learning -------------------------------------------------------------------------------

    def sample(self) -> Tensor:
        """Rows of the replay buffer for one batch, uniform with replacement."""
        return self.replay.sample(self.batch_size, self.generator)

    def update(self, rows: Tensor, *, reward: Tensor | None = None) -> None:
        """One gradient step each of temperature, critics and actor, then of the target critics.

        It learns from these rows [B] of the replay buffer; `reward` [B] replaces the stored ones.
        """
        if reward is not None and reward.shape != rows.shape:
            raise ValueError(f"found rewards {list(reward.shape)} for rows {list(rows.shape)}")
        is_due = self._n_updates % self.target_update_interval == 0
        if self._machine is not None:
            tau = self.tau if is_due else 0.0
            stored = self.replay.rows[: len(self.replay)]
            self._machine.update(stored, rows, reward=reward, tau=tau)
        else:
            inputs = (rows,) if reward is None else (rows, reward)
            step: Callable[..., None] = partial(self._step, is_due=is_due)
            if self.device.type == "cuda":
                key = (len(inputs), len(rows), is_due)
                if key not in self._graphs:
                    self._graphs[key] = self._captured(step)
                step = self._graphs[key]
            step(*inputs)
        self._n_updates += 1

    def _captured(self, step: Callable[..., None]) -> Captured:
        optimizers = (self.actor.optimizer, self.critic.optimizer, self.ent_coef_optimizer)
        networks = (self.gaussian, self.twin, self.twin_target)
        changed = [p for network in networks for p in network.parameters()] + [self.log_ent_coef]
        for optimizer in optimizers:
            changed += [moment for state in optimizer.state.values() for moment in state.values()]
        return Captured(step, changed=changed, generator=self.generator)

    def _step(self, rows: Tensor, reward: Tensor | None = None, *, is_due: bool) -> None:
        batch = self.replay.at(rows)
        self._update(batch if reward is None else batch._replace(reward=reward))
        if is_due:
            self._move_target()

    def _update(self, batch: Batch) -> None:
        """The step of temperature, critics and actor in torch: the reference of compiled code."""
        alpha = self.log_ent_coef.exp()
        action, log_prob = self.sample_action(batch.obs)
        # d/d(log alpha) of -(log alpha) · mean(log π + target entropy)
        self.log_ent_coef.grad = -(log_prob.detach().mean(0, keepdim=True) + self.target_entropy)
        self.ent_coef_optimizer.step()

        self._update_critic(batch, alpha)
        q = self.twin(torch.cat((batch.obs, action), dim=1), frozen=True)
        actor_loss = (alpha * log_prob - q.amin(0).squeeze(1)).mean()
        self.actor.optimizer.zero_grad()
        actor_loss.backward()
        self.actor.optimizer.step()

    @torch.no_grad()
    def _move_target(self) -> None:
        pairs = zip(self.twin_target.parameters(), self.twin.parameters(), strict=True)
        for target, source in pairs:
            target.lerp_(source, self.tau)

    def _update_critic(self, batch: Batch, alpha: Tensor) -> None:
        with torch.no_grad():
            next_action, next_log_prob = self.sample_action(batch.next_obs)
            next_q = self.twin_target(torch.cat((batch.next_obs, next_action), dim=1))
            value = next_q.amin(0).squeeze(1) - alpha * next_log_prob
            target = batch.reward + self.gamma * (1 - batch.terminal) * value
        q = self.twin(torch.cat((batch.obs, batch.act), dim=1)).squeeze(2)
        # SB3's ½ Σ over the critics of the mean squared error: two critics, so the mean over all.
        critic_loss = F.mse_loss(q, target.expand_as(q))
        self.critic.optimizer.zero_grad()
        critic_loss.backward()
        self.critic.optimizer.step()

    # --- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that changes: networks, targets, optimizers, temperature, generator, replay."""
        own = {
            "policy": self.policy.state_dict(),
            "actor_optimizer": self.actor.optimizer.state_dict(),
            "critic_optimizer": self.critic.optimizer.state_dict(),
            "temperature_optimizer": self.ent_coef_optimizer.state_dict(),
            "log_temperature": self.log_ent_coef,
            "updates": self._n_updates,
            "generator": self.generator.get_state(),
        }
        return {**deepcopy(own), "replay": self.replay.state_dict()}

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        """SB3's format has no room for the stacked networks, the generator and the replay."""
        raise NotImplementedError(f"this SAC cannot be saved by Stable-Baselines3; {INSTEAD}")

    def __reduce__(self) -> NoReturn:
        """In a copy, views of weights would be arrays of their own, which nothing keeps equal."""
        raise NotImplementedError(f"this SAC can be neither copied nor pickled; {INSTEAD}")

    def weights(self) -> dict[str, Any]:
        """The networks alone, in the names of SB3's policy: what a finished run keeps."""
        return self.policy.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.policy.load_state_dict(state["policy"])
        self.actor.optimizer.load_state_dict(state["actor_optimizer"])
        self.critic.optimizer.load_state_dict(state["critic_optimizer"])
        self.ent_coef_optimizer.load_state_dict(state["temperature_optimizer"])
        self.log_ent_coef.copy_(state["log_temperature"])
        self._n_updates = state["updates"]
        self.generator.set_state(state["generator"])
        self.replay.load_state_dict(state["replay"])
        self._look()


def _adam(parameters: Iterable[Tensor], rate: float) -> Adam:
    """Adam with its state in place, which torch makes at the first step."""
    parameters = list(parameters)
    on_gpu = parameters[0].device.type == "cuda"
    optimizer = Adam(parameters, lr=rate, fused=True, capturable=on_gpu)
    for p in parameters:
        optimizer.state[p] = {
            "step": torch.zeros((), dtype=torch.float32, device=p.device),
            "exp_avg": torch.zeros_like(p, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(p, requires_grad=False),
        }
    return optimizer


def _look_at(network: nn.Module, layers: list[tuple[Tensor, Tensor]]) -> None:
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    for layer, (weight, bias) in zip(linear, layers, strict=True):
        layer.weight.data, layer.bias.data = weight, bias


def flat_dims(observation_space: Space[Any], action_space: Space[Any]) -> tuple[int, int]:
    """Widths O and A of flat Box observations and of flat Box actions in [-1, 1].

    Raises ConfigError for any other space.
    """
    if not isinstance(observation_space, Box) or len(observation_space.shape) != 1:
        raise ConfigError(
            f"SAC needs flat Box observations, found {observation_space}; wrap the environment in "
            "gymnasium.wrappers.FlattenObservation"
        )
    if (
        not isinstance(action_space, Box)
        or len(action_space.shape) != 1
        or (action_space.low != -1).any()
        or (action_space.high != 1).any()
    ):
        raise ConfigError(
            f"SAC needs flat Box actions in [-1, 1], found {action_space}; wrap the environment in "
            "gymnasium.wrappers.RescaleAction"
        )
    return observation_space.shape[0], action_space.shape[0]
