"""The decorator that names a loss, and the checks every named loss gets from it.

A loss itself is a plain function of tensors: it can be copied without this file.
"""

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast

import torch
from torch import Tensor

Loss = TypeVar("Loss", bound=Callable[..., Tensor])


@dataclass(frozen=True)
class Range:
    """Which numbers a keyword takes, `Annotated[float, Range(gt=0)]`; without limits any finite."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.lt is None or value < self.lt)
            and (self.le is None or value <= self.le)
        )

    def __str__(self) -> str:
        low, high = _either(self.ge, self.gt), _either(self.le, self.lt)
        if low is not None and high is not None:
            left, right = "(" if self.ge is None else "[", ")" if self.le is None else "]"
            return f"a number in {left}{low:g}, {high:g}{right}"
        if low is not None:
            return f"a number {'over' if self.ge is None else 'of at least'} {low:g}"
        return "a finite number" if high is None else f"a number of at most {high:g}"


def _either(first: float | None, second: float | None) -> float | None:
    return second if first is None else first


Real = Annotated[float, Range()]
Positive = Annotated[float, Range(gt=0)]
NonNegative = Annotated[float, Range(ge=0)]
Share = Annotated[float, Range(ge=0, le=1)]
Fraction = Annotated[float, Range(gt=0, le=1)]
FlipRate = Annotated[float, Range(ge=0, lt=0.5)]

LOSSES: dict[str, Callable[..., Tensor]] = {}
"""Every named loss; each carries `meta`, the keywords given to its decorator."""

_MARKS = ("desirable", "demonstration", "positive", "present")
# In these kinds every tensor has one value per item; the others state their own shapes.
_ONE_SHAPE = ("pair", "tie", "policy", "point", "regularizer", "game")


def loss(name: str, *, kind: str, paper: str, **coordinates: str) -> Callable[[Loss], Loss]:
    """Register a loss function under `name` and check what goes in and comes out of it.

    `kind` says what the function takes (README.md), `paper` where it comes from; `coordinates`
    are its place in the grid (score, link, margin, scale, weight, regularizer), whether its formula
    was read in code or paper (evidence), other names (aka) and TRL's name (trl).

    The registered function computes half-precision inputs in float32, takes a `label` of any dtype
    and raises ValueError, naming the loss and the argument, for shapes that do not match, empty
    tensors, items without tokens, NaN, infinity and a keyword outside the `Range` of its annotation
    (a tensor in its place is not looked at). The bare function is its `__wrapped__`, for torch.func
    transforms, under which a value cannot be looked at.
    """

    def register(function: Loss) -> Loss:
        if name in LOSSES:
            raise ValueError(f"loss {name!r} is already registered; choose another name")
        signature = inspect.signature(function)
        ranges = _ranges(signature)

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Tensor:
            with naming(name):
                bound = signature.bind(*args, **kwargs)
                _check_ranges(bound.arguments, ranges)
                bound.arguments |= prepare(bound.arguments, one_shape=kind in _ONE_SHAPE)
                if kind == "tie":
                    _check_outcomes(bound.arguments.get("label", 1.0))
                value = function(*bound.args, **bound.kwargs)
                if not torch.isfinite(value.detach().sum()):
                    _explain_result(bound.arguments, value)
            return value

        checked.meta = {"kind": kind, "paper": paper} | coordinates  # type: ignore[attr-defined]
        LOSSES[name] = checked
        return cast(Loss, checked)

    return register


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the loss's name before the message of a ValueError or TypeError."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise type(error)(f"loss {name!r}: {error}") from None


def require(holds: bool, argument: str, found: object, expected: str) -> None:
    """Raise ValueError naming the argument, what was found and what is expected, unless `holds`."""
    if not holds:
        raise ValueError(f"{argument} = {found}; expected {expected}")


def require_shape(argument: str, value: Tensor, shape: Sequence[int]) -> None:
    """Raise ValueError naming the argument unless the tensor has this shape."""
    require(value.shape == tuple(shape), argument, f"shape {tuple(value.shape)}", f"{tuple(shape)}")


def upcast(value: Any) -> Any:
    """A half-precision tensor, or a record of tensors, in float32; anything else as it is."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
    if _is_record(value):
        return type(value)(*(upcast(v) for v in value))
    return value


def prepare(given: dict[str, Any], *, one_shape: bool) -> dict[str, Any]:
    """The arguments in the dtypes a loss computes in; raises ValueError as `loss` says.

    one_shape: every tensor must have the shape of the first; else only the fields of one record.
    """
    given = {argument: upcast(value) for argument, value in given.items()}
    found = _tensors(given)
    require(bool(found), "arguments", "no tensor", "scores")
    _check_kinds(found)
    _check_shapes(found, one_shape)
    _check_finite(given, found)
    if isinstance(given.get("label"), Tensor):
        given["label"] = given["label"].to(next(iter(found.values())).dtype)
    return given


def _is_record(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _tensors(given: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors among the arguments; those of a named tuple as `argument.field`."""
    found: dict[str, Tensor] = {}
    for argument, value in given.items():
        if _is_record(value):
            found |= _tensors({f"{argument}.{f}": v for f, v in value._asdict().items()})
        elif isinstance(value, Tensor):
            found[argument] = value
    return found


def _ranges(signature: inspect.Signature) -> dict[str, Range]:
    """The range of every keyword whose annotation has one."""
    marks = {
        p.name: getattr(p.annotation, "__metadata__", ()) for p in signature.parameters.values()
    }
    return {name: m for name, found in marks.items() for m in found if isinstance(m, Range)}


def _check_ranges(given: dict[str, Any], ranges: dict[str, Range]) -> None:
    for argument, taken in ranges.items():
        value = given.get(argument)
        if value is not None and not isinstance(value, Tensor):
            require(isinstance(value, int | float) and value in taken, argument, value, str(taken))


def _check_kinds(found: dict[str, Tensor]) -> None:
    first, scores = next(iter(found.items()))
    require(scores.is_floating_point(), first, scores.dtype, "floats")
    for argument, value in found.items():
        shape = f"shape {tuple(value.shape)}"
        require(value.numel() > 0, argument, f"empty, {shape}", "one item or more")
        if argument in _MARKS:
            require(value.dtype == torch.bool, argument, value.dtype, "torch.bool")


def _check_shapes(found: dict[str, Tensor], one_shape: bool) -> None:
    alike: dict[str, str] = {}  # what must have one shape -> its first tensor
    for argument, value in found.items():
        record, dot, field = argument.rpartition(".")
        if (one_shape or dot) and value.dim() > 0:
            first = alike.setdefault("" if one_shape else record, argument)
            shape, expected = tuple(value.shape), tuple(found[first].shape)
            require(shape == expected, argument, f"shape {shape}", f"{expected} as of {first}")
        if field == "mask":
            some = bool((value.sum(-1) > 0).all())
            require(some, argument, "no token in some item", "at least one token")


def _check_finite(given: dict[str, Any], found: dict[str, Tensor]) -> None:
    for argument, value in given.items():
        if isinstance(value, float):
            require(math.isfinite(value), argument, value, "a finite number")
    floats = {a: t.detach() for a, t in found.items() if t.is_floating_point()}
    # One fused test of all; the culprit is looked for only when it fails.
    if torch.isfinite(torch.stack([t.sum().double() for t in floats.values()])).all():
        return
    for argument, tensor in floats.items():
        bad = ~torch.isfinite(tensor)
        if bad.any():
            at = tuple(int(i) for i in bad.nonzero()[0])
            raise ValueError(
                f"{argument} has {int(bad.sum())} values of {bad.numel()} that are NaN or infinite,"
                f" the first ({tensor[at].item()}) at {list(at)}; expected finite values "
                "(drop skipped pairs first, fill absent items with any number)"
            )


def _check_outcomes(label: Tensor | float) -> None:
    label = torch.as_tensor(label)
    other = (label != 0) & (label != 0.5) & (label != 1)
    if bool(other.any()):
        between = label[other]
        raise ValueError(
            f"label: {between.numel()} of {label.numel()} are not 0, 0.5 or 1, the first "
            f"{float(between[0]):g}; three outcomes have no soft labels, use a pair loss"
        )


def _explain_result(given: dict[str, Any], value: Tensor) -> None:
    if torch.isfinite(value).all():  # only the sum overflowed
        return
    sizes = (t.detach().abs().max() for t in _tensors(given).values() if t.dtype != torch.bool)
    largest = max(float(size) for size in sizes)
    raise ValueError(
        "the result is not finite although every input is; the largest input is "
        f"{largest:g} in size, expected at most about 1e4"
    )
