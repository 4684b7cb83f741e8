"""What a suite gives for a name: filled in with the defaults, checked, and made of it.

What `check_parameters` refuses, `pbrl plan` refuses and nothing is made with; `make` is the one
door through which a cell makes teachers, problems, algorithms, query rules and losses.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from bandits.registry import Names
from envs.registry import REQUIRED
from pbrl.errors import ConfigError, did_you_mean
from pbrl.registry.annotations import Refused, accepted
from pbrl.registry.describing import DATA_FIRST, Entry, describe, of_object
from pbrl.registry.finding import resolve


def split(config: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and parameters of one axis of a cell's configuration, without its label."""
    if isinstance(config, str):
        return config, {}
    return config["name"], {k: v for k, v in config.items() if k not in ("name", "label")}


def check_parameters(
    entry: Entry,
    given: Mapping[str, Any],
    where: str,
    look_up: Callable[[str, str], Entry] = describe,
) -> dict[str, Any]:
    """`given` with every default filled in and every value of its type and in its range.

    A value that is itself a name is looked up and its parameters are checked in the same way.
    Raises ConfigError naming `where`, the key, what was found and what is expected.
    """
    whose = f"{where}: " * bool(where) + f"{entry.kind} {entry.name!r}"
    for key in given:
        if key not in entry.parameters:
            hint = did_you_mean(str(key), entry.parameters) if entry.parameters else "it takes none"
            raise ConfigError(f"{whose} has no parameter {key!r}; {hint}")
    full = {}
    named = partial(_named, look_up=look_up)
    for p in entry.parameters.values():
        value = given.get(p.name, p.default)
        if value is REQUIRED:
            raise ConfigError(f"{whose} needs a value for {p.name!r}, {p.expected}")
        try:
            full[p.name] = accepted(
                value, p.type, partial(named, where=f"{where or whose}.{p.name}")
            )
        except Refused as error:
            given_by = "" if p.name in given else " (its default)"
            raise ConfigError(
                f"{whose}: {p.name} = {shown(value)}{given_by}; expected {error}"
            ) from None
    return full


def shown(value: Any) -> str:
    """A value as it may stand in a message: on one line and not too long; NaN as YAML writes it."""
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' * (value < 0)}.inf"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _named(mark: Names, value: Any, *, where: str, look_up: Callable[[str, str], Entry]) -> Any:
    """A value that is a name of some kind, alone or with its parameters; both filled in."""
    parameters = {"name": value} if isinstance(value, str) else dict(value)
    name = parameters.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(
            f"{where}: found {shown(value)}; expected a name or {{name: ..., key: value}}"
        )
    try:
        entry = look_up(mark.kind, name)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    allowed = {name, entry.meta.get("kind", "pair")} if mark.kind == "loss" else {name}
    if mark.among and not allowed & {*mark.among}:
        found = f"a {entry.meta['kind']} loss" if mark.kind == "loss" else "not one of them"
        raise ConfigError(
            f"{where}: {name!r} is {found}; expected {mark.kind} {' or '.join(mark.among)}"
        )
    filled = check_parameters(entry, parameters, where, look_up)
    return {"name": name, **filled} if filled else name


def make(kind: str, config: str | Mapping[str, Any]) -> Any:
    """The object of a name or {name: ..., key: value}: made, or, of a query or loss, ready to call.

    Its parameters are checked against the annotations of the object itself, and what they name is
    imported. Raises ConfigError.
    """
    name, parameters = split(config)
    obj = resolve(kind, name)
    full = check_parameters(_imported(kind, name), parameters, "", _imported)
    if kind in DATA_FIRST:
        return partial(obj, **full) if full else obj
    try:
        return obj(**full)
    except ValueError as error:
        raise ConfigError(f"{kind} {name!r}: {error}") from error


def _imported(kind: str, name: str) -> Entry:
    return of_object(kind, name, resolve(kind, name))


def with_defaults(kind: str, name: str) -> Any:
    """The registered object, if it can be made without giving it anything; else ConfigError."""
    check_parameters(describe(kind, name), {}, "check")
    return resolve(kind, name)
