"""Numba's view of an algorithm's `self`: named, typed, mutable fields without reference counting.

Numba's own structref counts references on every access to an array field, which costs more than
the duel itself. Here a state is a pointer to a structure on the stack of the simulation loop. It
owns its arrays; reading one yields a view that is not counted. That is safe because arrays are
bound in `start` only (anywhere else it is a compile error; their contents may change anywhere),
and because `release` frees them when the loop ends.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import NumbaTypeError
from numba.core.imputils import lower_getattr_generic, lower_setattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, models, register_model


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
