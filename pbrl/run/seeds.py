"""Named streams of a run's seed: every random draw comes from one."""

import hashlib

import numpy as np


def stream_seed(seed: int, name: str) -> np.random.SeedSequence:
    """The seed of one named stream: streams of other names never shift it."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.SeedSequence([seed, *np.frombuffer(digest[:16], dtype=np.uint32).tolist()])


def stream_int(seed: int, name: str) -> int:
    """A 31-bit seed of one named stream, for libraries that take a single number."""
    return int(stream_seed(seed, name).generate_state(1)[0] >> 1)
