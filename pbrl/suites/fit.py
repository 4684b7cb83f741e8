"""What a cell would refuse although each of its settings is fine: refused when it is planned."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, isfinite
from pathlib import Path
from typing import Any, Literal

from pbrl import devices, registry, sessions
from pbrl.errors import ConfigError, did_you_mean
from pbrl.registry import source
from pbrl.registry.annotations import name_of
from pbrl.store.inputs import opened
from pbrl.suites.blocks import TabularBlock

CORE = Literal["compiled", "torch"] | None  # the setting of a method whose agent has both
EVALUATIONS = (20, 10, 5)
"""Evaluations of a run after the one at its start, as many of these as fit."""
EVALUATION_STEPS = 0.6
"""What fits: steps of all evaluations over those of the run. An evaluation step costs about a
quarter of a training step of small networks, so evaluating takes at most an eighth of the time."""


def eval_every(steps: int, horizon: int, episodes: int, final_episodes: int) -> int:
    """Steps between evaluations where a suite does not say."""
    for number in EVALUATIONS:
        played = (number + 1) * episodes + final_episodes
        if played * horizon <= EVALUATION_STEPS * steps:
            break
    return ceil(steps / number)


def with_budget(
    method: dict[str, Any], entry: registry.Entry, steps: int, labels: int, where: str
) -> dict[str, Any]:
    """The method's settings with the block's steps and labels, refused if they cannot be spent.

    One that asks no teacher (`labels=False`) but has a setting `labels`, inherited perhaps, keeps
    that setting's default.
    """
    learns = entry.meta.get("labels", True)
    if learns and "labels" in entry.parameters and labels == 0:
        raise ConfigError(f"{where}.labels: {method['label']} learns from labels; expected over 0")
    given = {"steps": steps, "labels": labels} if learns else {"steps": steps}
    own = {k: p for k, p in entry.parameters.items() if k in ("steps", "labels")}
    part = registry.Entry("method", entry.name, "", "", "", own)
    found = registry.check_parameters(part, {k: v for k, v in given.items() if k in own}, where)
    filled = method | {k: v for k, v in found.items() if k in given}
    if sessions.is_scheduled(filled):
        try:
            spendable = sessions.spendable(filled)
        except ConfigError as error:
            raise ConfigError(f"{where}: {method['label']}: {error}") from None
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


def with_core(
    method: dict[str, Any], entry: registry.Entry, device: str, where: str
) -> dict[str, Any]:
    """The method's settings with what computes its updates, refused if that cannot be there."""
    if "core" not in method or entry.parameters["core"].type != CORE:
        return method
    if method["core"] == "compiled" and devices.core(device) != "compiled":
        raise ConfigError(
            f"{where}: {entry.name} has core 'compiled', which is for the CPU, on device "
            f"{device!r}; remove core, or set it to 'torch'"
        )
    return method | {"core": method["core"] or devices.core(device)}


def check_members(method: dict[str, Any], where: str) -> None:
    """Members of an ensemble of one cannot disagree."""
    if method.get("members") == 1 and "disagreement" in str(method.get("query")):
        raise ConfigError(
            f"{where}: query {method['query']!r} needs members that can disagree; found members = 1"
        )


def check_env(env: dict[str, Any], where: str) -> int:
    """The horizon of an environment as its parameters make it."""
    name, parameters = registry.split(env)
    try:
        return registry.resolve("env", name).resolve(parameters).horizon
    except ValueError as error:
        raise ConfigError(f"{where}.env: {error}") from None


def check_segments(method: dict[str, Any], env: dict[str, Any], horizon: int, where: str) -> None:
    """Segments come from complete episodes: one must be over, and be as long as a segment."""
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


def check_actions(method: registry.Entry, env: dict[str, Any], where: str) -> None:
    """A method says which actions it takes (`box` where it says nothing), and so does an env."""
    takes, has = method.meta.get("actions", "box"), registry.resolve("env", env["name"]).actions
    if takes not in (has, "any"):
        raise ConfigError(
            f"{where}: method {method.name!r} takes {takes} actions, but those of "
            f"{env['label']} are {has}; choose another method or environment"
        )


def check_teacher(teacher: dict[str, Any], env: dict[str, Any], where: str) -> None:
    """What a teacher needs of the environment, and annotators of each other.

    Thresholds that are a share of the return need rewards that are bounded below.
    """
    for one in annotators(teacher):
        if isinstance(one, dict):
            check_teacher({"label": teacher["label"], **one}, env, where)
    _check_shares(teacher, where)
    name, parameters = registry.split(env)
    reward_range = registry.resolve("env", name).resolve(parameters).reward_range
    if _compares_with_a_threshold(teacher) and reward_range[0] == float("-inf"):
        raise ConfigError(
            f"{where}: teacher {teacher['label']} compares returns with a threshold, but the "
            f"reward of {env['label']} has no lower bound; use another teacher or environment"
        )
    if teacher["name"] == "range-noise" and not all(map(isfinite, reward_range)):
        raise ConfigError(
            f"{where}: teacher {teacher['label']} errs by the range of returns, but the reward of "
            f"{env['label']} has no bounds; use noisy-returns, or another environment"
        )


def _compares_with_a_threshold(teacher: dict[str, Any]) -> bool:
    inner = [one for one in annotators(teacher) if isinstance(one, dict)]
    own = any(teacher.get(key) for key in ("eps_skip", "eps_equal"))
    named = teacher["name"] in ("skip", "equal")
    return own or named or any(map(_compares_with_a_threshold, inner))


def note_on_thresholds(config: dict[str, Any]) -> str | None:
    """What is done about thresholds of a teacher where returns can be negative; None elsewhere."""
    teacher, env = config.get("teacher"), config.get("env")
    if not teacher or not env or not _compares_with_a_threshold(teacher):
        return None
    name, parameters = registry.split(env)
    low = registry.resolve("env", name).resolve(parameters).reward_range[0]
    if low >= 0:
        return None
    return (
        f"teacher {teacher['label']} on {env['label']}: rewards can be negative, so {-low:g} is "
        "added to each before returns are compared with its thresholds"
    )


def annotators(teacher: dict[str, Any]) -> list[str | dict[str, Any]]:
    """Those of a population, [] of one teacher."""
    return teacher.get("annotators") or []


def _check_shares(teacher: dict[str, Any], where: str) -> None:
    shares, number = teacher.get("shares"), len(annotators(teacher))
    if shares is not None and (len(shares) != number or abs(sum(shares) - 1) > 1e-6):
        raise ConfigError(
            f"{where}.teacher: {teacher['label']}: shares = {shares} of {number} annotators, which "
            f"sum to {sum(shares):g}; expected one each, which sum to 1"
        )


def check_functions(teacher: dict[str, Any], where: str) -> None:
    """Functions of the user's are looked for in their files, which are not run."""
    for one in annotators(teacher):
        if isinstance(one, dict):
            check_functions(one, where)
    if teacher["name"] != "scored":
        return
    file, function = Path(teacher["file"]), teacher["function"]
    try:
        defined = source.read(file).bound
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f"{where}.teacher: {file} cannot be read as Python: {error}") from None
    if function not in defined:
        raise ConfigError(
            f"{where}.teacher: {file} has no function {function!r}; "
            f"{did_you_mean(function, defined)}"
        )


MEASURE_PLACES = {"goal", "angle", "rock-paper-scissors"}
NEEDS_EPISODES = ("eps_skip", "eps_equal", "stage_mistake", "stage_skip")


def check_tabular(block: TabularBlock, teachers: list[dict[str, Any]], where: str) -> None:
    """What of a teacher, or of one of its annotators, has no meaning in a tabular world."""
    if block.folds == 1 or block.folds > min(block.labels):
        raise ConfigError(
            f"{where}.folds: found {block.folds}; expected 0, or at least 2 and at most "
            f"{min(block.labels)}, the labels"
        )
    for teacher in teachers:
        _check_tabular_teacher(teacher, where)


def _check_tabular_teacher(teacher: dict[str, Any], where: str) -> None:
    for one in annotators(teacher):
        if isinstance(one, dict):
            _check_tabular_teacher({"label": teacher["label"], **one}, where)
    _check_shares(teacher, where)
    name, level = teacher["name"], teacher.get("expert", "good")
    reasons = {
        "follows the episodes of an agent that is trained, and in a tabular world none is": [
            *(key for key in NEEDS_EPISODES if teacher.get(key)),
            *({name} & {"skip", "equal"}),
        ],
        "measures places or actions, and in a tabular world both are mere numbers of states and "
        "choices": [*({name} & MEASURE_PLACES), *(["effort"] if teacher.get("effort") else [])],
        "is a stage of a trained expert, and the values of a tabular world are exact": (
            [] if level == "good" else [f"expert = {level!r}"]
        ),
    }
    for reason, used in reasons.items():
        if used:
            raise ConfigError(
                f"{where}: teacher {teacher['label']}: {used[0]} {reason}; use another teacher"
            )


@contextmanager
def _refused_at(place: str, name: str) -> Iterator[None]:
    """Tell whatever goes wrong in making a thing as a mistake at its place in the suite."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
    except Exception as error:
        raise ConfigError(f"{place}: {name!r} raises {type(error).__name__}: {error}") from error


class Worlds:
    """Makes and solves each world of a suite whose parameters were given, to see that it can be."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def check(self, config: dict[str, Any], where: str) -> None:
        """Make and solve the world of a tabular cell, or one of those that it draws, once."""
        key = repr(config["world"])
        name, given = registry.split(config["world"])
        known = registry.describe("world", name).parameters
        if key in self.seen or all(value == known[k].default for k, value in given.items()):
            return
        self.seen.add(key)
        with _refused_at(f"{where}.world", name):
            import numpy as np

            from pbrl.tabular.worlds import solved

            made = registry.make("world", opened(config)["world"])
            if hasattr(made, "sample"):
                made = made.sample(np.random.default_rng(0))
            solved(made, name)


class Problems:
    """Makes each problem of a suite whose parameters were given, to see that they fit each other.

    That finds matrices of one arm, files that are no matrix and gaps that make no probability.
    """

    # The most that fits into memory and what is made here in no time, by name of the parameter.
    SIZES = {  # noqa: RUF012
        "K": (20_000, 200),
        "blocks": (6_000, 60),
        "segments": (10**6, 10**4),
        "cycles": (10**6, 10**4),
    }

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def check(self, config: dict[str, Any], where: str) -> None:
        """Make the problem of a bandit cell, once."""
        key = repr(config["problem"])
        if key in self.seen:
            return
        self.seen.add(key)
        name, given = registry.split(config["problem"])
        known = registry.describe("problem", name).parameters
        if all(value == known[k].default for k, value in given.items()):
            return
        for key, (most, _) in self.SIZES.items():
            if given.get(key, 0) > most:
                raise ConfigError(
                    f"{where}.problem: {name}: {key} = {given[key]}; expected at most {most:,}, "
                    "which is what fits into memory"
                )
        if any(given.get(key, 0) > quick for key, (_, quick) in self.SIZES.items()):
            return
        with _refused_at(f"{where}.problem", name):
            registry.make("problem", opened(config)["problem"])

    def check_base(self, config: dict[str, Any], where: str) -> None:
        """Make the algorithm of a bandit cell, once, if it has a base and is not all defaults."""
        given = config["algorithm"]
        name, parameters = registry.split(given)
        entry = registry.describe("bandit", name)
        key = repr((name, parameters))
        based = any(name_of(p.type) is not None for p in entry.parameters.values())
        if key in self.seen or not based:
            return
        if parameters == registry.check_parameters(entry, {}, where):
            return
        self.seen.add(key)
        try:
            registry.make("bandit", given)
        except ConfigError as error:
            raise ConfigError(f"{where}.algorithm: {error}") from None

    def check_features(self, config: dict[str, Any], where: str) -> None:
        """An algorithm that chooses by the arms' features needs a problem that has some."""
        axes = config["problem"], config["algorithm"]
        if not registry.describe("bandit", axes[1]["name"]).meta.get("features"):
            return
        key = repr(axes[0]) + " has features"
        if key not in self.seen:
            import numpy as np

            problem = registry.make("problem", opened(config)["problem"])
            if hasattr(problem, "sample"):
                problem = problem.sample(np.random.default_rng(0))
            if getattr(problem, "features", None) is None:
                raise ConfigError(
                    f"{where}: algorithm {axes[1]['label']} chooses by the arms' features, and "
                    f"problem {axes[0]['label']} has none; use a problem with features, such as "
                    "hypercube"
                )
            self.seen.add(key)
