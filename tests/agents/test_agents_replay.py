"""The replay buffer: a ring of rows, relabeled as a whole."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pbrl.agents.replay import Replay


def filled(n: int, *, capacity: int) -> Replay:
    """A buffer to which n transitions were added; transition i is full of the number i."""
    replay = Replay(3, 2, capacity=capacity)
    for i in range(n):
        obs, act = np.full(3, i, np.float32), np.full(2, i, np.float32)
        replay.add(obs, act, obs + 0.5, reward=float(i), terminal=i % 2 == 1)
    return replay


@given(st.integers(1, 30), st.integers(1, 12))
def test_holds_the_most_recent(n: int, capacity: int) -> None:
    held = filled(n, capacity=capacity).all()
    expected = sorted(range(max(0, n - capacity), n))
    assert sorted(held.reward.tolist()) == expected
    assert (held.obs == held.reward[:, None]).all()
    assert (held.act == held.reward[:, None]).all()
    assert (held.next_obs == held.reward[:, None] + 0.5).all()
    assert (held.terminal == held.reward % 2).all()


@given(st.integers(1, 30), st.integers(1, 12))
def test_relabels_every_valid_entry_also_after_the_wrap(n: int, capacity: int) -> None:
    replay = filled(n, capacity=capacity)
    replay.relabel(lambda obs, act: -obs[:, 0] - 100 * act[:, 0])
    held = replay.all()
    assert len(held.reward) == min(n, capacity)
    assert (held.reward == -101 * held.obs[:, 0]).all()


def test_relabels_more_than_one_batch(monkeypatch) -> None:
    monkeypatch.setattr("pbrl.agents.replay.RELABEL_BATCH", 4)
    replay = filled(19, capacity=11)
    sizes = []

    def reward(obs: torch.Tensor, act: torch.Tensor) -> torch.Tensor:
        sizes.append(len(obs))
        return obs[:, 0] + 1000

    replay.relabel(reward)
    assert sizes == [4, 4, 3]
    assert (replay.all().reward >= 1000).all()


def test_samples_only_what_was_stored() -> None:
    replay = filled(5, capacity=100)
    batch = replay.at(replay.sample(1000, torch.Generator().manual_seed(0)))
    assert set(batch.reward.tolist()) == {0, 1, 2, 3, 4}
    assert batch.obs.shape == (1000, 3)
    assert batch.terminal.shape == (1000,)


def test_a_reward_on_the_device_is_stored() -> None:
    replay = filled(1, capacity=4)
    zeros = np.zeros(3, np.float32)
    replay.add(zeros, np.zeros(2, np.float32), zeros, reward=torch.tensor(0.25), terminal=False)
    assert replay.all().reward.tolist() == [0.0, 0.25]


@given(st.integers(0, 25), st.integers(0, 10))
def test_a_restored_buffer_goes_on_as_the_original(n: int, more: int) -> None:
    original, restored = filled(n, capacity=7), filled(3, capacity=7)
    restored.load_state_dict(original.state_dict())
    for replay in (original, restored):
        for i in range(more):
            obs = np.full(3, 50 + i, np.float32)
            replay.add(obs, obs[:2], obs, reward=0.0, terminal=False)
    assert torch.equal(original.all().obs, restored.all().obs)
    assert len(original) == len(restored)
