"""Settings read from files that nothing imports: bases, aliases, ranges, and what is refused."""

from pathlib import Path

import pytest

from pbrl.errors import PluginError
from pbrl.registry import describing, source
from pbrl.registry.annotations import words

BASE = '''
from typing import Annotated, Literal
import torch
from annotated_types import Ge, Gt, Interval, Lt
from pydantic import BaseModel, Field

Positive = Annotated[float, Gt(0)]
WIDTH = 2**6
class Config(BaseModel):
    """Settings."""
    steps: Annotated[int, Ge(1)] = 5000
    "Environment steps."
    rate: Positive = 1e-3
    "Learning rate."
    hidden: int = WIDTH
    gamma: Annotated[float, Field(ge=0, lt=1, description="Discount.")] = 0.99
    tau: float = Field(0.01, gt=0, le=1, description="Step.")
    kind: Literal["a", "b"] = "a"
'''

CHILD = """
from typing import Annotated
from annotated_types import Interval
from base_of_test import Config as Base
import base_of_test as base
from base_of_test import Positive

class Config(Base):
    rate: "Positive" = 2e-3
    "Changed."
    members: Annotated[int, Interval(ge=1, le=9)] = 3
    own: base.Positive | None = None
"""


def file(tmp_path: Path, name: str, text: str) -> source.File:
    (tmp_path / f"{name}.py").write_text(text)
    return source.File(tmp_path / f"{name}.py")


@pytest.fixture
def ours(tmp_path: Path, monkeypatch) -> Path:
    """A folder whose modules are taken for ours."""
    monkeypatch.setattr(source, "ROOT", tmp_path)
    monkeypatch.setattr(source, "OURS", ("base_of_test", "pbrl", "bandits", "envs"))
    return tmp_path


def settings(cls: source.Class) -> dict[str, tuple[str, object, str]]:
    found = {}
    for declared in source.fields(cls):
        p = describing.parameter(declared)
        found[p.name] = (words(p.type), p.default, p.doc)
    return found


def test_inherited_settings_aliases_constants_and_ranges(ours: Path) -> None:
    file(ours, "base_of_test", BASE)
    found = settings(file(ours, "child", CHILD)["Config"])
    assert found == {
        "steps": ("a whole number of at least 1", 5000, "Environment steps."),
        "rate": ("a number over 0", 2e-3, "Changed."),
        "hidden": ("a whole number", 64, ""),
        "gamma": ("a number in [0, 1)", 0.99, "Discount."),
        "tau": ("a number in (0, 1]", 0.01, "Step."),
        "kind": ("one of 'a', 'b'", "a", ""),
        "members": ("a whole number in [1, 9]", 3, ""),
        "own": ("a number over 0 or null", None, ""),
    }


def test_the_same_as_pydantic_sees(ours: Path, monkeypatch) -> None:
    """The two files above, imported."""
    monkeypatch.syspath_prepend(str(ours))
    file(ours, "base_of_test", BASE)
    read = settings(file(ours, "child_of_test", CHILD)["Config"])
    import importlib

    config = importlib.import_module("child_of_test").Config
    seen = {p.name: (p.expected, p.default, p.doc) for p in describing.of_config(config)}
    assert seen == read
    assert [*seen] == [*read]


def test_a_range_of_any_name_by_keywords_is_read(tmp_path: Path) -> None:
    head = "from elsewhere import Range\nfrom typing import Annotated\n"
    read = file(tmp_path, "ranges", f"{head}kind = Annotated[float, Range(gt=0)]")
    assert words(read["kind"]) == "a number over 0"


REFUSED = [
    ("x: Unknown = 1", "NAME.py:5: cannot read Unknown .*'Unknown' is not bound in this file"),
    ("x: float = numpy.array(1)", r"NAME.py:5: cannot read numpy.array\(1\) without running"),
    (
        "x: numpy.ndarray = None",
        r"NAME.py:5: the type of x, numpy.ndarray, cannot be given in a suite",
    ),
    ("x: Annotated[float, numpy.Range(0)] = 1", r"numpy.Range\(...\) would have to be run"),
]


@pytest.mark.parametrize(("line", "message"), REFUSED, ids=[line for line, _ in REFUSED])
def test_what_cannot_be_read_is_refused_with_file_and_line(line, message, tmp_path) -> None:
    head = "import numpy\nfrom pydantic import BaseModel\nfrom typing import Annotated\n"
    text = f"{head}class Config(BaseModel):\n    {line}\n"
    with pytest.raises(PluginError, match=message.replace("NAME", "refused")):
        settings(file(tmp_path, "refused", text)["Config"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "class Config(torch.nn.Module):\n    x: int = 1",
            r"odd.py:4: class Config inherits from torch.nn.Module",
        ),
        (
            "class A(BaseModel):\n    x: int = 1\nclass Config(A):\n    x = 2",
            r"odd.py:7: x of Config changes a default",
        ),
    ],
)
def test_bases_that_hide_settings_are_refused(body: str, message: str, tmp_path: Path) -> None:
    text = f"import torch\nfrom pydantic import BaseModel\n\n{body}\n"
    with pytest.raises(PluginError, match=message):
        settings(file(tmp_path, "odd", text)["Config"])
