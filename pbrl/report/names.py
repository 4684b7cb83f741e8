"""Names of cells, tasks and lines; whatever two equal names differ in is added to them."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pbrl import store
from pbrl.store.inputs import without_places

NOT_THE_LEARNER = ("seed", "execution", "device")  # cells differing in these alone are one line


def title(config: dict[str, Any]) -> str:
    """A cell in one line: learner, task, teacher and seed."""
    if not config:
        return ""
    names = store.labels(config)
    parts = [_joined(names["learner"], names["teacher"]), f"on {names['task']}"]
    if config.get("kind") != "bandit":
        parts.append(f"seed {config.get('seed')}")
    return " ".join(parts)


def _joined(learner: str, teacher: str) -> str:
    return f"{learner} · {teacher}" if teacher else learner


def family(config: dict[str, Any]) -> str:
    """The same text for cells that are runs of one line."""
    known = without_places(config)
    kept = {key: value for key, value in known.items() if key not in NOT_THE_LEARNER}
    return json.dumps(kept, sort_keys=True)


def lines(configs: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """(task, line label) of each family; whatever two equal names differ in is added to them."""
    names = [store.labels(config) for config in configs]
    kinds = [str(config.get("kind")) for config in configs]
    places = [_flat(c.get("env") or c.get("problem") or {}, "") for c in configs]
    tasks = _told_apart([(k, n["task"]) for k, n in zip(kinds, names, strict=True)], places)
    learners = [_joined(n["learner"], n["teacher"]) for n in names]
    settings = [
        _flat({k: v for k, v in c.items() if k not in (*NOT_THE_LEARNER, "env", "problem")}, "")
        for c in configs
    ]
    labels = _told_apart(list(zip(kinds, tasks, learners, strict=True)), settings)
    return list(zip(tasks, labels, strict=True))


def _told_apart(names: Sequence[tuple[str, ...]], settings: list[dict[str, Any]]) -> list[str]:
    """The last part of each name, with the settings added in which equal names differ."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        groups[name].append(i)
    shown = [name[-1] for name in names]
    for members in groups.values():
        known = dict.fromkeys(key for i in members for key in settings[i])
        keys = [k for k in known if len({repr(settings[i].get(k)) for i in members}) > 1]
        top = {k for k in keys if "." not in k}  # steps and labels stand in the method, too
        keys = [k for k in keys if k in top or k.rpartition(".")[2] not in top]
        for i in members:
            added = ", ".join(f"{k.rpartition('.')[2]}={settings[i].get(k)}" for k in keys)
            shown[i] += f" ({added})" if added else ""
    return shown


def _flat(value: Any, path: str) -> dict[str, Any]:
    """Nested dictionaries as one with dotted keys, without labels."""
    if not isinstance(value, dict):
        return {path: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if key != "label":
            flat |= _flat(inner, f"{path}.{key}" if path else key)
    return flat


def count(number: int, noun: str) -> str:
    """Such as `1 cell` or `3 cells`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def listed(titles: Sequence[str], most: int = 4) -> str:
    """The first few titles, and how many more there are."""
    shown = "; ".join(titles[:most])
    return shown if len(titles) <= most else f"{shown}; and {len(titles) - most} more"
