"""REED's two losses in closed form, what they may move, and that they learn dynamics."""

import copy
import math

import pytest
import torch
from preference_data import ACT, OBS, preferences, segments
from torch.nn import functional as F

from pbrl.errors import ConfigError
from pbrl.rewards.ensemble import RewardEnsemble
from pbrl.rewards.fit import segment_scores
from pbrl.rewards.reed import (
    Dynamics,
    EncodedRewardNet,
    Variant,
    contrastive_loss,
    distillation_loss,
)
from pbrl.segments import Segments

SFC = {"epochs": 20, "max_updates": 200, "batch_size": 32, "learning_rate": 1e-3}


def score(ensemble: RewardEnsemble, s: Segments) -> torch.Tensor:
    """[members, N]: each member's return of each segment."""
    return segment_scores(ensemble.net, s)


def make(
    variant: Variant = "distill", *, hidden: int = 32, seed: int = 0, **changes
) -> tuple[RewardEnsemble, Dynamics]:
    generator, own = (torch.Generator().manual_seed(seed) for _ in range(2))
    net = EncodedRewardNet(
        OBS, ACT, members=3, obs_width=8, act_width=4, hidden=hidden, layers=3, generator=generator
    )
    dynamics = Dynamics(net, variant, tau=0.5, generator=own)
    settings = {"learning_rate": 3e-4, "batch_size": 128, "loss": "sigmoid"} | changes
    return RewardEnsemble(net, generator=generator, **settings), dynamics


def transitions(n: int = 400) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    obs = torch.randn(n, OBS, generator=g)
    act = torch.rand(n, ACT, generator=g) * 2 - 1
    return obs, act, obs.roll(1, 1) + F.pad(act, (0, OBS - ACT))


def test_distillation_is_minus_the_mean_cosine() -> None:
    x = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(distillation_loss(x, 2 * x), torch.full((3,), -1.0))
    assert torch.allclose(distillation_loss(x, -x), torch.full((3,), 1.0))


def test_contrastive_loss_is_that_of_each_anchor_written_out() -> None:
    g = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, 6, 4, generator=g), torch.randn(2, 6, 4, generator=g)
    found = contrastive_loss(u, v, tau=0.5)
    for member in range(2):
        vectors = torch.cat((u[member], v[member]))
        terms = []
        for i in range(12):
            cosine = [F.cosine_similarity(vectors[i], w, dim=0).item() / 0.5 for w in vectors]
            others = sum(math.exp(c) for j, c in enumerate(cosine) if j != i)
            terms.append(math.log(others) - cosine[(i + 6) % 12])
        assert found[member].item() == pytest.approx(sum(terms) / 12, abs=1e-5)


def test_contrastive_loss_of_identical_vectors_is_that_of_guessing() -> None:
    x = torch.ones(1, 5, 3)
    assert contrastive_loss(x, x, tau=0.1).item() == pytest.approx(math.log(9), abs=1e-5)


@pytest.mark.parametrize("variant", ["distill", "contrast"])
def test_the_target_has_no_gradient_and_the_head_is_not_moved(variant) -> None:
    _, dynamics = make(variant)
    obs, act, next_obs = (x.expand(3, -1, -1) for x in transitions(16))
    next_obs = next_obs.clone().requires_grad_()
    dynamics.loss(obs, act, next_obs).sum().backward()
    assert next_obs.grad is None
    for name, parameter in dynamics.net.named_parameters():
        assert (parameter.grad is None) == name.startswith("head"), name


@pytest.mark.parametrize("variant", ["distill", "contrast"])
def test_dynamics_are_learned_and_shared_with_the_reward(variant) -> None:
    (reward, dynamics), data = make(variant), transitions()
    probe = segments(4, seed=0)
    before = score(reward, probe)
    untrained = dynamics.fit(*data, **{**SFC, "max_updates": 0})
    trained = dynamics.fit(*data, **SFC)
    assert trained < untrained - 0.3
    assert not torch.allclose(before, score(reward, probe))  # encoders are the reward's own


def test_updates_are_capped() -> None:
    (_, dynamics), data = make(), transitions()
    calls = []
    original = dynamics.loss
    dynamics.loss = lambda *args: calls.append(1) or original(*args)  # type: ignore[assignment]
    dynamics.fit(*data, **{**SFC, "max_updates": 7})
    assert len(calls) == 7 + 3  # and the held-out loss, 32 of 80 at a time
    calls.clear()
    dynamics.fit(*data, **{**SFC, "epochs": 2, "max_updates": 1000})
    assert len(calls) == 2 * (320 // 32) + 3


@pytest.mark.parametrize("n", [1, 2, 4, 5, 43, 100])
@pytest.mark.parametrize("variant", ["distill", "contrast"])
def test_every_transition_is_trained_on_or_held_out(n: int, variant) -> None:
    (_, dynamics), data = make(variant), transitions(n)
    seen: list[tuple[bool, torch.Tensor]] = []
    losses: list[torch.Tensor] = []
    original = dynamics.loss

    def spied(obs, act, next_obs):
        seen.append((torch.is_grad_enabled(), obs))
        losses.append(original(obs, act, next_obs))
        return losses[-1]

    dynamics.loss = spied  # type: ignore[method-assign]
    found = dynamics.fit(*data, **{**SFC, "epochs": 1, "batch_size": 8})
    held_out = [obs for grad, obs in seen if not grad]
    assert sum(obs.shape[1] for obs in held_out) == max(1, n // 5)
    for member in range(3):
        everything = torch.cat([obs[member] for _, obs in seen])
        assert torch.equal(everything.sort(0).values, data[0].sort(0).values)
    weighted = zip(losses[-len(held_out) :], held_out, strict=True)
    total = sum(loss.mean().item() * obs.shape[1] for loss, obs in weighted)
    assert found == pytest.approx(total / max(1, n // 5), abs=1e-6)
    assert math.isfinite(found)


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(ConfigError, match="found no transitions"):
        make()[1].fit(*transitions(0), **SFC)


@pytest.mark.parametrize(("hidden", "width"), [(256, 32), (64, 8), (17, 2), (16, 16), (8, 8)])
def test_the_bottleneck_is_that_of_the_released_code(hidden: int, width: int) -> None:
    predictor = make(hidden=hidden)[1].predictor
    assert predictor.squeeze.sizes == (hidden, width)
    assert predictor.expand.sizes == (width, hidden)


def test_members_distill_alone() -> None:
    """Batch normalization and losses of one member never see another."""
    _, dynamics = make()
    obs, act, next_obs = (x.expand(3, -1, -1).clone() for x in transitions(16))
    before = dynamics.loss(obs, act, next_obs)
    obs[1] += 5
    after = dynamics.loss(obs, act, next_obs)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert before[1] != after[1]


def test_preferences_are_learned() -> None:
    reward, _ = make(learning_rate=1e-3, batch_size=32)
    assert reward.fit(preferences(200), epochs=80).accuracy > 0.95


@pytest.mark.parametrize("variant", ["distill", "contrast"])
def test_a_restored_ensemble_goes_on_bit_for_bit(variant) -> None:
    original, restored = make(variant), make(variant, seed=5)
    labels, data = preferences(30), transitions(100)
    small = {**SFC, "max_updates": 10}
    original[1].fit(*data, **small)
    original[0].fit(labels, epochs=2)
    for part, saved in zip(restored, original, strict=True):
        part.load_state_dict(copy.deepcopy(saved.state_dict()))
    for reward, dynamics in (original, restored):
        dynamics.fit(*data, **small)
        reward.fit(labels, epochs=2)
    assert torch.equal(score(original[0], labels.first), score(restored[0], labels.first))
