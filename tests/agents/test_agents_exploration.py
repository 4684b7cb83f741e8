"""The state-entropy bonus: neighbors counted one by one, and the normalizer against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pbrl.agents.exploration import StateEntropy
from pbrl.errors import ConfigError


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@given(st.integers(1, 6), st.integers(8, 40))
def test_the_bonus_is_the_distance_to_the_kth_other_state(k: int, n: int) -> None:
    visited = torch.randn(n, 3, generator=generator(), dtype=torch.float64)
    entropy = StateEntropy(k=k)
    bonus = entropy.bonus(visited[:7], visited, generator())
    for i in range(7):
        others = np.delete(visited.numpy(), i, axis=0)
        kth = np.sort(np.linalg.norm(others - visited[i].numpy(), axis=1))[k - 1]
        assert np.isclose(bonus[i].item() * entropy.std, kth, atol=1e-6)


@given(st.lists(st.integers(8, 30), min_size=1, max_size=6))
def test_the_running_deviation_is_that_of_all_distances(sizes: list[int]) -> None:
    entropy, seen = StateEntropy(k=3), []
    for i, n in enumerate(sizes):
        states = torch.randn(n, 2, generator=torch.Generator().manual_seed(i)) * 10**i
        bonus = entropy.bonus(states, states, generator())
        seen.append(bonus.numpy() * entropy.std)
    assert np.isclose(entropy.std, np.concatenate(seen).std(), rtol=1e-4)


def test_a_large_buffer_is_represented_by_some_of_its_states() -> None:
    visited = torch.randn(5000, 2, generator=generator())
    entropy = StateEntropy(k=5, particles=500)
    far = torch.tensor([[30.0, 30.0]])
    batch = torch.cat((visited[:63], far))
    bonus = entropy.bonus(batch, visited, generator())
    assert bonus.argmax() == 63
    assert (bonus > 0).all()


@pytest.mark.parametrize("place", [1.0, 30.3])
def test_identical_states_earn_nothing(place: float) -> None:
    states = torch.full((64, 24), place)
    assert StateEntropy().bonus(states, states, generator()).tolist() == [0.0] * 64


def test_crowds_of_identical_states_earn_nothing() -> None:
    states = torch.randn(8, 24, generator=generator()).mul(30).repeat_interleave(8, dim=0)
    assert StateEntropy().bonus(states, states, generator()).tolist() == [0.0] * 64


def test_the_bonus_is_exact_far_from_the_origin() -> None:
    states = 30.3 + 0.01 * torch.randn(200, 24, generator=generator())
    exact = torch.cdist(states.double(), states.double()).topk(6, largest=False).values[:, -1]
    entropy = StateEntropy()
    found = entropy.bonus(states, states, generator()) * entropy.std
    assert torch.allclose(found.double(), exact, rtol=1e-4)


@pytest.mark.parametrize("step", [1.0, 0.1, 7.3])
def test_equal_distances_are_the_bonus_itself(step: float) -> None:
    circle = torch.arange(40) * (2 * torch.pi / 40)
    states = step * torch.stack((circle.cos(), circle.sin()), dim=1)
    side = 2 * step * np.sin(np.pi / 40)
    bonus = StateEntropy(k=1).bonus(states, states, generator())
    assert bonus.tolist() == pytest.approx([side] * 40, rel=1e-5)


def test_too_few_states_are_refused() -> None:
    states = torch.randn(5, 3)
    with pytest.raises(ConfigError, match="entropy_k = 5 states and found 5; expected seed_steps"):
        StateEntropy(k=5).bonus(states, states, generator())
    assert StateEntropy(k=4).bonus(states, states, generator()).shape == (5,)


def test_state_is_restored() -> None:
    original, restored = StateEntropy(), StateEntropy()
    states = torch.randn(50, 3, generator=generator())
    original.bonus(states, states, generator())
    restored.load_state_dict(original.state_dict())
    twice = [e.bonus(states[:20], states, generator()) for e in (original, restored)]
    assert torch.equal(*twice)
