"""Reward networks and segment labels: scores, probabilities and the training loop of PEBBLE."""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pbrl.errors import ConfigError
from pbrl.losses.select import SegmentLoss, segment_loss
from pbrl.scores import masked_sum
from pbrl.segments import Preferences, Segments

# Steps that go through a network at once. Activations of this many stay in the cache and in memory
# the allocator reuses; a whole minibatch of segments at once takes a third longer on a CPU.
BLOCK = 4096
STOP_ACCURACY = 0.97  # on the training labels (B-Pref, train_PEBBLE.py)


LossChoice = str | Mapping[str, Any]
"""A loss's name, or {"name": ..., parameter: value}."""


def chosen_loss(choice: LossChoice) -> SegmentLoss:
    """The loss of two scores and a label that a suite names; raises ConfigError if none is."""
    given = {"name": choice} if isinstance(choice, str) else choice
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise ConfigError(
            f"loss: found {choice!r}; expected the name of a loss, or a mapping of its name and "
            'parameters such as {name: "robust", eps: 0.1}'
        )
    try:
        return segment_loss(**given)
    except ValueError as error:
        raise ConfigError(f"loss: {error}") from None


class RewardModule(nn.Module):
    """Members that never share a weight: what an ensemble trains.

    Maps inputs [members, R, O + A], or [R, O + A] given to every member, to rewards [members, R].
    """

    members: int


@dataclass(frozen=True)
class Fit:
    """What one call of `fit` did; loss and accuracy are of the last epoch, NaN without labels."""

    epochs: int
    loss: float
    "Mean over pairs and members, on the training labels."
    accuracy: float
    "Share of the labels other than ties that a member predicts, averaged over members."


def segment_scores(net: RewardModule, segments: Segments) -> Tensor:
    """[members, N]: sum of predicted rewards over the steps that exist; differentiable."""
    length = segments.mask.shape[1]
    inputs = torch.cat((segments.obs, segments.act), dim=-1)
    parts = []
    step = max(1, BLOCK // length)
    for x, mask in zip(inputs.split(step), segments.mask.split(step), strict=True):
        rewards = net(x.flatten(0, 1)).unflatten(1, mask.shape)
        parts.append(masked_sum(rewards, mask))
    return torch.cat(parts, dim=1)


@torch.no_grad()
def preference_probability(net: RewardModule, first: Segments, second: Segments) -> Tensor:
    """[members, N]: each member's P(second preferred) = σ(score(second) - score(first))."""
    return torch.sigmoid(segment_scores(net, second) - segment_scores(net, first))


def fit(
    net: RewardModule,
    preferences: Preferences,
    *,
    optimizer: Optimizer,
    loss: SegmentLoss,
    epochs: int,
    batch_size: int,
    generator: torch.Generator,
) -> Fit:
    """Train on all labels for `epochs` epochs, or until STOP_ACCURACY of them are predicted.

    Each member sees the labels in an order of its own; the loss is the sum over members of the
    mean over the minibatch, so no member's gradient depends on how many there are. Ties are
    trained on and left out of the accuracy (in B-Pref they count as errors and disable the stop).

    The device is waited for once an epoch. Raises ConfigError for labels the loss refuses, and
    FloatingPointError after an epoch in which a score or a value of the loss was not finite, or at
    the end for weights that are not.
    """
    if len(preferences) == 0:
        return Fit(epochs=0, loss=math.nan, accuracy=math.nan)
    pairs, mask = _paired_inputs(preferences)
    labels = preferences.labels
    n, device, members = len(labels), labels.device, net.members
    decided = labels != 0.5
    _check_labels(loss, labels)
    value_of = inspect.unwrap(loss)
    done, mean_loss, accuracy = 0, math.nan, math.nan
    while done < epochs and not accuracy > STOP_ACCURACY:
        order = [torch.randperm(n, generator=generator, device=device) for _ in range(members)]
        total, correct = torch.zeros(2, device=device).unbind()
        finite = torch.ones((), dtype=torch.bool, device=device)
        for chosen in torch.stack(order).split(batch_size, dim=1):
            optimizer.zero_grad()
            for part in chosen.split(max(1, BLOCK // (2 * mask.shape[-1])), dim=1):
                scores = _scores(net, pairs[part], mask[part])
                values = value_of(scores[..., 0], scores[..., 1], labels[part])
                finite &= torch.isfinite(scores).all() & torch.isfinite(values).all()
                (values.sum() / chosen.shape[1]).backward()
                total += values.detach().sum()
                right = (scores[..., 1] > scores[..., 0]) == (labels[part] > 0.5)
                correct += (right & decided[part]).sum()
            optimizer.step()
        mean_loss = total.item() / (n * members)
        accuracy = (correct / (decided.sum() * members)).item()
        _check_finite(finite)
        done += 1
    for weight in net.parameters():
        _check_finite(torch.isfinite(weight).all())
    return Fit(epochs=done, loss=mean_loss, accuracy=accuracy)


def _paired_inputs(preferences: Preferences) -> tuple[Tensor, Tensor]:
    """Inputs [n, 2, T, O + A] and mask [n, 2, T] of the stored pairs."""
    sides = (preferences.first, preferences.second)
    inputs = [torch.cat((side.obs, side.act), dim=-1) for side in sides]
    return torch.stack(inputs, dim=1), torch.stack([side.mask for side in sides], dim=1)


def _scores(net: RewardModule, pairs: Tensor, mask: Tensor) -> Tensor:
    """[members, n, 2] from inputs [members, n, 2, T, D]."""
    return masked_sum(net(pairs.flatten(1, 3)).unflatten(1, mask.shape[1:]), mask)


def _check_labels(loss: SegmentLoss, labels: Tensor) -> None:
    """Raise ConfigError for labels the loss refuses, whatever the scores."""
    equal = torch.zeros_like(labels)
    try:
        loss(equal, equal, labels)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _check_finite(finite: Tensor) -> None:
    if not finite:
        raise FloatingPointError(
            "the learned reward diverged in training: its scores, losses or weights are not "
            "finite; expected finite ones: lower reward_lr"
        )
