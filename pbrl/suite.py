"""The cells a suite stands for: every list in a block is a product axis."""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bandits.registry import spelled
from pbrl import devices, registry
from pbrl.errors import ConfigError, did_you_mean, shown
from pbrl.store import cell_id, identity, title
from pbrl.store.inputs import sealed_inputs
from pbrl.suites import fit, oracles
from pbrl.suites.blocks import (
    BLOCKS,
    CELLS,
    EXECUTION,
    NAMED_AXES,
    BanditBlock,
    Head,
    OnlineBlock,
    TabularBlock,
    checked,
)
from pbrl.suites.oracles import METHOD
from pbrl.suites.text import find, located, read

__all__ = ["cells", "find", "located", "oracle_cell", "read"]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
LABEL = 80  # characters of a label at most
Described = dict[tuple[str, str], registry.Entry]


def cells(content: dict[str, Any], *, folder: Path = Path()) -> list[dict[str, Any]]:
    """The resolved configuration of every cell, each parameter filled in and of its type.

    Relative paths in it start at `folder`; the content of every file becomes part of its cells.
    Raises ConfigError with the key path for anything unknown, mistyped, out of range, empty or
    twice there, for over 100,000 cells, and for what a cell itself would refuse.
    """
    try:
        return _cells(content, folder)
    except ConfigError as error:  # a suite may hold texts of any length
        raise ConfigError(shown(error, limit=600, lines=False)) from None


def _cells(content: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    head = checked(Head, content, "suite")
    if not NAME.fullmatch(head.name):
        raise ConfigError(
            f"suite.name: found {shown(repr(head.name), limit=80)}; expected up to 40 of a-z, 0-9, "
            "., _ and -, a letter or digit first: results go to a folder of this name"
        )
    seeds = list(range(head.seeds)) if isinstance(head.seeds, int) else head.seeds
    if not seeds:
        raise ConfigError("suite.seeds: found none; expected a number of at least 1, or a list")
    if len(set(seeds)) < len(seeds):
        raise ConfigError("suite.seeds: found one twice; expected distinct numbers")
    described: Described = {}
    runs: list[tuple[str, Any, dict[str, Any]]] = []  # a run is a cell for each seed
    room = CELLS
    for number, raw in enumerate(head.blocks):
        where = f"blocks.{number}"
        kind = raw.get("kind")
        if not isinstance(kind, str) or kind not in BLOCKS:
            raise ConfigError(
                f"{where}: kind: found {kind!r}; {did_you_mean(str(kind), BLOCKS)}"
                if kind
                else f"{where}: kind is missing; expected one of: {', '.join(BLOCKS)}"
            )
        block = checked(BLOCKS[kind], raw, where)
        oracle = getattr(block, "oracle", None)
        expanded = [*_expand(block, where, len(seeds), described, room)]
        if oracle is not None and not any(map(oracles.consults, expanded)):
            raise ConfigError(
                f"{where}.oracle: no teacher of the block consults one; remove it, or use a "
                "teacher such as regret"
            )
        of_block = [(where, oracle, run) for run in expanded]
        room -= len(of_block) * (1 if hasattr(block, "repetitions") else len(seeds))
        runs += of_block
    found: list[dict[str, Any]] = []
    origin: dict[str, str] = {}
    problems, worlds = fit.Problems(), fit.Worlds()
    built: set[str] = set()
    for where, oracle, run in runs:
        for made in oracles.consulted(run, oracle, folder, where):
            if (made_id := cell_id(made)) not in built:
                built.add(made_id)
                found.append(made)
        try:
            sealed = sealed_inputs(run, folder)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        if sealed.get("teacher"):
            fit.check_functions(sealed["teacher"], where)
        if sealed["kind"] == "bandit":
            problems.check(sealed, where)
            problems.check_base(sealed, where)
            problems.check_features(sealed, where)
        if sealed["kind"] == "tabular":
            worlds.check(sealed, where)
        seeded = [sealed | {"seed": s} for s in (seeds[:1] if "repetitions" in sealed else seeds)]
        key = json.dumps(identity(seeded[0]), sort_keys=True)
        if key in origin:
            raise ConfigError(
                f"{where}: a cell is there twice, first in {origin[key]}: {title(seeded[0])}; "
                "remove one, or change a parameter"
            )
        origin[key] = where
        found += seeded
    return found


def oracle_cell(env: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """The cell that trains an oracle for an environment, as a suite's cells would consult it.

    `env` is a name or {name: ..., key: value}, `settings` what a block says under `oracle`. Raises
    ConfigError for what is unknown, out of range, or needs no oracle.
    """
    content = {"kind": "online", "env": env, "method": METHOD, "steps": 1}
    block = checked(BLOCKS["online"], content, "oracle")
    named = _named("env", block.env[0], "oracle.env", block, {}, CELLS)
    if len(named) > 1:
        raise ConfigError(f"oracle.env: found {len(named)} environments; expected one")
    fit.check_env(named[0], "oracle")
    execution = {key: getattr(block, key) for key in EXECUTION}
    return oracles.cell_config(
        named[0], settings, Path(), "oracle", device=block.device, execution=execution
    )


def _expand(
    block: Any, where: str, seeds: int, described: Described, room: int
) -> Iterator[dict[str, Any]]:
    common = {
        "device": devices.checked(block.device, f"{where}.device"),
        "execution": {key: getattr(block, key) for key in EXECUTION},
    }
    if block.gpus > 1 and not float(block.gpus).is_integer():
        raise ConfigError(
            f"{where}.gpus: found {block.gpus:g}; expected a share of one, or a whole number"
        )
    axes: dict[str, list[dict[str, Any]]] = {}
    for axis in NAMED_AXES:
        if hasattr(block, axis):
            values = getattr(block, axis)
            several = len(values) > 1
            axes[axis] = []
            for number, value in enumerate(values):
                at = f"{where}.{axis}" + f".{number}" * several
                axes[axis] += _named(axis, value, at, block, described, room)
            _label(axes[axis])
    if isinstance(block, BanditBlock):
        runs = _bandit_runs(block, axes, where, room)
    elif isinstance(block, TabularBlock):
        runs = _tabular_runs(block, axes, where, room)
    else:
        runs = _online_runs(block, axes, where, room, seeds, described)
    yield from (run | common for run in runs)


Axes = dict[str, list[dict[str, Any]]]


def _bandit_runs(block: BanditBlock, axes: Axes, where: str, room: int) -> Iterator[dict[str, Any]]:
    sizes = {axis: len(values) for axis, values in axes.items()}
    _check_room(where, sizes | {"horizon": len(block.horizon)}, room)
    for problem, algorithm, horizon in itertools.product(
        axes["problem"], axes["algorithm"], block.horizon
    ):
        yield {
            "kind": "bandit",
            "problem": problem,
            "algorithm": algorithm,
            "horizon": horizon,
            "repetitions": block.repetitions,
        }


def _tabular_runs(
    block: TabularBlock, axes: Axes, where: str, room: int
) -> Iterator[dict[str, Any]]:
    fit.check_tabular(block, axes["teacher"], where)
    choices: dict[str, list[Any]] = {
        key: getattr(block, key) for key in ("labels", "absorbing", "segment_length")
    }
    every = axes | choices
    _check_room(where, {axis: len(values) for axis, values in every.items()}, room)
    for choice in itertools.product(*every.values()):
        yield {
            "kind": "tabular",
            **dict(zip(every, choice, strict=True)),
            "test_pairs": block.test_pairs,
            "folds": block.folds,
            "repetitions": block.repetitions,
        }


def _online_runs(
    block: OnlineBlock, axes: Axes, where: str, room: int, seeds: int, described: Described
) -> Iterator[dict[str, Any]]:
    sizes = {axis: len(values) for axis, values in axes.items()}
    sizes |= {"steps": len(block.steps), "labels": len(block.labels), "seeds": seeds}
    learning = [m for m in axes["method"] if _learns(described["method", m["name"]])]
    if not learning:
        sizes |= {"teacher": 1, "labels": 1}
    _check_room(where, sizes, room)
    horizons = [fit.check_env(env, where) for env in axes["env"]]
    for (env, horizon), method, steps in itertools.product(
        zip(axes["env"], horizons, strict=True), axes["method"], block.steps
    ):
        entry = described["method", method["name"]]
        fit.check_actions(entry, env, where)
        # A method that asks no teacher is one run per seed, however many teachers stand beside it.
        asked: Any = [(None, 0)]
        if _learns(entry):
            asked = itertools.product(axes["teacher"], block.labels)
        budgets: dict[int, dict[str, Any]] = {}
        for teacher, labels in asked:
            if labels not in budgets:
                budgets[labels] = fit.with_budget(method, entry, steps, labels, where)
                fit.check_segments(budgets[labels], env, horizon, where)
            if teacher:
                fit.check_teacher(teacher, env, where)
            yield {
                "kind": "online",
                "env": env,
                "method": budgets[labels],
                "teacher": teacher,
                "steps": steps,
                "labels": labels,
                "eval_every": block.eval_every
                or fit.eval_every(steps, horizon, block.eval_episodes, block.final_episodes),
                "eval_episodes": block.eval_episodes,
                "final_episodes": block.final_episodes,
            }


def _learns(method: registry.Entry) -> bool:
    return bool(method.meta.get("labels", True))


def _check_room(where: str, sizes: dict[str, int], room: int) -> None:
    total = math.prod(sizes.values())
    if total > room:
        product = " x ".join(f"{size:,} {axis}" for axis, size in sizes.items() if size > 1)
        raise ConfigError(
            f"{where}: {product} make {total:,} cells; expected at most {CELLS:,} in a suite: "
            "split it, or shorten an axis"
        )


def _named(
    axis: str, value: Any, where: str, block: Any, described: Described, room: int
) -> list[dict[str, Any]]:
    """One axis value, every parameter filled in; a list where none is expected is an axis."""
    kind = "bandit" if axis == "algorithm" else axis
    given = {"name": value} if isinstance(value, str) else dict(value)
    if not isinstance(given.get("name"), str):
        found = shown(repr(value), limit=80)
        raise ConfigError(f"{where}: found {found}; expected a name or {{name: ..., key: value}}")
    name = given.pop("name")
    label = _checked_label(given.pop("label", None), where)
    if (axis, name) not in described:
        try:
            described[axis, name] = registry.describe(kind, name)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
    entry = described[axis, name]
    if axis == "method":  # these two come from the block, and are checked with it
        for key in {"steps", "labels"} & given.keys():
            raise ConfigError(f"{where}: {name}: {key} belongs to the block, beside method")
        unset = {k for k in ("steps", "labels") if k in entry.parameters}
        entry = registry.Entry(
            kind, name, "", "", "", {k: p for k, p in entry.parameters.items() if k not in unset}
        )
    options = {
        k: v if isinstance(v, list) and v and not _takes_list(entry, k) else [v]
        for k, v in given.items()
    }
    _check_room(where, {k: len(v) for k, v in options.items()}, room)
    made = []
    for choice in itertools.product(*options.values()):
        chosen = dict(zip(options, choice, strict=True))
        full = registry.check_parameters(entry, chosen, where)
        fit.check_members(full, where)
        if axis == "method":
            full = fit.with_core(full, entry, block.device, where)
        text = label or name
        if any(len(v) > 1 for v in options.values()):
            varied = {k: v for k, v in chosen.items() if isinstance(given[k], list)}
            text = spelled({"name": text, **varied})
        made.append({"name": name, "label": text, **full})
    return made


def _checked_label(label: Any, where: str) -> str | None:
    if label is None:
        return None
    if not isinstance(label, str):
        raise ConfigError(
            f"{where}.label: found {label!r}; expected text: write it in quotes"[:200]
        )
    if not label.strip() or len(label) > LABEL or shown(label, lines=False) != label:
        found = shown(repr(label), limit=80, lines=False)
        raise ConfigError(
            f"{where}.label: found {found}; expected one line of 1 to {LABEL} characters"
        )
    return label


def _takes_list(entry: registry.Entry, key: str) -> bool:
    return key in entry.parameters and registry.takes_list(entry.parameters[key].type)


def _label(values: list[dict[str, Any]]) -> None:
    """Give values that share a label one that says where they differ."""
    often = Counter(one["label"] for one in values)
    for label in {one["label"] for one in values if often[one["label"]] > 1}:
        same = [one for one in values if one["label"] == label]
        if label != same[0]["name"]:
            continue
        differ = {k for k in same[0] if k != "label" and len({repr(v.get(k)) for v in same}) > 1}
        for one in same if differ else []:
            told = {k: v for k, v in one.items() if k in differ and v is not None}
            one["label"] = spelled({"name": one["name"], **told})
