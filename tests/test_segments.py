"""Segments, growing preferences, recent episodes and the preference file."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pbrl import datasets
from pbrl.errors import CellError, ConfigError, EnvironmentFault
from pbrl.segments import Episodes, GroundTruthError, Preferences, Segments, concatenate

HORIZON = 6


class Step(NamedTuple):
    obs: np.ndarray
    action: np.ndarray
    reward: float
    next_obs: np.ndarray
    terminated: bool
    truncated: bool
    stage: float | None = None


def record(episodes: Episodes, number: int, length: int) -> None:
    """An episode whose every entry says which episode and step it is; it terminates if short."""
    for t in range(length):
        code = 100.0 * number + t
        episodes.add(
            Step(
                np.full(3, code),
                np.full(2, -code),
                code,
                np.full(3, code + 1),
                terminated=t == length - 1 and length < HORIZON,
                truncated=t == HORIZON - 1,
            )
        )


def recorded(lengths: list[int], capacity: int = 100) -> Episodes:
    episodes = Episodes(3, 2, horizon=HORIZON, capacity=capacity)
    for number, length in enumerate(lengths):
        record(episodes, number, length)
    return episodes


def random_segments(n: int, length: int = 4, seed: int = 0) -> Segments:
    g = torch.Generator().manual_seed(seed)
    return Segments(
        obs=torch.randn(n, length, 3, generator=g),
        act=torch.randn(n, length, 2, generator=g),
        next_obs=torch.randn(n, length, 3, generator=g),
        terminal=torch.rand(n, length, generator=g) < 0.1,
        mask=torch.rand(n, length, generator=g) < 0.9,
        reward=torch.randn(n, length, generator=g),
    )


def same(a: Segments, b: Segments) -> bool:
    x, y = a.tensors(), b.tensors()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


# --- segments -----------------------------------------------------------------------------------


def test_hidden_reward_is_refused_and_shown_reward_is_given() -> None:
    segments = random_segments(3)
    assert torch.equal(segments.ground_truth, segments.reward)
    with pytest.raises(GroundTruthError, match="only teachers and evaluators"):
        _ = segments.without_reward().ground_truth
    with pytest.raises(GroundTruthError):
        _ = segments.without_reward()[1:].ground_truth


def test_indexing_keeps_the_batch_axis_and_concatenation_undoes_it() -> None:
    segments = random_segments(5)
    assert len(segments[2]) == 1
    assert same(concatenate([segments[:2], segments[torch.tensor([2, 3, 4])]]), segments)
    assert same(segments[segments.mask[:, 0]], segments[segments.mask[:, 0].nonzero()[:, 0]])
    assert concatenate([segments, segments.without_reward()]).reward is None


def test_a_member_axis_may_lead() -> None:
    batch = random_segments(5)[torch.tensor([[0, 1], [2, 3], [4, 0]])]
    assert batch.obs.shape == (3, 2, 4, 3)
    assert batch.length == 4


def test_shapes_that_disagree_are_named() -> None:
    s = random_segments(5)
    with pytest.raises(ValueError, match=r"act \[4, 4, 2\]"):
        Segments(s.obs, s.act[:4], s.next_obs, s.terminal, s.mask)


# --- episodes -----------------------------------------------------------------------------------


def test_only_the_most_recent_complete_episodes_are_sampled() -> None:
    episodes = recorded([6, 6, 6, 6, 6, 6, 6], capacity=4)
    for _ in range(3):  # an eighth episode, not complete
        episodes.add(Step(np.full(3, -1), np.zeros(2), 0.0, np.full(3, -1), False, False))
    sample = episodes.sample(400, 2, np.random.default_rng(0))
    assert len(episodes) == 4
    assert set((sample.obs[:, 0, 0] // 100).int().tolist()) == {3, 4, 5, 6}


def test_every_window_is_equally_likely_the_last_one_too() -> None:
    sample = recorded([6, 6]).sample(20_000, 4, np.random.default_rng(1))
    _, counts = np.unique(sample.obs[:, 0, 0].numpy(), return_counts=True)
    assert len(counts) == 2 * 3
    assert stats.chisquare(counts).pvalue > 1e-6


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, HORIZON), min_size=1, max_size=9), st.integers(1, HORIZON))
def test_windows_are_consecutive_masked_and_padded_with_zeros(lengths: list[int], t: int) -> None:
    episodes = recorded(lengths, capacity=5)
    kept = {number: lengths[number] for number in range(max(0, len(lengths) - 5), len(lengths))}
    sample = episodes.sample(50, t, np.random.default_rng(0))
    for i in range(50):
        first = int(sample.obs[i, 0, 0])
        number, start = divmod(first, 100)
        valid = min(t, kept[number])
        codes = torch.arange(first, first + valid).float()
        assert sample.mask[i].tolist() == [True] * valid + [False] * (t - valid)
        assert torch.equal(sample.obs[i, :valid, 0], codes)
        assert torch.equal(sample.act[i, :valid, 1], -codes)
        assert torch.equal(sample.ground_truth[i, :valid], codes)
        assert torch.equal(sample.next_obs[i, :valid, 2], codes + 1)
        ended = start + valid == kept[number] and kept[number] < HORIZON
        assert sample.terminal[i].nonzero()[:, 0].tolist() == ([valid - 1] if ended else [])
        for tensor in sample.tensors().values():
            assert not tensor[i, valid:].any()


def test_episodes_resume_in_the_middle_of_an_episode() -> None:
    lengths = [6, 2, 6, 5, 6, 3]
    for cut in range(7):
        original = recorded(lengths, capacity=4)
        steps = [
            Step(np.full(3, t), np.full(2, t), t, np.full(3, t + 1), False, t == 5)
            for t in range(6)
        ]
        for step in steps[:cut]:
            original.add(step)
        restored = Episodes(3, 2, horizon=HORIZON, capacity=4)
        restored.load_state_dict(original.state_dict())
        for step in steps[cut:]:
            original.add(step)
            restored.add(step)
        a, b = (e.sample(100, 4, np.random.default_rng(3)) for e in (original, restored))
        assert same(a, b)
    assert recorded(lengths, capacity=4).state_dict()["obs"].shape == (4, HORIZON + 1, 3)
    assert recorded([2, 3]).state_dict()["act"].shape == (2, 3, 2)


def test_asking_too_early_too_long_or_past_the_horizon_is_explained() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(CellError, match="at least 6 steps"):
        recorded([]).sample(1, 2, rng)
    with pytest.raises(ConfigError, match="at most 6"):
        recorded([6]).sample(1, 7, rng)
    episodes = Episodes(3, 2, horizon=2, capacity=4)
    step = Step(np.zeros(3), np.zeros(2), 0.0, np.zeros(3), False, False)
    episodes.add(step)
    episodes.add(step)
    with pytest.raises(EnvironmentFault, match="declared horizon"):
        episodes.add(step)


# --- preferences --------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, float("nan")]), max_size=7), max_size=6))
def test_preferences_keep_the_answered_pairs_in_order(sessions: list[list[float]]) -> None:
    preferences = Preferences(3, 2, length=4)
    firsts, seconds, labels = [random_segments(0)], [random_segments(0)], []
    for k, session in enumerate(sessions):
        first, second = (
            random_segments(len(session), seed=k),
            random_segments(len(session), seed=~k % 99),
        )
        kept = [i for i, label in enumerate(session) if label == label]
        assert preferences.add(first, second, np.array(session)) == len(kept)
        firsts.append(first[kept])
        seconds.append(second[kept])
        labels += [session[i] for i in kept]
    assert len(preferences) == len(labels)
    assert preferences.labels.tolist() == labels
    assert same(preferences.first, concatenate(firsts).without_reward())
    assert same(preferences.second, concatenate(seconds).without_reward())

    restored = Preferences(3, 2, length=4)
    restored.load_state_dict(preferences.state_dict())
    assert same(restored.first, preferences.first)
    assert torch.equal(restored.labels, preferences.labels)
    assert len(preferences.state_dict()["labels"]) == len(labels)


def test_preferences_never_hold_the_ground_truth() -> None:
    preferences = Preferences(3, 2, length=4)
    preferences.add(random_segments(2), random_segments(2), torch.tensor([0.0, 1.0]))
    with pytest.raises(GroundTruthError):
        _ = preferences.first.ground_truth
    assert "reward" not in preferences.state_dict()["first"]


def test_a_saved_state_does_not_change_afterwards() -> None:
    preferences = Preferences(3, 2, length=4)
    preferences.add(random_segments(2), random_segments(2), torch.tensor([0.0, 1.0]))
    state = preferences.state_dict()
    preferences.labels.fill_(0.5)
    preferences.first.obs.zero_()
    assert state["labels"].tolist() == [0.0, 1.0]
    assert state["first"]["obs"].any()


def test_wrong_labels_are_refused() -> None:
    preferences = Preferences(3, 2, length=4)
    with pytest.raises(ValueError, match=r"found 0 to 2"):
        preferences.add(random_segments(3), random_segments(3), torch.tensor([0, 2, float("nan")]))
    with pytest.raises(ValueError, match="one label per pair"):
        preferences.add(random_segments(3), random_segments(3), torch.tensor([0.0, 1.0]))
    assert len(preferences) == 0


# --- file ---------------------------------------------------------------------------------------


def test_a_preference_file_round_trips(tmp_path) -> None:
    labels = torch.tensor([0.0, 0.5, float("nan")])
    written = datasets.PreferenceFile(
        random_segments(3), random_segments(3, seed=1), labels, {"env": "pointmass", "seed": 3}
    )
    datasets.save(tmp_path / "pairs.npz", written)
    read = datasets.load(tmp_path / "pairs.npz")
    assert same(read.first, written.first)
    assert same(read.second, written.second)
    assert torch.equal(read.labels.nan_to_num(9), labels.nan_to_num(9))
    assert read.provenance == {"env": "pointmass", "seed": 3, "format": datasets.FORMAT}
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.npz"]


def test_a_pickle_is_never_loaded(tmp_path) -> None:
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, labels=np.array([Trap()], dtype=object), provenance='{"format": "x"}')
    raw = tmp_path / "raw.npy"
    np.save(raw, np.array([Trap()], dtype=object))
    (tmp_path / "torn.npz").write_bytes(pickled.read_bytes()[:80])
    for path in (pickled, raw, tmp_path / "torn.npz", tmp_path / "missing.npz"):
        with pytest.raises(ConfigError, match="not a preference file"):
            datasets.load(path)
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize("length", [1, 5])
def test_segments_of_another_length_are_refused_and_nothing_is_stored(length: int) -> None:
    preferences = Preferences(3, 2, length=4)
    preferences.add(random_segments(2), random_segments(2), torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=f"segments of 4 steps are stored here; found {length}"):
        preferences.add(
            random_segments(2, length), random_segments(2, length), torch.tensor([0.0, 1.0])
        )
    assert len(preferences) == 2
