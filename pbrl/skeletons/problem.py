"""A problem of dueling bandits: how likely each arm beats each other."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from bandits.preferences import Problem, stationary
from pbrl import registry


@registry.problem("plugin-name")
def first_is_best(
    K: Annotated[int, Ge(2)] = 5, gap: Annotated[float, Gt(0), Le(0.5)] = 0.2
) -> Problem:
    """Arm 0 beats every other with probability 1/2 + gap; all others are alike."""
    p = np.full((K, K), 0.5)
    p[0, 1:] += gap
    p[1:, 0] -= gap
    return stationary(p)
