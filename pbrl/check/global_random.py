"""Catches code that draws from global randomness instead of from the generator it was given."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_STATES: dict[str, Callable[[], Any]] = {
    "random": random.getstate,
    "numpy.random": lambda: repr(np.random.get_state(legacy=False)),  # noqa: NPY002
    "torch": lambda: torch.get_rng_state().numpy().tobytes(),
}


@contextmanager
def global_randomness() -> Iterator[list[str]]:
    """Yield a list that holds, after the block, the libraries whose global generator moved."""
    before = {name: state() for name, state in _STATES.items()}
    used: list[str] = []
    yield used
    used += [name for name, state in _STATES.items() if state() != before[name]]
