"""The compiled streams are numpy's SFC64, and their laws are scipy's."""

import numpy as np
import pytest
from numba import njit
from scipy import stats

from bandits.rng import from_words, generator, words


@njit
def doubles(state, n):
    rng = from_words(state)
    return np.array([rng.random() for _ in range(n)])


@njit
def betas(state, a, b, n):
    rng = from_words(state)
    return np.array([rng.beta(a, b) for _ in range(n)])


@njit
def others(state, n):
    rng = from_words(state)
    integers = np.array([rng.integers(7) for _ in range(n)])
    return integers, np.array([rng.standard_normal() for _ in range(n)])


def test_random_is_numpys_bit_for_bit():
    assert (doubles(words(generator(5, 3, 1)), 1000) == generator(5, 3, 1).random(1000)).all()


def test_streams_differ_by_seed_repetition_and_purpose():
    first = {
        doubles(words(generator(*key)), 1)[0]
        for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    }
    assert len(first) == 4


@pytest.mark.parametrize(
    ("a", "b"), [(1, 1), (1, 4), (6, 1), (2, 2), (3, 40), (500, 700), (1.5, 9.25)]
)
def test_beta_has_its_law(a, b):
    sample = betas(words(generator(0, 7)), float(a), float(b), 20_000)
    assert stats.kstest(sample, stats.beta(a, b).cdf).pvalue > 1e-3


def test_integers_are_uniform_and_normals_normal():
    integers, normals = others(words(generator(0, 8)), 21_000)
    counts = np.bincount(integers, minlength=7)
    assert counts.size == 7
    assert stats.chisquare(counts).pvalue > 1e-3
    assert stats.kstest(normals, "norm").pvalue > 1e-3
