"""A loss picked by name for segment scores: the border between the two label conventions."""

import pytest
import torch
from torch.nn import functional as F

from pbrl import losses
from pbrl.errors import ConfigError
from pbrl.rewards.fit import chosen_loss

FIRST = torch.tensor([0.3, -1.0, 2.0, 0.5], dtype=torch.float64)
SECOND = torch.tensor([1.1, 0.4, -0.7, 0.5], dtype=torch.float64)
LABELS = torch.tensor([1.0, 0.0, 0.5, 0.25], dtype=torch.float64)


def test_a_label_is_the_probability_that_the_second_is_preferred() -> None:
    expected = F.binary_cross_entropy_with_logits(SECOND - FIRST, LABELS, reduction="none")
    for function in (losses.bradley_terry, losses.segment_loss("sigmoid")):
        assert torch.allclose(function(FIRST, SECOND, LABELS), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("name", "params"),
    [("sigmoid", {}), ("robust", {"eps": 0.2}), ("cpl", {"rejected_scale": 0.5})],
)
def test_exchanging_the_segments_and_the_label_changes_nothing(name: str, params: dict) -> None:
    function = losses.segment_loss(name, **params)
    swapped = function(SECOND, FIRST, 1 - LABELS)
    assert torch.allclose(function(FIRST, SECOND, LABELS), swapped, rtol=1e-12)


def test_skipped_pairs_must_be_dropped_first() -> None:
    labels = torch.tensor([1.0, float("nan"), 0.0, float("nan")])
    with pytest.raises(
        ValueError, match=r"NaN \(skipped\) for 2 of 4 pairs; .* drop skipped pairs first"
    ):
        losses.bradley_terry(FIRST.float(), SECOND.float(), labels)


def test_labels_outside_the_unit_interval_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels = values in \[-1, 1\]"):
        losses.bradley_terry(FIRST, SECOND, 2 * LABELS.round() - 1)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
@pytest.mark.parametrize("name", ["sigmoid", "hinge", "robust", "apo_zero", "rao_kupper"])
def test_hard_labels_may_be_of_any_dtype(name: str, dtype: torch.dtype) -> None:
    function = losses.segment_loss(name)
    labels = torch.tensor([1, 0, 1, 0])
    expected = function(FIRST, SECOND, labels.double())
    assert torch.equal(function(FIRST, SECOND, labels.to(dtype)), expected)


def test_members_are_a_leading_axis() -> None:
    both = torch.stack([FIRST, SECOND]), torch.stack([SECOND, FIRST])
    value = losses.segment_loss("cpl")(*both, LABELS.expand(2, 4))
    apart = [losses.segment_loss("cpl")(*pair, LABELS) for pair in zip(*both, strict=True)]
    assert torch.equal(value, torch.stack(apart))


def test_the_bare_function_takes_torch_transforms() -> None:
    bare = losses.robust.__wrapped__  # type: ignore[attr-defined]
    slope = torch.func.vmap(torch.func.grad(bare))(SECOND, FIRST)
    assert torch.allclose(slope, -torch.sigmoid(FIRST - SECOND) - 0.1 / 0.8)


def test_unknown_names_and_parameters_are_named() -> None:
    with pytest.raises(ValueError, match="unknown loss 'sigmiod'; did you mean 'sigmoid'"):
        losses.segment_loss("sigmiod")
    with pytest.raises(ValueError, match="'robust' has no parameter 'epsilon'; it takes: eps"):
        losses.segment_loss("robust", epsilon=0.1)


def test_a_function_of_ones_own_works_in_place_of_a_name() -> None:
    def mine(chosen: torch.Tensor, rejected: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        return scale * (rejected - chosen)

    value = losses.segment_loss(mine, scale=2.0)(FIRST[:2], SECOND[:2], LABELS[:2])
    assert torch.allclose(value, 2 * torch.tensor([-0.8, 1.4], dtype=torch.float64))
    with pytest.raises(ValueError, match="'mine' has no ties or soft labels: found 2 labels of 4"):
        losses.segment_loss(mine)(FIRST, SECOND, LABELS)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"eps": 0.1}, "loss: found {'eps': 0.1}; expected the name of a loss, or a mapping"),
        (["robust"], r"loss: found \['robust'\]; expected the name"),
        ({"name": None}, "loss: found {'name': None}; expected the name"),
        (None, "loss: found None; expected the name"),
        ({"name": "robust", "eps": 0.7}, "loss 'robust': eps = 0.7; expected a number in"),
    ],
)
def test_a_suite_that_names_no_loss_is_told_before_training(choice: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chosen_loss(choice)  # type: ignore[arg-type]
