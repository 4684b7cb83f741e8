"""What a Python file declares, read without running it, so that torch need not be imported.

A name is followed to where it is bound: an assignment, a class, or an import, from another of our
files or from one of the few modules that import in no time. What lies in any other module is only
known by name (`Foreign`). An expression that needs more than that is refused with file and line.
"""

import ast
import builtins
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from annotated_types import Interval

from pbrl.errors import PluginError

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = ("pbrl", "bandits", "envs")
# Imported as they are. Everything else that is ours is read, and what is not ours is `Foreign`.
LIGHT = {
    *("typing", "collections.abc", "math", "pathlib", "annotated_types"),
    *("pbrl.registry", "bandits.registry", "envs.registry"),
}
BOUNDS = {"gt", "ge", "lt", "le"}


class Foreign:
    """Something of a module that is not imported here: known by its name alone."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def __getattr__(self, attribute: str) -> "Foreign":
        return Foreign(f"{self.name}.{attribute}")

    def __getitem__(self, _: Any) -> "Foreign":
        return self

    def __or__(self, _: Any) -> "Foreign":
        return self

    __ror__ = __or__

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if self.name == "pydantic.Field":  # imported for this alone: it takes long
            return importlib.import_module("pydantic").Field(*arguments, **keywords)
        return _bounds(self.name, *arguments, **keywords)


def _bounds(name: str, *arguments: Any, **keywords: Any) -> Interval:
    """A call with the keywords of a range is one, whatever the class is called."""
    if arguments or not keywords or not keywords.keys() <= BOUNDS:
        raise TypeError(f"{name}(...) would have to be run")
    return Interval(**keywords)


@dataclass(frozen=True)
class Class:
    """A class statement and the file it stands in."""

    node: ast.ClassDef
    file: "File"

    def __call__(self, *arguments: Any, **keywords: Any) -> Interval:
        own = {node.target.id for node, _ in documented(self.node) if _is_field(node)}
        if own and own <= BOUNDS and not arguments and not keywords:
            return Interval()  # a range without limits
        return _bounds(self.node.name, *arguments, **keywords)


@dataclass(frozen=True)
class Function:
    """A function statement and the file it stands in."""

    node: ast.FunctionDef
    file: "File"


@dataclass(frozen=True)
class _Module:
    """One of our modules, as the value of a name: its attributes are what its file binds."""

    file: "File"

    def __getattr__(self, name: str) -> Any:
        return self.file[name]


class File:
    """The names that a file binds at its top level, each evaluated when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.bound = dict(_bindings(self.tree.body))

    def __getitem__(self, name: str) -> Any:
        """The value of a name: the mapping that `value` evaluates expressions in."""
        bound = self.bound.get(name)
        if isinstance(bound, ast.ClassDef):
            return Class(bound, self)
        if isinstance(bound, ast.FunctionDef):
            return Function(bound, self)
        if isinstance(bound, ast.Import):
            (alias,) = [a for a in bound.names if (a.asname or a.name.partition(".")[0]) == name]
            return _module(alias.name if alias.asname else name)
        if isinstance(bound, ast.ImportFrom):
            (alias,) = [a for a in bound.names if (a.asname or a.name) == name]
            return _attribute(self._absolute(bound), alias.name)
        if bound is not None:
            return self.value(bound)
        if hasattr(builtins, name):
            return getattr(builtins, name)
        raise NameError(f"{name!r} is not bound in this file")

    def value(self, node: ast.expr) -> Any:
        """The value of an expression; PluginError with file and line when it cannot be read."""
        try:
            code = compile(ast.Expression(node), str(self.path), "eval")
            return eval(code, {"__builtins__": {}}, self)  # type: ignore[arg-type]
        except PluginError:
            raise
        except Exception as error:
            raise PluginError(
                f"{self.place(node)}: cannot read {ast.unparse(node)} without running the file "
                f"({error}); expected a literal, a type, or a name for one"
            ) from None

    def type(self, node: ast.expr | None) -> Any:
        """The value of an annotation, also one written as text; Any where there is none."""
        if node is None:
            return Any
        found = self.value(node)
        if isinstance(found, str):
            found = self.value(ast.parse(found, mode="eval").body)
        return found

    def place(self, node: ast.AST) -> str:
        """file:line of a node, for messages."""
        shown = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f"{shown}:{getattr(node, 'lineno', '?')}"

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        folder = self.path.parents[node.level - 1].relative_to(ROOT)
        return ".".join([*folder.parts, *([node.module] if node.module else [])])


@cache
def read(path: Path) -> File:
    """The parsed file, once a process."""
    return File(path)


def _bindings(body: list[ast.stmt]) -> Iterator[tuple[str, Any]]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.Import):
            yield from ((a.asname or a.name.partition(".")[0], node) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((a.asname or a.name, node) for a in node.names)
        elif isinstance(node, ast.Assign):
            yield from ((t.id, node.value) for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name):
            yield node.target.id, node.value
        elif isinstance(node, ast.If):  # such as `if TYPE_CHECKING:`
            yield from _bindings([*node.body, *node.orelse])


def _module(name: str) -> Any:
    if name in LIGHT:
        return importlib.import_module(name)
    if name.partition(".")[0] in OURS:
        place = ROOT.joinpath(*name.split("."))
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        return _Module(read(file))
    return Foreign(name)


def _attribute(module: str, name: str) -> Any:
    """What `from module import name` binds."""
    inner = f"{module}.{name}"
    place = ROOT.joinpath(*inner.split("."))
    ours = module.partition(".")[0] in OURS
    if inner in LIGHT or (ours and (place.with_suffix(".py").is_file() or place.is_dir())):
        return _module(inner)
    return getattr(_module(module), name)


# --- what classes and functions take ------------------------------------------------------------


def bases(cls: Class) -> list[Class]:
    """The class and those of ours it inherits from, in the order Python looks for attributes."""
    shadows: dict[int, type] = {}
    found: dict[type, Class] = {}

    def shadow(one: Class) -> type:
        if id(one.node) not in shadows:
            above = [one.file.value(node) for node in one.node.bases]
            ours = tuple(shadow(base) for base in above if isinstance(base, Class))
            shadows[id(one.node)] = type(one.node.name, ours, {})
            found[shadows[id(one.node)]] = one
        return shadows[id(one.node)]

    return [found[one] for one in shadow(cls).__mro__ if one is not object]


def _refuse_unread_bases(cls: Class) -> None:
    for one in bases(cls):
        for node in one.node.bases:
            base = one.file.value(node)
            if isinstance(base, Foreign) and base.name != "pydantic.BaseModel":
                raise PluginError(
                    f"{one.file.place(node)}: class {one.node.name} inherits from {base}, whose "
                    "settings cannot be read without importing it; expected a class of ours, or "
                    "pydantic's BaseModel"
                )


@dataclass(frozen=True)
class Declared:
    """One annotated field or argument as written: type, default if there is one, sentence."""

    name: str
    annotation: ast.expr | None
    default: ast.expr | None
    doc: str
    file: File
    keyword_only: bool = False

    @property
    def place(self) -> str:
        return self.file.place(self.annotation or self.default or self.file.tree)


def fields(cls: Class) -> list[Declared]:
    """The annotated fields of a class and of its bases, as a dataclass or pydantic orders them."""
    _refuse_unread_bases(cls)
    found: dict[str, Declared] = {}
    for one in reversed(bases(cls)):
        for node, doc in documented(one.node):
            if _is_field(node):
                name = node.target.id
                if not name.startswith("_") and "ClassVar" not in ast.unparse(node.annotation):
                    found[name] = Declared(name, node.annotation, node.value, doc, one.file)
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name) and target.id in found:
                        raise PluginError(
                            f"{one.file.place(node)}: {target.id} of {one.node.name} changes a "
                            "default without repeating the type; expected "
                            f"{target.id}: type = value"
                        )
    return [*found.values()]


def _is_field(node: ast.stmt) -> Any:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)


def documented(cls: ast.ClassDef) -> Iterator[tuple[Any, str]]:
    """Each statement of a class with the text that stands under it, on one line."""
    for node, following in zip(cls.body, [*cls.body[1:], None], strict=True):
        value = following.value if isinstance(following, ast.Expr) else None
        text = value.value if isinstance(value, ast.Constant) else ""
        yield node, " ".join(text.split()) if isinstance(text, str) else ""


def method(cls: Class, name: str) -> Function | None:
    """The method of that name of a class or of the first of its bases that has it."""
    for one in bases(cls):
        for node in one.node.body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return Function(node, one.file)
    _refuse_unread_bases(cls)
    return None


def arguments(function: Function) -> list[Declared]:
    """The named arguments of a function, without `self`, those after `*` last."""
    args = function.node.args
    plain = args.posonlyargs + args.args
    missing: list[ast.expr | None] = [None] * (len(plain) - len(args.defaults))
    pairs = zip(plain, [*missing, *args.defaults], strict=True)
    given = [
        Declared(a.arg, a.annotation, default, "", function.file)
        for a, default in pairs
        if a.arg not in ("self", "cls")
    ]
    return given + [
        Declared(a.arg, a.annotation, default, "", function.file, keyword_only=True)
        for a, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
    ]
