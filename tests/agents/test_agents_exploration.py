"""The state-entropy bonus: neighbors against a k-d tree, and the normalizer against NumPy."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from pbrl.agents import exploration
from pbrl.agents.exploration import StateEntropy
from pbrl.errors import ConfigError


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@given(
    st.integers(1, 6),
    st.integers(8, 300),
    st.integers(1, 40),
    st.sampled_from([0.0, 30.3, 1000.0]),
    st.sampled_from([7, 50, 16384]),
)
def test_neighbors_are_those_of_a_tree(k: int, n: int, width: int, far: float, block: int) -> None:
    """A k-d tree in double precision; the nearest it finds for a visited state is itself."""
    states = far + torch.randn(n, width, generator=generator())
    batch = states[torch.randint(n, (20,), generator=generator())]
    expected = cKDTree(states.double()).query(batch.double(), k=k + 1)[0][:, -1]
    with mock.patch.object(exploration, "BLOCK", block):
        found = exploration.distance_to_neighbor(batch, states, k)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@given(st.integers(1, 5), st.integers(0, 6), st.sampled_from([3, 16384]))
def test_a_state_is_not_its_own_neighbor_but_its_twins_are(k: int, twins: int, block: int) -> None:
    others = torch.randn(30, 4, generator=generator())
    states = torch.cat((others, others[:1].expand(twins, -1)))
    with mock.patch.object(exploration, "BLOCK", block):
        found = exploration.distance_to_neighbor(others[:1], states, k).item()
    alone = torch.linalg.vector_norm(others[0] - others[1:], dim=1).sort().values
    assert found == pytest.approx(0.0 if k <= twins else alone[k - twins - 1].item(), rel=1e-5)


@given(st.lists(st.integers(8, 30), min_size=1, max_size=6))
def test_the_running_deviation_is_that_of_all_distances(sizes: list[int]) -> None:
    entropy, seen = StateEntropy(k=3), []
    for i, n in enumerate(sizes):
        states = torch.randn(n, 2, generator=torch.Generator().manual_seed(i)) * 10**i
        bonus = entropy.bonus(states, states)
        seen.append(bonus.numpy() * float(entropy.std))
    assert np.isclose(entropy.std, np.concatenate(seen).std(), rtol=1e-4)


@pytest.mark.parametrize("place", [1.0, 30.3])
def test_identical_states_earn_nothing(place: float) -> None:
    states = torch.full((64, 24), place)
    assert StateEntropy(k=5).bonus(states, states).tolist() == [0.0] * 64


def test_crowds_of_identical_states_earn_nothing() -> None:
    states = torch.randn(8, 24, generator=generator()).mul(30).repeat_interleave(8, dim=0)
    assert StateEntropy(k=5).bonus(states, states).tolist() == [0.0] * 64


def test_the_bonus_is_exact_far_from_the_origin() -> None:
    states = 30.3 + 0.01 * torch.randn(200, 24, generator=generator())
    exact = torch.cdist(states.double(), states.double()).topk(6, largest=False).values[:, -1]
    entropy = StateEntropy(k=5)
    found = entropy.bonus(states, states) * entropy.std
    assert torch.allclose(found.double(), exact, rtol=1e-4)


@pytest.mark.parametrize("step", [1.0, 0.1, 7.3])
def test_equal_distances_are_the_bonus_itself(step: float) -> None:
    circle = torch.arange(40) * (2 * torch.pi / 40)
    states = step * torch.stack((circle.cos(), circle.sin()), dim=1)
    side = 2 * step * np.sin(np.pi / 40)
    bonus = StateEntropy(k=1).bonus(states, states)
    assert bonus.tolist() == pytest.approx([side] * 40, rel=1e-5)


def test_too_few_states_are_refused() -> None:
    states = torch.randn(5, 3)
    with pytest.raises(ConfigError, match="entropy_k = 5 states and found 5; expected seed_steps"):
        StateEntropy(k=5).bonus(states, states)
    assert StateEntropy(k=4).bonus(states, states).shape == (5,)


def test_state_is_restored() -> None:
    original, restored = StateEntropy(k=5), StateEntropy(k=5)
    states = torch.randn(50, 3, generator=generator())
    original.bonus(states, states)
    restored.load_state_dict(original.state_dict())
    twice = [e.bonus(states[:20], states) for e in (original, restored)]
    assert torch.equal(*twice)
