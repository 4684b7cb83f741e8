"""Query rules against brute force; their contract; liars are caught."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from pbrl import queries, registry
from pbrl.check.query import violations
from pbrl.errors import CellError, ConfigError
from pbrl.segments import Preferences, Segments

LENGTH, OBS = 4, 3


class Fixed:
    """An ensemble whose probabilities are given."""

    def __init__(self, p) -> None:
        self.p = torch.as_tensor(np.asarray(p, dtype=np.float64))

    def probability(self, first: Segments, second: Segments) -> torch.Tensor:
        return self.p[:, : len(first)]


def segments(obs: np.ndarray) -> Segments:
    x = torch.as_tensor(obs, dtype=torch.float32)
    mask = torch.ones(x.shape[:2], dtype=torch.bool)
    return Segments(x, torch.zeros(*x.shape[:2], 2), x, ~mask, mask)


def random_segments(n: int, seed: int) -> Segments:
    return segments(np.random.default_rng(seed).normal(size=(n, LENGTH, OBS)))


def pairs(n: int, seed: int = 9) -> Preferences:
    preferences = Preferences(OBS, 2, length=LENGTH)
    preferences.add(random_segments(n, seed), random_segments(n, seed + 1), torch.zeros(n))
    return preferences


def ask(name: str, first, second, n, p=((0.5,),), labeled=None, seed=0) -> list[int]:
    rng = np.random.default_rng(seed)
    query = registry.resolve("query", name)
    labeled = pairs(0) if labeled is None else labeled
    return query(first, second, n, reward=Fixed(p), labeled=labeled, rng=rng).tolist()


def features(first: Segments, second: Segments) -> np.ndarray:
    rows = zip(first.obs.double().numpy(), second.obs.double().numpy(), strict=True)
    pairs = [np.concatenate([a.ravel(), b.ravel()]) for a, b in rows]
    return np.array(pairs).reshape(len(first), 2 * LENGTH * OBS)


def brute_force_kcenter(candidates: np.ndarray, known: np.ndarray, n: int) -> list[int]:
    """From the definition: recompute every distance to every center for every pick."""
    chosen: list[int] = []
    for _ in range(n):
        centers = np.concatenate([known, candidates[chosen]])
        free = [i for i in range(len(candidates)) if i not in chosen]
        if len(centers) == 0:
            chosen.append(0)
            continue
        nearest = cdist(candidates[free], centers).min(1)
        chosen.append(free[int(nearest.argmax())])
    return chosen


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 20), st.floats(0, 1), st.integers(0, 99))
def test_kcenter_is_the_greedy_farthest_point_rule(total, known, share, seed) -> None:
    first, second = random_segments(total, seed), random_segments(total, seed + 100)
    preferences, n = pairs(known), round(share * total)
    expected = brute_force_kcenter(
        features(first, second), features(preferences.first, preferences.second), n
    )
    assert ask("kcenter", first, second, n, labeled=preferences) == expected


def test_kcenter_is_the_same_far_from_the_origin_and_in_chunks(monkeypatch) -> None:
    first, second = random_segments(50, 1), random_segments(50, 2)
    expected = ask("kcenter", first, second, 20, labeled=pairs(30))
    monkeypatch.setattr(queries, "LABELED_AT_ONCE", 7)
    assert ask("kcenter", first, second, 20, labeled=pairs(30)) == expected
    moved = Preferences(OBS, 2, length=LENGTH)
    old = pairs(30)
    moved.add(segments(old.first.obs + 100), segments(old.second.obs + 100), torch.zeros(30))
    far = segments(first.obs + 100), segments(second.obs + 100)
    assert ask("kcenter", *far, 20, labeled=moved) == expected


def test_kcenter_never_picks_a_pair_twice_even_among_identical_ones() -> None:
    same = segments(np.ones((6, LENGTH, OBS)))
    assert ask("kcenter", same, same, 6) == [0, 1, 2, 3, 4, 5]


def test_disagreement_and_entropy_take_the_largest_with_lowest_index_on_ties() -> None:
    first = random_segments(5, 0)
    p = [[0.5, 0.9, 0.1, 0.9, 0.0], [0.5, 0.1, 0.9, 0.8, 1.0]]
    assert ask("disagreement", first, first, 3, p) == [4, 1, 2]
    assert ask("entropy", first, first, 3, p) == [0, 3, 1]
    assert ask("entropy", first, first, 5, p)[-1] == 4  # certain members: no NaN
    many, even = random_segments(500, 0), np.full((2, 500), 0.5)
    assert ask("entropy", many, many, 40, even) == list(range(40))


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 40), st.integers(0, 99))
def test_mixed_rules_are_kcenter_on_the_better_half(total: int, seed: int) -> None:
    first, second = random_segments(total, seed), random_segments(total, seed + 100)
    p, n = np.random.default_rng(seed).random((3, total)), total // 4
    known = pairs(5)
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean(0)
    for name, score in (("kcenter-disagreement", p.std(0)), ("kcenter-entropy", entropy)):
        half = np.argsort(-score)[: max(n, total // 2)]
        centers = features(known.first, known.second)
        inner = brute_force_kcenter(features(first, second)[half], centers, n)
        assert ask(name, first, second, n, p, known) == half[inner].tolist()


def test_uniform_takes_every_pair_equally_often() -> None:
    first = random_segments(10, 0)
    counts = np.zeros(10)
    for seed in range(2000):
        counts[ask("uniform", first, first, 3, seed=seed)] += 1
    assert (abs(counts - 600) < 5 * np.sqrt(2000 * 0.3 * 0.7)).all()


def test_wrong_use_is_explained() -> None:
    first = random_segments(4, 0)
    with pytest.raises(ConfigError, match="choose 5 of 4"):
        ask("kcenter", first, first, 5)
    with pytest.raises(ConfigError, match="two or more"):
        ask("disagreement", first, first, 2, [[0.1, 0.2, 0.3, 0.4]])
    with pytest.raises(CellError, match="diverged"):
        ask("entropy", first, first, 2, [[0.1, np.nan, 0.3, 0.4]])


# --- contract -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.names("query"))
def test_registered_queries_keep_the_contract(name: str) -> None:
    assert violations(registry.resolve("query", name)) == []


def sound(first, second, n, *, reward, labeled, rng, **context):
    return torch.as_tensor(rng.permutation(len(first))[:n])


def closed(first, second, n, *, reward, labeled, rng):
    return sound(first, second, n, reward=reward, labeled=labeled, rng=rng)


def numpy_array(first, second, n, *, reward, labeled, rng, **context):
    return rng.permutation(len(first))[:n]


def too_many(first, second, n, *, reward, labeled, rng, **context):
    return torch.arange(len(first))


def repeating(first, second, n, *, reward, labeled, rng, **context):
    return torch.zeros(n, dtype=torch.long)


def off_by_one(first, second, n, *, reward, labeled, rng, **context):
    return torch.as_tensor(rng.permutation(len(first))[:n]) + 1


def global_numpy(first, second, n, *, reward, labeled, rng, **context):
    return torch.as_tensor(np.random.permutation(len(first))[:n])  # noqa: NPY002


def global_torch(first, second, n, *, reward, labeled, rng, **context):
    return torch.randperm(len(first))[:n]


def global_python(first, second, n, *, reward, labeled, rng, **context):
    return torch.tensor(random.sample(range(len(first)), n), dtype=torch.long)


def own_entropy(first, second, n, *, reward, labeled, rng, **context):
    return torch.as_tensor(np.random.default_rng().permutation(len(first))[:n])


def peeking(first, second, n, *, reward, labeled, rng, **context):
    return torch.argsort(second.ground_truth.sum(1) - first.ground_truth.sum(1))[:n]


def mutating(first, second, n, *, reward, labeled, rng, **context):
    first.obs.sub_(first.obs.mean())
    return torch.arange(n)


def needs_labels(first, second, n, *, reward, labeled, rng, **context):
    return torch.arange(n) + 0 * labeled.labels.argmax()


LIARS = [
    (closed, "takes no **context"),
    (numpy_array, "returns ndarray; expected a LongTensor [7]"),
    (too_many, "returns torch.int64 [60]; expected a LongTensor [7]"),
    (repeating, "an index twice"),
    (off_by_one, "an index outside 0..7"),
    (global_numpy, "global generator of numpy.random"),
    (global_torch, "global generator of torch"),
    (global_python, "global generator of random"),
    (own_entropy, "two calls with the same rng"),
    (peeking, "reads the ground-truth reward"),
    (mutating, "changes first.obs"),
    (needs_labels, "with 0 labeled pairs"),
]


def test_the_sound_query_is_not_blamed() -> None:
    assert violations(sound) == []


@pytest.mark.parametrize(("liar", "message"), LIARS, ids=lambda x: getattr(x, "__name__", ""))
def test_a_lying_query_is_caught(liar, message: str) -> None:
    found = violations(liar)
    assert any(message in sentence for sentence in found), found
