"""A suite file (YAML) and the cells it stands for: every list in a block is a product axis."""

import itertools
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bandits.registry import spelled
from pbrl import registry, sessions
from pbrl.errors import ConfigError, did_you_mean
from pbrl.store import identity, title
from pbrl.store.inputs import sealed_inputs
from pbrl.suites import shipped

Named = str | dict[str, Any]


class Block(BaseModel):
    """Settings every kind of block has; none of those under `execution` changes a result."""

    model_config = ConfigDict(extra="forbid")
    device: str = "cpu"
    """where networks live: cpu, cuda, cuda:1"""
    hang_timeout: Annotated[float, Field(gt=0)] = 600.0
    """seconds without progress after which a cell counts as hung"""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 60.0
    """seconds between checkpoints (longer when writing one takes over a twentieth of that)"""
    gpus: Annotated[float, Field(ge=0)] = 0.0
    """share of a GPU a cell asks Ray for"""


class OnlineBlock(Block):
    """Agents that act in an environment and learn its reward from a simulated teacher."""

    kind: Literal["online"]
    env: list[Named]
    method: list[Named]
    teacher: list[Named] = ["oracle"]
    steps: list[Annotated[int, Field(gt=0)]]
    labels: list[Annotated[int, Field(ge=0)]] = [0]
    eval_every: Annotated[int, Field(gt=0)] = 1000
    eval_episodes: Annotated[int, Field(gt=0)] = 10
    final_episodes: Annotated[int, Field(gt=0)] = 50


class BanditBlock(Block):
    """Dueling-bandit algorithms on problems, over many repetitions per cell.

    A cell has one seed, the suite's first; its repetitions are the independent runs.
    """

    kind: Literal["bandit"]
    problem: list[Named]
    algorithm: list[Named]
    horizon: list[Annotated[int, Field(gt=0)]]
    repetitions: Annotated[int, Field(gt=0)] = 100


BLOCKS: dict[str, type[Block]] = {"online": OnlineBlock, "bandit": BanditBlock}
EXECUTION = ("hang_timeout", "checkpoint_seconds", "gpus")
NAMED_AXES = ("env", "method", "teacher", "problem", "algorithm")


class Head(BaseModel):
    """The top level of a suite file."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]
    description: str = ""
    seeds: Annotated[int, Field(ge=0)] | list[int] = 3
    blocks: Annotated[list[dict[str, Any]], Field(min_length=1)]


def find(source: str) -> Path:
    """The file of a suite given by path or by a shipped name; raises ConfigError if there is none.

    Paths in a suite, and in settings applied to it, start at this file's folder.
    """
    path = Path(source)
    if path.is_file():
        return path
    if source in shipped():
        return shipped()[source]
    if path.suffix in (".yaml", ".yml") or "/" in source:
        raise ConfigError(f"suite file {source!r} does not exist; give a path to a YAML file")
    raise ConfigError(f"unknown suite {source!r}; {did_you_mean(source, shipped())}")


def read(source: str, *, settings: tuple[str, ...] = ()) -> dict[str, Any]:
    """The content of a suite file or shipped suite, with `KEY=VALUE` settings applied.

    A key is a path such as `seeds`, `blocks.0.steps`; `steps` alone sets it in every block that
    has it. Raises ConfigError when the file is missing, is not YAML, or a key does not exist.
    """
    path = find(source)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or error
        raise ConfigError(f"{path} is not a YAML suite:{where}: {reason}") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise ConfigError(f"{path}: found {found}, expected keys name and blocks")
    for setting in settings:
        _apply(content, setting)
    return content


def _apply(content: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {setting!r}: expected KEY=VALUE, such as steps=5000")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {setting!r}: {text!r} is not a YAML value") from None
    blocks = [b for b in content.get("blocks") or [] if isinstance(b, dict)]
    if "." not in key and key not in Head.model_fields:
        hits = [b for b in blocks if key in BLOCKS.get(str(b.get("kind")), Block).model_fields]
        if not hits:
            known = {*Head.model_fields, *(k for b in BLOCKS.values() for k in b.model_fields)}
            raise ConfigError(
                f"--set {setting!r}: no block has {key!r}; {did_you_mean(key, known)}"
            )
        for block in hits:
            block[key] = value
        return
    *path, last = key.split(".")
    place: Any = content
    for part in path:
        try:
            place = place[int(part)] if isinstance(place, list) else place[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise ConfigError(f"--set {setting!r}: the suite has no {part!r} there") from None
    if isinstance(place, list) and last.isdigit() and int(last) < len(place):
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise ConfigError(f"--set {setting!r}: the suite has no {last!r} there")


def cells(content: dict[str, Any], *, folder: Path = Path()) -> list[dict[str, Any]]:
    """The resolved configuration of every cell, each parameter filled in and of its type.

    Relative paths in it start at `folder`; the content of every file becomes part of its cells.
    Raises ConfigError with the key path for anything unknown, mistyped, empty or twice there, and
    for a label budget that a method's schedule cannot spend.
    """
    head = _validated(Head, content, "suite")
    seeds = list(range(head.seeds)) if isinstance(head.seeds, int) else head.seeds
    if not seeds:
        raise ConfigError("suite: seeds: found none; expected a number of at least 1, or a list")
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ConfigError(f"suite: seeds: {seeds}; expected distinct numbers of at least 0")
    found: list[dict[str, Any]] = []
    origin: dict[str, str] = {}
    described: dict[tuple[str, str], registry.Entry] = {}
    for number, raw in enumerate(head.blocks):
        where = f"blocks.{number}"
        kind = raw.get("kind")
        if not isinstance(kind, str) or kind not in BLOCKS:
            raise ConfigError(
                f"{where}: kind: found {kind!r}; {did_you_mean(str(kind), BLOCKS)}"
                if kind
                else f"{where}: kind is missing; expected one of: {', '.join(BLOCKS)}"
            )
        block = _validated(BLOCKS[kind], _listed(raw, BLOCKS[kind]), where)
        for unsealed in _expand(block, where, seeds, described):
            try:
                config = sealed_inputs(unsealed, folder)
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from None
            key = json.dumps(identity(config), sort_keys=True)
            if key in origin:
                raise ConfigError(
                    f"{where}: a cell is there twice, first in {origin[key]}: {title(config)}; "
                    "remove one, or change a parameter"
                )
            origin[key] = where
            found.append(config)
    return found


def _listed(raw: dict[str, Any], model: type[Block]) -> dict[str, Any]:
    """Single values of axes as lists of one."""
    axes = {k for k, f in model.model_fields.items() if "list[" in str(f.annotation).lower()}
    return {k: [v] if k in axes and not isinstance(v, list) else v for k, v in raw.items()}


def _validated(model: type[Any], content: dict[str, Any], where: str) -> Any:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        errors = error.errors()  # a mistyped key is the likely cause of a missing one
        first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
        known = {*model.model_fields, *content}
        path = ".".join(
            [where, *(str(p) for p in first["loc"] if isinstance(p, int) or p in known)]
        )
        if first["type"] == "extra_forbidden":
            hint = did_you_mean(str(first["loc"][-1]), model.model_fields)
            raise ConfigError(f"{path}: unknown key; {hint}") from None
        if first["type"] == "missing":
            raise ConfigError(f"{path}: missing; expected a value") from None
        found = repr(first["input"])[:80]
        exponent = re.fullmatch(r"\d+e\d+", str(first["input"]))
        hint = f" (YAML reads it as text: write {float(first['input']):.0f})" if exponent else ""
        raise ConfigError(f"{path}: found {found}; {first['msg'].lower()}{hint}") from None


def _expand(
    block: Any, where: str, seeds: list[int], described: dict[tuple[str, str], registry.Entry]
) -> list[dict[str, Any]]:
    axes = {}
    for axis in NAMED_AXES:
        if axis in type(block).model_fields:
            values = getattr(block, axis)
            if not values:
                raise ConfigError(f"{where}.{axis}: the list is empty; expected at least one name")
            axes[axis] = [
                one for v in values for one in _named(axis, v, f"{where}.{axis}", block, described)
            ]
            _label(axes[axis])
    common = {
        "device": block.device,
        "execution": {key: getattr(block, key) for key in EXECUTION},
    }
    if isinstance(block, BanditBlock):
        return [
            {
                "kind": "bandit",
                "problem": problem,
                "algorithm": algorithm,
                "horizon": horizon,
                "repetitions": block.repetitions,
                "seed": seeds[0],
                **common,
            }
            for problem, algorithm, horizon in itertools.product(
                axes["problem"], axes["algorithm"], block.horizon
            )
        ]
    found = []
    for env, method, steps in itertools.product(axes["env"], axes["method"], block.steps):
        learns = described["method", method["name"]].meta.get("labels", True)
        # A method that asks no teacher is one run per seed, however many teachers stand beside it.
        asked = itertools.product(axes["teacher"], block.labels) if learns else [(None, 0)]
        for teacher, labels in asked:
            filled = _with_budget(method, described["method", method["name"]], steps, labels, where)
            _check_fit(filled, env, where)
            _check_actions(described["method", method["name"]], env, where)
            if teacher:
                _check_teacher(teacher, env, where)
            found += [
                {
                    "kind": "online",
                    "env": env,
                    "method": filled,
                    "teacher": teacher,
                    "steps": steps,
                    "labels": labels,
                    "seed": seed,
                    "eval_every": block.eval_every,
                    "eval_episodes": block.eval_episodes,
                    "final_episodes": block.final_episodes,
                    **common,
                }
                for seed in seeds
            ]
    return found


def _with_budget(
    method: dict[str, Any], entry: registry.Entry, steps: int, labels: int, where: str
) -> dict[str, Any]:
    """The method's settings with the block's steps and labels, refused if they cannot be spent."""
    given = {"steps": steps, "labels": labels}
    filled = method | {k: v for k, v in given.items() if k in entry.parameters}
    if "labels" in entry.parameters and labels == 0:
        raise ConfigError(f"{where}.labels: {method['label']} learns from labels; expected over 0")
    if sessions.is_scheduled(filled):
        spendable = sessions.realisable(filled)
        if spendable == 0 < labels:
            switch = filled.get("seed_steps", 0) + filled.get("unsup_steps", 0)
            raise ConfigError(
                f"{where}.labels: {method['label']} first asks at step {switch}, but the run has "
                f"{steps} steps; raise steps, or lower unsup_steps"
            )
        if spendable < labels:
            raise ConfigError(
                f"{where}.labels: {method['label']} can spend {spendable} of {labels} labels in "
                f"{steps} steps; lower labels, raise steps or labels_per_session, or lower "
                "label_interval"
            )
    return filled


def _check_fit(method: dict[str, Any], env: dict[str, Any], where: str) -> None:
    """Segments come from complete episodes: one must be over, and be as long as a segment."""
    name, parameters = registry.split(env)
    try:
        horizon = registry.resolve("env", name).resolve(parameters).horizon
    except ValueError as error:
        raise ConfigError(f"{where}.env: {error}") from None
    if method.get("segment_length", 0) > horizon:
        raise ConfigError(
            f"{where}: {method['label']} has segment_length {method['segment_length']}, but an "
            f"episode of {env['label']} has {horizon} steps; lower segment_length"
        )
    if not sessions.is_scheduled(method):
        return
    first = sessions.sessions_of(method)[0][0]
    if first < horizon:
        raise ConfigError(
            f"{where}: {method['label']} first asks at step {first}, but the first episode of "
            f"{env['label']} ends at step {horizon}; raise unsup_steps by at least "
            f"{horizon - first}"
        )


def _check_actions(method: registry.Entry, env: dict[str, Any], where: str) -> None:
    """A method says which actions it takes (`box` where it says nothing), and so does an env."""
    takes, has = method.meta.get("actions", "box"), registry.resolve("env", env["name"]).actions
    if takes not in (has, "any"):
        raise ConfigError(
            f"{where}: method {method.name!r} takes {takes} actions, but those of "
            f"{env['label']} are {has}; choose another method or environment"
        )


def _check_teacher(teacher: dict[str, Any], env: dict[str, Any], where: str) -> None:
    """Thresholds that are a share of the return need rewards that are bounded below."""
    thresholds = [k for k in ("eps_skip", "eps_equal") if teacher.get(k)]
    low = registry.resolve("env", env["name"]).reward_range[0]
    if (teacher["name"] in ("skip", "equal") or thresholds) and low == float("-inf"):
        raise ConfigError(
            f"{where}: teacher {teacher['label']} compares returns with a threshold, but the "
            f"reward of {env['label']} has no lower bound; use another teacher or environment"
        )


def _named(
    axis: str,
    value: Named,
    where: str,
    block: Any,
    described: dict[tuple[str, str], registry.Entry],
) -> list[dict[str, Any]]:
    """One axis value, every parameter filled in; a list where none is expected is an axis."""
    kind = "bandit" if axis == "algorithm" else axis
    given = {"name": value} if isinstance(value, str) else dict(value)
    if not isinstance(given.get("name"), str):
        raise ConfigError(f"{where}: found {value!r}; expected a name or {{name: ..., key: value}}")
    name = given.pop("name")
    label = given.pop("label", None)
    if (axis, name) not in described:
        try:
            described[axis, name] = registry.describe(kind, name)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
    entry = described[axis, name]
    if axis == "method":  # these two come from the block
        for key in {"steps", "labels"} & given.keys():
            raise ConfigError(f"{where}: {name}: {key} belongs to the block, beside method")
        given |= {k: getattr(block, k)[0] for k in ("steps", "labels") if k in entry.parameters}
    found = []
    for chosen in _axes(entry, given):
        full = registry.check_parameters(entry, chosen, where)
        if full.get("members") == 1 and "disagreement" in str(full.get("query")):
            raise ConfigError(
                f"{where}: query {full['query']!r} needs members that can disagree; found "
                "members = 1"
            )
        varied = {k: v for k, v in chosen.items() if isinstance(given[k], list)}
        shown = label or name
        if len(_axes(entry, given)) > 1:
            shown = spelled({"name": shown, **varied})
        found.append({"name": name, "label": shown, **full})
    return found


def _axes(entry: registry.Entry, given: dict[str, Any]) -> list[dict[str, Any]]:
    options = [
        v if isinstance(v, list) and v and not _takes_list(entry, k) else [v]
        for k, v in given.items()
    ]
    return [dict(zip(given, choice, strict=True)) for choice in itertools.product(*options)]


def _takes_list(entry: registry.Entry, key: str) -> bool:
    return key in entry.parameters and registry.takes_list(entry.parameters[key].type)


def _label(values: list[dict[str, Any]]) -> None:
    """Give values that share a label one that says where they differ."""
    for one in values:
        same = [v for v in values if v["label"] == one["label"] and v is not one]
        if same and one["label"] == one["name"]:
            differs = [k for k in one if any(v.get(k) != one[k] for v in same) and k != "label"]
            if differs:
                one["shown"] = spelled({"name": one["name"], **{k: one[k] for k in differs}})
    for one in values:
        one["label"] = one.pop("shown", one["label"])
