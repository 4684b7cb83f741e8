"""The shape of dm_control's and Meta-World's rewards: 1 within bounds, falling off outside.

Both bring the same function (`tolerance`, Tassa et al. 2018, sec. 3.2) and spend much of a step in
it: every call works out again how steep the slope is, and treats a single number as an array. Here
are the same operations on the same types, so the same bits, without that; a test compares them.
"""

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

SLOPES: dict[str, Callable[[Any], Any]] = {
    "gaussian": lambda x: np.exp(-0.5 * x**2),
    "hyperbolic": lambda x: 1 / np.cosh(x),
    "long_tail": lambda x: 1 / (x**2 + 1),
    "reciprocal": lambda x: 1 / (abs(x) + 1),
    "linear": lambda x: np.where(abs(x) < 1, 1 - x, 0.0),
    "quadratic": lambda x: np.where(abs(x) < 1, 1 - x**2, 0.0),
    "tanh_squared": lambda x: 1 - np.tanh(x) ** 2,
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
    """Put the quick function in the place of `module.tolerance`, once."""
    if not hasattr(module.tolerance, "original"):
        module.tolerance = quick(module.tolerance, module._sigmoids)  # type: ignore[attr-defined]


def quick(original: Callable[..., Any], sigmoids: Callable[..., Any]) -> Callable[..., Any]:
    """`original` to the bit; what it refuses, and `cosine`, still goes to it."""

    @cache
    def scale_of(sigmoid: str, value: float) -> Any:
        sigmoids(0.0, value, sigmoid)  # raises what the original raises
        return SCALES[sigmoid](value)

    def tolerance(
        x: Any,
        bounds: tuple[Any, Any] = (0.0, 0.0),
        margin: Any = 0.0,
        sigmoid: str = "gaussian",
        value_at_margin: float = 0.1,
    ) -> Any:
        """1 where x is within the bounds; `value_at_margin` at `margin` from the nearest one."""
        lower, upper = bounds
        known = sigmoid in SLOPES and isinstance(x, float | np.ndarray)
        if not known or lower > upper or margin < 0:
            return original(x, bounds, margin, sigmoid, value_at_margin)
        if isinstance(x, float):  # numpy's float64 is one
            if margin == 0:
                return 1.0 if lower <= x <= upper else 0.0
            scale = scale_of(sigmoid, value_at_margin)
            if lower <= x <= upper:
                return 1.0
            away = np.float64(lower - x if x < lower else x - upper) / margin
            return float(SLOPES[sigmoid](away * scale))
        inside = (lower <= x) & (x <= upper)
        if margin == 0:
            return np.where(inside, 1.0, 0.0)
        away = np.where(x < lower, lower - x, x - upper) / margin
        scale = scale_of(sigmoid, value_at_margin)
        return np.where(inside, 1.0, SLOPES[sigmoid](away * scale))

    tolerance.original = original  # type: ignore[attr-defined]
    return tolerance
