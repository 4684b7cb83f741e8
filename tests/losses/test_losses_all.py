"""Laws that hold for every registered loss, whatever it computes."""

from typing import Any

import pytest
import torch

from pbrl import losses

N = 5  # items in every example
NAMES = sorted(losses.LOSSES)
# Losses of one score or log-probability per item.
SCALAR = [
    n
    for n in NAMES
    if losses.LOSSES[n].meta["kind"] not in ("list", "token", "group")  # type: ignore[attr-defined]
    and n not in ("bnpo", "anchor_cosine")
]
# Losses of log-probabilities that refuse positive ones.
PROBABILITIES = ("orpo", "alphapo")
# Losses in which one item's value depends on the others of its batch, and why.
ACROSS_BATCH = {
    "aot": "sorted margins",
    "aot_unpaired": "sorted log-ratios",
    "relative_po": "all pairs of the batch",
    "relative_po_diagonal": "all pairs of the batch",
    "pmpo": "means over good and bad items",
    "bnpo": "a distribution fitted to all prompts",
}


@pytest.mark.parametrize("name", NAMES)
def test_one_value_per_item(name: str, example: Any) -> None:
    made = example(name)
    value = made.call(*made.leaves)
    assert value.shape[0] == N
    assert value.dim() == (2 if name == "bnpo" else 1)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_finite_differences(name: str, example: Any) -> None:
    made = example(name)
    leaves = [leaf.requires_grad_() for leaf in made.leaves]
    assert torch.autograd.gradcheck(made.call, leaves)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1.0, 1e2, 1e4])
def test_value_and_gradient_are_finite_in_float32(name: str, size: float, example: Any) -> None:
    made = example(name, torch.float32, size)
    leaves = [leaf.requires_grad_() for leaf in made.leaves]
    value = made.call(*leaves)
    assert value.dtype == torch.float32
    assert torch.isfinite(value).all()
    for grad in torch.autograd.grad(value.sum(), leaves, allow_unused=True):
        assert grad is None or torch.isfinite(grad).all()


@pytest.mark.parametrize("name", SCALAR)
@pytest.mark.parametrize("corner", [(-1.0, 1.0), (1.0, -1.0), (1.0, 1.0), (0.0, 0.0)])
def test_extreme_and_equal_scores_are_finite_in_float32(
    name: str, corner: tuple[float, float], example: Any
) -> None:
    made = example(name, torch.float32)
    if name in PROBABILITIES:
        corner = (min(corner[0], 0.0), min(corner[1], 0.0))
    leaves = [
        torch.full_like(leaf, 1e4 * c).requires_grad_()
        for leaf, c in zip(made.leaves, corner, strict=False)
    ]
    value = made.call(*leaves)
    assert torch.isfinite(value).all()
    for grad in torch.autograd.grad(value.sum(), leaves, allow_unused=True):
        assert grad is None or torch.isfinite(grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_computed_in_float32(name: str, example: Any) -> None:
    exact = example(name, torch.float32)
    rounded = [leaf.bfloat16().requires_grad_() for leaf in exact.leaves]
    value = exact.call(*rounded)
    assert value.dtype == torch.float32
    again = exact.call(*(leaf.detach().float() for leaf in rounded))
    assert torch.equal(value, again)
    for grad in torch.autograd.grad(value.sum(), rounded, allow_unused=True):
        assert grad is None or torch.isfinite(grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_nan_is_an_error_that_names_the_argument(name: str, example: Any) -> None:
    made = example(name)
    made.leaves[0].view(-1)[0] = float("nan")
    with pytest.raises(ValueError, match=rf"loss '{name}': \S+ has 1 values of \d+ that are NaN"):
        made.call(*made.leaves)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ACROSS_BATCH])
def test_an_items_value_does_not_depend_on_the_others(name: str, example: Any) -> None:
    made = example(name)
    leaves = [leaf.requires_grad_() for leaf in made.leaves]
    first = made.call(*leaves)[0].sum()
    for grad in torch.autograd.grad(first, leaves, allow_unused=True):
        assert grad is None or not grad[1:].any()


# In pmpo and bnpo the others enter by counts and constants, not by their scores.
@pytest.mark.parametrize("name", sorted(set(ACROSS_BATCH) - {"pmpo", "bnpo"}))
def test_the_exceptions_do_depend_on_the_others(name: str, example: Any) -> None:
    made = example(name)
    value = made.call(*made.leaves)
    changed = [leaf.clone() for leaf in made.leaves]
    changed[1][1:] = changed[1][1:].flip(0) + 5
    assert not torch.equal(made.call(*changed)[0], value[0])
