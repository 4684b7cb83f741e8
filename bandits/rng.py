"""Random streams of the simulator: numpy's SFC64, usable inside compiled code.

A stream is `np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key))`; the compiled one starts
from its state and yields the same 64-bit words and the same `random()` doubles, bit for bit.
Algorithm: Chris Doty-Humphrey's sfc64 (PractRand).
"""

import math
from typing import Any

import numpy as np
from numba import types

from bandits.compiled import attach, maker, state_class

RngType = state_class("RngState")
FIELDS = dict.fromkeys(("a", "b", "c", "counter"), types.uint64)
SHIFT_11, SHIFT_3, ROTATE_24, ROTATE_40, ONE = (np.uint64(n) for n in (11, 3, 24, 40, 1))


def generator(seed: int, *key: int) -> np.random.Generator:
    """The stream named by (seed, key) as a numpy Generator."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))


def words(stream: np.random.Generator) -> tuple[np.uint64, ...]:
    """The four words of an SFC64 stream, from which `from_words` continues in compiled code."""
    return tuple(np.uint64(word) for word in stream.bit_generator.state["state"]["state"])


def next_word(self: Any) -> Any:
    """The next 64 random bits."""
    word = self.a + self.b + self.counter
    self.counter += ONE
    self.a = self.b ^ (self.b >> SHIFT_11)
    self.b = self.c + (self.c << SHIFT_3)
    self.c = ((self.c << ROTATE_24) | (self.c >> ROTATE_40)) + word
    return word


def random(self: Any) -> float:
    """Uniform on [0, 1), a multiple of 2^-53."""
    return (self.next_word() >> SHIFT_11) * (1.0 / 9007199254740992.0)


def integers(self: Any, n: int) -> int:
    """Uniform on 0..n-1, up to a bias of n 2^-53."""
    return int(self.random() * n)


def standard_normal(self: Any) -> float:
    """N(0, 1) by Box and Muller's transform (1958)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - self.random()))
    return radius * math.cos(2.0 * math.pi * self.random())


def beta(self: Any, a: float, b: float) -> float:
    """Beta(a, b) for a, b >= 1: inverse law when one of them is 1, else Cheng's BB (1978)."""
    if a == 1.0:
        return 1.0 - (1.0 - self.random()) ** (1.0 / b)
    if b == 1.0:
        return (1.0 - self.random()) ** (1.0 / a)
    small, large = min(a, b), max(a, b)
    total = a + b
    rate = math.sqrt((total - 2.0) / (2.0 * a * b - total))
    shift = small + 1.0 / rate
    while True:
        u, v = 1.0 - self.random(), 1.0 - self.random()
        if u == 1.0:
            continue
        x = rate * math.log(u / (1.0 - u))
        w = small * math.exp(x)
        z = u * u * v
        r = shift * x - 1.3862943611198906  # ln 4
        s = small + r - w
        if s + 2.6094379124341003 >= 5.0 * z:  # 1 + ln 5: squeeze without a logarithm
            break
        t = math.log(z)
        if s >= t or r + total * math.log(total / (large + w)) >= t:
            break
    return w / (large + w) if a == small else large / (large + w)


for _method in (next_word, random, integers, standard_normal, beta):
    attach(RngType, _method.__name__, _method)

from_words = maker(RngType(FIELDS), dict.fromkeys(FIELDS))
