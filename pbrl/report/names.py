"""Names of cells, tasks and learners; who is whom is decided by configurations, not by labels.

A learner is a method (or algorithm) with those of its settings that tell it from others of the same
method on one task. What differs between tasks alone, such as a learning rate tuned for each, does
not make another learner. The budget and all else that a block sets (`steps`, `labels`,
`eval_every`) is the setting that a learner is in.
"""

import json
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pbrl import errors, store
from pbrl.store.inputs import without_places

AXES = ("env", "problem", "world", "method", "algorithm", "learner", "teacher")
NOT_A_SETTING = (*AXES, "kind", "seed", "execution", "device")

Flat = dict[str, Any]


def natural(text: str) -> list[Any]:
    """A sort key that puts K=5 before K=10: numbers in a text count as numbers."""
    parts = re.split(r"(\d+)", text)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


@dataclass(frozen=True)
class Name:
    """How the cells of one family are called in tables and figures."""

    task: str
    learner: str
    teacher: str  # "" for a learner that asks none
    setting: str  # such as "steps=300", where one learner is in several on one task; else ""


def title(config: dict[str, Any]) -> str:
    """A cell in one line: learner, task, teacher and seed or labels."""
    if not config:
        return ""
    names = {axis: printable(name) for axis, name in store.labels(config).items()}
    parts = [joined(names["learner"], names["teacher"]), f"on {names['task']}"]
    if "repetitions" not in config:
        parts.append(f"seed {config.get('seed')}")
    if config.get("kind") == "tabular":
        parts.append(f"with {config['labels']:,} labels")
    return " ".join(parts)


def joined(learner: str, teacher: str, setting: str = "") -> str:
    """The whole name of a line in one text."""
    name = f"{learner} · {teacher}" if teacher else learner
    return f"{name} ({setting})" if setting else name


def family(config: dict[str, Any]) -> str:
    """The same text for cells that are runs of one line."""
    config = without_places(config)
    return canonical([config.get("kind"), _task(config), _learner(config), _teacher(config),
                  _setting(config)])  # fmt: skip


def of_families(configs: Sequence[dict[str, Any]]) -> list[Name]:
    """The name of each family, given one configuration of each."""
    configs = [without_places(config) for config in configs]
    labels = [store.labels(config) for config in configs]
    kinds = [str(config.get("kind")) for config in configs]
    places = [(kind, canonical(_task(config))) for kind, config in zip(kinds, configs, strict=True)]
    known = [label["task"] for label in labels]
    tasks = _told_apart(known, [(k, _task(c)) for k, c in zip(kinds, configs, strict=True)])
    learners = _shown(places, [x["learner"] for x in labels], [_learner(c) for c in configs])
    teachers = _shown(places, [x["teacher"] for x in labels], [_teacher(c) for c in configs])
    lines = list(zip(places, learners, teachers, strict=True))
    settings = [_setting(config) for config in configs]
    varied = _differing(lines, settings) | _budgets_that_differ(places, settings, teachers)
    of_steps = [(*line, s.get("steps")) for line, s in zip(lines, settings, strict=True)]
    if "eval_every" not in _differing(of_steps, settings):  # it follows the steps, unless given
        varied -= {"eval_every"}
    shown = [
        _added({k: v for k, v in setting.items() if k in varied and (k != "labels" or teacher)})
        for setting, teacher in zip(settings, teachers, strict=True)
    ]
    return [Name(*parts) for parts in zip(tasks, learners, teachers, shown, strict=True)]


def _budgets_that_differ(
    places: Sequence[Hashable], settings: Sequence[Flat], teachers: Sequence[str]
) -> set[str]:
    """Of steps, horizon and labels, those of which one task has several, whoever spends them."""
    spent = [{k: v for k, v in x.items() if k in ("steps", "horizon")} for x in settings]
    asked = [(i, x) for i, x in enumerate(settings) if teachers[i]]
    return _differing(places, spent) | _differing(
        [places[i] for i, _ in asked], [{"labels": x.get("labels")} for _, x in asked]
    )


# --- what identifies ----------------------------------------------------------------------------


def _task(config: dict[str, Any]) -> Flat:
    return flat(config.get("env") or config.get("problem") or config.get("world") or {})


def _learner(config: dict[str, Any]) -> Flat:
    """The settings of the method, without those that it takes over from the block."""
    found = flat(config.get("method") or config.get("algorithm") or config.get("learner") or {})
    return {k: v for k, v in found.items() if k not in config or config[k] != v}


def _teacher(config: dict[str, Any]) -> Flat:
    return flat(config.get("teacher") or {})


def _setting(config: dict[str, Any]) -> Flat:
    return flat({k: v for k, v in config.items() if k not in NOT_A_SETTING})


def flat(value: Any, path: str = "") -> Flat:
    """Nested dictionaries as one with dotted keys, without labels."""
    if not isinstance(value, dict):
        return {path: value}
    found: Flat = {}
    for key, inner in value.items():
        if key != "label":
            found |= flat(inner, f"{path}.{key}" if path else str(key))
    return found


# --- what is shown ------------------------------------------------------------------------------


def _shown(places: Sequence[Hashable], labels: Sequence[str], flats: Sequence[Flat]) -> list[str]:
    """The name of each, the same for one identity: its first label, told apart from others'."""
    methods = [one.get("name", "") for one in flats]
    identities: list[Flat] = [{} for _ in flats]
    for method in dict.fromkeys(methods):
        members = [i for i, name in enumerate(methods) if name == method]
        varied = _differing([places[i] for i in members], [flats[i] for i in members])
        # Different labels on different tasks stand for what differs between them, if anything does.
        alike = defaultdict(list)
        for i in members:
            alike[canonical(_kept(flats[i], varied))].append(i)
        for group in alike.values():
            if len({labels[i] for i in group}) > 1:
                varied |= _differing([0] * len(group), [flats[i] for i in group])
        for i in members:
            identities[i] = _kept(flats[i], varied)
    first: dict[str, str] = {}
    for identity, label in zip(identities, labels, strict=True):
        first.setdefault(canonical(identity), label)
    return _told_apart([first[canonical(x)] for x in identities], [("", x) for x in identities])


def _kept(one: Flat, keys: Iterable[str]) -> Flat:
    return {k: v for k, v in one.items() if k == "name" or k in keys}


def _differing(groups: Sequence[Hashable], flats: Sequence[Flat]) -> set[str]:
    """Keys of different value, or there and not there, within one group."""
    found: set[str] = set()
    members: dict[Hashable, list[Flat]] = defaultdict(list)
    for group, one in zip(groups, flats, strict=True):
        members[group].append(one)
    for alike in members.values():
        keys = {key for one in alike for key in one}
        for key in keys - found:
            if len({canonical([one[key]] if key in one else []) for one in alike}) > 1:
                found.add(key)
    return found


def _told_apart(labels: Sequence[str], whole: Sequence[tuple[str, Flat]]) -> list[str]:
    """Each label, with what tells it from others of the same label: the name or the settings."""
    shown = [printable(label) for label in labels]
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, (label, (kind, _)) in enumerate(zip(shown, whole, strict=True)):
        groups[kind, label].append(i)
    for members in groups.values():
        flats = [whole[i][1] for i in members]
        keys = _differing([0] * len(members), flats)
        identities = {canonical(one) for one in flats}
        if len({one.get("name") for one in flats}) == len(identities):
            keys &= {"name"}
        for i, one in zip(members, flats, strict=True):
            added = _added({k: v for k, v in one.items() if k in keys})
            shown[i] += f" ({added})" if added else ""
    return shown


def _added(settings: Flat) -> str:
    """Such as `steps=300, query=entropy`: a value as it stands in a suite file."""
    shown = {k: v if isinstance(v, str) else canonical(v) for k, v in settings.items()}
    digest = re.compile(r"[0-9a-f]{64}")  # of an input file; the first digits tell it apart
    return ", ".join(
        f"{printable(key)}={printable(value[:8] if digest.fullmatch(value) else value)}"
        for key, value in shown.items()
    )


def canonical(value: Any) -> str:
    """The one JSON text of a value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def printable(text: object) -> str:
    """Text on one line, as any terminal and file takes it."""
    return errors.shown(text, limit=2000, lines=False)


def listed(titles: Sequence[str], most: int = 4) -> str:
    """The first few titles, and how many more there are."""
    shown = "; ".join(titles[:most])
    return shown if len(titles) <= most else f"{shown}; and {len(titles) - most} more"
