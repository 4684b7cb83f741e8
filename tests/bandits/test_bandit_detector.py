"""Change detection: the published constants, exact windows, and what is counted as a detection."""

import math
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interpreted import total_order

from bandits.algorithms import create
from bandits.detector import (
    DGIM,
    Windows,
    detect_long,
    detect_short,
    detect_short_error,
    detections,
    mdb_constants,
)
from bandits.preferences import piecewise, stationary
from bandits.simulate import simulate


@pytest.mark.parametrize(
    ("K", "T", "M", "delta", "w", "b", "gamma", "period"),
    [
        (5, 10**5, 5, 0.6, 362, 54.22, 0.2691, 37),
        (5, 10**6, 10, 0.6, 430, 64.50, 0.1311, 76),
        (5, 10**6, 10, 0.3, 1720, 129.0, 0.2623, 38),
        (10, 10**6, 10, 0.6, 416, 62.29, 0.2902, 155),
        (10, 10**6, 10, 0.3, 1660, 124.44, 0.5798, 77),
        (20, 10**6, 10, 0.6, 400, 59.94, 0.6008, 316),
    ],
)
def test_mdb_constants(K, T, M, delta, w, b, gamma, period):
    found = mdb_constants(K, T, M, delta)
    assert found[0] == w
    assert found[1:] == pytest.approx((b, gamma), abs=6e-3)
    assert math.floor(K * (K - 1) / 2 / found[2]) == period
    assert found[1] == pytest.approx(w * delta / 4, abs=0.5)


@pytest.mark.parametrize(
    ("K", "T", "p_min", "delta", "long", "short", "x"),
    [
        (5, 10**6, 0.55, 0.3, (2_509_019, 2524, 189.25), (1000, 906, 67.89), 76.2),
        (5, 10**6, 0.6, 0.6, (133_015, 632, 94.70), (1000, 276, 41.32), 8.45),
        (10, 10**6, 0.8, 0.6, (1884, 632, 94.70), (1000, 478, 71.61), 9.6e-4),
        (5, 10**5, 0.8, 0.6, (1057, 530, 79.38), (316, 356, 53.32), 0.0232),
        (5, 10**5, 0.9, 0.6, (374, 530, 79.38), (316, 452, 67.70), 3.1e-4),
    ],
)
def test_detect_constants(K, T, p_min, delta, long, short, x):
    exploration, w, b = detect_long(K, T, p_min, delta)
    assert (math.floor(exploration), w) == long[:2]
    assert b == pytest.approx(long[2], abs=6e-3)
    exploration, w, b = detect_short(K, T, p_min, delta)
    assert (exploration, w) == short[:2]
    assert b == pytest.approx(short[2], abs=6e-3)
    assert detect_short_error(K, T, p_min) == pytest.approx(x, rel=0.02)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 8))
def test_window_compares_its_halves(bits, half):
    windows = Windows()
    windows.start(2, 2 * half)
    seen = deque(maxlen=2 * half)
    for bit in bits:
        seen.append(bit)
        windows.push(0, True)  # another stream does not interfere
        expected = abs(sum(list(seen)[half:]) - sum(list(seen)[:half]))
        assert windows.push(1, bit) == (expected if len(seen) == 2 * half else 0)


def test_window_notices_a_change_after_about_a_quarter_of_it():
    w, b, _ = mdb_constants(5, 10**6, 10, 0.6)
    draws = np.random.default_rng(0)
    delays = []
    for _ in range(50):
        windows = Windows()
        windows.start(1, w)
        assert max(windows.push(0, draws.random() < 0.2) for _ in range(2 * w)) <= b
        delay = 1
        while windows.push(0, draws.random() < 0.8) <= b:
            delay += 1
        delays.append(delay)
    assert np.mean(delays) == pytest.approx(w / 4, rel=0.15)
    assert max(delays) <= w / 2


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("detect", {"p_min": 0.55, "setting": "long"}, "it is its base"),
        ("detect", {"p_min": 0.55, "setting": "short"}, "proves nothing"),
        ("mdb", {"delta": 0.1}, "hardly plays"),
        ("mdb", {"delta": 0.6}, "segments last 10000 on average"),
    ],
)
def test_degenerate_theory_warns(name, settings, message):
    with pytest.warns(UserWarning, match=message):
        create(name, **settings).check(10, 100_000)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("detect", {"base": "uniform"}, "names no winner"),
        ("detect", {"base": "max-in-p"}, "detect: base max-in-p chooses by the arms' features"),
        ("mdb", {"base": "vacdb"}, "mdb: base vacdb chooses by the arms' features"),
        ("d-ts", {"alpha": 0.0}, "d-ts: alpha = 0.0"),
        ("d-ts-plus", {"alpha": -1.0}, "d-ts-plus: alpha = -1.0"),
        ("rmed2", {"alpha": 0.0}, "rmed2: alpha = 0.0"),
        ("rmed2fh", {"alpha": math.nan}, "rmed2fh: alpha = nan"),
        ("ecw-rmed", {"alpha": 0.0}, "ecw-rmed: alpha = 0.0"),
        ("ecw-rmed", {"beta": -0.1}, "beta = -0.1"),
        ("anaconda", {"C": math.nan}, "anaconda: C = nan"),
        ("metaswift", {"C": math.nan}, "metaswift: C = nan"),
        ("detect", {"base": "ws-v"}, "did you mean"),
        ("detect", {"p_min": 0.5}, "p_min = 0.5"),
        ("mdb", {"delta": 0}, r"mdb: delta = 0; expected a number in \(0, 1\]"),
        ("mdb", {"delta": 0.3, "eps": 0.1}, "hide changes"),
        ("detect", {"eps": -0.1}, "eps = -0.1; expected a number of at least 0"),
        ("ws-s", {"beta": 1.0}, "beta = 1.0"),
        ("rucb", {"alpha": 0.5}, "alpha = 0.5"),
        ("savage", {"wanted": "best"}, "expected one of 'condorcet'"),
        ("sparring", {"base": "ucb1"}, "sparring: unknown base bandit 'ucb1'; did you mean ucb"),
        ("doubler", {"base": {"name": "ucb", "b": 1.0}}, "has no parameter 'b'; did you mean a"),
        (
            "mdb",
            {"base": {"name": "rucb", "alhpa": 1.0}},
            "no parameter 'alhpa'; did you mean alpha",
        ),
        ("detect", {"base": {"alpha": 1.0}}, "unknown algorithm None"),
        ("rucb", {"beta": 1.0}, "algorithm 'rucb' has no parameter 'beta'; did you mean alpha"),
        ("btw", {"beta": 1.0}, "algorithm 'btw' has no parameter 'beta'; it takes none"),
        ("btm", {"radius": "code"}, "btm: radius = 'code'; expected one of 'paper', 'tight'"),
    ],
)
def test_bad_settings_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        create(name, **settings)


def test_a_first_phase_longer_than_the_horizon_is_refused():
    p = stationary(np.full((5, 5), 0.5))
    with pytest.raises(ValueError, match="more than the horizon 30"):
        simulate(p, create("rmed2fh"), horizon=30, repetitions=1, seed=0)


@pytest.mark.parametrize("name", ["detect", "mdb"])
def test_a_monitor_asks_its_base_whether_arms_and_horizon_suit_it(name):
    with pytest.raises(ValueError, match="rmed2fh draws every pair 7 times"):
        create(name, base="rmed2fh").check(40, 5000)


def test_detect_refuses_a_horizon_of_one_duel():
    with pytest.raises(ValueError, match="horizon of at least 2 duels; found T = 1"):
        create("detect").check(5, 1)


@pytest.mark.filterwarnings("ignore:detect")
@pytest.mark.parametrize("base", ["merge-rucb", "knockout"])
def test_detect_refuses_a_base_that_names_no_winner_when_exploration_ends(base):
    p = stationary(total_order(5, 0.05))
    with pytest.raises(ValueError, match="names no winner when the exploration ends; use one"):
        simulate(p, create("detect", base=base), horizon=10_000, repetitions=1, seed=0)


@given(st.lists(st.booleans(), max_size=150), st.integers(2, 16), st.sampled_from([0.1, 0.25, 0.5]))
def test_dgim_counts_within_its_relative_error(bits, half, eps):
    counter = DGIM(eps)
    counter.start(1, 2 * half)
    for t, bit in enumerate(bits, start=1):
        counter.push(0, bit)
        for last in (half, 2 * half):
            true = sum(bits[max(0, t - last) : t])
            assert abs(counter.count(0, last) - true) <= eps * true


@pytest.mark.filterwarnings("ignore:detect")
def test_dgim_monitors_notice_changes_too():
    changing = piecewise(np.array([HALVES, HALVES.T]), starts=[0, 100_000])
    for name in ("detect", "mdb"):
        algorithm = create(name, delta=0.8, eps=0.02)
        run = simulate(changing, algorithm, horizon=200_000, repetitions=5, seed=0)
        span = algorithm.span(3, 200_000)
        for resets in run.resets:
            assert detections(resets, np.array([100_000]), span)[1:] == (0, 0)


HALVES = np.array([[0.5, 0.9, 0.9], [0.1, 0.5, 0.9], [0.1, 0.1, 0.5]])
