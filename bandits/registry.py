"""Names of dueling-bandit algorithms, base bandits and problems, and how one is made by name."""

import difflib
import functools
import inspect
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

ALGORITHMS: dict[str, Any] = {}
BASE_BANDITS: dict[str, Any] = {}
PROBLEMS: dict[str, Any] = {}


@dataclass(frozen=True)
class Names:
    """Marks a parameter that names something of a kind: a name or {name: ..., parameter: value}.

    base: Annotated[str | dict[str, Any], Names("bandit")] = "ws-s"

    `among` are the names allowed, or, of a loss, its kinds; empty for all.
    """

    kind: str
    among: tuple[str, ...] = ()


def algorithm(name: str, **meta: Any) -> Callable[[Any], Any]:
    """Register the class or factory below under `name` as a dueling-bandit algorithm.

    Its arguments are held to the ranges of their annotations, as `Annotated[float, Gt(0)]` with the
    marks of `annotated_types`; ValueError for a value outside.
    """
    return _register(ALGORITHMS, name, meta)


def base_bandit(name: str, **meta: Any) -> Callable[[Any], Any]:
    """Register the class below as an ordinary bandit that reductions drive, checked likewise."""
    return _register(BASE_BANDITS, name, meta)


def problem(name: str, **meta: Any) -> Callable[[Any], Any]:
    """Register the class or factory below as a dueling-bandit problem, checked likewise."""
    return _register(PROBLEMS, name, meta)


def _register(known: dict[str, Any], name: str, meta: dict[str, Any]) -> Callable[[Any], Any]:
    def register(obj: Any) -> Any:
        if name in known and known[name].__module__ != obj.__module__:
            raise ValueError(f"{name!r} is already registered by {known[name].__module__}")
        obj = _checked(name, obj)
        obj.meta = meta
        known[name] = obj
        return obj

    return register


def _checked(name: str, obj: Any) -> Any:
    """The class or factory, refusing arguments that their annotations do not take."""
    make = obj.__init__ if inspect.isclass(obj) else obj
    if make is object.__init__:
        return obj
    signature = inspect.signature(make)

    @functools.wraps(make)
    def checked(*arguments: Any, **keywords: Any) -> Any:
        given = signature.bind(*arguments, **keywords)
        for key, value in given.arguments.items():
            wanted = expected(signature.parameters[key].annotation, value)
            if wanted:
                raise ValueError(f"{name}: {key} = {value!r}; expected {wanted}")
        return make(*given.args, **given.kwargs)

    if inspect.isclass(obj):
        obj.__init__ = checked  # type: ignore[method-assign]
    return obj if inspect.isclass(obj) else checked


def expected(annotation: Any, value: Any) -> str:
    """What an annotation takes, as `pbrl plan` says it, where the value is not that; else ""."""
    if get_origin(annotation) in (Union, UnionType):
        arms = get_args(annotation)
        fits = not all(expected(one, value) for one in arms)
        return "" if fits else " or ".join(_number(one) or expected(one, value) for one in arms)
    if annotation is NoneType:
        return "" if value is None else "null"
    inner, *marks = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    for mark in marks:
        if isinstance(mark, Names):
            named = isinstance(value, str | dict)
            return "" if named else f"a {mark.kind}'s name, or {{name: ..., key: value}}"
    if get_origin(inner) is Literal:
        return "" if value in get_args(inner) else f"one of {', '.join(map(repr, get_args(inner)))}"
    if inner is bool:
        return "" if isinstance(value, bool) else "true or false"
    if inner not in (int, float):
        return ""
    limits = _limits(annotation)
    numbers = Real if inner is float else Integral
    if isinstance(value, bool) or not isinstance(value, numbers) or not math.isfinite(value):
        return _number(inner)
    inside = all(LIMITS[key](value, limit) for key, limit in limits.items())
    return "" if inside else _number(annotation)


def _limits(annotation: Any) -> dict[str, Any]:
    marks = getattr(annotation, "__metadata__", ())
    return {k: v for m in marks for k in LIMITS if (v := getattr(m, k, None)) is not None}


def _number(annotation: Any) -> str:
    """A number and its range in words; "" for another annotation."""
    limits = _limits(annotation)
    inner = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    kind = {int: "a whole number", float: "a number"}.get(inner, "")
    words = {key: f"{x:_}" if isinstance(x, int) else f"{x:g}" for key, x in limits.items()}
    low, high = (words.get(a, words.get(b)) for a, b in (("ge", "gt"), ("le", "lt")))
    if low is not None and high is not None:
        left, right = "[" if "ge" in limits else "(", "]" if "le" in limits else ")"
        kind += f" in {left}{low}, {high}{right}"
    elif low is not None:
        kind += f" {'of at least' if 'ge' in limits else 'over'} {low}"
    elif high is not None:
        kind += f" {'of at most' if 'le' in limits else 'under'} {high}"
    return kind + (f", a multiple of {words['multiple_of']}" if "multiple_of" in limits else "")


LIMITS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
    "multiple_of": lambda value, step: value % step == 0,
}


def spelled(value: Any) -> str:
    """A value as messages and labels show it: rucb(alpha=1.0) for {name: rucb, alpha: 1.0}."""
    if not (isinstance(value, dict) and "name" in value):
        return str(value)
    parameters = ", ".join(f"{k}={spelled(v)}" for k, v in value.items() if k != "name")
    return f"{value['name']}({parameters})" if parameters else str(value["name"])


def make(kind: str, known: dict[str, Any], wanted: str | dict[str, Any]) -> Any:
    """What is registered in `known` under a name, or {"name": ..., parameter: value}, made anew.

    Raises ValueError for an unknown name or parameter, offering near matches.
    """
    given = {"name": wanted} if isinstance(wanted, str) else dict(wanted)
    name = given.pop("name", None)
    if name not in known:
        near = difflib.get_close_matches(str(name), known) or sorted(known)
        raise ValueError(f"unknown {kind} {name!r}; did you mean {', '.join(near)}?")
    parameters = inspect.signature(known[name]).parameters
    for key in given:
        if key not in parameters:
            near = difflib.get_close_matches(key, parameters) or list(parameters)
            hint = f"did you mean {', '.join(near)}?" if near else "it takes none"
            raise ValueError(f"{kind} {name!r} has no parameter {key!r}; {hint}")
    return known[name](**given)
