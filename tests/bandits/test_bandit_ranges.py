"""What an algorithm's parameters take is declared once: plan and plain Python say the same."""

import math

import pytest

from bandits.algorithms import create, names
from bandits.registry import BASE_BANDITS, make
from pbrl import registry
from pbrl.errors import ConfigError
from pbrl.registry.annotations import bounds, name_of

MADE = [("bandit", name) for name in names()] + [("base bandit", name) for name in BASE_BANDITS]
VALUES = [math.nan, math.inf, -math.inf, -1, 0, 0.5, 1, 2.5, 10**12, True, "x", None]


def refusal(call) -> str:
    """The error message of a call; "" if there is none."""
    try:
        call()
    except (ConfigError, ValueError) as error:
        return str(error)
    return ""


def test_every_number_declares_its_range():
    for kind, name in MADE:
        for p in registry.describe(kind, name).parameters.values():
            inner = getattr(p.type, "__origin__", p.type)
            assert inner not in (int, float) or bounds(p.type), f"{name}: {p.name}"


@pytest.mark.parametrize(("kind", "name"), MADE)
def test_plan_and_python_refuse_the_same_values_in_the_same_words(kind, name):
    entry = registry.describe(kind, name)
    for p in entry.parameters.values():
        for value in VALUES:
            given = {p.name: value}
            planned = refusal(lambda given=given: registry.check_parameters(entry, given, "here"))
            plain = refusal(
                lambda given=given: (
                    create(name, **given)
                    if kind == "bandit"
                    else make(kind, BASE_BANDITS, {"name": name, **given})
                )
            )
            if "hide changes" in plain:  # a condition on two parameters together
                continue
            assert bool(plain) == bool(planned), given
            if name_of(p.type) is None:
                assert plain.partition("expected")[2] == planned.partition("expected")[2], given
