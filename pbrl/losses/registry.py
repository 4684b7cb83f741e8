"""The decorator that names a loss, and the checks every named loss gets from it.

A loss itself is a plain function of tensors: it can be copied without this file.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

Loss = TypeVar("Loss", bound=Callable[..., Tensor])

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

    The registered function computes half-precision inputs in float32 and raises ValueError, naming
    the argument, for shapes that do not match, empty tensors, NaN and infinity. The bare function
    is its `__wrapped__`, for torch.func transforms, under which a value cannot be looked at.
    """

    def register(function: Loss) -> Loss:
        if name in LOSSES:
            raise ValueError(f"loss {name!r} is already registered; choose another name")
        arguments = tuple(inspect.signature(function).parameters)

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Tensor:
            args = tuple(_upcast(a) for a in args)
            kwargs = {k: _upcast(v) for k, v in kwargs.items()}
            given = _tensors(dict(zip(arguments, args, strict=False)) | kwargs)
            _check_inputs(name, given, one_shape=kind in _ONE_SHAPE)
            value = function(*args, **kwargs)
            # One fused test of the result; the culprit is looked for only when it fails.
            if not torch.isfinite(value.detach().sum()):
                _explain_not_finite(name, given, value)
            return value

        checked.meta = {"kind": kind, "paper": paper} | coordinates  # type: ignore[attr-defined]
        LOSSES[name] = checked
        return cast(Loss, checked)

    return register


def require(holds: bool, argument: str, found: object, expected: str) -> None:
    """Raise ValueError naming the argument, what was found and what is expected, unless `holds`."""
    if not holds:
        raise ValueError(f"{argument} = {found}; expected {expected}")


def _upcast(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
    if _is_record(value):
        return type(value)(*(_upcast(v) for v in value))
    return value


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


def _check_inputs(name: str, given: dict[str, Tensor], *, one_shape: bool) -> None:
    if not given:
        raise ValueError(f"loss {name!r}: found no tensor among the arguments; expected scores")
    first = next(iter(given))
    if not given[first].is_floating_point():
        raise ValueError(f"loss {name!r}: {first} is of {given[first].dtype}; expected floats")
    for argument, value in given.items():
        if value.numel() == 0:
            raise ValueError(
                f"loss {name!r}: {argument} is empty, shape {tuple(value.shape)}; expected one "
                "item or more"
            )
        if argument in _MARKS and value.dtype != torch.bool:
            raise ValueError(f"loss {name!r}: {argument} is of {value.dtype}; expected torch.bool")
        if one_shape and value.dim() > 0 and value.shape != given[first].shape:
            raise ValueError(
                f"loss {name!r}: {argument} has shape {tuple(value.shape)} but {first} has "
                f"{tuple(given[first].shape)}; expected one shape, one value per item"
            )


def _explain_not_finite(name: str, given: dict[str, Tensor], value: Tensor) -> None:
    for argument, tensor in given.items():
        bad = ~torch.isfinite(tensor)
        if bad.any():
            at = tuple(int(i) for i in bad.nonzero()[0])
            raise ValueError(
                f"loss {name!r}: {argument} has {int(bad.sum())} values of {bad.numel()} that are "
                f"NaN or infinite, the first ({tensor[at].item()}) at {list(at)}; expected finite "
                "values (drop skipped pairs and absent items first)"
            )
    if not torch.isfinite(value).all():
        largest = max(
            float(t.detach().abs().max()) for t in given.values() if t.dtype != torch.bool
        )
        raise ValueError(
            f"loss {name!r}: the result is not finite although every input is; the largest input "
            f"is {largest:g} in size, expected at most about 1e4"
        )
