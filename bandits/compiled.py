"""Turn an algorithm written as a plain Python class into machine code: all compiling is here.

    @algorithm("name")
    @compiled
    class Name:
        alpha: Annotated[float, Gt(0.5)] = 0.51    # a parameter: its range, a literal default

        def start(self, K, T, rng):                # every attribute of the state is set here
            self.t = 0
            self.wins = np.zeros((K, K), np.int64)

`compiled` makes the class a dataclass of its parameters and marks it. On the first run `start` is
called once in Python to see the type of every attribute; these become the fields of a numba
structure, the methods are compiled for it, and the whole simulation loop is one compiled function.
An attribute keeps the type it has after `start` (write 0.0 for a float). Methods may call each
other, numba functions, and another algorithm held as an attribute (`self.base.choose(rng)`).
Attributes of type str and dict, the method `check` and methods with two leading underscores stay
in Python: use them to prepare parameters in `__post_init__` and to refuse bad input.

Numba's own ways to compile such a class were measured to cost more, in nanoseconds per duel:

    this module        49
    structref          70
    jitclass           78
    plain functions   126

Structref counts references on every access to an array field, which costs more than the duel
itself. Here a state is a pointer to a structure on the stack of the simulation loop. It owns its
arrays; reading one yields a view that is not counted. That is safe because arrays are bound in
`start` only (anywhere else it is a compile error; their contents may change anywhere), and because
`release` frees them when the loop ends.
"""

import hashlib
import inspect
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, dataclass_transform

import numpy as np
from llvmlite import ir
from numba import njit, typeof, types
from numba.core import cgutils
from numba.core.dispatcher import Dispatcher
from numba.core.errors import NumbaTypeError
from numba.core.imputils import lower_getattr_generic, lower_setattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, models, overload_method, register_model

FOREIGN = {*sys.stdlib_module_names, "numpy", "numba"}
PYTHON_ONLY = ("check",)
PYTHON_VALUES = (str, dict)


def can_keep(source: str) -> bool:
    """Whether compiled code can be kept: where NUMBA_CACHE_DIR says, else beside its source file.

    Elsewhere it is not: numba would turn to the home directory, and fail without one.
    """
    place = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(source).parent / "__pycache__")
    with suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
    return os.access(place, os.W_OK)


CACHE = can_keep(__file__)


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
        if not isinstance(value, PYTHON_VALUES)
    )


def label(algorithm: Any) -> str:
    """Class names of the algorithm and those it holds: a file name for its compiled loop."""
    inner = [label(value) for _, value in sorted(vars(algorithm).items()) if is_compiled(value)]
    return "-".join((type(algorithm).__name__, *inner))


def sources(algorithm: Any, kind: Any) -> str:
    """Digest of the structure and of every source file that the compiled loop is made of.

    Empty when some of it has no file, as in a notebook: then nothing can be cached.
    """
    modules = {"bandits.rng", "bandits.simulate", __name__} | _modules(algorithm)
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


# --- numba's view of `self`: named, typed, mutable fields without reference counting -----------


class StateType(types.Type):
    """A state with `fields` (name -> numba type); `binding` while its `start` runs."""

    def __init__(self, fields: dict[str, Any], *, binding: bool = False) -> None:
        self.fields = fields
        self.binding = binding
        inner = ", ".join(f"{name}: {kind}" for name, kind in fields.items())
        super().__init__(f"{type(self).__name__}{'!' * binding}({inner})")

    def index(self, name: str) -> int:
        """Position of a field in the structure."""
        return list(self.fields).index(name)


@infer_getattr
class _Attributes(AttributeTemplate):
    key = StateType

    def generic_resolve(self, state: Any, attr: str) -> Any:  # type: ignore[override]
        return state.fields.get(attr)


@lower_getattr_generic(StateType)
def _get(context: Any, builder: Any, state: Any, pointer: Any, attr: str) -> Any:
    kind = state.fields[attr]
    value = builder.load(_field(context, builder, state, pointer, attr))
    if isinstance(kind, types.Array):  # a view: without an owner nothing is counted
        view = cgutils.create_struct_proxy(kind)(context, builder, value)
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        return view._getvalue()
    return value


@lower_setattr_generic(StateType)
def _set(context: Any, builder: Any, signature: Any, arguments: Any, attr: str) -> None:
    (state, given), (pointer, value) = signature.args, arguments
    kind = state.fields[attr]
    value = context.cast(builder, value, given, kind)
    place = _field(context, builder, state, pointer, attr)
    if isinstance(kind, types.Array):
        if not state.binding:
            raise NumbaTypeError(
                f"self.{attr} = ... binds an array outside start; change its contents instead "
                f"(self.{attr}[...] = ...)"
            )
        context.nrt.incref(builder, kind, value)
        context.nrt.decref(builder, kind, builder.load(place))
    builder.store(value, place)


def _layout(context: Any, state: StateType) -> ir.LiteralStructType:
    return ir.LiteralStructType([context.get_value_type(kind) for kind in state.fields.values()])


def _field(context: Any, builder: Any, state: StateType, pointer: Any, name: str) -> Any:
    typed = builder.bitcast(pointer, _layout(context, state).as_pointer())
    return cgutils.gep_inbounds(builder, typed, 0, state.index(name))


def maker(state: StateType, presets: Any) -> Any:
    """An intrinsic: tuple of preset values -> a state in the stack frame of its caller.

    presets: name -> None, or the presets of the nested state of that name, in the tuple's order.
    """

    @intrinsic
    def make(typing_context, given):
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return _make(context, builder, state, presets, signature.args[0], arguments[0])

        return state(given), codegen

    return make


def _make(context: Any, builder: Any, state: Any, presets: Any, given: Any, values: Any) -> Any:
    layout = _layout(context, state)
    memory = cgutils.alloca_once(builder, layout, zfill=False)
    builder.store(ir.Constant(layout, None), memory)
    pointer = builder.bitcast(memory, context.get_value_type(state))
    for k, (name, nested) in enumerate(presets.items()):
        value, kind = builder.extract_value(values, k), state.fields[name]
        if nested is not None:
            value = _make(context, builder, kind, nested, given[k], value)
        else:
            value = context.cast(builder, value, given[k], kind)
            context.nrt.incref(builder, kind, value)
        builder.store(value, _field(context, builder, state, pointer, name))
    return pointer


@intrinsic
def release(typing_context, state):
    """Free the arrays of a state and of the states in it."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _release(context, builder, signature.args[0], arguments[0])
        return context.get_dummy_value()

    return types.none(state), codegen


def _release(context: Any, builder: Any, state: StateType, pointer: Any) -> None:
    for name, kind in state.fields.items():
        value = builder.load(_field(context, builder, state, pointer, name))
        if isinstance(kind, StateType):
            _release(context, builder, kind, value)
        else:
            context.nrt.decref(builder, kind, value)


@intrinsic
def binding(typing_context, state):
    """The same state, allowed to bind its arrays: what `start` is called with."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return arguments[0]

    return type(state)(state.fields, binding=True)(state), codegen


def state_class(name: str) -> type[StateType]:
    """A new numba type class, to which methods can be attached."""
    kind = type(name, (StateType,), {})
    register_model(kind)(models.OpaqueModel)
    return kind


# --- an algorithm's class as a numba type -------------------------------------------------------


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
        if not isinstance(value, PYTHON_VALUES)
    }
    return _state_class(type(started))(fields)


def _presets(algorithm: Any) -> dict[str, Any]:
    return {
        name: _presets(value) if is_compiled(value) else None
        for name, value in sorted(vars(algorithm).items())
        if not isinstance(value, PYTHON_VALUES)
    }


# --- the simulation loop ------------------------------------------------------------------------


def builder(algorithm: Any, K: int, T: int) -> tuple[Callable[[Any], Any], StateType]:
    """(how compiled code makes the state from `parameters(algorithm)`, the state's numba type)."""
    sample, K = _copy(algorithm), min(K, 2)
    if hasattr(sample, "features"):
        sample.features = sample.features[:K]
    sample.start(K, T, np.random.default_rng(0))  # only the types of its attributes are used
    state = _state(sample)
    return maker(state, _presets(algorithm)), state


_LOOPS: dict[Any, Any] = {}


def loop(play: Any, algorithm: Any, K: int, T: int, stream: Any) -> Callable[..., Any]:
    """The function `play` of `bandits.simulate` as machine code for this algorithm.

    Bound in it are `build` (parameters -> state), `stream`, `winner_of`, `resets_of` and `free`.
    """
    make, kind = builder(algorithm, K, T)
    if kind not in _LOOPS:
        names = {
            "build": make,
            "stream": stream,
            "free": release,
            "winner_of": njit(_winner if hasattr(algorithm, "winner") else _no_winner),
            "resets_of": njit(_resets if "resets" in kind.fields else _no_resets),
        }
        # One cache file per algorithm, and the digest in its key: two processes never write each
        # other's file, and an edited algorithm never runs from an old cache entry.
        digest = sources(algorithm, kind)
        scope = {**play.__globals__, **names}
        bound = FunctionType(play.__code__, scope, "play", (digest,))
        bound.__qualname__ = f"play.{label(algorithm)}"
        cache = CACHE and digest != ""
        _LOOPS[kind] = njit(bound, cache=cache, nogil=True, error_model="numpy")
    return _LOOPS[kind]


def _winner(algorithm: Any) -> int:
    return algorithm.winner()


def _no_winner(algorithm: Any) -> int:
    return -1


def _resets(algorithm: Any) -> int:
    return algorithm.resets


def _no_resets(algorithm: Any) -> int:
    return 0
