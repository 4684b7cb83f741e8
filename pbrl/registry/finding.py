"""Names of everything that can stand in a suite, found without importing what they need.

A built-in and a plug-in use the same door: a decorator over a class or function. Built-ins are
found by reading the source of their folder (so listing and planning never import torch); plug-ins
by importing the user's file or an installed package's entry point.
"""

import difflib
import importlib
import importlib.metadata
import importlib.util
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from bandits.registry import ALGORITHMS, BASE_BANDITS, PROBLEMS
from envs.registry import ENVS, WORLDS
from pbrl.errors import ConfigError, PluginError, did_you_mean
from pbrl.registry.source import ROOT

# kind -> (where built-ins live, the decorator that marks them there, entry-point group)
KINDS: dict[str, tuple[str, str, str]] = {
    "env": ("envs", "env", "pbrl.envs"),
    "teacher": ("pbrl/teachers", "teacher", "pbrl.teachers"),
    "method": ("pbrl/methods", "method", "pbrl.methods"),
    "query": ("pbrl/queries.py", "query", "pbrl.queries"),
    "loss": ("pbrl/losses", "loss", "pbrl.losses"),
    "bandit": ("bandits/algorithms", "algorithm", "pbrl.bandits"),
    "problem": ("bandits/problems", "problem", "pbrl.problems"),
    "world": ("envs/tabular", "world", "pbrl.worlds"),
    "learner": ("pbrl/tabular", "learner", "pbrl.learners"),
}
# What only a parameter can name: the ordinary bandits that reductions drive.
INNER = {"base bandit": ("bandits/base_bandits.py", "base_bandit", "pbrl.base_bandits")}

REGISTERED: dict[str, dict[str, Any]] = {
    "env": ENVS,
    "teacher": {},
    "method": {},
    "query": {},
    "bandit": ALGORITHMS,
    "base bandit": BASE_BANDITS,
    "problem": PROBLEMS,
    "world": WORLDS,
    "learner": {},
    "loss": {},  # the loss core keeps its own names; they are seen here once it is imported
}


def _decorator(kind: str, name: str, **meta: Any) -> Callable[[Any], Any]:
    def register(obj: Any) -> Any:
        previous = REGISTERED[kind].get(name)
        if previous is not None and previous.__module__ != obj.__module__:
            raise PluginError(
                f"{kind} {name!r} of {obj.__module__} is already registered by "
                f"{previous.__module__}; choose another name"
            )
        obj.meta = meta
        REGISTERED[kind][name] = obj
        return obj

    return register


def loss(name: str, *, kind: str = "pair", paper: str = "") -> Callable[[Any], Any]:
    """Register a loss; the loss core itself imports nothing of ours, so it keeps the names."""
    return _loss_core().loss(name, kind=kind, paper=paper)


def _loss_core() -> Any:
    core = importlib.import_module("pbrl.losses.registry")
    REGISTERED["loss"] = core.LOSSES
    return core


teacher = partial(_decorator, "teacher")
method = partial(_decorator, "method")
query = partial(_decorator, "query")
learner = partial(_decorator, "learner")


@contextmanager
def temporarily(kind: str, name: str, obj: Any) -> Iterator[None]:
    """Register an object for the duration of a block."""
    REGISTERED[kind][name] = obj
    try:
        yield
    finally:
        del REGISTERED[kind][name]


# --- finding built-ins by reading source --------------------------------------------------------


@cache
def sources(kind: str) -> dict[str, Path]:
    """Built-in name -> file. `envs` lists its own without importing a simulator."""
    if kind == "env":
        return {}
    folder, decorator, _ = (KINDS | INNER)[kind]
    place = ROOT / folder
    files = [place] if place.suffix == ".py" else sorted(place.rglob("*.py"))
    return {n: f for f in files for n in names_in(f.read_text(encoding="utf-8"), decorator)}


LONG_TEXT = r'"""(?:\\.|[^\\])*?"""' + r"|'''(?:\\.|[^\\])*?'''"
SHORT_TEXT = r'"(?:\\.|[^"\\\n])*"' + r"|'(?:\\.|[^'\\\n])*'"
LEXEMES = re.compile(f"({LONG_TEXT})|{SHORT_TEXT}|#[^\\n]*", re.DOTALL)


def names_in(source: str, decorator: str) -> list[str]:
    """Names that a decorator gives in a source; one inside triple quotes is only talked of."""
    code = LEXEMES.sub(lambda found: "" if found[1] else found[0], source)
    return re.findall(rf'^@(?:\w+\.)*{decorator}\(\s*"([^"]+)"', code, re.MULTILINE)


_installed = cache(importlib.metadata.entry_points)  # reads a file of every installed package


@cache
def entry_points(kind: str) -> dict[str, importlib.metadata.EntryPoint]:
    return {e.name: e for e in _installed().select(group=(KINDS | INNER)[kind][2])}


def names(kind: str) -> list[str]:
    """All names of a kind: built-ins, imported plug-ins, entry points."""
    return sorted({*sources(kind), *REGISTERED[kind], *entry_points(kind)})


def unknown(kind: str, name: str) -> ConfigError:
    hint = did_you_mean(name, names(kind))
    return ConfigError(f"unknown {kind} {name!r}; {hint} (a plug-in's needs --plugin FILE)")


def resolve(kind: str, name: str) -> Any:
    """The registered object itself, importing its module.

    Raises ConfigError for an unknown name and PluginError for one that does not import.
    """
    if kind == "loss":
        _loss_core()
    if name not in REGISTERED[kind]:
        if name in sources(kind):
            file = sources(kind)[name].relative_to(ROOT).with_suffix("")
            importlib.import_module(".".join(file.parts).removesuffix(".__init__"))
        elif name in entry_points(kind):
            point = entry_points(kind)[name]
            try:
                REGISTERED[kind].setdefault(name, point.load())
            except Exception as error:
                raise PluginError(
                    f"{kind} {name!r} ({point.value}) does not import: {error!r}"
                ) from error
            source = getattr(sys.modules.get(REGISTERED[kind][name].__module__), "__file__", None)
            if source is not None:
                _PLUGINS.setdefault(source, sha256(Path(source).read_bytes()).hexdigest())
        else:
            raise unknown(kind, name)
    return REGISTERED[kind][name]


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
        near = difflib.get_close_matches(file.name, [p.name for p in file.parent.glob("*.py")], 1)
        hint = f"did you mean {near[0]!r}?" if near else "give a path to a .py file"
        raise PluginError(f"plug-in {str(path)!r} is not a file; {hint}")
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
    found = {kind: sorted(_names_from(module_name, kind)) for kind in REGISTERED}
    found = {kind: names_ for kind, names_ in found.items() if names_}
    for kind, added in found.items():
        for name in {*added} & sources(kind).keys():  # built-ins that nothing has imported yet
            del REGISTERED[kind][name], sys.modules[module_name]
            raise PluginError(
                f"plug-in {path}: {kind} {name!r} is the name of a built-in in "
                f"{sources(kind)[name].relative_to(ROOT)}; choose another name"
            )
    if not found:
        raise PluginError(
            f"plug-in {path} registers nothing; put a decorator such as "
            '@pbrl.registry.teacher("name") over a class or function'
        )
    return found


def _names_from(module_name: str, kind: str) -> set[str]:
    return {n for n, obj in REGISTERED[kind].items() if obj.__module__ == module_name}
