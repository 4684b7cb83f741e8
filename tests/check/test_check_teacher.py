"""Every registered teacher keeps the contract, and every way of lying is caught."""

import re

import numpy as np
import pytest
import torch
from scipy import stats

from pbrl import registry
from pbrl.check.teacher import plausible, violations
from pbrl.scores import masked_sum
from pbrl.teachers.returns import PartialReturn

NAMES = [name for name in registry.names("teacher") if name != "scored"]  # which needs a file


@pytest.mark.parametrize("name", NAMES)
def test_registered_teachers_keep_the_contract(name: str) -> None:
    assert violations(registry.resolve("teacher", name)) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"beta": 0.5, "eps_mistake": 0.2},
        {"gamma": 0.9, "beta": 1.0, "eps_mistake": 0.1, "eps_skip": 0.3, "eps_equal": 0.2},
        {"eps_skip": 0.5, "eps_equal": 0.3, "legacy_squared_eps": True},
    ],
)
def test_mixtures_keep_the_contract(settings) -> None:
    assert violations(lambda: PartialReturn(**settings)) == []


PARTS = {"beta": 0.5, "eps_uniform": 0.1, "eps_mistake": 0.1, "stage_mistake": 0.3}


@pytest.mark.parametrize("name", ["regret", "last-quarter", "majority", "goal"])
@pytest.mark.parametrize("parts", [PARTS, {"draws": "skip", "stage_skip": 0.5, "score_noise": 0.1}])
def test_every_part_goes_with_every_comparison(name: str, parts: dict) -> None:
    assert violations(lambda: registry.make("teacher", {"name": name, **parts})) == []


def test_populations_of_annotators_who_refuse_keep_the_contract() -> None:
    annotators = [
        {"name": "skip", "eps": 0.5},
        {"name": "partial-return", "stage_skip": 0.7, "beta": 1.0},
        {"name": "population", "annotators": ["mistake", "regret"], "shares": [0.9, 0.1]},
    ]
    population = {"name": "population", "annotators": annotators, "shares": [0.5, 0.2, 0.3]}
    assert violations(lambda: registry.make("teacher", population)) == []


def test_a_teacher_scored_by_a_function_keeps_the_contract(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def score(segments):\n    return segments.obs.square().sum(-1)\n")
    teacher = {"name": "scored", "file": str(file)}
    assert violations(lambda: registry.make("teacher", teacher)) == []


class Sound:
    """A small noisy teacher; the liars below change one thing each."""

    def label(self, first, second, rng):
        return (rng.random(len(first)) < self.probability(first, second)).astype(float)

    def probability(self, first, second):
        gain = masked_sum(second.ground_truth - first.ground_truth, first.mask & second.mask)
        return stats.logistic.cdf(gain.numpy())


class Signs(Sound):
    def label(self, first, second, rng):
        return 2 * super().label(first, second, rng) - 1


class Column(Sound):
    def label(self, first, second, rng):
        return super().label(first, second, rng)[:, None]


class GlobalNumpy(Sound):
    def label(self, first, second, rng):
        return super().label(first, second, np.random)


class GlobalTorch(Sound):
    def label(self, first, second, rng):
        p = torch.as_tensor(self.probability(first, second))
        return (torch.rand(len(first)) < p).double().numpy()


class OwnEntropy(Sound):
    def label(self, first, second, rng):
        return super().label(first, second, np.random.default_rng())


class OwnSeed(Sound):
    def label(self, first, second, rng):
        return super().label(first, second, np.random.default_rng(7))


class Mutating(Sound):
    def label(self, first, second, rng):
        labels = super().label(first, second, rng)
        first.ground_truth.clamp_(0, 0.5)
        return labels


class Overconfident(Sound):
    def probability(self, first, second):
        return 2 * super().probability(first, second) - 0.5


class Swapped(Sound):
    def label(self, first, second, rng):
        return super().label(second, first, rng)


class SlightlyOff(Sound):
    def label(self, first, second, rng):
        labels = super().label(first, second, rng)
        return np.where(rng.random(len(labels)) < 0.1, 1.0, labels)


class FirstOnDraw(Sound):
    antisymmetric = True

    def probability(self, first, second):
        return 0.9 * super().probability(first, second)


class Tiring(Sound):
    calls = 0

    def label(self, first, second, rng):
        self.calls += 1
        labels = super().label(first, second, rng)
        return labels if self.calls == 1 else np.full_like(labels, np.nan)


class ForgetsState(Tiring):
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Guessing(Sound):
    def probability(self, first, second):
        return np.random.default_rng().random(len(first))


class Crashing(Sound):
    def label(self, first, second, rng):
        raise ZeroDivisionError("oh")


class Words(Sound):
    def label(self, first, second, rng):
        return [str(int(x)) for x in super().label(first, second, rng)]


class Tensors(Sound):
    def label(self, first, second, rng):
        return torch.as_tensor(super().label(first, second, rng)).requires_grad_()


class OneShape(Sound):
    def probability(self, first, second):
        weight = torch.ones(10)  # the length of the segments its author had
        gain = (second.ground_truth - first.ground_truth) @ weight
        return stats.logistic.cdf(gain.numpy())


class OnlyMany(Sound):
    def probability(self, first, second):
        p = super().probability(first, second)
        return p / max(p) * 0.5 + 0.25 if len(p) else min(p)


class OnlyPositive(Sound):
    def probability(self, first, second):
        roots = [np.sqrt(s.ground_truth.sum(1).numpy()) for s in (first, second)]
        return stats.logistic.cdf(roots[1] - roots[0])


class NeedsBounds(Sound):
    def bind(self, *, horizon, reward_range):
        self.scale = int(reward_range[1] - reward_range[0])


class SavesASet(Sound):
    def state_dict(self):
        return {"seen": {1, 2}}

    def load_state_dict(self, state):
        pass


class Silent:
    def label(self, first, second, rng):
        return np.zeros(len(first))


LIARS = [
    (Signs, "label returned -1; expected 1000 labels, each 0, 0.5, 1 or NaN"),
    (Column, r"label returned shape \[1000, 1\]; expected \[1000\]"),
    (GlobalNumpy, "global generator of numpy.random"),
    (GlobalTorch, "global generator of torch"),
    (OwnEntropy, "two new teachers with the same rng differ"),
    (OwnSeed, "the same for every rng"),
    (Mutating, "changes `reward`"),
    (Overconfident, r"expected a number in \[0, 1\]"),
    (Swapped, "labels have mean"),
    (SlightlyOff, "labels have mean"),
    (FirstOnDraw, "`antisymmetric` promises"),
    (Tiring, "add state_dict"),
    (ForgetsState, "save all of it"),
    (Guessing, "must not be random"),
    (Crashing, "ZeroDivisionError: oh"),
    (Words, "label returned list .an array of dtype <U1"),
    (Tensors, "label returned Tensor"),
    (
        OneShape,
        r"RuntimeError: .*test_check_teacher.py, line \d+.*, for 1 pairs of shape",
    ),
    (OnlyMany, r"ValueError: .*, for 0 pairs"),
    (OnlyPositive, r"probability: found nan"),
    (NeedsBounds, "OverflowError: cannot convert float"),
    (SavesASet, "seen is a builtins.set; expected tensors"),
    (Silent, "has no method probability"),
]


def test_the_sound_teacher_is_not_blamed() -> None:
    assert violations(Sound) == []


@pytest.mark.parametrize(("liar", "message"), LIARS, ids=lambda x: getattr(x, "__name__", ""))
def test_a_liar_is_caught(liar, message: str) -> None:
    found = violations(liar)
    assert any(re.search(message, sentence) for sentence in found), found


def test_a_factory_that_raises_is_reported() -> None:
    (found,) = violations(lambda: 1 / 0)
    assert found.startswith("cannot be made: ZeroDivisionError: division by zero (test_check_")


def test_plausible_is_strict_where_it_can_be() -> None:
    assert plausible(np.zeros(10), 0.0)
    assert not plausible(np.array([0.0] * 9 + [1.0]), 0.0)
    assert plausible(np.full(10, 0.5), 0.5)
    assert not plausible(np.full(10, 0.5), 0.51)
    assert plausible(np.array([0.0, 0.5, 1.0] * 1000), 0.5)
    assert not plausible(np.array([0.0, 0.5, 1.0] * 1000), 0.6)
