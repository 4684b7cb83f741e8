"""Turn an algorithm written as a plain Python class into machine code.

    @algorithm("name")
    @compiled
    class Name:
        alpha: float = 0.51            # a parameter: annotated, with a literal default

        def start(self, K, T, rng):    # every attribute of the state is set here
            self.t = 0
            self.wins = np.zeros((K, K), np.int64)

`compiled` makes the class a dataclass of its parameters and marks it. On the first run `start` is
called once in Python to see the type of every attribute; these become the fields of a numba
structure, the methods are compiled for it, and the whole simulation loop is one compiled function.
An attribute keeps the type it has after `start` (write 0.0 for a float). Methods may call each
other, numba functions, and another algorithm held as an attribute (`self.base.choose(rng)`).
Attributes of type str, and the methods `check` and those with a leading double underscore, stay in
Python: use them to prepare parameters in `__post_init__` and to refuse bad input.
"""

import hashlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, dataclass_transform

import numpy as np
from numba import typeof, types
from numba.core.dispatcher import Dispatcher
from numba.extending import overload_method

from bandits.state import StateType, binding, maker, state_class

FOREIGN = {*sys.stdlib_module_names, "numpy", "numba"}
PYTHON_ONLY = ("check",)


@dataclass_transform(eq_default=False)
def compiled(cls: type) -> Any:
    """Mark an algorithm class as one that runs compiled, and make it a dataclass."""
    cls = dataclass(eq=False)(cls)
    cls.__compiled__ = True  # type: ignore[attr-defined]
    return cls


def is_compiled(algorithm: Any) -> bool:
    """Whether the algorithm's class carries `@compiled`, as do those of the algorithms it holds."""
    if not getattr(type(algorithm), "__compiled__", False):
        return False
    return all(is_compiled(held) for held in vars(algorithm).values() if hasattr(held, "start"))


def parameters(algorithm: Any) -> tuple[Any, ...]:
    """Values of the algorithm before `start`, nested like its structure, for the compiled loop."""
    values = ((name, getattr(algorithm, name)) for name in sorted(vars(algorithm)))
    return tuple(
        parameters(value) if is_compiled(value) else value
        for _, value in values
        if not isinstance(value, str)
    )


def builder(algorithm: Any, K: int, T: int) -> tuple[Callable[[Any], Any], StateType]:
    """(how compiled code makes the state from `parameters(algorithm)`, the state's numba type)."""
    sample = _copy(algorithm)
    sample.start(K, T, np.random.default_rng(0))  # only the types of its attributes are used
    state = _state(sample)
    return maker(state, _presets(algorithm)), state


def label(algorithm: Any) -> str:
    """Class names of the algorithm and those it holds: a file name for its compiled loop."""
    inner = [label(value) for _, value in sorted(vars(algorithm).items()) if is_compiled(value)]
    return "-".join((type(algorithm).__name__, *inner))


def sources(algorithm: Any, kind: Any) -> str:
    """Digest of the structure and of every source file that the compiled loop is made of.

    Empty when some of it has no file, as in a notebook: then nothing can be cached.
    """
    modules = {"bandits.rng", "bandits.simulate", "bandits.state", __name__} | _modules(algorithm)
    pending = list(modules)
    while pending:
        for value in vars(sys.modules[pending.pop()]).values():
            if isinstance(value, FunctionType | Dispatcher):
                module = value.__module__
                if module.partition(".")[0] not in FOREIGN and module not in modules:
                    modules.add(module)
                    pending.append(module)
    digest = hashlib.sha256(str(kind).encode())
    for module in sorted(modules):
        file = getattr(sys.modules[module], "__file__", None)
        if file is None:
            return ""
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:16]


def _modules(algorithm: Any) -> set[str]:
    found = {cls.__module__ for cls in type(algorithm).__mro__ if cls is not object}
    for value in vars(algorithm).values():
        if is_compiled(value):
            found |= _modules(value)
    return found


def _copy(algorithm: Any) -> Any:
    copy = object.__new__(type(algorithm))
    for name, value in vars(algorithm).items():
        setattr(copy, name, _copy(value) if is_compiled(value) else value)
    return copy


_TYPES: dict[type, type[StateType]] = {}


def _state_class(cls: type) -> type[StateType]:
    """The numba type class of an algorithm class, its methods attached."""
    if cls not in _TYPES:
        _TYPES[cls] = kind = state_class(f"{cls.__name__}State")
        for name, method in inspect.getmembers(cls, inspect.isfunction):
            if not name.startswith("__") and name not in (*PYTHON_ONLY, "start"):
                attach(kind, name, method)
        # start is the one method that may bind arrays, so it runs on another view of the state.
        attach(kind, "bind_and_start", cls.start)  # type: ignore[attr-defined]
        attach(kind, "start", _start)
    return _TYPES[cls]


def _start(self: Any, *arguments: Any) -> None:
    binding(self).bind_and_start(*arguments)  # type: ignore[call-arg]


def attach(kind: type[types.Type], name: str, method: Any) -> None:
    """Make a Python function the method `name` of a numba type, without its annotations.

    Numba compares the annotations of a method with those of its typing function.
    """
    bare = FunctionType(method.__code__, method.__globals__, name, method.__defaults__)

    def typing(*arguments: Any) -> Any:
        return bare

    typing.__signature__ = inspect.signature(bare)  # type: ignore[attr-defined]
    options = {"error_model": "numpy"}
    overload_method(kind, name, jit_options=options)(typing)  # type: ignore[call-arg]


def _state(started: Any) -> StateType:
    fields = {
        name: _state(value) if is_compiled(value) else typeof(value)
        for name, value in sorted(vars(started).items())
        if not isinstance(value, str)
    }
    return _state_class(type(started))(fields)


def _presets(algorithm: Any) -> dict[str, Any]:
    return {
        name: _presets(value) if is_compiled(value) else None
        for name, value in sorted(vars(algorithm).items())
        if not isinstance(value, str)
    }
