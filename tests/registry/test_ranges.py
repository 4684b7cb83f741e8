"""Every number of every built-in declares its range, and `plan` holds to it on both sides."""

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from built_ins import NAMES

from pbrl import registry, suite
from pbrl.errors import ConfigError
from pbrl.registry.annotations import accepted, bounds

KINDS = list(NAMES)


def numbers(annotation: Any, declared: bool = False) -> Iterator[tuple[Any, bool]]:
    """Each number type inside an annotation, and whether marks stand beside it."""
    if get_origin(annotation) is Annotated:
        yield from numbers(get_args(annotation)[0], declared=True)
    elif annotation in (int, float):
        yield annotation, declared
    elif get_origin(annotation) is not Literal:
        for inner in get_args(annotation):
            yield from numbers(inner)


def ranged(annotation: Any) -> Any:
    """The part of an annotation that holds the number, such as that beside None."""
    if get_origin(annotation) is Annotated:
        return annotation
    return next(a for a in get_args(annotation) if get_origin(a) is Annotated)


def edges(annotation: Any) -> tuple[list[Any], list[Any]]:
    """Values just inside and just outside of a range."""
    limits, whole = bounds(annotation), get_args(annotation)[0] is int
    inside, outside = [], [math.nan, math.inf, -math.inf, True, "many"]
    for key, away in (("ge", -1), ("gt", -1), ("le", 1), ("lt", 1)):
        if key in limits:
            limit = limits[key]
            step = away if whole else away * 1e-9 * max(1.0, abs(limit))
            beyond, within = limit + step, limit - step
            strict = key in ("gt", "lt")
            inside.append(within if strict else limit)
            outside.append(limit if strict else beyond)
    return inside, outside


CASES = [
    (kind, name, p.name)
    for kind in KINDS
    for name in NAMES[kind]
    for p in registry.describe(kind, name).parameters.values()
    if list(numbers(p.type))
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_declares_a_range_or_that_it_has_none(kind: str) -> None:
    bare = [
        f"{name}.{p.name}"
        for name in NAMES[kind]
        for p in registry.describe(kind, name).parameters.values()
        if not all(declared for _, declared in numbers(p.type))
    ]
    assert bare == []


@pytest.mark.parametrize("kind", KINDS)
def test_just_outside_is_refused_in_one_line_and_just_inside_is_taken(kind: str) -> None:
    checked = 0
    for of_kind, name, key in CASES:
        if of_kind != kind:
            continue
        entry = registry.describe(kind, name)
        annotation = ranged(entry.parameters[key].type)
        inside, outside = edges(annotation)
        part = registry.Entry(kind, name, "", "", "", {key: entry.parameters[key]})
        for value in outside:
            with pytest.raises(ConfigError, match=rf"{name}'?: {key} = .*; expected ") as caught:
                registry.check_parameters(part, {key: value}, "here")
            assert "\n" not in str(caught.value)
        for value in inside:
            assert registry.check_parameters(part, {key: value}, "here")[key] == value
            assert accepted(value, annotation) == value
        checked += 1
    assert checked or kind == "query"


ODD = [
    *({"method": {"name": "pebble", key: value}} for key, value in [
        ("segment_length", -3), ("members", 0), ("hidden", 0), ("temperature", 0), ("layers", -1),
        ("gamma", 5), ("reward_epochs", 0), ("tau", 0), ("batch_size", 0), ("reward_lr", -1),
        ("episodes_kept", 0), ("loss", {"name": "hinge", "margin": -1}), ("seed_steps", -1),
        ("loss", {"name": "robust", "eps": 0.5}), ("label_interval", 0), ("query_candidates", 0),
    ]),
    *({"teacher": {"name": name, key: value}} for name, key, value in [
        ("mistake", "eps", 1.5), ("myopic", "gamma", 0), ("stochastic", "beta", -1),
        ("skip", "eps", -0.1), ("composed", "gamma", 2),
    ]),
    {"env": {"name": "gridworld", "size": 1}}, {"env": {"name": "walker-walk", "action_repeat": 0}},
    {"env": {"name": "gridworld", "slip": 2}}, {"gpus": 1.5}, {"gpus": -1}, {"device": "gpu0"},
]  # fmt: skip
BANDIT_ODD = [
    *({"problem": {"name": name, key: value}} for name, key, value in [
        ("arithmetic", "K", 1), ("utility", "K", 0), ("arithmetic", "gap", 0.4),
        ("csv", "path", "nowhere.csv"), ("csv", "path", "one.csv"), ("csv", "path", "ragged.csv"),
        ("csv", "path", "words.csv"), ("corrupted", "matrix", "nowhere"), ("swirl", "K", 5),
    ]),
    *({"algorithm": {"name": name, key: value}} for name, key, value in [
        ("rucb", "alpha", 0), ("mdb", "base", {"name": "rucb", "alpha": -1}), ("mdb", "M", 0),
        ("ws-s", "beta", 1), ("sliding-window", "window", 0), ("doubler", "base", "rucb"),
    ]),
    {"repetitions": 0}, {"horizon": 0},
]  # fmt: skip


def test_algorithms_that_choose_by_features_say_so() -> None:
    """`plan` reads it, without importing the algorithm."""
    for name in registry.names("bandit"):
        needs = hasattr(registry.make("bandit", name), "features")
        assert registry.describe("bandit", name).meta.get("features", False) == needs, name


def test_a_problem_without_features_is_refused_for_them() -> None:
    block = {"kind": "bandit", "problem": ["hypercube"], "algorithm": "vacdb", "horizon": 100}
    assert suite.cells({"name": "t", "seeds": 1, "blocks": [block]})
    block["problem"] = ["hypercube", "cyclic"]
    with pytest.raises(ConfigError, match=r"vacdb chooses by .*, and problem cyclic has"):
        suite.cells({"name": "t", "seeds": 1, "blocks": [block]})


@pytest.mark.parametrize("changes", [*ODD, *BANDIT_ODD], ids=str)
def test_odd_values_are_refused_by_plan(changes: dict[str, Any], tmp_path) -> None:
    (tmp_path / "one.csv").write_text("0.5\n")
    (tmp_path / "ragged.csv").write_text("0.5,0.6\n0.4\n")
    (tmp_path / "words.csv").write_text("a,b\nc,d\n")
    block = {"kind": "online", "env": "pointmass", "method": "pebble", "steps": 4000, "labels": 40}
    if changes in BANDIT_ODD:
        block = {"kind": "bandit", "problem": "cyclic", "algorithm": "uniform", "horizon": 1000}
    with pytest.raises(ConfigError) as caught:
        suite.cells({"name": "t", "seeds": 1, "blocks": [block | changes]}, folder=tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("blocks.0")
