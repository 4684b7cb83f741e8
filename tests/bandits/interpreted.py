"""Compiled algorithms run as the plain Python they are written in, and a matrix to play on."""

import numpy as np

from bandits import rng as streams


def total_order(K: int, gap: float = 0.2) -> np.ndarray:
    """Arm 0 beats all, each arm beats those after it with probability 1/2 + gap."""
    p = np.full((K, K), 0.5)
    return p + gap * (np.triu(np.ones((K, K)), 1) - np.tril(np.ones((K, K)), -1))


class Draws:
    """The compiled stream's draws, made in Python from a numpy Generator."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.random = generator.random

    integers = streams.integers
    standard_normal = streams.standard_normal
    beta = streams.beta


class Interpreted:
    """An algorithm run in plain Python with the draws of the compiled one."""

    def __init__(self, algorithm) -> None:
        self.algorithm = algorithm
        self.observe = algorithm.observe
        if hasattr(algorithm, "features"):
            self.features = algorithm.features

    def start(self, K, T, rng) -> None:
        if hasattr(self, "features"):
            self.algorithm.features = self.features
        self.draws = Draws(rng)
        self.algorithm.start(K, T, self.draws)

    def choose(self, rng) -> tuple[int, int]:
        return self.algorithm.choose(self.draws)
