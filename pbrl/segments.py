"""Segments of behavior, labeled pairs of them, and the recent episodes they are drawn from.

A label is P(second preferred): 0 first, 1 second, 0.5 tie, NaN skipped. A step that does not exist
has `mask` False and zeros everywhere else.

Variable horizons leak information. Where an episode can end early, its length tells the learner
about the task without a single label: a sum over fewer steps is smaller for a positive learned
reward, and the learned reward's additive constant, which pairs of equally long segments cannot
determine, decides whether the agent prefers to live or to end the episode. Prefer environments
with a fixed horizon; where there is none, read returns together with episode lengths.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pbrl.errors import CellError, ConfigError, EnvironmentFault, PbrlError
from pbrl.transfer import sent


class GroundTruthError(PbrlError):
    """Something that learns asked for the ground-truth reward, which it may not see."""


@dataclass(frozen=True)
class Segments:
    """A batch of N segments of T steps; any further leading axes must agree in all fields.

    `reward` is the ground truth: teachers and evaluators read it through `ground_truth`; learners
    get `without_reward()`. Raises ValueError when the shapes do not agree.
    """

    obs: Tensor
    "[N, T, O] float: observation before the action."
    act: Tensor
    "[N, T, A] float: action."
    next_obs: Tensor
    "[N, T, O] float: observation after the action."
    terminal: Tensor
    "[N, T] bool: the step ended the episode for good (not a time limit)."
    mask: Tensor
    "[N, T] bool: the step exists."
    reward: Tensor | None = None
    "[N, T] float, in the environment's units, or None when hidden."
    stage: Tensor | None = None
    "[N, T] float in [0, 1]: how much of the task lies behind, for teachers; None when hidden."

    def __post_init__(self) -> None:
        steps = self.mask.shape
        found = {
            f.name: value.shape
            for f in fields(self)
            if (value := getattr(self, f.name)) is not None
        }
        wide = ("obs", "act", "next_obs")
        if any((s[:-1] if name in wide else s) != steps for name, s in found.items()):
            shapes = ", ".join(f"{name} {list(s)}" for name, s in found.items())
            raise ValueError(
                f"segments need obs [N, T, O], act [N, T, A], next_obs [N, T, O] and terminal, "
                f"mask, reward [N, T]; found {shapes}"
            )

    def __len__(self) -> int:
        return self.mask.shape[0]

    @property
    def length(self) -> int:
        """T, the number of steps including padding."""
        return self.mask.shape[-1]

    @property
    def device(self) -> torch.device:
        return self.mask.device

    @property
    def ground_truth(self) -> Tensor:
        """The true reward [N, T], for teachers and evaluators; else GroundTruthError is raised."""
        if self.reward is None:
            raise GroundTruthError(
                "these segments carry no ground-truth reward; only teachers and evaluators may "
                "read it, and they get the segments before `without_reward()`"
            )
        return self.reward

    def without_reward(self) -> "Segments":
        """The same segments as a learner may see them."""
        return replace(self, reward=None, stage=None)

    def __getitem__(self, index: Any) -> "Segments":
        """Segments at `index` along the batch axis: int, slice, list, array or tensor."""
        index = [index] if isinstance(index, int) else index
        return self._map(lambda value: value[index])

    def to(self, device: str | torch.device) -> "Segments":
        return self._map(lambda value: value.to(device))

    def _map(self, function: Any) -> "Segments":
        return Segments(**{name: function(value) for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Field name -> tensor, without what is hidden."""
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}


def concatenate(parts: Sequence[Segments]) -> Segments:
    """All segments of `parts` in order, with reward and stage where every part carries them."""
    names = [name for name in parts[0].tensors() if all(name in part.tensors() for part in parts)]
    return Segments(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


class Preferences:
    """Labeled pairs, growing: what the learner knows. Never holds ground-truth reward.

    Storage doubles when full, so adding is cheap and `first`, `second`, `labels` are views.
    """

    def __init__(
        self, obs_dim: int, act_dim: int, *, length: int, device: str | torch.device = "cpu"
    ) -> None:
        self._count = 0
        self._first = _empty(0, length, obs_dim, act_dim, device)
        self._second = _empty(0, length, obs_dim, act_dim, device)
        self._labels = torch.zeros(0, device=device)

    def __len__(self) -> int:
        return self._count

    @property
    def first(self) -> Segments:
        return self._first[: self._count]

    @property
    def second(self) -> Segments:
        return self._second[: self._count]

    @property
    def labels(self) -> Tensor:
        """[n] float in [0, 1]: P(second preferred)."""
        return self._labels[: self._count]

    def add(self, first: Segments, second: Segments, labels: Tensor | np.ndarray) -> int:
        """Store the answered pairs and return how many; skipped ones (NaN) are dropped.

        Raises ValueError when the counts or lengths differ or a label lies outside [0, 1].
        """
        labels = torch.as_tensor(labels, dtype=torch.float32, device=self._labels.device)
        if not len(first) == len(second) == len(labels):
            raise ValueError(
                f"one label per pair: found {len(first)} first, {len(second)} second segments and "
                f"{len(labels)} labels"
            )
        if not first.length == second.length == self._first.length:
            raise ValueError(
                f"segments of {self._first.length} steps are stored here; found {first.length} and "
                f"{second.length} steps"
            )
        answered = ~labels.isnan()
        if ((labels < 0) | (labels > 1)).any():
            raise ValueError(
                "labels are P(second preferred) in [0, 1] or NaN; found "
                f"{labels[answered].min():g} to {labels[answered].max():g}"
            )
        start, end = self._count, self._count + int(answered.sum())
        self._reserve(end)
        kept = answered.to(first.device)
        _write(self._first, first[kept], start)
        _write(self._second, second[kept], start)
        self._labels[start:end] = labels[answered]
        self._count = end
        return end - start

    def _reserve(self, count: int) -> None:
        capacity = len(self._labels)
        if count > capacity:
            extra = max(count, 2 * capacity) - capacity
            self._first, self._second = _grown(self._first, extra), _grown(self._second, extra)
            self._labels = torch.cat([self._labels, self._labels.new_zeros(extra)])

    def state_dict(self) -> dict[str, Any]:
        """The stored pairs only, not the spare room."""
        pairs = {"first": self.first.tensors(), "second": self.second.tensors()}
        return {**_copied(pairs), "labels": self.labels.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._count = 0
        self.add(Segments(**state["first"]), Segments(**state["second"]), state["labels"])


def _empty(n: int, length: int, obs_dim: int, act_dim: int, device: Any) -> Segments:
    steps = torch.zeros(n, length, dtype=torch.bool, device=device)
    obs, act = (
        torch.zeros(n, length, obs_dim, device=device),
        torch.zeros(n, length, act_dim, device=device),
    )
    return Segments(obs=obs, act=act, next_obs=obs.clone(), terminal=steps, mask=steps.clone())


def _grown(stored: Segments, extra: int) -> Segments:
    return stored._map(lambda value: torch.cat([value, value.new_zeros(extra, *value.shape[1:])]))


def _write(stored: Segments, new: Segments, start: int) -> None:
    for name, tensor in stored.tensors().items():
        tensor[start : start + len(new)] = getattr(new, name)


def _copied(nested: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    return {key: {name: value.clone() for name, value in d.items()} for key, d in nested.items()}


class Transition(Protocol):
    """One environment step as `run.step` returns it; `reward` is the true reward."""

    @property
    def obs(self) -> Any: ...
    @property
    def action(self) -> Any: ...
    @property
    def reward(self) -> float: ...
    @property
    def next_obs(self) -> Any: ...
    @property
    def terminated(self) -> bool: ...
    @property
    def truncated(self) -> bool: ...
    @property
    def stage(self) -> float | None: ...


class Episodes:
    """The `capacity` most recent complete episodes, and the one being recorded (never sampled).

    Episodes may differ in length up to `horizon`; see the note on variable horizons at the top of
    this file. One episode is moved to `device` when it is complete.
    """

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        *,
        horizon: int,
        capacity: int,
        device: str | torch.device = "cpu",
    ) -> None:
        self.horizon, self.capacity = horizon, capacity
        # Row t + 1 of an episode's observations is the one after step t, so each is stored once.
        self._obs = torch.zeros(capacity, horizon + 1, obs_dim, device=device)
        self._act = torch.zeros(capacity, horizon, act_dim, device=device)
        self._reward = torch.zeros(capacity, horizon, device=device)
        self._stage = torch.zeros(capacity, horizon, device=device)
        self._lengths = np.zeros(capacity, dtype=np.int64)
        self._terminated = np.zeros(capacity, dtype=bool)
        self._completed = 0
        self._recorded = 0
        self._recording = {
            "obs": np.zeros((horizon + 1, obs_dim), dtype=np.float32),
            "act": np.zeros((horizon, act_dim), dtype=np.float32),
            "reward": np.zeros(horizon, dtype=np.float32),
            "stage": np.zeros(horizon, dtype=np.float32),
        }

    def __len__(self) -> int:
        """Number of complete episodes held."""
        return min(self._completed, self.capacity)

    def add(self, transition: Transition) -> None:
        """Record one step; the step that ends the episode makes it available to `sample`.

        Raises EnvironmentFault when an episode outlives the horizon.
        """
        t = self._recorded
        if t == self.horizon:
            raise EnvironmentFault(
                f"an episode goes on after {self.horizon} steps, its declared horizon; the "
                "environment must report truncated=True there"
            )
        self._recording["obs"][t] = transition.obs
        self._recording["obs"][t + 1] = transition.next_obs
        self._recording["act"][t] = transition.action
        self._recording["reward"][t] = transition.reward
        stage = transition.stage
        self._recording["stage"][t] = (t + 1) / self.horizon if stage is None else stage
        self._recorded = t + 1
        if transition.terminated or transition.truncated:
            self._complete(bool(transition.terminated))

    def _complete(self, terminated: bool) -> None:
        slot, length = self._completed % self.capacity, self._recorded
        device = self._obs.device
        self._obs[slot, : length + 1] = sent(self._recording["obs"][: length + 1], device)
        self._act[slot, :length] = sent(self._recording["act"][:length], device)
        self._reward[slot, :length] = sent(self._recording["reward"][:length], device)
        self._stage[slot, :length] = sent(self._recording["stage"][:length], device)
        self._lengths[slot], self._terminated[slot] = length, terminated
        self._completed, self._recorded = self._completed + 1, 0

    def sample(self, n: int, length: int, rng: np.random.Generator) -> Segments:
        """n independent draws, with replacement, of an episode and then of a window in it.

        Every window is equally likely. (B-Pref's sampler never draws an episode's last window: its
        range of starts is one short.) An episode shorter than `length` is returned whole, padded
        and masked. The reward is attached: the caller gives it to the teacher and to nothing else.

        Raises CellError before the first complete episode, ConfigError if `length` > horizon.
        """
        if length > self.horizon:
            raise ConfigError(
                f"segments of {length} steps from episodes of at most {self.horizon}; choose a "
                f"segment length of at most {self.horizon}"
            )
        if len(self) == 0:
            raise CellError(
                "segments were asked for before the first episode was complete; start asking after "
                f"at least {self.horizon} steps"
            )
        episode = rng.integers(len(self), size=n)
        start = rng.integers(np.maximum(self._lengths[episode] - length, 0) + 1)
        return self._gather(episode, start, length)

    def _gather(self, episode: np.ndarray, start: np.ndarray, length: int) -> Segments:
        device = self._obs.device
        e = sent(episode, device)[:, None]
        t = sent(start, device)[:, None] + torch.arange(length, device=device)
        last = sent(self._lengths[episode] - 1, device)[:, None]
        terminated = sent(self._terminated[episode], device)[:, None]
        mask, terminal = t <= last, (t == last) & terminated
        t = t.minimum(last)
        padding = ~mask[..., None]
        return Segments(
            obs=self._obs[e, t].masked_fill_(padding, 0),
            act=self._act[e, t].masked_fill_(padding, 0),
            next_obs=self._obs[e, t + 1].masked_fill_(padding, 0),
            terminal=terminal,
            mask=mask,
            reward=self._reward[e, t].masked_fill_(padding[..., 0], 0),
            stage=self._stage[e, t].masked_fill_(padding[..., 0], 0),
        )

    def state_dict(self) -> dict[str, Any]:
        """The episodes held, cut at the longest one, and the recorded part of the current one."""
        n, longest, t = len(self), int(self._lengths.max(initial=0)), self._recorded
        return {
            "obs": self._obs[:n, : longest + 1].clone(),
            "act": self._act[:n, :longest].clone(),
            "reward": self._reward[:n, :longest].clone(),
            "stage": self._stage[:n, :longest].clone(),
            "lengths": self._lengths[:n].copy(),
            "terminated": self._terminated[:n].copy(),
            "completed": self._completed,
            "recorded": t,
            "recording": {name: rows[:t].copy() for name, rows in self._recording.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        n, longest = state["act"].shape[:2]
        self._obs[:n, : longest + 1] = state["obs"]
        self._act[:n, :longest] = state["act"]
        self._reward[:n, :longest] = state["reward"]
        self._stage[:n, :longest] = state["stage"]
        self._lengths[:n], self._terminated[:n] = state["lengths"], state["terminated"]
        self._completed, self._recorded = state["completed"], state["recorded"]
        for name, rows in state["recording"].items():
            self._recording[name][: len(rows)] = rows
