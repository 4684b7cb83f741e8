"""What a problem's parameters take is declared once: plan and plain Python say the same."""

import math
from pathlib import Path

import pytest

from pbrl import registry
from pbrl.errors import ConfigError
from pbrl.registry.annotations import bounds

VALUES = [math.nan, math.inf, -math.inf, -1, 0, 0.25, 0.5, 1, 2.5, 3, 10**12, True, "x", None]
# Conditions on two parameters together, and what another parameter or the file has to be.
TOGETHER = ("make p =", "expected gap <=", "linear link", "not random", "p_min <= p_max",
            "leaves none", "lower delta", "at least 3 arms", "with fit")  # fmt: skip


def refusal(call) -> str:
    """The error message of a call; "" if there is none."""
    try:
        call()
    except (ConfigError, ValueError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", registry.names("problem"))
def test_plan_and_python_refuse_the_same_values_in_the_same_words(name, tmp_path):
    make, entry = registry.resolve("problem", name), registry.describe("problem", name)
    file = tmp_path / "file.csv"
    file.write_text("a,b,1\nb,a,1\n" if name == "battles" else "0.5,0.7\n0.3,0.5\n")
    needed = {"path": file} if "path" in entry.parameters else {}
    for p in entry.parameters.values():
        if p.type is Path:
            continue
        for value in VALUES:
            if value == 10**12 and p.name in ("K", "blocks", "segments", "cycles"):
                continue  # taken, but no memory would do
            given = needed | {p.name: value}
            planned = refusal(lambda given=given: registry.check_parameters(entry, given, "here"))
            plain = refusal(lambda given=given: make(**given))
            if any(words in plain for words in TOGETHER):
                continue
            assert plain.partition("expected")[2] == planned.partition("expected")[2], given


@pytest.mark.parametrize("name", registry.names("problem"))
def test_every_number_of_a_problem_declares_its_range(name):
    for p in registry.describe("problem", name).parameters.values():
        inner = getattr(p.type, "__origin__", p.type)
        assert inner not in (int, float) or bounds(p.type), p.name
