"""The batched ensemble against separately trained members, and the laws of its training."""

import copy
import math

import pytest
import torch
from preference_data import ACT, LENGTH, OBS, preferences, segments, true_return
from torch import nn
from torch.nn import functional as F

from pbrl.errors import ConfigError
from pbrl.rewards import fit as fit_module
from pbrl.rewards.ensemble import RewardEnsemble, RewardNet
from pbrl.rewards.fit import segment_scores
from pbrl.segments import Preferences, Segments


def score(ensemble: RewardEnsemble, s: Segments) -> torch.Tensor:
    """[members, N]: each member's return of each segment."""
    return segment_scores(ensemble.net, s)


def make(
    *, seed: int = 0, members: int = 3, hidden: int = 32, layers: int = 3, **changes
) -> RewardEnsemble:
    generator = torch.Generator().manual_seed(seed)
    net = RewardNet(OBS, ACT, members=members, hidden=hidden, layers=layers, generator=generator)
    settings = {"learning_rate": 3e-4, "batch_size": 16, "loss": "sigmoid"} | changes
    return RewardEnsemble(net, generator=generator, **settings)


def separate(ensemble: RewardEnsemble) -> list[nn.Sequential]:
    """One ordinary network per member, with the ensemble's weights."""
    networks = []
    for index in range(ensemble.net.members):
        modules: list[nn.Module] = []
        for weight, bias in ensemble.net.mlp.member(index):
            layer = nn.Linear(weight.shape[1], weight.shape[0])
            layer.load_state_dict({"weight": weight, "bias": bias})
            modules += [layer, nn.LeakyReLU(0.01)]
        networks.append(nn.Sequential(*modules[:-1], nn.Tanh()))
    return networks


def returns(network: nn.Module, s: Segments) -> torch.Tensor:
    steps = network(torch.cat((s.obs, s.act), dim=-1)).squeeze(-1)
    return (steps * s.mask).sum(-1)


@pytest.mark.parametrize("ragged", [False, True])
def test_learns_the_same_functions_as_members_trained_one_by_one(ragged: bool) -> None:
    ensemble, data = make(), preferences(50, ragged=ragged)
    networks = separate(ensemble)
    orders = torch.Generator().manual_seed(7)
    ensemble.generator.manual_seed(7)
    optimizers = [torch.optim.Adam(n.parameters(), lr=3e-4) for n in networks]
    epochs = 5
    for _ in range(epochs):
        shuffled = [torch.randperm(50, generator=orders) for _ in networks]
        for network, optimizer, order in zip(networks, optimizers, shuffled, strict=True):
            for chosen in order.split(16):
                first, second = data.first[chosen], data.second[chosen]
                logits = torch.stack([returns(network, first), returns(network, second)], dim=1)
                optimizer.zero_grad()
                F.cross_entropy(logits, data.labels[chosen].long()).backward()
                optimizer.step()
    start = score(make(), data.first)
    result = ensemble.fit(data, epochs=epochs)
    assert result.epochs == epochs
    expected = torch.stack([returns(n, data.first) for n in networks])
    assert (expected - start).abs().max() > 0.05
    assert torch.allclose(score(ensemble, data.first), expected, atol=2e-5)


def test_members_differ_and_start_as_torch_networks_do() -> None:
    ensemble = make(hidden=256)
    for index in range(3):
        torch.manual_seed(index)
        for weight, bias in ensemble.net.mlp.member(index):
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            for ours, theirs in ((weight, linear.weight), (bias, linear.bias)):
                if ours.numel() > 200:
                    assert ours.std() == pytest.approx(theirs.std().item(), rel=0.15)
                    assert ours.abs().max() == pytest.approx(theirs.abs().max().item(), rel=0.05)
    scores = score(ensemble, segments(5, seed=0))
    assert not torch.allclose(scores[0], scores[1])


def test_predicts_held_out_labels_after_training() -> None:
    ensemble = make(hidden=64, learning_rate=1e-3)
    result = ensemble.fit(preferences(300), epochs=100)
    assert result.accuracy > 0.97
    assert result.epochs < 100
    first, second = segments(500, seed=100), segments(500, seed=101)
    truth = (true_return(second) > true_return(first)).float()
    p = ensemble.probability(first, second).mean(0)
    assert ((p > 0.5) == (truth > 0.5)).float().mean() > 0.85


def test_reward_is_the_mean_over_members_and_scores_are_sums() -> None:
    ensemble, s = make(), segments(6, seed=3)
    steps = ensemble(s.obs.flatten(0, 1), s.act.flatten(0, 1)).unflatten(0, (6, LENGTH))
    assert torch.allclose(steps.sum(1), score(ensemble, s).mean(0), atol=1e-5)
    assert steps.abs().max() < 1
    one = ensemble.one(s.obs[0, 0].numpy(), s.act[0, 0].numpy())
    assert one.item() == pytest.approx(steps[0, 0].item(), abs=1e-6)
    assert one.shape == ()


def test_masked_steps_never_count() -> None:
    ensemble, s = make(), segments(8, seed=5, ragged=True)
    noisy = Segments(**{**s.tensors(), "obs": s.obs + 100 * ~s.mask[..., None]})
    assert torch.equal(score(ensemble, s), score(ensemble, noisy))
    for i in range(8):
        alone = s[i]
        cut = Segments(**{k: v[:, : int(alone.mask.sum())] for k, v in alone.tensors().items()})
        assert torch.allclose(score(ensemble, cut)[:, 0], score(ensemble, s)[:, i], atol=1e-5)


def test_probability_of_the_swapped_pair_is_the_complement() -> None:
    ensemble = make()
    first, second = segments(9, seed=1), segments(9, seed=2)
    p = ensemble.probability(first, second)
    assert p.shape == (3, 9)
    assert torch.allclose(p + ensemble.probability(second, first), torch.ones(3, 9), atol=1e-6)
    difference = score(ensemble, second) - score(ensemble, first)
    assert torch.allclose(p, torch.sigmoid(difference), atol=1e-6)


def test_blocks_change_nothing(monkeypatch) -> None:
    data = preferences(40, ragged=True)
    whole, blocks = make(), make()
    whole.fit(data, epochs=3)
    monkeypatch.setattr(fit_module, "BLOCK", 3 * 2 * LENGTH)
    blocks.fit(data, epochs=3)
    assert torch.allclose(score(whole, data.first), score(blocks, data.first), atol=1e-5)


def test_ties_are_trained_on_and_left_out_of_the_accuracy() -> None:
    ensemble, data = make(hidden=64, learning_rate=3e-3), preferences(100)
    first, second = segments(60, seed=50), segments(60, seed=51)
    data.add(first, second, torch.full((60,), 0.5))
    result = ensemble.fit(data, epochs=200)
    assert result.accuracy > 0.97  # unreachable if the 60 ties counted as errors
    tied = (score(ensemble, first) - score(ensemble, second)).abs().mean()
    clear = (score(ensemble, data.first[:100]) - score(ensemble, data.second[:100])).abs().mean()
    assert tied < 0.7 * clear


def test_only_ties_run_all_epochs() -> None:
    data = Preferences(OBS, ACT, length=LENGTH)
    data.add(segments(5, seed=0), segments(5, seed=1), torch.full((5,), 0.5))
    result = make().fit(data, epochs=4)
    assert result.epochs == 4
    assert math.isnan(result.accuracy)
    assert result.loss >= math.log(2) - 1e-6


def test_no_labels_change_nothing() -> None:
    ensemble = make()
    before = copy.deepcopy(ensemble.state_dict())
    result = ensemble.fit(Preferences(OBS, ACT, length=LENGTH), epochs=10)
    assert result.epochs == 0
    assert torch.equal(before["generator"], ensemble.state_dict()["generator"])


def test_a_member_learns_the_same_whatever_the_size_of_the_ensemble() -> None:
    alone, three, data = make(members=1), make(members=3), preferences(16)
    for ours, theirs in zip(alone.net.parameters(), three.net.parameters(), strict=True):
        ours.data[0] = theirs.data[0]
    for ensemble in (alone, three):  # one minibatch an epoch, so the order does not matter
        ensemble.fit(data, epochs=5)
    assert torch.allclose(score(alone, data.first)[0], score(three, data.first)[0], atol=1e-5)


def test_a_restored_ensemble_goes_on_bit_for_bit() -> None:
    original, restored, data = make(), make(seed=9), preferences(30)
    original.fit(data, epochs=2)
    state = original.state_dict()
    snapshot = copy.deepcopy(state)
    restored.load_state_dict(state)
    original.fit(data, epochs=2)
    restored.fit(data, epochs=2)
    assert torch.equal(score(original, data.first), score(restored, data.first))
    assert all(torch.equal(state["net"][k], snapshot["net"][k]) for k in state["net"])


@pytest.mark.parametrize(("pairs", "epochs"), [(40, 50), (16, 1)])
@pytest.mark.parametrize("loss", ["sigmoid", "hinge"])
def test_a_reward_that_diverges_stops_the_run(pairs: int, epochs: int, loss: str) -> None:
    ensemble, steps = make(learning_rate=math.inf, loss=loss), []
    ensemble.optimizer.register_step_post_hook(lambda *_: steps.append(1))
    with pytest.raises(FloatingPointError, match=r"diverged.*lower reward_lr"):
        ensemble.fit(preferences(pairs), epochs=epochs)
    assert len(steps) == math.ceil(pairs / ensemble.batch_size)  # the epoch in which it happened


def test_what_the_loss_refuses_is_an_error_of_the_configuration() -> None:
    data = preferences(20)
    data.add(segments(1, seed=50), segments(1, seed=51), torch.tensor([0.5]))
    with pytest.raises(ConfigError, match="has no ties"):
        make(loss="dpo_shift").fit(data, epochs=1)


def test_the_global_stream_is_not_touched() -> None:
    state = torch.get_rng_state()
    make().fit(preferences(10), epochs=2)
    assert torch.equal(state, torch.get_rng_state())


def test_another_loss_by_name() -> None:
    data = preferences(60)
    ensemble = make(loss="hinge", hidden=64, learning_rate=1e-3)
    assert ensemble.fit(data, epochs=60).accuracy > 0.9
    smoothed = make(loss={"name": "cdpo", "eps": 0.4}, hidden=64, learning_rate=1e-3)
    gap = [
        (score(e, data.second) - score(e, data.first)).abs().mean() for e in (ensemble, smoothed)
    ]
    smoothed.fit(data, epochs=60)
    after = (score(smoothed, data.second) - score(smoothed, data.first)).abs().mean()
    assert after < gap[0]  # smoothing by 0.4 pulls every margin towards log(0.6 / 0.4)
    with pytest.raises(ConfigError, match=r"unknown loss 'hing'.*'hinge'"):
        make(loss="hing")
    with pytest.raises(ConfigError, match=r"'cdpo' has no parameter 'epz'"):
        make(loss={"name": "cdpo", "epz": 0.1})
