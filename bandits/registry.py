"""Names of dueling-bandit algorithms and problems."""

from collections.abc import Callable
from typing import Any

ALGORITHMS: dict[str, Any] = {}
PROBLEMS: dict[str, Any] = {}


def algorithm(name: str, **meta: Any) -> Callable[[Any], Any]:
    """Register the class or factory below under `name` as a dueling-bandit algorithm."""
    return _register(ALGORITHMS, name, meta)


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
