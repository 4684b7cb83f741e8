"""The oracles that teachers consult: trained ones are cells of their own, computed before the rest.

A cell says in `oracle` what its teacher consults:

    {exact: true, gamma: 0.99}              tables of the environment
    {cell: <id>, weights: null}             a trained expert that is not there yet
    {cell: <id>, weights: <folder>}         its weights, whose digest is part of the cell's id

So the id of a cell is final once its oracle is there; until then it is a stand-in.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pbrl
from pbrl import registry
from pbrl.errors import ConfigError, StoreError
from pbrl.registry.checking import check_parameters, split
from pbrl.store import Cell, cell_id
from pbrl.store.inputs import content, sealed_inputs
from pbrl.store.provenance import SIMULATORS, installed
from pbrl.suites import fit

METHOD = "expert"
DEFAULT = {"steps": 20_000, "seed": 0}
EPISODES = {"eval_episodes": 10, "final_episodes": 50}


def needed(teacher: dict[str, Any] | str | None) -> bool:
    """Whether a teacher, or one of its annotators, judges by an expert's values."""
    if teacher is None:
        return False
    name, settings = split(teacher)
    if not registry.describe("teacher", name).meta.get("oracle"):
        return False
    inner = settings.get("annotators")
    return True if inner is None else any(map(needed, inner))


def consults(run: dict[str, Any]) -> bool:
    """Whether a run has an oracle that is given to it; a tabular cell solves its world itself."""
    return run["kind"] == "online" and needed(run["teacher"])


def consulted(run: dict[str, Any], given: Any, folder: Path, where: str) -> list[dict[str, Any]]:
    """The oracle's cell, if one is to be trained; sets `oracle` in the run that needs one.

    `given` is the block's `oracle`: settings of the method `expert` with steps and seed, or the
    folder of a finished one. Raises ConfigError for one that does not fit.
    """
    if not consults(run):
        return []
    spec = registry.resolve("env", run["env"]["name"])
    if spec.exact:
        if isinstance(given, str):
            raise ConfigError(
                f"{where}.oracle: {given} is not consulted: the values of {run['env']['name']} are "
                "known exactly; leave `oracle` out"
            )
        _check_levels(run["teacher"], run["env"], where)
        gamma = _settings(given if isinstance(given, dict) else {}, where)["gamma"]
        run["oracle"] = {"exact": True, "gamma": gamma}
        return []
    if isinstance(given, str):
        run["oracle"] = _finished(Path(folder / given), run, where)
        return []
    made = cell_config(
        run["env"], given or {}, folder, where, device=run["device"], execution=run["execution"]
    )
    run["oracle"] = {"cell": cell_id(made), "weights": None}
    return [made]


def _settings(given: dict[str, Any], where: str) -> dict[str, Any]:
    """Steps, seed and every setting of the method, filled in and checked."""
    filled = DEFAULT | given
    seed = filled.pop("seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ConfigError(f"{where}.oracle: seed = {seed!r}; expected a whole number of at least 0")
    entry = registry.describe("method", METHOD)
    return {"seed": seed, **check_parameters(entry, filled, f"{where}.oracle")}


def cell_config(
    env: dict[str, Any],
    given: dict[str, Any],
    folder: Path,
    where: str,
    *,
    device: str,
    execution: dict[str, Any],
) -> dict[str, Any]:
    """The configuration of the cell that trains an oracle; raises ConfigError."""
    spec = registry.resolve("env", env["name"])
    if spec.exact:
        raise ConfigError(
            f"{where}: the values of {env['name']} are known exactly: its teachers need no oracle"
        )
    entry = registry.describe("method", METHOD)
    fit.check_actions(entry, env, where)
    settings = _settings(given, where)
    seed, steps = settings.pop("seed"), settings["steps"]
    method = fit.with_core({"name": METHOD, "label": METHOD, **settings}, entry, device, where)
    config = {
        "kind": "online",
        "env": env,
        "method": method,
        "teacher": None,
        "steps": steps,
        "labels": 0,
        "eval_every": fit.eval_every(steps, fit.check_env(env, where), *EPISODES.values()),
        **EPISODES,
        "device": device,
        "execution": execution,
        "seed": seed,
    }
    return sealed_inputs(config, folder)


def _check_levels(teacher: dict[str, Any], env: dict[str, Any], where: str) -> None:
    for one in fit.annotators(teacher):
        if isinstance(one, dict):
            _check_levels({"label": teacher["label"], **one}, env, where)
    if teacher.get("expert", "good") != "good":
        raise ConfigError(
            f"{where}.teacher: {teacher['label']}: expert = {teacher['expert']!r}, but the values "
            f"of {env['name']} are exact and have no stages; expected 'good'"
        )


def _finished(path: Path, run: dict[str, Any], where: str) -> dict[str, Any]:
    """What a run consults that is given the folder of an oracle's cell."""
    hint = "build one with `pbrl oracle`, or leave `oracle` out"
    try:
        cell = Cell.at(path.absolute())
        manifest = cell.whole_manifest()
        cell.check(manifest)
    except StoreError as error:
        raise ConfigError(
            f"{where}.oracle: {path} is no finished oracle ({error}); {hint}"
        ) from None
    config = cell.config
    if config.get("method", {}).get("name") != METHOD:
        raise ConfigError(f"{where}.oracle: {path} is not a cell of the method expert; {hint}")
    found, expected = (_shown(one) for one in (config["env"], run["env"]))
    if found != expected:
        raise ConfigError(
            f"{where}.oracle: {path} is of {found}; expected one of {expected}: {hint}"
        )
    then = {"pbrl": manifest["environment"]["pbrl"], **manifest["environment"]["packages"]}
    for package, version in then.items():
        now = pbrl.__version__ if package == "pbrl" else installed(package)
        if package in ("pbrl", *SIMULATORS) and version != now:
            raise ConfigError(
                f"{where}.oracle: {path} is of {package} {version}; expected {now}: {hint}"
            )
    return {"cell": cell.id, "weights": cell.path / "weights"}


def _shown(env: dict[str, Any]) -> str:
    name, settings = split(env)
    given = ", ".join(f"{key}={value}" for key, value in sorted(settings.items()))
    return f"{name} ({given})" if given else name


# --- in a results folder ------------------------------------------------------------------------


def oracle_of(config: dict[str, Any]) -> dict[str, Any]:
    """What a cell says of its oracle; {} where its teacher consults none."""
    return config.get("oracle") or {}


def is_waiting(config: dict[str, Any]) -> bool:
    """Whether the oracle of a cell is to be trained and not there yet."""
    oracle = oracle_of(config)
    return "cell" in oracle and oracle["weights"] is None


def resolved(config: dict[str, Any], root: Path) -> dict[str, Any]:
    """The configuration with its oracle's weights in it, if that is finished and whole."""
    if not is_waiting(config):
        return config
    place = Path(root).absolute() / "cells" / config["oracle"]["cell"]
    try:
        oracle_cell = Cell.at(place)
        oracle_cell.check(oracle_cell.whole_manifest())
        digest = content(place / "weights")
    except StoreError:  # not there yet, or damaged
        return config
    path = str(place / "weights")
    oracle = config["oracle"] | {"weights": path}
    return config | {"oracle": oracle, "inputs": config.get("inputs", {}) | {path: digest}}


def stand_in(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration as it was before its oracle was there."""
    oracle = oracle_of(config)
    if oracle.get("weights") is None:
        return config
    inputs = {path: seal for path, seal in config["inputs"].items() if path != oracle["weights"]}
    found = {key: value for key, value in config.items() if key != "inputs"}
    found |= {"inputs": inputs} if inputs else {}
    return found | {"oracle": oracle | {"weights": None}}


def with_oracles(chosen: Sequence[Cell], planned: Sequence[Cell]) -> list[Cell]:
    """The chosen cells and the oracles they wait for, in the order of the plan."""
    ids = {cell.id for cell in chosen}
    ids |= {cell.config["oracle"]["cell"] for cell in chosen if "cell" in oracle_of(cell.config)}
    return [cell for cell in planned if cell.id in ids]
