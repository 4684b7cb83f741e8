"""Stacked perceptrons against ordinary ones, on both ways their products are computed."""

import pytest
import torch
from torch import nn

from pbrl import networks
from pbrl.networks import StackedMLP


def make(seed: int = 0, slope: float = 0.01) -> StackedMLP:
    generator = torch.Generator().manual_seed(seed)
    return StackedMLP(3, [5, 16, 16, 2], slope=slope, generator=generator)


def ordinary(stacked: StackedMLP, index: int) -> nn.Sequential:
    modules: list[nn.Module] = []
    for weight, bias in stacked.member(index):
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": bias})
        modules += [layer, nn.LeakyReLU(stacked.slope) if stacked.slope else nn.ReLU()]
    return nn.Sequential(*modules[:-1])


@pytest.fixture(params=["one call", "oneDNN", "large without oneDNN"])
def way(request, monkeypatch) -> None:
    if request.param == "oneDNN" and not networks.ONEDNN:
        pytest.skip("this torch has no oneDNN")
    if request.param != "one call":
        monkeypatch.setattr(networks, "LARGE", 0)
        monkeypatch.setattr(networks, "ONEDNN", request.param == "oneDNN")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("slope", [0.0, 0.01])
@pytest.mark.parametrize("shared", [False, True])
def test_values_and_gradients_are_those_of_separate_networks(slope: float, shared: bool) -> None:
    stacked = make(slope=slope)
    shape = (7, 5) if shared else (3, 7, 5)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), requires_grad=True)
    y = x.detach().clone().requires_grad_()
    out = stacked(x)
    (out**2).sum().backward()
    for index in range(3):
        network = ordinary(stacked, index)
        expected = network(y if shared else y[index])
        (expected**2).sum().backward()
        assert torch.allclose(out[index], expected, atol=1e-6)
        gradients = [p.grad for p in network.parameters()]
        for k, (weight, bias) in enumerate(stacked.layers):
            assert torch.allclose(weight.grad[index], gradients[2 * k], atol=1e-5)
            assert torch.allclose(bias.grad[index, 0], gradients[2 * k + 1], atol=1e-5)
    assert torch.allclose(x.grad, y.grad, atol=1e-5)


@pytest.mark.usefixtures("way")
def test_frozen_passes_the_gradient_to_the_input_alone() -> None:
    stacked = make()
    x = torch.randn(4, 5, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    stacked(x, frozen=True).sum().backward()
    assert all(p.grad is None for p in stacked.parameters())
    stacked(y).sum().backward()
    assert torch.allclose(x.grad, y.grad, atol=1e-6)


@pytest.mark.skipif(not networks.ONEDNN, reason="this torch has no oneDNN")
def test_onednn_gets_dense_matrices_only(monkeypatch) -> None:
    """Columns of a table come in, a gradient of stride 0 comes back."""
    monkeypatch.setattr(networks, "LARGE", 0)
    original, dense = networks._products, []

    def spied(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        dense.extend(
            m[i].is_contiguous() or m[i].mT.is_contiguous() for m in (a, b) for i in (0, 2)
        )
        return original(a, b, bias)

    monkeypatch.setattr(networks, "_products", spied)
    table = torch.randn(7, 20)
    make()(table[:, 4:9].requires_grad_()).sum().backward()
    assert len(dense) == 4 * 2 * 3  # values and input gradients of three layers
    assert all(dense)


def test_members_never_mix() -> None:
    stacked = make()
    x = torch.randn(3, 4, 5)
    before = stacked(x)
    with torch.no_grad():
        stacked.weights[1][1] += 1
    after = stacked(x)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])


def test_reset_draws_from_its_generator_alone() -> None:
    same, again, other = make(1), make(1), make(2)
    assert all(
        torch.equal(a, b) for a, b in zip(same.parameters(), again.parameters(), strict=True)
    )
    assert not torch.equal(same.weights[0], other.weights[0])
    same.reset(torch.Generator().manual_seed(2))
    assert torch.equal(same.weights[0], other.weights[0])
