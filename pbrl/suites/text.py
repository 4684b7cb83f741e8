"""A suite as text: the file of a name, its YAML, and what `--set` changes in it.

YAML is read as its version 1.2 means numbers and truth (1e-3 is a number, `no` and dates are text).
Refused, with the line: a key given twice, text that a terminal would obey, keys that are no text,
and whatever is larger than any suite, such as an alias of aliases that stands for a billion values.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from pbrl.errors import ConfigError, did_you_mean, shown
from pbrl.suites import shipped
from pbrl.suites.blocks import BLOCKS, NAMED_AXES, Block, Head, keys

BYTES, VALUES, DEPTH = 2_000_000, 200_000, 40  # of one file; values count where they are repeated


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

    A key is `seeds`, `steps` (in every block that has it), a path such as `blocks.0.steps`, or
    `method.pebble.gamma`: a setting of everything on that axis with that name or label. Raises
    ConfigError when the file is missing, is not YAML, or a key does not exist.
    """
    path = find(source)
    try:
        if path.stat().st_size > BYTES:
            raise ConfigError(
                f"{path}: found {path.stat().st_size:,} bytes; expected a suite of at most "
                f"{BYTES:,}; write lists as axes of a block"
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a YAML suite: {error.reason}; save it as UTF-8") from None
    content = parse(text, str(path))
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise ConfigError(f"{path}: found {found}, expected keys name and blocks")
    for setting in settings:
        _apply(content, setting)
    return content


def parse(text: str, where: str) -> Any:
    """The value of a YAML text, of plain types; raises ConfigError with `where` and the line."""
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        reason = shown(getattr(error, "problem", None) or error, limit=200, lines=False)
        raise ConfigError(f"{where} is not a YAML suite:{place} {reason}") from None
    except (RecursionError, ValueError, OverflowError) as error:
        deep = isinstance(error, RecursionError)
        reason = "nested too deeply" if deep else shown(error, limit=200, lines=False)
        raise ConfigError(f"{where} is not a YAML suite: {reason}") from None
    finally:
        if loader is not None:
            loader.dispose()


def located(error: ConfigError, source: str) -> ConfigError:
    """The error with the file, and the line of what it names: `blocks.1.env.0` or less of that."""
    path = find(source)
    named = re.match(r"(?:suite\.)?[\w.-]+", str(error))
    loader = _Loader(path.read_text(encoding="utf-8"))
    try:
        place: Any = loader.get_single_node()
    finally:
        loader.dispose()
    line = place.start_mark.line
    for part in named[0].removeprefix("suite.").split(".") if named else ():
        pairs: list[Any] = []  # what leads on from here: the name, where it stands, what is there
        if isinstance(place, yaml.MappingNode):
            pairs = [(key.value, key, value) for key, value in place.value]
        elif isinstance(place, yaml.SequenceNode):
            pairs = [(str(number), value, value) for number, value in enumerate(place.value)]
        found = next(((at, inner) for name, at, inner in pairs if name == part), None)
        if found is None:
            break
        line, place = found[0].start_mark.line, found[1]
    return ConfigError(f"{path}, line {line + 1}: {error}")


class _Loader(yaml.SafeLoader):
    """YAML of plain values, numbers and truth as in YAML 1.2, no key twice."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, _ in node.value:
                if key.tag == "tag:yaml.org,2002:merge":
                    continue
                if key.tag != "tag:yaml.org,2002:str":
                    found = shown(key.value, limit=60, lines=False)
                    raise _refused(key, f"found the key {found}; expected text, quoted if need be")
                if key.value in seen:
                    raise _refused(key, f"the key {key.value!r} is there twice; remove one")
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_map(self, node: Any) -> Any:
        data: dict[Any, Any] = {}
        yield data
        data.update(self.construct_mapping(node))


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_yaml_map)
for _tag, _pattern, _first in (
    ("merge", r"<<", "<"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9_]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), list(_first)
    )


def _refused(node: Any, problem: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _measure(root: Any) -> None:
    """Refuse what stands for too many values, goes too deep or round in a circle, or is obeyed."""
    sizes: dict[int, tuple[int, int]] = {}
    open_: set[int] = set()

    def measure(node: Any) -> tuple[int, int]:
        if id(node) in open_:
            raise _refused(node, "an alias stands inside what it stands for")
        if id(node) not in sizes:
            open_.add(id(node))
            inner = []
            if isinstance(node, yaml.ScalarNode):
                if (safe := shown(node.value)) != node.value:
                    problem = f"{safe[:80]!r} holds characters that a terminal obeys; remove them"
                    raise _refused(node, problem)
            elif isinstance(node, yaml.MappingNode):
                inner = [measure(part) for pair in node.value for part in pair]
            else:
                inner = [measure(part) for part in node.value]
            size = 1 + sum(s for s, _ in inner)
            depth = 1 + max((d for _, d in inner), default=0)
            if size > VALUES:
                problem = f"stands for over {VALUES:,} values; expected fewer: split the suite"
                raise _refused(node, problem)
            if depth > DEPTH:
                raise _refused(node, f"nested over {DEPTH} levels deep; expected fewer")
            open_.discard(id(node))
            sizes[id(node)] = size, depth
        return sizes[id(node)]

    measure(root)


# --- settings of the command line ---------------------------------------------------------------


def _apply(content: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {setting!r}: expected KEY=VALUE, such as steps=5000")
    try:
        value = parse(text, "VALUE")
    except ConfigError:
        raise ConfigError(f"--set {setting!r}: {text!r} is not a YAML value") from None
    try:
        _assign(content, key, value)
    except ConfigError as error:
        raise ConfigError(f"--set {setting!r}: {error}") from None


def _assign(content: dict[str, Any], key: str, value: Any) -> None:
    found = content.get("blocks")
    blocks = [b for b in found if isinstance(b, dict)] if isinstance(found, list) else []
    first, *rest = key.split(".")
    if first in NAMED_AXES and len(rest) >= 2:
        _assign_by_name(blocks, first, rest, value)
    elif rest or first in keys(Head):
        _assign_at(content, [first, *rest], value)
    else:
        hits = [b for b in blocks if first in keys(BLOCKS.get(str(b.get("kind")), Block))]
        if not hits:
            known = {*keys(Head), *(k for b in BLOCKS.values() for k in keys(b))}
            raise ConfigError(f"no block has {first!r}; {did_you_mean(first, known)}")
        for block in hits:
            block[first] = value


def _assign_by_name(blocks: list[Any], axis: str, rest: list[str], value: Any) -> None:
    """`method.pebble.gamma`: everything on an axis that has this name or label."""
    wanted, *path = rest
    known, hits = set(), 0
    for block in blocks:
        values = block.get(axis, [])
        for place, one in enumerate(values if isinstance(values, list) else [values]):
            called = {one} if isinstance(one, str) else {one.get("name"), one.get("label")}
            known |= {c for c in called if isinstance(c, str)}
            if wanted in called:
                at = [axis, str(place)] if isinstance(values, list) else [axis]
                _assign_at(block, [*at, *path], value)
                hits += 1
    if not hits:
        raise ConfigError(f"no {axis} is called {wanted!r}; {did_you_mean(wanted, known)}")


def _assign_at(place: Any, path: list[str], value: Any) -> None:
    *above, last = path
    for part in above:
        inner = _inner(place, part)
        if isinstance(inner, str):  # a name alone takes parameters as {name: ..., key: value}
            inner = {"name": inner}
            place[int(part) if isinstance(place, list) else part] = inner
        elif isinstance(inner, dict | list):  # not what an alias of YAML shares with it
            inner = inner.copy()
            place[int(part) if isinstance(place, list) else part] = inner
        place = inner
    if isinstance(place, list):
        _inner(place, last)
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise ConfigError(f"the suite has no {last!r} there")


def _inner(place: Any, part: str) -> Any:
    if isinstance(place, list) and part.isdecimal() and int(part) < len(place):
        return place[int(part)]
    if isinstance(place, dict) and part in place:
        return place[part]
    raise ConfigError(f"the suite has no {part!r} there")
