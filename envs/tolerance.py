"""The shape of dm_control's and Meta-World's rewards: 1 within bounds, falling off outside.

Both bring the same function (`tolerance`, Tassa et al. 2018, sec. 3.2) and spend much of a step in
it: every call works out again how steep the slope is, and treats a single number as an array. Here
are the same operations, so the same bits, without that; a test compares them.
"""

from collections.abc import Callable
from functools import cache, wraps
from types import ModuleType
from typing import Any

import numpy as np

NUMBER = (int, float)  # the latter includes numpy's float64
Square = Callable[[Any], Any]
SLOPES: dict[str, Callable[[Any, Square], Any]] = {
    "gaussian": lambda x, square: np.exp(-0.5 * square(x)),
    "hyperbolic": lambda x, square: 1 / np.cosh(x),
    "long_tail": lambda x, square: 1 / (square(x) + 1),
    "reciprocal": lambda x, square: 1 / (abs(x) + 1),
    "linear": lambda x, square: 1 - x if abs(x) < 1 else 0.0,
    "quadratic": lambda x, square: 1 - square(x) if abs(x) < 1 else 0.0,
    "tanh_squared": lambda x, square: 1 - square(np.tanh(x)),
}
"""The value at a scaled distance; `cosine`, which no task uses, is left to the original."""

SCALES: dict[str, Callable[[float], Any]] = {
    "gaussian": lambda v: np.sqrt(-2 * np.log(v)),
    "hyperbolic": lambda v: np.arccosh(1 / v),
    "long_tail": lambda v: np.sqrt(1 / v - 1),
    "reciprocal": lambda v: 1 / v - 1,
    "linear": lambda v: 1 - v,
    "quadratic": lambda v: np.sqrt(1 - v),
    "tanh_squared": lambda v: np.arctanh(np.sqrt(1 - v)),
}
"""What scales a distance so that the value at 1 is `value_at_margin`."""


def hasten(module: ModuleType) -> None:
    """Put the quick function in the place of `module.tolerance`, once, under its name.

    Whoever imported the function before keeps the original.
    """
    if not hasattr(module.tolerance, "__wrapped__"):
        module.tolerance = quick(module.tolerance, module._sigmoids)  # type: ignore[attr-defined]


def quick(original: Callable[..., Any], sigmoids: Callable[..., Any]) -> Callable[..., Any]:
    """`original` to the bit; arrays of more, `cosine`, and what it refuses still go to it."""

    @cache
    def scale_of(sigmoid: str, value: float) -> Any:
        sigmoids(0.0, value, sigmoid)  # raises what the original raises
        return SCALES[sigmoid](value)

    @wraps(original)
    def tolerance(
        x: Any,
        bounds: tuple[Any, Any] = (0.0, 0.0),
        margin: Any = 0.0,
        sigmoid: str = "gaussian",
        value_at_margin: float = 0.1,
    ) -> Any:
        lower, upper = bounds
        if isinstance(x, float):  # numpy's float64 is one
            number, square = x, _power
        elif isinstance(x, np.ndarray) and x.size == 1 and x.dtype == np.float64:
            number, square = x.item(), _product
        else:
            return original(x, bounds, margin, sigmoid, value_at_margin)
        are_numbers = isinstance(lower, NUMBER) and isinstance(upper, NUMBER)
        are_numbers = are_numbers and isinstance(margin, NUMBER)
        if not are_numbers or lower > upper or margin < 0 or sigmoid not in SLOPES:
            return original(x, bounds, margin, sigmoid, value_at_margin)
        value = 1.0 if lower <= number <= upper else 0.0
        if margin != 0:
            scale = scale_of(sigmoid, value_at_margin)
            if value == 0.0:
                away = np.float64(lower - number if number < lower else number - upper) / margin
                value = float(SLOPES[sigmoid](away * scale, square))
        return value if number is x else np.array(value, ndmin=x.ndim)

    return tolerance


def _power(x: Any) -> Any:
    """x ** 2 as numpy does it for one number: by `pow`, which need not round as a product."""
    return x**2


def _product(x: Any) -> Any:
    """x ** 2 as numpy does it for arrays."""
    return x * x
