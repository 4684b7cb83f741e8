"""A query rule: which of the candidate pairs the teacher is asked about."""

from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

from pbrl import registry
from pbrl.queries import Ensemble
from pbrl.segments import Segments


@registry.query("plugin-name")
def confident(
    first: Segments,
    second: Segments,
    n: int,
    *,
    reward: Ensemble,
    rng: np.random.Generator,
    noise: Annotated[float, Ge(0), Le(1)] = 0.1,
    **context: Any,
) -> Tensor:
    """The n pairs the members agree on most, with a little noise; `noise` is a setting.

    Keywords with a default are settings; `**context` takes what the rule does not need.
    """
    with torch.no_grad():
        spread = reward.probability(first, second).std(0, correction=0)
    drawn = torch.from_numpy(rng.random(len(first))).to(spread)
    return torch.argsort(spread + noise * drawn, stable=True)[:n]
