"""Rows that a method logs: plain values, under names that the results do not use themselves."""

import numbers
from typing import Any

from pbrl.errors import CellError
from pbrl.run.teacher import COUNTS

EVENTS = ("episode", "eval", "final", "label")  # written by the run alone
COLUMNS = (
    *("event", "step", "cell", "kind", "task", "learner", "teacher", "seed", *COUNTS),
    *("pair", "annotator", "answer", "p_second"),  # of the rows `label`: who said what, and when
)
NUMBERS = ("return", "returns_std", "length", "success", "labels", "reward_accuracy", "episodes")
LONGEST = 1000
Kinds = dict[str, str]


def checked(event: str, values: dict[str, Any], kinds: Kinds) -> dict[str, Any]:
    """The values as Python scalars; `kinds` remembers whether a column holds numbers or text.

    Raises CellError for a reserved name, for what is no scalar and for a column of two kinds.
    """
    for name in (event, *values):
        if not _is_text(name):
            raise CellError(f"run.log: the name {name!r:.80} is no text; expected a short word")
    if event in EVENTS:
        raise CellError(f"run.log: rows {event!r} are the run's own; choose another name")
    return {name: _checked(name, value, kinds) for name, value in values.items()}


def _checked(name: str, value: Any, kinds: Kinds) -> Any:
    if name in COLUMNS:
        raise CellError(
            f"run.log: {name!r} is a column that the run fills in itself; choose another name "
            f"(taken: {', '.join(COLUMNS)})"
        )
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()  # a numpy scalar, or an array or tensor of one number
    if value is None:
        return None
    if isinstance(value, bool):
        kind = "truth values"
    elif _is_text(value):
        kind = "text"
    elif isinstance(value, numbers.Integral) and abs(int(value)) < 2**63:
        value, kind = int(value), "numbers"
    elif isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        value, kind = float(value), "numbers"
    else:
        raise CellError(
            f"run.log: {name} is {_shown(value)}; expected a number of 64 bits, True, False, None "
            f"or printable text of at most {LONGEST} characters"
        )
    known = kinds.setdefault(name, kind)
    if known != kind:
        raise CellError(f"run.log: {name} is {_shown(value)}; rows before it hold {known}")
    return value


def _is_text(value: Any) -> bool:
    """Text that files and terminals can hold: no surrogate or escape, and not without bound."""
    return isinstance(value, str) and len(value) <= LONGEST and value.isprintable()


def _shown(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" + (f" of shape {list(shape)}" if shape is not None else "")
