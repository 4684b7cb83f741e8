"""Dueling-bandit algorithms, one paper per file; `bandits.simulate` states their contract."""

import difflib
import importlib
import pkgutil
from typing import Any

from bandits.registry import ALGORITHMS


def names() -> list[str]:
    """Names of all algorithms, built in or registered by a user."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return sorted(ALGORITHMS)


def create(name: str, **parameters: Any) -> Any:
    """The algorithm registered under `name`.

    Raises ValueError for an unknown name, offering near matches.
    """
    if name not in ALGORITHMS and name not in names():
        near = difflib.get_close_matches(name, ALGORITHMS) or sorted(ALGORITHMS)
        raise ValueError(f"unknown algorithm {name!r}; did you mean {', '.join(near)}?")
    return ALGORITHMS[name](**parameters)


def monitored(user: str, base: str) -> Any:
    """A fresh base algorithm; ValueError, on behalf of `user`, if it needs features of the arms."""
    alg = create(base)
    if hasattr(alg, "features"):
        raise ValueError(
            f"{user}: base {base!r} chooses by the arms' features, which {user} does not pass on; "
            "use a base without features, such as rucb or ws-w"
        )
    return alg
