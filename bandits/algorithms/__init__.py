"""Dueling-bandit algorithms, one paper per file; `bandits.simulate` states their contract.

The state takes O(K) numbers of 8 bytes for K arms where a docstring says nothing else.
"""

import importlib
import pkgutil
from typing import Any

from bandits.registry import ALGORITHMS, make, spelled


def names() -> list[str]:
    """Names of all algorithms, built in or registered by a user."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return sorted(ALGORITHMS)


def create(wanted: str | dict[str, Any], /, **parameters: Any) -> Any:
    """The algorithm of a name and its parameters, or of {"name": ..., parameter: value}.

    Raises ValueError for an unknown name or parameter, offering near matches.
    """
    if isinstance(wanted, str):
        wanted = {"name": wanted, **parameters}
    if wanted.get("name") not in ALGORITHMS:
        names()
    return make("algorithm", ALGORITHMS, wanted)


def monitored(user: str, base: str | dict[str, Any]) -> Any:
    """A fresh base algorithm; ValueError, on behalf of `user`, if it needs features of the arms."""
    alg = create(base)
    if hasattr(alg, "features"):
        raise ValueError(
            f"{user}: base {spelled(base)} chooses by the arms' features, which {user} does not "
            "pass on; use a base without features, such as rucb or ws-w"
        )
    return alg
