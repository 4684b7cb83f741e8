"""What a parameter takes, in words, and whether a value is that: the same for every kind.

A range stands in the annotation, `Annotated[float, Gt(0), Le(1)]` with the marks of
`annotated_types`, `Field(gt=0)` of pydantic, or any object with their attributes (gt, ge, lt, le,
multiple_of, min_length, max_length). NaN is never a value, infinity only where a mark says
`allow_inf_nan`. `Names(kind)` says that a text is itself a name, with parameters of its own.
"""

import inspect
import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from numbers import Real
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from bandits.registry import Names

RANGE = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "allow_inf_nan")


PLAIN = (int, float, bool, str, list, tuple, dict, Path, Any, None, type(None))


class Refused(ValueError):
    """A value is not what an annotation takes; the message is what would be."""


# --- reading annotations ------------------------------------------------------------------------


def marks(annotation: Any) -> Iterator[Any]:
    """What stands beside the type in an annotation, the marks inside a pydantic Field included."""
    for mark in getattr(annotation, "__metadata__", ()):
        yield from getattr(mark, "metadata", None) or [mark]


def bounds(annotation: Any) -> dict[str, Any]:
    """The limits an annotation declares: gt, ge, lt, le, multiple_of, min_length, ..."""
    found = {}
    for mark in marks(annotation):
        for key in RANGE:
            limit = getattr(mark, key, None)
            if limit is not None and not (key == "min_length" and limit == 0):
                found[key] = limit
    return found


def name_of(annotation: Any) -> Names | None:
    """The mark that says a value is a name of some kind."""
    return next((m for m in marks(annotation) if isinstance(m, Names)), None)


def range_words(limits: Mapping[str, Any]) -> str:
    """Limits as a reader says them: "at least 1", "in [0, 1)", "a multiple of 8"; "" for none."""
    low, high = (limits.get("ge", limits.get("gt"))), (limits.get("le", limits.get("lt")))
    found = []
    if low is not None and high is not None:
        left, right = "[" if "ge" in limits else "(", "]" if "le" in limits else ")"
        found.append(f"in {left}{_number(low)}, {_number(high)}{right}")
    elif low is not None:
        found.append(f"{'at least' if 'ge' in limits else 'over'} {_number(low)}")
    elif high is not None:
        found.append(f"{'at most' if 'le' in limits else 'under'} {_number(high)}")
    if "multiple_of" in limits:
        found.append(f"a multiple of {_number(limits['multiple_of'])}")
    if "min_length" in limits:
        found.append(f"at least {limits['min_length']} of them")
    if "max_length" in limits:
        found.append(f"at most {limits['max_length']} of them")
    return ", ".join(found)


def limits(annotation: Any) -> str:
    """Its range in words, or its choices, beside null: "at least 1", "first | tie"; "" for none."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(filter(None, map(limits, inner)))
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin is Annotated:
        return range_words(bounds(annotation)) or limits(inner[0])
    return ""


def _number(value: Any) -> str:
    return f"{value:,}".replace(",", "_") if isinstance(value, int) else f"{value:g}"


WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
    dict: "keys and values",
    Path: "the path of a file",
    Any: "any value",
}


def words(annotation: Any) -> str:
    """What an annotation takes: "a number in [0, 1)", "one of 'a', 'b'", "a name of a loss"."""
    name = name_of(annotation)
    if name is not None:
        return f"{_article(name.kind)}'s name, or {{name: ..., key: value}}"
    if get_origin(annotation) is Annotated:
        limits = bounds(annotation)
        joined = ", " if "min_length" in limits or "max_length" in limits else " "
        one_sided = range_words(limits).startswith("at ") and joined == " "
        kind = words(get_args(annotation)[0])
        return f"{kind}{joined}{'of ' * one_sided}{range_words(limits)}".rstrip(", ")
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}" if len(inner) > 1 else repr(inner[0])
    if origin in (Union, types.UnionType):
        return " or ".join(words(one) for one in inner)
    if origin in (list, Sequence, tuple):
        kinds = dict.fromkeys(words(one) for one in inner if one is not Ellipsis)
        return f"a list, each {' or '.join(kinds)}" if kinds else "a list"
    if annotation in (list, tuple):
        return "a list"
    return WORDS.get(origin or annotation, getattr(annotation, "__name__", str(annotation)))


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


# --- checking values ----------------------------------------------------------------------------


def accepted(value: Any, annotation: Any, named: Callable[[Names, Any], Any] | None = None) -> Any:
    """`value` in the type of its annotation: a whole 4.0 where an int is due becomes 4.

    `named(mark, value)` looks at a name of some kind. Raises Refused with what would be taken.
    """
    if get_origin(annotation) is Annotated:
        return _in_range(_annotated(value, annotation, named), annotation)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _one_of(value, annotation, named)
    if origin is Literal:
        fits = any(value == one and type(value) is type(one) for one in inner)
    elif annotation is Any:
        fits = not (isinstance(value, float) and math.isnan(value))
    elif annotation is type(None) or annotation is None:
        fits = value is None
    elif annotation in (bool, str):
        fits = isinstance(value, annotation)
    elif annotation in (int, float):
        return _numeric(value, annotation)
    elif annotation is Path and isinstance(value, str | Path) and "\0" not in str(value):
        return Path(value)
    elif (origin or annotation) in (list, tuple, Sequence):
        return _elements(value, annotation, named)
    elif (origin or annotation) is dict:
        fits = isinstance(value, dict)
        if fits and inner:
            return {
                accepted(k, inner[0], named): accepted(v, inner[1], named) for k, v in value.items()
            }
    else:
        return _by_pydantic(value, annotation)
    if not fits:
        raise Refused(words(annotation))
    return value


def _annotated(value: Any, annotation: Any, named: Callable[[Names, Any], Any] | None) -> Any:
    inner = get_args(annotation)[0]
    name = name_of(annotation)
    if name is not None and value is not None:
        if not isinstance(value, str | dict):
            raise Refused(words(annotation))
        return named(name, value) if named else value
    others = [m for m in marks(annotation) if not any(hasattr(m, key) for key in RANGE)]
    if name is None and others and inner not in (int, float):  # a validator of pydantic's
        return _by_pydantic(value, annotation)
    if inner is float and bounds(annotation).get("allow_inf_nan") and _infinite(value):
        return float(value)
    return accepted(value, inner, named)


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)


def _numeric(value: Any, kind: type) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise Refused(WORDS[kind])
    if kind is float:
        return float(value)
    if float(value).is_integer():
        return int(value)  # type: ignore[call-overload]
    raise Refused(WORDS[int])


def _in_range(value: Any, annotation: Any) -> Any:
    limits = bounds(annotation)
    if not limits or value is None:
        return value
    size = len(value) if hasattr(value, "__len__") else None
    holds = {
        "gt": lambda limit: value > limit,
        "ge": lambda limit: value >= limit,
        "lt": lambda limit: value < limit,
        "le": lambda limit: value <= limit,
        "multiple_of": lambda limit: value % limit == 0,
        "min_length": lambda limit: size is not None and size >= limit,
        "max_length": lambda limit: size is not None and size <= limit,
        "allow_inf_nan": lambda limit: True,
    }
    if not all(holds[key](limit) for key, limit in limits.items()):
        raise Refused(words(annotation))
    return value


def _one_of(value: Any, annotation: Any, named: Callable[[Names, Any], Any] | None) -> Any:
    """By the first arm that takes the value as it is, else the first that takes it converted."""
    found = []
    for arm in get_args(annotation):
        try:
            found.append(accepted(value, arm, named))
        except Refused:
            continue
    if not found:
        raise Refused(words(annotation))
    return next((one for one in found if type(one) is type(value)), found[0])


def _elements(value: Any, annotation: Any, named: Callable[[Names, Any], Any] | None) -> Any:
    inner = get_args(annotation)
    if not isinstance(value, list | tuple):
        raise Refused(words(annotation))
    fixed = get_origin(annotation) is tuple and Ellipsis not in inner
    if fixed and len(inner) != len(value):
        raise Refused(f"{words(annotation)}, {len(inner)} of them")
    kinds = inner if fixed else inner[:1] * len(value) or (Any,) * len(value)
    try:
        found = [accepted(v, kind, named) for v, kind in zip(value, kinds, strict=True)]
    except Refused:
        raise Refused(words(annotation)) from None
    return tuple(found) if (get_origin(annotation) or annotation) is tuple else found


def _by_pydantic(value: Any, annotation: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise Refused(f"{words(annotation)} ({message[:1].lower()}{message[1:]})") from None


def takes_list(annotation: Any) -> bool:
    """Whether a list can be one value of the annotation, so that it is no axis of several."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return takes_list(inner[0])
    if origin in (Union, types.UnionType):
        return any(takes_list(arm) for arm in inner)
    return annotation is Any or (origin or annotation) in (list, tuple, Sequence)


def is_data(annotation: Any) -> bool:
    """Whether text can give such a value; a tensor or a generator comes from code alone."""
    if isinstance(annotation, str):
        return False
    inner = [one for one in get_args(annotation) if get_origin(annotation) is not Literal]
    if get_origin(annotation) is Annotated:
        inner = inner[:1]
    if inner:
        return all(is_data(one) for one in inner if one is not Ellipsis)
    if get_origin(annotation) is Literal or annotation in PLAIN:
        return True
    return inspect.isclass(annotation) and (
        issubclass(annotation, Enum)
        or is_dataclass(annotation)
        or hasattr(annotation, "model_fields")
    )
