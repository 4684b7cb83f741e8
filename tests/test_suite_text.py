"""A suite as text: what YAML allows and a suite does not, each refused at once and in one line."""

import re
import time
from pathlib import Path

import pytest
import yaml

from pbrl import suite
from pbrl.errors import ConfigError
from pbrl.suites import text

HEAD = "name: s\nseeds: 1\nblocks:\n"
BLOCK = "  - {kind: bandit, problem: six-rankers, algorithm: uniform, horizon: 100"
ONLINE = "  - {kind: online, env: pointmass, steps: 4000, labels: 40, method: "


def refused(content: str, tmp_path: Path, *settings: str) -> str:
    file = tmp_path / "s.yaml"
    file.write_text(content, encoding="utf-8", errors="surrogatepass")
    began = time.process_time()
    with pytest.raises(ConfigError) as caught:
        suite.cells(suite.read(str(file), settings=settings), folder=tmp_path)
    assert time.process_time() - began < 2
    message = str(caught.value)
    assert message.count("\n") <= 1
    assert len(message) < 600
    return message


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for n in range(1, levels):
        lines.append(f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]")
    return "\n".join(lines)


REFUSED = {
    "a key twice": (f"{HEAD}{BLOCK}, horizon: 5}}", "line 4.*key 'horizon' is there twice"),
    "a name twice": (f"name: t\n{HEAD}{BLOCK}}}", "line 2.*key 'name' is there twice"),
    "aliases of aliases": (bomb(9), "stands for over 200,000 values"),
    "merged aliases": (
        "a0: &a0 {k: 1}\n"
        + "\n".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9)),
        "stands for over 200,000 values",
    ),
    "in a circle": ("a: &a [*a]", "an alias stands inside what it stands for"),
    "a base in itself": (
        f"{HEAD}{BLOCK}, also: &a {{name: mdb, base: *a}}}}",
        "an alias stands inside what it stands for",
    ),
    "merged with itself": ("a: &a {<<: *a}", "an alias stands inside what it stands for"),
    "deep": ("a: " + "[" * 100 + "]" * 100, "nested over 40 levels deep"),
    "deeper": ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    "large": ("#" * 3_000_000, "3,000,000 bytes; expected a suite of at most 2,000,000"),
    "no text": (b"\xff\xfe\x00name".decode("latin-1"), "is not a YAML suite"),
    "a number for a key": (f"1: x\n{HEAD}{BLOCK}}}", "found the key 1; expected text"),
    "a list for a key": (f"? [a]\n: x\n{HEAD}{BLOCK}}}", "expected text|unhashable"),
    "a label of a number": (
        f"{HEAD}{ONLINE}{{name: sac, label: 3}}}}",
        "method.label: found 3; expected text: write it in quotes",
    ),
    "a label of a list": (
        f"{HEAD}{ONLINE}{{name: sac, label: [a]}}}}",
        r"found \['a'\]; expected text",
    ),
    "an empty label": (
        f"{HEAD}{ONLINE}{{name: sac, label: ' '}}}}",
        "expected one line of 1 to 80",
    ),
    "a long label": (
        f"{HEAD}{ONLINE}{{name: sac, label: {'x' * 99}}}}}",
        "expected one line of 1 to",
    ),
    "two lines": (f'{HEAD}{ONLINE}{{name: sac, label: "a\\nb"}}}}', "expected one line of 1 to 80"),
    "escape sequences": (
        f'{HEAD}{ONLINE}{{name: sac, label: "\\e[31mred"}}}}',
        "holds characters that a terminal obeys; remove them",
    ),
    "a surrogate": (
        f'{HEAD}{ONLINE}{{name: sac, label: "\\ud800"}}}}',
        "holds characters|not a YAML",
    ),
    "a description of a number": (
        f"description: 3\n{HEAD}{BLOCK}}}",
        "description: found 3; expected text",
    ),
    "nan": (f"{HEAD}{ONLINE}{{name: sac, gamma: .nan}}}}", r"gamma = \.nan; expected a number"),
    "infinity": (
        f"{HEAD}{ONLINE}{{name: sac, gamma: .inf}}}}",
        r"gamma = \.inf; expected a number",
    ),
    "infinite steps": (
        f"{HEAD}{BLOCK}, repetitions: .inf}}",
        r"repetitions: found \.inf; expected a whole",
    ),
    "infinite seeds": (
        f"name: s\nseeds: .inf\nblocks:\n{BLOCK}}}",
        r"suite.seeds: found \.inf; expected",
    ),
    "many seeds": (
        f"name: s\nseeds: 100000000\nblocks:\n{BLOCK}}}",
        "seeds: found 100000000; expected a whole number in",
    ),
    "many cells": (
        f"name: s\nseeds: 100000\nblocks:\n{ONLINE}sac}}".replace(
            "steps: 4000", f"steps: [{', '.join(map(str, range(100, 1100)))}]"
        ),
        "1,000 steps x 100,000 seeds make 100,000,000 cells; expected at most 100,000",
    ),
    "many values": (
        f"{HEAD}{ONLINE}{{name: sac, seed_steps: [{', '.join(map(str, range(400)))}], "
        f"batch_size: [{', '.join(map(str, range(1, 400)))}]}}}}",
        "400 seed_steps x 399 batch_size make 159,600 cells",
    ),
    "many steps": (
        f"{HEAD}{BLOCK.replace('100', '1e10')}}}",
        "horizon: found 10000000000.0; expected a",
    ),
    "many sessions": (
        f"{HEAD}{ONLINE}{{name: pebble, label_interval: 1, labels_per_session: 1, "
        "label_schedule: decay}}".replace("4000", "1e9"),
        r"label_interval = 1 makes 999,999,000 sessions; expected at most 10,000",
    ),
    "a truth for a number": (
        f"{HEAD}{BLOCK}, repetitions: true}}",
        "repetitions: found True; expected a whole",
    ),
    "a device": (
        f"{HEAD}{BLOCK}, device: gpu0}}",
        "device: found 'gpu0'; expected cpu, cuda, cuda:1 or mps",
    ),
    "half of three": (f"{HEAD}{BLOCK}, gpus: 2.5}}", "gpus: found 2.5; expected a share of one"),
    "blocks of text": (
        "name: s\nblocks: [a]",
        "blocks: found .*; expected a list, each keys and values",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_at_once_in_one_line(case: str, tmp_path: Path) -> None:
    content, message = REFUSED[case]
    found = refused(content, tmp_path)
    assert re.search(message, found), found


def test_what_yaml_may_say(tmp_path: Path) -> None:
    """Numbers and truth as in YAML 1.2, anchors, merges, markup as written, dates as text."""
    content = text.parse(
        "a: &x {k: 1e-3, n: 1_000, whole: 4e3, no: no, day: 2024-01-01, z: 010}\n"
        "b: {<<: *x, k: 2}\nc: '[bold]SAC[/bold]'\nd: [~, null, true, -.5, 5., .inf]\n",
        "here",
    )
    assert content["a"] == {
        "k": 1e-3, "n": 1000, "whole": 4e3, "no": "no", "day": "2024-01-01", "z": 10,
    }  # fmt: skip
    assert content["b"] == content["a"] | {"k": 2}
    assert content["c"] == "[bold]SAC[/bold]"
    assert content["d"] == [None, None, True, -0.5, 5.0, float("inf")]


def test_shipped_suites_read_as_before() -> None:
    for name, file in text.shipped().items():
        assert text.read(name) == yaml.safe_load(file.read_text())


def test_whole_numbers_may_be_written_as_floats(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"{HEAD}{BLOCK.replace('100', '1e3')}}}")
    (cell,) = suite.cells(suite.read(str(file)))
    assert cell["horizon"] == 1000
    assert isinstance(cell["horizon"], int)


SETTINGS = {
    "method.pebble.gamma=0.9": [0.9, 0.9, 0.99],
    "method.mine.gamma=0.9": [0.99, 0.9, 0.99],
    "blocks.0.method.0.gamma=0.9": [0.9, 0.99, 0.99],
    "blocks.0.method.1.gamma=0.9": [0.99, 0.9, 0.99],
    "method.sac.gamma=0.9": [0.99, 0.99, 0.9],
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_set_reaches_settings_of_methods(setting: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"{HEAD}{ONLINE}[pebble, {{name: pebble, label: mine, members: 4}}, sac]}}")
    cells = suite.cells(suite.read(str(file), settings=(setting,)))
    assert [c["method"]["gamma"] for c in cells] == SETTINGS[setting]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("method.peble.gamma=1", r"no method is called 'peble'; did you mean 'pebble'"),
        ("method.pebble.gamma=5", r"gamma = 5; expected a number in"),
        ("method.pebble.gama=0.5", r"no parameter 'gama'; did you mean 'gamma'"),
        ("blocks.0.method.7.gamma=1", r"the suite has no '7' there"),
        ("seeds=1\nname: x", r"is not a YAML value"),
        ("=5", r"expected KEY=VALUE"),
    ],
)
def test_settings_that_fit_nothing(setting: str, message: str, tmp_path: Path) -> None:
    found = refused(f"{HEAD}{ONLINE}[pebble, sac]}}", tmp_path, setting)
    assert re.search(message, found), found


def test_a_setting_of_one_block_leaves_what_an_alias_shares(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    block = "  - {kind: online, env: pointmass, steps: 4000, labels: 40, method: "
    file.write_text(
        f"{HEAD}{block}&m [{{name: sac, gamma: 0.5}}]}}\n{block.replace('4000', '5000')}*m}}"
    )
    cells = suite.cells(suite.read(str(file), settings=("blocks.0.method.0.gamma=0.7",)))
    assert [c["method"]["gamma"] for c in cells] == [0.7, 0.5]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("alpha: 0.6", "alfa: 0.6"), 9),  # a parameter of a name: the line of the name
        (("horizon: 20", "horizont: 20"), 10),
        (("kind: bandit", "kind: bandid"), 4),
        (("seeds: 2", "seeds: -2"), 2),
    ],
)
def test_an_error_is_told_with_its_line(change: tuple[str, str], line: int, tmp_path: Path) -> None:
    lines = [
        "name: told", "seeds: 2", "blocks:", "- kind: bandit", "  problem: six-rankers",
        "  algorithm:", "  - uniform", "  -", "    {name: rucb, alpha: 0.6}", "  horizon: 20",
    ]  # fmt: skip
    path = tmp_path / "told.yaml"
    path.write_text("\n".join(lines).replace(*change))
    with pytest.raises(ConfigError) as found:
        suite.cells(suite.read(str(path)))
    told = str(suite.located(found.value, str(path)))
    assert told == f"{path}, line {line}: {found.value}"
