"""Simulated teachers: who labels a pair of segments, and how reliably.

A teacher is any object with the two methods of `Teacher`. It may also have
`bind(horizon=..., reward_range=...)`, called once before it is asked, with the episode length in
steps and the bounds of the true reward of one step; `observe_episode(true_return)`, called at the
end of every training episode; and, if it keeps state, `state_dict()` and `load_state_dict(state)`.
"""

from typing import Protocol

import numpy as np

from pbrl.segments import Segments


class Teacher(Protocol):
    """Labels pairs by their ground-truth reward; `pbrl.check.teacher` checks one."""

    def label(self, first: Segments, second: Segments, rng: np.random.Generator) -> np.ndarray:
        """Labels [N]: 0 first preferred, 1 second, 0.5 tie, NaN skipped; noise comes from `rng`."""
        ...

    def probability(self, first: Segments, second: Segments) -> np.ndarray:
        """[N] in [0, 1]: P(second preferred | answered); a tie counts 0.5."""
        ...
