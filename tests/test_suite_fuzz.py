"""Thousands of broken suites: each is answered at once, by one clear message or by cells that run.

What `plan` accepts, a cell must accept too: every different method, teacher, environment, problem
and algorithm of an accepted suite is made.
"""

import copy
import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pbrl import registry, suite
from pbrl.errors import ConfigError, PbrlError
from pbrl.suites import shipped, text

MUTANTS = 5_000
README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SOURCES = [file.read_text(encoding="utf-8") for file in shipped().values()]
SOURCES += re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
SOURCES.append(
    """
name: all
seeds: 2
blocks:
  - kind: online
    env: [{name: gridworld, size: 4, slip: 0.2}, hopper-v5, pendulum]
    method:
      - {name: pebble, gamma: 0.9, members: 3, query: kcenter, loss: {name: robust, eps: 0.1}}
      - {name: reed, variant: contrast, sfc_temperature: 0.5, hidden: 32, layers: 1}
      - {name: sac, batch_size: 32, temperature: 0.2, seed_steps: 100}
    teacher: [{name: composed, gamma: 0.9, beta: 2.0, eps_mistake: 0.1}, {name: skip, eps: 0.2}]
    steps: 9000
    labels: 60
  - kind: bandit
    problem: [{name: utility, K: 5, link: logit, scale: 0.5}, {name: arithmetic, K: 6, gap: 0.05}]
    algorithm:
      - {name: mdb, base: {name: rucb, alpha: 1.0}, M: 5, delta: 0.5}
      - {name: detect, base: btw, p_min: 0.6, eps: 0.1}
      - {name: sparring, base: {name: ucb, a: 2.0}}
    horizon: [1000, 2000]
    repetitions: 5
"""
)  # fmt: skip

VALUES: list[Any] = [
    *(0, 1, -1, 2, 3, 7, 100, 5000, 10**6, 10**10, 10**30, -(10**9)),
    *(0.0, 0.5, -0.5, 1.0, 1.5, 4.0, 1e-9, 1e-300, 1e300),
    *(float("nan"), float("inf"), -float("inf")),
    *(True, False, None, "", " ", "x", "sac", "oracle", "rucb", "1e5", "nan", "[bold]x[/bold]"),
    *("a\nb", "\x1b[31m", "\ud800", "é" * 50, "x" * 5000, "../..", "cuda", "gpu0", "cuda:99"),
    *([], {}, [[]], [1, 2], [0.1, 0.2], ["a"], {"name": 1}, {"name": "sac"}, {"name": "robust"}),
    *({"name": "mdb", "base": {"name": "mdb", "base": "ws-s"}}, [None], list(range(30))),
]  # fmt: skip


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    inner = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in inner if isinstance(content, dict | list) else ():
        found += places(value, (*path, key)) if isinstance(value, dict | list) else [(*path, key)]
    return found


def mutated(content: Any, rng: np.random.Generator) -> Any:
    """One to three changes: a value, a key dropped, doubled, misspelt, renamed or moved."""
    content = copy.deepcopy(content)
    for _ in range(rng.integers(1, 4)):
        at = places(content)
        if not at:
            break
        *above, last = at[rng.integers(len(at))]
        place = content
        for key in above:
            place = place[key]
        value = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
        what = rng.integers(8)
        if what < 4:
            place[last] = value
        elif what == 4:
            number = place[last]
            scaled = isinstance(number, int | float) and not isinstance(number, bool)
            place[last] = (
                number * rng.choice([-1, 0, 0.1, 10, 1.001]) if scaled else [number, value]
            )
            if isinstance(place[last], np.generic):
                place[last] = place[last].item()
        elif what == 5:
            del place[last]
        elif what == 6 and isinstance(place, dict):
            place[f"{last}x" if rng.random() < 0.5 else "label"] = value
        else:
            other = at[rng.integers(len(at))]
            source = content
            try:
                for key in other:
                    source = source[key]
                place[last] = copy.deepcopy(source)
            except (KeyError, IndexError, TypeError):
                place[last] = value
    return content


def scrambled(source: str, rng: np.random.Generator) -> str:
    """Characters and lines of a text dropped, doubled and replaced."""
    for _ in range(rng.integers(1, 5)):
        lines = source.splitlines()
        i = int(rng.integers(len(lines)))
        line = lines[i]
        j = int(rng.integers(len(line) + 1))
        lines[i] = (
            line[:j] + str(rng.choice([*":{}[]&*!|>'\"#-,? \t\x07\u202e0e9."])) + line[j + 1 :],
            line[:j] + line[j + 1 :],
            f"{line}\n{line}",
            "",
        )[rng.integers(4)]
        source = "\n".join(lines) or "x"
    return source


class Cells:
    """Makes what cells are made of, each thing once."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}

    def make(self, kind: str, config: dict[str, Any]) -> None:
        key = json.dumps([kind, {k: v for k, v in config.items() if k != "label"}], sort_keys=True)
        if key in self.made:
            return
        self.made[key] = kind
        name, parameters = registry.split(config)
        if kind == "method":
            registry.config_class(registry.resolve("method", name))(**parameters)
            for part in ("query", "loss"):
                if part in parameters:
                    registry.make(part, parameters[part])
        elif kind == "env":
            registry.resolve("env", name).resolve(parameters)
        else:
            registry.make(kind, config)

    def take(self, config: dict[str, Any]) -> None:
        for axis in ("env", "method", "teacher", "problem", "algorithm"):
            if config.get(axis) is not None:
                self.make("bandit" if axis == "algorithm" else axis, config[axis])


@pytest.mark.faults
@pytest.mark.filterwarnings("ignore")
def test_broken_suites_are_answered_at_once(tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(20260101)
    parsed = [yaml.safe_load(source) for source in SOURCES]
    cells, counts, slowest, longest = Cells(), Counter[str](), 0.0, 0
    for number in range(MUTANTS):
        which = number % len(SOURCES)
        began = time.process_time()
        shown: Any = None
        try:
            if number % 4 == 0:
                shown = scrambled(SOURCES[which], rng)
                content = text.parse(shown, "suite.yaml")
                if not isinstance(content, dict):
                    raise ConfigError("no mapping")
            else:
                shown = content = mutated(parsed[which], rng)
            found = suite.cells(content, folder=tmp_path)
        except PbrlError as error:
            counts["refused"] += 1
            message = str(error)
            assert message.count("\n") <= 1, (message, shown)
            longest = max(longest, len(message))
            assert len(message) <= 700, (message, shown)
            found = []
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error}\n{shown}") from error
        seconds = time.process_time() - began
        if len(found) <= 10_000:
            slowest = max(slowest, seconds)
            assert seconds < 2, (seconds, shown)
        counts["accepted"] += bool(found)
        for config in found:
            try:
                cells.take(config)
            except Exception as error:
                raise AssertionError(f"{type(error).__name__}: {error}\n{config}") from error
    with capsys.disabled():
        made = dict(Counter(cells.made.values()))
        print(f"\n{dict(counts)}, slowest {slowest:.2f} s, longest message {longest}, made {made}")
    assert counts["accepted"] > MUTANTS / 50
