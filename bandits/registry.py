"""Names of dueling-bandit algorithms, base bandits and problems, and how one is made by name."""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
    """Register the class or factory below under `name` as a dueling-bandit algorithm."""
    return _register(ALGORITHMS, name, meta)


def base_bandit(name: str, **meta: Any) -> Callable[[Any], Any]:
    """Register the class below under `name` as an ordinary bandit that reductions drive."""
    return _register(BASE_BANDITS, name, meta)


def problem(name: str, **meta: Any) -> Callable[[Any], Any]:
    """Register the class or factory below under `name` as a dueling-bandit problem."""
    return _register(PROBLEMS, name, meta)


def _register(known: dict[str, Any], name: str, meta: dict[str, Any]) -> Callable[[Any], Any]:
    def register(obj: Any) -> Any:
        if name in known and known[name].__module__ != obj.__module__:
            raise ValueError(f"{name!r} is already registered by {known[name].__module__}")
        obj.meta = meta
        known[name] = obj
        return obj

    return register


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
