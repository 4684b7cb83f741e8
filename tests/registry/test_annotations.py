"""What annotations take: ranges in words, values checked, converted and refused."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MultipleOf
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from pbrl.registry.annotations import Refused, accepted, bounds, is_data, range_words, words


@dataclass(frozen=True)
class Range:
    """A mark that no library knows."""

    gt: float | None = None
    le: float | None = None


WORDS = [
    (Annotated[int, Ge(1)], "a whole number of at least 1"),
    (Annotated[float, Gt(0), Le(1)], "a number in (0, 1]"),
    (Annotated[float, Interval(ge=0, lt=1)], "a number in [0, 1)"),
    (Annotated[float, Field(gt=0)], "a number over 0"),
    (Annotated[float, Range(gt=0, le=2)], "a number in (0, 2]"),
    (Annotated[float, Lt(1)], "a number under 1"),
    (Annotated[float, Le(1)] | None, "a number of at most 1 or null"),
    (Annotated[int, Ge(0), MultipleOf(8)], "a whole number of at least 0, a multiple of 8"),
    (
        Annotated[list[int], Len(1, 3)],
        "a list, each a whole number, at least 1 of them, at most 3 of them",
    ),
    (Literal["a", "b"], "one of 'a', 'b'"),
    (bool, "true or false"),
    (str, "text"),
]


@pytest.mark.parametrize(("annotation", "text"), WORDS, ids=[w for _, w in WORDS])
def test_in_words(annotation: Any, text: str) -> None:
    assert words(annotation) == text


TAKEN = [
    (4.0, int, 4),
    (1, float, 1.0),
    (0.5, Annotated[float, Ge(0.5)], 0.5),
    (math.inf, Annotated[float, Field(allow_inf_nan=True)], math.inf),
    (None, Annotated[float, Gt(0)] | None, None),
    (2, int | str, 2),
    ("2", int | str, "2"),
    ([1, 2.0], list[int], [1, 2]),
    ([1, 2], tuple[int, float], (1, 2.0)),
    ({"a": 1}, dict[str, float], {"a": 1.0}),
    (True, bool, True),
]


@pytest.mark.parametrize(("value", "annotation", "result"), TAKEN, ids=repr)
def test_taken(value: Any, annotation: Any, result: Any) -> None:
    found = accepted(value, annotation)
    assert found == result
    assert type(found) is type(result)


REFUSED = [
    (True, int),
    (True, float),
    (1, bool),
    ("yes", bool),
    ("high", float),
    ("5", int),
    ("1e-3", float),
    (4.5, int),
    (5, str),
    (math.nan, float),
    (math.inf, float),
    (math.nan, Annotated[float, Field(allow_inf_nan=True)]),
    (math.nan, Any),
    (0, Annotated[float, Gt(0)]),
    (1, Annotated[float, Lt(1)]),
    (9, Annotated[int, MultipleOf(8)]),
    ([], Annotated[list[int], Len(1)]),
    ([0], list[Annotated[int, Ge(1)]]),
    ([1], tuple[int, int]),
    (0, Annotated[float, Gt(0)] | None),
    (True, Literal[1, 2]),
    (None, float),
    ([1], float),
    ({}, str),
]


@pytest.mark.parametrize(("value", "annotation"), REFUSED, ids=repr)
def test_refused(value: Any, annotation: Any) -> None:
    with pytest.raises(Refused):
        accepted(value, annotation)


@given(st.integers(-5, 5), st.integers(-5, 5), st.booleans(), st.booleans(), st.integers(-50, 50))
def test_an_interval_means_what_its_words_say(low, high, left, right, value) -> None:
    annotation = Annotated[
        float,
        Interval(
            ge=low if left else None,
            gt=None if left else low,
            le=high if right else None,
            lt=None if right else high,
        ),
    ]
    value = value / 10
    shown = range_words(bounds(annotation))
    inside = (low <= value if "[" in shown else low < value) and (
        value <= high if "]" in shown else value < high
    )
    try:
        accepted(value, annotation)
        taken = True
    except Refused:
        taken = False
    assert taken == inside


def test_a_validator_of_pydantic_is_kept() -> None:
    from pydantic import AfterValidator

    def even(x: str) -> str:
        if len(x) % 2:
            raise ValueError("must be of even length")
        return x

    kind = Annotated[str, AfterValidator(even)]
    assert accepted("ab", kind) == "ab"
    with pytest.raises(Refused, match="even length"):
        accepted("abc", kind)


def test_what_text_can_give() -> None:
    import numpy as np
    import torch

    assert all(map(is_data, (int, float | None, Annotated[str, Len(1)], list[int], Literal["a"])))
    assert not any(map(is_data, (torch.Tensor, torch.Generator | None, np.random.Generator)))
