"""The keys of a suite and of its blocks: type, default and range of each, declared here alone."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Literal, get_origin

from annotated_types import Ge, Gt, Le, Len

from pbrl.errors import ConfigError, did_you_mean
from pbrl.registry.annotations import Refused, accepted, words
from pbrl.registry.checking import shown

CELLS = 100_000
"""Cells of one suite; more are refused before any is made."""

Named = str | dict
Steps = Annotated[int, Ge(1), Le(10**9)]


@dataclass(kw_only=True)
class Block:
    """Settings every kind of block has; none of those under `execution` changes a result."""

    device: str = "cpu"
    """where networks live: cpu, cuda, cuda:1"""
    hang_timeout: Annotated[float, Gt(0), Le(10**7)] = 600.0
    """seconds without progress after which a cell counts as hung"""
    checkpoint_seconds: Annotated[float, Ge(0), Le(10**7)] = 60.0
    """seconds between checkpoints (longer when writing one takes over a twentieth of that)"""
    gpus: Annotated[float, Ge(0), Le(1024)] = 0.0
    """share of a GPU a cell asks Ray for; over 1 a whole number"""


@dataclass(kw_only=True)
class OnlineBlock(Block):
    """Agents that act in an environment and learn its reward from a simulated teacher."""

    kind: Literal["online"]
    env: list[Named]
    method: list[Named]
    teacher: list[Named] = ("oracle",)  # type: ignore[assignment]
    steps: list[Steps]
    labels: list[Annotated[int, Ge(0), Le(10**7)]] = (0,)  # type: ignore[assignment]
    eval_every: Steps | None = None
    """steps between evaluations; null for a twentieth of the run, or a tenth or a fifth where the
    episodes of that many evaluations would take over 0.6 times its steps"""
    eval_episodes: Annotated[int, Ge(1), Le(10_000)] = 10
    """episodes of an evaluation"""
    final_episodes: Annotated[int, Ge(1), Le(10_000)] = 50
    """episodes of the last evaluation, which scores rest on"""
    oracle: str | dict[str, Any] | None = None
    """whom teachers consult who need an oracle: how it is trained (steps, seed, settings of the
    method expert), or the folder of a finished one"""


@dataclass(kw_only=True)
class BanditBlock(Block):
    """Dueling-bandit algorithms on problems, over many repetitions per cell.

    A cell has one seed, the suite's first; its repetitions are the independent runs.
    """

    kind: Literal["bandit"]
    problem: list[Named]
    algorithm: list[Named]
    horizon: list[Steps]
    repetitions: Annotated[int, Ge(1), Le(10**6)] = 100


@dataclass(kw_only=True)
class TabularBlock(Block):
    """Learners from labels in worlds solved exactly, over many repetitions per cell.

    A cell has one seed, the suite's first; a repetition draws its own pairs, and its own world
    where worlds are drawn.
    """

    kind: Literal["tabular"]
    world: list[Named]
    learner: list[Named]
    teacher: list[Named] = ("oracle",)  # type: ignore[assignment]
    labels: list[Annotated[int, Ge(1), Le(10**6)]]
    absorbing: list[bool] = (True,)  # type: ignore[assignment]
    """whether pairs in which an episode ends before the last step are kept"""
    segment_length: list[Annotated[int, Ge(1), Le(1000)]] = (3,)  # type: ignore[assignment]
    test_pairs: Annotated[int, Ge(1), Le(10**6)] = 1000
    """new pairs on which the odds that were learned are held against the teacher's"""
    folds: Annotated[int, Ge(0), Le(100)] = 0
    """parts of a cross-validation within the labels, at least 2; 0 for none"""
    repetitions: Annotated[int, Ge(1), Le(10**6)] = 30


@dataclass(kw_only=True)
class Head:
    """The top level of a suite file."""

    name: str
    description: str = ""
    seeds: Annotated[int, Ge(1), Le(CELLS)] | list[Annotated[int, Ge(0)]] = 3
    blocks: Annotated[list[dict[str, Any]], Len(1)]


BLOCKS: dict[str, type[Block]] = {
    "online": OnlineBlock,
    "bandit": BanditBlock,
    "tabular": TabularBlock,
}
EXECUTION = ("hang_timeout", "checkpoint_seconds", "gpus")
NAMED_AXES = ("env", "method", "teacher", "problem", "algorithm", "world", "learner")


def keys(model: type[Any]) -> dict[str, Any]:
    """The keys of a block or of the head, and what each takes."""
    return {f.name: f.type for f in fields(model)}


def checked(model: type[Any], content: Mapping[str, Any], where: str) -> Any:
    """`content` as the model, each value of its type and range, one value of an axis as a list.

    Raises ConfigError with the path of the key, what was found and what is expected.
    """
    known = keys(model)
    for key in content:
        if key not in known:
            raise ConfigError(f"{where}.{key}: unknown key; {did_you_mean(str(key), known)}")
    found = {}
    for field in fields(model):
        annotation, key = field.type, field.name
        if key not in content:
            if field.default is MISSING:
                raise ConfigError(f"{where}.{key}: missing; expected {words(annotation)}")
            value = field.default
        else:
            value = content[key]
        if get_origin(annotation) is list:
            found[key] = _axis(value, annotation, f"{where}.{key}")
        else:
            found[key] = _taken(value, annotation, f"{where}.{key}")
    return model(**found)


def _axis(value: Any, annotation: Any, where: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        return [_taken(value, annotation.__args__[0], where)]
    if not value:
        raise ConfigError(f"{where}: the list is empty; expected at least one value")
    return [_taken(one, annotation.__args__[0], f"{where}.{i}") for i, one in enumerate(value)]


def _taken(value: Any, annotation: Any, where: str) -> Any:
    try:
        return accepted(value, annotation)
    except Refused as error:
        raise ConfigError(f"{where}: found {shown(value)}; expected {error}") from None
