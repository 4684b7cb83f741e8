"""What can be said about a name: its summary and its settings, their types, defaults and ranges.

A built-in is described from its source (`pbrl.registry.source`), anything imported from the object
itself; a test holds both against each other for every built-in.
"""

import ast
import inspect
import math
import sys
import textwrap
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from envs.registry import REQUIRED
from pbrl.errors import PluginError
from pbrl.registry import source
from pbrl.registry.annotations import is_data, limits, words
from pbrl.registry.finding import INNER, KINDS, REGISTERED, entry_points, resolve, sources, unknown

DATA_FIRST = ("query", "loss")  # called with data; only what stands after `*` is a setting


@dataclass(frozen=True)
class Parameter:
    """One setting: its type with its range, its default, and the sentence under it."""

    name: str
    type: Any
    default: Any
    doc: str = ""

    @property
    def range(self) -> str:
        """Its range in words or its choices, "" where it has neither."""
        return limits(self.type)

    @property
    def expected(self) -> str:
        """What it takes, in words."""
        return words(self.type)


@dataclass(frozen=True)
class Entry:
    """What can be said about a registered name without running it."""

    kind: str
    name: str
    summary: str
    more: str
    """the paragraphs after the summary"""
    origin: str
    parameters: dict[str, Parameter] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


def describe(kind: str, name: str) -> Entry:
    """Summary and settings of a name; a built-in is read from its source, not imported.

    Raises ConfigError for an unknown name and PluginError, with file and line, for one that does
    not import or has a setting that cannot be read.
    """
    if kind == "env":
        return _of_env(resolve(kind, name))
    if name in sources(kind):
        return of_source(kind, name)
    if name in REGISTERED[kind] or name in entry_points(kind):
        return of_object(kind, name, resolve(kind, name))
    raise unknown(kind, name)


def _of_env(spec: Any) -> Entry:
    parameters = {n: Parameter(n, kind, default) for n, (kind, default) in spec.parameters.items()}
    limits = [b if math.isfinite(b) else None for b in spec.reward_range]
    meta = {"horizon": spec.horizon, "reward_range": limits, "actions": spec.actions}
    return Entry("env", spec.name, spec.summary, "", spec.__module__, parameters, meta)


# --- from the source ----------------------------------------------------------------------------


@cache
def of_source(kind: str, name: str) -> Entry:
    """A built-in as its file declares it."""
    file = source.read(sources(kind)[name])
    node, call = _decorated(file, (KINDS | INNER)[kind][1], name)
    meta = {k.arg: file.value(k.value) for k in call.keywords if k.arg}
    doc = ast.get_docstring(node) or ast.get_docstring(file.tree) or ""
    if kind == "method":
        doc = ast.get_docstring(file.tree) or ""
    origin = str(file.path.relative_to(source.ROOT))
    found = [parameter(declared) for declared in _declared(kind, node, file)]
    return Entry(kind, name, *told(doc), origin, {p.name: p for p in found}, meta)


def _decorated(file: source.File, decorator: str, name: str) -> tuple[Any, ast.Call]:
    for node in file.tree.body:
        for call in getattr(node, "decorator_list", []):
            if (
                isinstance(call, ast.Call)
                and ast.unparse(call.func).rpartition(".")[2] == decorator
                and isinstance(call.args[0], ast.Constant)
                and call.args[0].value == name
            ):
                return node, call
    raise PluginError(
        f"{file.path}: {decorator} {name!r} is not over a class or function of the top level"
    )


def _declared(kind: str, node: Any, file: source.File) -> list[source.Declared]:
    """What a suite may set."""
    if kind == "method":
        return source.fields(_config(node, file))
    if isinstance(node, ast.ClassDef):
        cls = source.Class(node, file)
        made = source.method(cls, "__init__")
        return source.arguments(made) if made else source.fields(cls)
    found = source.arguments(source.Function(node, file))
    if kind not in DATA_FIRST:
        return found
    given = [d for d in found if d.keyword_only and (kind == "loss" or d.default is not None)]
    return [d for d in given if is_data(d.file.type(d.annotation))]


def _config(train: ast.FunctionDef, file: source.File) -> source.Class:
    annotation = train.args.args[1].annotation if len(train.args.args) == 2 else None
    found = file.type(annotation) if annotation else None
    if not isinstance(found, source.Class):
        raise PluginError(
            f"{file.place(train)}: found {train.name}({ast.unparse(train.args)}); expected "
            "train(run, cfg: Config) with Config a class of settings"
        )
    return found


def parameter(declared: source.Declared) -> Parameter:
    """A setting as it is written; PluginError, with file and line, when it cannot be read."""
    annotation = declared.file.type(declared.annotation)
    if not is_data(annotation):
        raise PluginError(
            f"{declared.place}: the type of {declared.name}, {annotation}, cannot be given in a "
            "suite; expected numbers, text, lists of them, or a name"
        )
    default = REQUIRED if declared.default is None else declared.file.value(declared.default)
    return _setting(declared.name, annotation, default, declared.doc)


def _setting(name: str, annotation: Any, default: Any, doc: str) -> Parameter:
    """With what a pydantic Field says, `x: int = Field(5, gt=0)` or `Annotated[int, Field(gt=0)]`.

    A Field gives default, marks of a range, and the sentence.
    """
    for mark in getattr(annotation, "__metadata__", ()):
        doc = getattr(mark, "description", None) or doc
    if hasattr(default, "is_required"):
        if default.metadata:
            annotation = Annotated[(annotation, *default.metadata)]
        doc = default.description or doc
        default = (
            REQUIRED if default.is_required() else default.get_default(call_default_factory=True)
        )
    return Parameter(name, annotation, default, doc)


# --- from the object ----------------------------------------------------------------------------


@cache
def of_object(kind: str, name: str, obj: Any) -> Entry:
    """Anything imported as the object itself declares it."""
    module = sys.modules.get(obj.__module__)
    doc = inspect.getdoc(obj) or ""
    if kind == "method":
        doc = (inspect.getdoc(module) or "") or doc
        found = of_config(config_class(obj))
    else:
        found = _of_signature(kind, obj)
    meta = dict(getattr(obj, "meta", {}))
    origin = str(getattr(module, "__file__", "?"))
    return Entry(kind, name, *told(doc), origin, {p.name: p for p in found}, meta)


def config_class(train: Any) -> Any:
    """The pydantic Config that a method's train(run, cfg: Config) declares.

    Raises PluginError when there is none.
    """
    parameters = list(inspect.signature(train).parameters.values())
    found = parameters[1].annotation if len(parameters) == 2 else None
    if isinstance(found, str):
        found = _evaluated(found, train, {})
    if not hasattr(found, "model_fields"):
        raise PluginError(
            f"{_place(train)}: found {train.__name__}{inspect.signature(train)}; expected "
            "train(run, cfg: Config) with Config a pydantic BaseModel"
        )
    return found


def of_config(config: Any) -> list[Parameter]:
    """The settings of an imported pydantic Config."""
    docs = _field_docs(config)
    return [
        _setting(name, f.annotation, f, docs.get(name, ""))
        for name, f in config.model_fields.items()
    ]


def _of_signature(kind: str, obj: Any) -> list[Parameter]:
    docs = _field_docs(obj) if inspect.isclass(obj) else {}
    found = []
    for p in inspect.signature(obj).parameters.values():
        wanted = p.kind is p.KEYWORD_ONLY
        if kind not in DATA_FIRST:
            wanted = wanted or p.kind is p.POSITIONAL_OR_KEYWORD
        if not wanted or (kind == "query" and p.default is p.empty):
            continue
        annotation = Any if p.annotation is p.empty else p.annotation
        if isinstance(annotation, str):
            annotation = _evaluated(annotation, obj, {"name": p.name})
        if not is_data(annotation):
            if kind in DATA_FIRST:
                continue
            raise PluginError(
                f"{_place(obj)}: the type of {p.name}, {annotation}, cannot be given in a suite; "
                "expected numbers, text, lists of them, or a name"
            )
        default = REQUIRED if p.default is p.empty else p.default
        found.append(_setting(p.name, annotation, default, docs.get(p.name, "")))
    return found


def _evaluated(annotation: str, obj: Any, of: dict[str, str]) -> Any:
    """An annotation written as text, in the module of the function or class."""
    try:
        return eval(annotation, vars(sys.modules[obj.__module__]))
    except Exception as error:
        raise PluginError(
            f"{_place(obj)}: cannot read the type {annotation!r} of {of.get('name', 'cfg')} "
            f"({error}); import what it names, or write the type itself"
        ) from None


def _place(obj: Any) -> str:
    try:
        file, (_, line) = inspect.getsourcefile(obj), inspect.getsourcelines(obj)
    except (OSError, TypeError):
        return f"{obj.__module__}.{obj.__name__}"
    shown = Path(file or "?")
    inside = shown.is_relative_to(source.ROOT)
    return f"{shown.relative_to(source.ROOT) if inside else shown}:{line}"


def _field_docs(cls: type) -> dict[str, str]:
    """The text under each field of a class and its bases, from their sources where there are any.

    A field written again without a text has none.
    """
    found: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        try:
            text = textwrap.dedent(inspect.getsource(one))
        except (OSError, TypeError):
            continue
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.ClassDef):
                for node, doc in source.documented(statement):
                    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                        found[node.target.id] = doc
    return found


def told(doc: str) -> tuple[str, str]:
    """The first paragraph of a docstring on one line, and the paragraphs after it, as they are."""
    first, _, rest = doc.partition("\n\n")
    return " ".join(first.split()), rest.strip()
