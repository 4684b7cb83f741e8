"""Names of everything that can stand in a suite, found without importing what they need.

A built-in and a plug-in use the same door: a decorator over a class or function. Built-ins are
found by reading the source of their folder (so listing and planning never import torch); plug-ins
by importing the user's file or an installed package's entry point.
"""

import ast
import importlib
import importlib.metadata
import importlib.util
import inspect
import math
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from bandits.registry import ALGORITHMS, BASE_BANDITS, PROBLEMS, Names, algorithm, problem
from envs.registry import ENVS, REQUIRED, env
from pbrl.errors import ConfigError, PluginError, did_you_mean

ROOT = Path(__file__).resolve().parent.parent

# kind -> (where built-ins live, the decorator that marks them there, entry-point group)
KINDS: dict[str, tuple[str, str, str]] = {
    "env": ("envs", "env", "pbrl.envs"),
    "teacher": ("pbrl/teachers", "teacher", "pbrl.teachers"),
    "method": ("pbrl/methods", "method", "pbrl.methods"),
    "query": ("pbrl/queries.py", "query", "pbrl.queries"),
    "loss": ("pbrl/losses", "loss", "pbrl.losses"),
    "bandit": ("bandits/algorithms", "algorithm", "pbrl.bandits"),
    "problem": ("bandits/problems", "problem", "pbrl.problems"),
}
# What only a parameter can name: the ordinary bandits that reductions drive.
INNER = {"base bandit": ("bandits/base_bandits.py", "base_bandit", "pbrl.base_bandits")}

_REGISTERED: dict[str, dict[str, Any]] = {
    "env": ENVS,
    "teacher": {},
    "method": {},
    "query": {},
    "bandit": ALGORITHMS,
    "base bandit": BASE_BANDITS,
    "problem": PROBLEMS,
    "loss": {},  # the loss core keeps its own names; they are seen here once it is imported
}


@dataclass(frozen=True)
class Parameter:
    """One setting: its type and default as written, and the sentence under it."""

    name: str
    type: Any
    default: Any
    doc: str = ""


@dataclass(frozen=True)
class Entry:
    """What can be said about a registered name without running it."""

    kind: str
    name: str
    summary: str
    origin: str
    parameters: dict[str, Parameter] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


def _decorator(kind: str, name: str, **meta: Any) -> Callable[[Any], Any]:
    def register(obj: Any) -> Any:
        previous = _REGISTERED[kind].get(name)
        if previous is not None and previous.__module__ != obj.__module__:
            raise PluginError(
                f"{kind} {name!r} of {obj.__module__} is already registered by "
                f"{previous.__module__}; choose another name"
            )
        obj.meta = meta
        _REGISTERED[kind][name] = obj
        return obj

    return register


def loss(name: str, *, kind: str = "pair", paper: str = "") -> Callable[[Any], Any]:
    """Register a loss; the loss core itself imports nothing of ours, so it keeps the names."""
    return _loss_core().loss(name, kind=kind, paper=paper)


def _loss_core() -> Any:
    core = importlib.import_module("pbrl.losses.registry")
    _REGISTERED["loss"] = core.LOSSES
    return core


teacher = partial(_decorator, "teacher")
method = partial(_decorator, "method")
query = partial(_decorator, "query")
bandit = algorithm
__all__ = ["bandit", "env", "loss", "method", "problem", "query", "teacher"]


@contextmanager
def temporarily(kind: str, name: str, obj: Any) -> Iterator[None]:
    """Register an object for the duration of a block."""
    _REGISTERED[kind][name] = obj
    try:
        yield
    finally:
        del _REGISTERED[kind][name]


# --- finding built-ins by reading source --------------------------------------------------------


@cache
def _sources(kind: str) -> dict[str, Path]:
    """Built-in name -> file, by one regular expression over the kind's folder."""
    if kind == "env":
        return {}  # `envs` lists its own without importing a simulator
    folder, decorator, _ = (KINDS | INNER)[kind]
    place = ROOT / folder
    files = [place] if place.suffix == ".py" else sorted(place.rglob("*.py"))
    pattern = re.compile(rf'^(?:@(?:registry\.)?)?{decorator}\(\s*"([^"]+)"', re.MULTILINE)
    return {
        name: file
        for file in files
        if file.exists() and file.name != "registry.py"
        for name in pattern.findall(file.read_text(encoding="utf-8"))
    }


@cache
def _entry_points(kind: str) -> dict[str, importlib.metadata.EntryPoint]:
    return {e.name: e for e in importlib.metadata.entry_points(group=(KINDS | INNER)[kind][2])}


def names(kind: str) -> list[str]:
    """All names of a kind: built-ins, imported plug-ins, entry points."""
    return sorted({*_sources(kind), *_REGISTERED[kind], *_entry_points(kind)})


@cache
def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def describe(kind: str, name: str) -> Entry:
    """Summary and parameters of a name; a built-in is read from its source, not imported.

    Raises ConfigError for an unknown name and PluginError for one that does not import.
    """
    if kind == "env":
        return _describe_env(resolve(kind, name))
    if kind in _REGISTERED and name in _REGISTERED[kind] and name not in _sources(kind):
        return _describe_object(kind, name, _REGISTERED[kind][name])
    if name in _sources(kind):
        return _describe_source(kind, name, _sources(kind)[name])
    if name in _entry_points(kind):
        return _describe_object(kind, name, resolve(kind, name))
    raise _unknown(kind, name)


def _unknown(kind: str, name: str) -> ConfigError:
    hint = did_you_mean(name, names(kind))
    return ConfigError(f"unknown {kind} {name!r}; {hint} (a plug-in's needs --plugin FILE)")


def resolve(kind: str, name: str) -> Any:
    """The registered object itself, importing its module.

    Raises ConfigError for an unknown name and PluginError for one that does not import.
    """
    if kind == "loss":
        _loss_core()
    if name not in _REGISTERED[kind]:
        if name in _sources(kind):
            file = _sources(kind)[name].relative_to(ROOT).with_suffix("")
            importlib.import_module(".".join(file.parts).removesuffix(".__init__"))
        elif name in _entry_points(kind):
            point = _entry_points(kind)[name]
            try:
                _REGISTERED[kind].setdefault(name, point.load())
            except Exception as error:
                raise PluginError(
                    f"{kind} {name!r} ({point.value}) does not import: {error!r}"
                ) from error
            source = getattr(sys.modules.get(_REGISTERED[kind][name].__module__), "__file__", None)
            if source is not None:
                _PLUGINS.setdefault(source, sha256(Path(source).read_bytes()).hexdigest())
        else:
            raise _unknown(kind, name)
    return _REGISTERED[kind][name]


_PLUGINS: dict[str, str] = {}  # SHA-256 of each imported file of a plug-in, by its path


def plugins() -> dict[str, str]:
    """SHA-256 of every imported plug-in by its file's name (its path, where two share a name)."""
    files = Counter(Path(path).name for path in _PLUGINS)
    return {
        Path(path).name if files[Path(path).name] == 1 else path: digest
        for path, digest in _PLUGINS.items()
    }


def load_plugin(path: str | Path) -> dict[str, list[str]]:
    """Import a user's file; returns the names it registered by kind. A plug-in is code: it runs.

    Raises PluginError when the file is missing, fails to import or registers nothing.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise PluginError(f"plug-in {str(path)!r} is not a file; give a path to a .py file")
    module_name = f"pbrl_plugin_{file.stem}_{sha256(str(file).encode()).hexdigest()[:8]}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, file)
        if spec is None or spec.loader is None:
            raise PluginError(f"plug-in {str(path)!r} is not Python; give a path to a .py file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            # Not by the loader: it would take compiled code that is older than the file for a
            # second, and the digest must be that of the text that runs.
            text = file.read_bytes()
            _PLUGINS[str(file)] = sha256(text).hexdigest()
            exec(compile(text, str(file), "exec"), module.__dict__)
        except PluginError:
            del sys.modules[module_name]
            raise
        except BaseException as error:
            del sys.modules[module_name]
            frames = [
                f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)
            ]
            line = getattr(error, "lineno", None) or (frames[-1].lineno if frames else "?")
            raise PluginError(
                f"plug-in {path} does not import: line {line}: {type(error).__name__}: {error}"
            ) from error
    found = {kind: sorted(_names_from(module_name, kind)) for kind in _REGISTERED}
    found = {kind: names_ for kind, names_ in found.items() if names_}
    for kind, added in found.items():
        for name in {*added} & _sources(kind).keys():  # built-ins that nothing has imported yet
            del _REGISTERED[kind][name], sys.modules[module_name]
            raise PluginError(
                f"plug-in {path}: {kind} {name!r} is the name of a built-in in "
                f"{_sources(kind)[name].relative_to(ROOT)}; choose another name"
            )
    if not found:
        raise PluginError(
            f"plug-in {path} registers nothing; put a decorator such as "
            '@pbrl.registry.teacher("name") over a class or function'
        )
    return found


def _names_from(module_name: str, kind: str) -> set[str]:
    return {n for n, obj in _REGISTERED[kind].items() if obj.__module__ == module_name}


# --- describing ---------------------------------------------------------------------------------

_TYPES = {
    "Annotated": Annotated,
    "Any": Any,
    "Literal": Literal,
    "Names": Names,
    "Path": Path,
    "Sequence": Sequence,
}


def _describe_source(kind: str, name: str, file: Path) -> Entry:
    tree = _parse(file)
    node, call = _decorated(tree, (KINDS | INNER)[kind][1], name)
    meta = {
        k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg and _is_literal(k.value)
    }
    target = _config_class(tree, node) if kind == "method" else node
    summary = _first_sentence(ast.get_docstring(node) or ast.get_docstring(tree) or "")
    if kind == "method":
        summary = _first_sentence(ast.get_docstring(tree) or "")
    parameters = {p.name: p for p in _source_parameters(target, kind)}
    return Entry(kind, name, summary, str(file.relative_to(ROOT)), parameters, meta)


def _decorated(tree: ast.Module, decorator: str, name: str) -> tuple[Any, ast.Call]:
    for node in tree.body:
        for call in getattr(node, "decorator_list", []):
            if (
                isinstance(call, ast.Call)
                and ast.unparse(call.func).rpartition(".")[2] == decorator
                and isinstance(call.args[0], ast.Constant)
                and call.args[0].value == name
            ):
                return node, call
    raise ConfigError(f"{decorator} {name!r} is not over a top-level class or function")


def _config_class(tree: ast.Module, train: ast.FunctionDef) -> ast.ClassDef:
    wanted = ast.unparse(train.args.args[1].annotation) if train.args.args[1].annotation else ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == wanted:
            return node
    raise ConfigError(
        f"method needs train(run, cfg: Config) with Config in the same file: {wanted}"
    )


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def _source_parameters(node: Any, kind: str) -> list[Parameter]:
    if isinstance(node, ast.ClassDef):
        init = next((f for f in node.body if getattr(f, "name", "") == "__init__"), None)
        if init is None:
            return _field_parameters(node)
        node = init
    args = node.args
    plain = args.posonlyargs + args.args
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(args.defaults))
    pairs = [*zip(plain, defaults + args.defaults, strict=True)]
    # A query or a loss is called with data first; only its keyword-only arguments are settings.
    given = (
        [] if kind in ("query", "loss") else [p for p in pairs if p[0].arg not in ("self", "cls")]
    )
    given += [*zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    if kind == "query":
        given = [p for p in given if p[1] is not None]
    return [
        Parameter(
            a.arg,
            _evaluate(ast.unparse(a.annotation)) if a.annotation else Any,
            REQUIRED if d is None else ast.literal_eval(d),
        )
        for a, d in given
    ]


def _field_parameters(node: ast.ClassDef) -> list[Parameter]:
    found = []
    for i, statement in enumerate(node.body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            following = node.body[i + 1] if i + 1 < len(node.body) else None
            doc = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                doc = " ".join(str(following.value.value).split())
            default = REQUIRED if statement.value is None else ast.literal_eval(statement.value)
            kind = _evaluate(ast.unparse(statement.annotation))
            found.append(Parameter(statement.target.id, kind, default, doc))
    return found


def _evaluate(annotation: str) -> Any:
    """A type from its source text; the text is that of a shipped file, never of data."""
    try:
        return eval(annotation, {**_TYPES})
    except NameError:
        return Any


def config_class(train: Any) -> Any:
    """The pydantic Config that a method's train(run, cfg: Config) declares.

    Raises PluginError when there is none.
    """
    parameters = list(inspect.signature(train).parameters.values())
    found = parameters[1].annotation if len(parameters) == 2 else None
    if isinstance(found, str):
        found = getattr(sys.modules[train.__module__], found, None)
    if not hasattr(found, "model_fields"):
        raise PluginError(
            f"{train.__module__}.{train.__name__}: found {inspect.signature(train)}; expected "
            "train(run, cfg: Config) with Config a pydantic BaseModel of the same file"
        )
    return found


def _describe_env(spec: Any) -> Entry:
    parameters = {n: Parameter(n, kind, default) for n, (kind, default) in spec.parameters.items()}
    bounds = [b if math.isfinite(b) else None for b in spec.reward_range]
    meta = {"horizon": spec.horizon, "reward_range": bounds}
    return Entry("env", spec.name, spec.summary, spec.__module__, parameters, meta)


def _describe_object(kind: str, name: str, obj: Any) -> Entry:
    module = sys.modules.get(obj.__module__)
    summary = _first_sentence(inspect.getdoc(obj) or "")
    if kind == "method":
        target = config_class(obj)
        summary = summary or _first_sentence(inspect.getdoc(module) or "")
        parameters = {
            n: Parameter(n, f.annotation, _default(f), f.description or "")
            for n, f in target.model_fields.items()
        }
        meta = dict(getattr(obj, "meta", {}))
        return Entry(kind, name, summary, _origin(module), parameters, meta)
    skip = ("query", "loss")
    parameters = {
        p.name: Parameter(
            p.name,
            Any if p.annotation is p.empty else p.annotation,
            REQUIRED if p.default is p.empty else p.default,
        )
        for p in inspect.signature(obj).parameters.values()
        if p.kind is p.KEYWORD_ONLY or (kind not in skip and p.kind is p.POSITIONAL_OR_KEYWORD)
        if kind != "query" or p.default is not p.empty
    }
    return Entry(kind, name, summary, _origin(module), parameters, dict(getattr(obj, "meta", {})))


def _default(field_info: Any) -> Any:
    if field_info.is_required():
        return REQUIRED
    return field_info.get_default(call_default_factory=True)


def _origin(module: Any) -> str:
    return str(getattr(module, "__file__", "?"))


def _first_sentence(doc: str) -> str:
    return " ".join(doc.split("\n\n")[0].split())


def split(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and parameters of one axis of a cell's configuration, without its label."""
    return config["name"], {k: v for k, v in config.items() if k not in ("name", "label")}


def with_defaults(kind: str, name: str) -> Any:
    """The registered object, if it can be made without giving it anything; else ConfigError."""
    check_parameters(describe(kind, name), {}, "check")
    return resolve(kind, name)


# --- checking what a suite gives ----------------------------------------------------------------


def check_parameters(entry: Entry, given: dict[str, Any], where: str) -> dict[str, Any]:
    """`given` with every default filled in and every value of its declared type.

    Raises ConfigError naming `where`, the key, what was found and what is expected.
    """
    from pydantic import TypeAdapter, ValidationError

    for key in given:
        if key not in entry.parameters:
            hint = did_you_mean(key, entry.parameters) if entry.parameters else "it takes none"
            raise ConfigError(
                f"{where}: {entry.kind} {entry.name!r} has no parameter {key!r}; {hint}"
            )
    full = {}
    for p in entry.parameters.values():
        if p.name not in given:
            if p.default is REQUIRED:
                raise ConfigError(
                    f"{where}: {entry.kind} {entry.name!r} needs a value for {p.name!r}"
                )
            full[p.name] = reference(p, p.default, where)
            continue
        try:
            full[p.name] = TypeAdapter(p.type).validate_python(given[p.name])
            full[p.name] = reference(p, full[p.name], where)
        except ValidationError as error:
            raise ConfigError(
                f"{where}: {entry.kind} {entry.name!r}: {p.name} = {given[p.name]!r}; "
                f"expected {_type_name(p.type)} ({error.errors()[0]['msg'].lower()})"
            ) from None
    return full


def reference(p: Parameter, value: Any, where: str) -> Any:
    """The value of a parameter, filled in as {name: ..., parameter: value} if it is one that names.

    Raises ConfigError as `check_parameters` does.
    """
    kind = named_kind(p)
    if kind is None:
        return value
    given = {"name": value} if isinstance(value, str) else dict(value)
    where = f"{where}.{p.name}"
    if not isinstance(given.get("name"), str):
        raise ConfigError(f"{where}: found {value!r}; expected a name or {{name: ..., key: value}}")
    try:
        entry = describe(kind, given.pop("name"))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return {"name": entry.name, **check_parameters(entry, given, where)}


def named_kind(p: Parameter) -> str | None:
    """The kind of what a parameter names, such as the base of mdb; None if it names nothing."""
    return next((a.kind for a in get_args(p.type)[1:] if isinstance(a, Names)), None)


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
