"""A teacher: calls two segments equal when their returns are close, else prefers the larger."""

from typing import Annotated

import numpy as np
from annotated_types import Ge

from pbrl import registry
from pbrl.segments import Segments


@registry.teacher("plugin-name")
class Lenient:
    """Prefers the larger return, and calls a difference of at most `margin` a tie."""

    def __init__(self, margin: Annotated[float, Ge(0)] = 0.1) -> None:
        self.margin = margin

    def probability(self, first: Segments, second: Segments) -> np.ndarray:
        a, b = (side.ground_truth.sum(1).cpu().numpy() for side in (first, second))
        return np.where(np.abs(b - a) <= self.margin, 0.5, (b > a).astype(float))

    def label(self, first: Segments, second: Segments, rng: np.random.Generator) -> np.ndarray:
        return self.probability(first, second)  # a teacher who errs draws from rng alone
