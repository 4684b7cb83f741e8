"""The clock t of an algorithm is the number of duels it observed, whoever chose them."""

import bandit_references as naive
import numpy as np
import pytest
from interpreted import Draws, Interpreted, total_order

from bandits.algorithms import create, names
from bandits.preferences import stationary
from bandits.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LEARNERS = [name for name in names() if getattr(create(name), "learns_from_any_pair", False)]


def numbers(algorithm, path=""):
    """All numbers of a state, those of the algorithms it holds included."""
    found = {}
    for name, value in vars(algorithm).items():
        if hasattr(value, "start"):
            found |= numbers(value, f"{path}{name}.")
        elif np.ndim(value) == 0 and not isinstance(value, str):
            found[path + name] = value
        elif isinstance(value, np.ndarray) and value.size <= 16:
            found |= {f"{path}{name}[{k}]": x for k, x in enumerate(value.ravel())}
    return found


@pytest.mark.parametrize("name", names())
def test_no_number_counts_the_calls_of_choose(name):
    """A clock that choose advances goes up by one in every choose and stands still in observe."""
    algorithm, draws = create(name), Draws(np.random.default_rng(0))
    if hasattr(algorithm, "features"):
        algorithm.features = np.eye(3)
    algorithm.start(3, 5000, draws)
    clocks = None
    for _ in range(100):
        before = numbers(algorithm)
        i, j = algorithm.choose(draws)
        chosen = numbers(algorithm)
        ticking = {key for key in before if chosen[key] == before[key] + 1}
        algorithm.observe(i, j, bool(draws.random() < 0.5 + 0.2 * (j - i)))
        ticking = {key for key in ticking if numbers(algorithm)[key] == chosen[key]}
        clocks = ticking if clocks is None else clocks & ticking
    assert not clocks


@pytest.mark.parametrize("name", LEARNERS)
def test_duels_handed_over_count_like_duels_of_its_own(name):
    own, told = create(name), create(name)
    draws = Draws(np.random.default_rng(1))
    own.start(4, 1000, draws)
    told.start(4, 1000, draws)
    for duels in range(1, 301):
        i, j = own.choose(draws)
        won = bool(draws.random() < 0.5 + 0.1 * (j - i))
        own.observe(i, j, won)
        told.observe(i, j, won)
        assert own.t == told.t == duels
    for field in {"W", "N", "d", "I", "p", "loss", "worst", "rival_mean", "rival_width"}:
        if hasattr(own, field):
            np.testing.assert_array_equal(getattr(own, field), getattr(told, field))


@pytest.mark.parametrize(
    ("base", "reference"),
    [
        ("rucb", naive.NaiveRUCB()),
        ("ccb", naive.NaiveCCB()),
        ("rmed1", naive.NaiveRMED("rmed1")),
        ("rmed2", naive.NaiveRMED("rmed2")),
        ("rmed2fh", naive.NaiveRMED("rmed2fh")),
    ],
)
def test_mdb_plays_exactly_as_literal_monitoring_around_the_literal_base(base, reference):
    how = {"horizon": 1500, "repetitions": 2, "seed": 5}
    p = stationary(total_order(3))
    slow = simulate(p, Interpreted(naive.NaiveMDB(reference, M=1)), **how)
    fast = simulate(p, create("mdb", base=base, M=1), **how)
    assert not any(times.size for times in fast.resets)
    assert (fast.plays == slow.plays).all()


@pytest.mark.parametrize(
    ("base", "reference"),
    [("rcs", naive.NaiveRCS()), ("d-ts", naive.NaiveDoubleThompson(plus=False))],
)
def test_mdb_has_the_law_of_literal_monitoring_around_the_literal_base(base, reference):
    how = {"horizon": 600, "seed": 3}
    p = stationary(total_order(3, 0.1))
    slow = simulate(p, naive.NaiveMDB(reference, M=1), repetitions=60, **how)
    fast = simulate(p, create("mdb", base=base, M=1), repetitions=2000, **how)
    a, b = (run.regret["average"][:, -1] for run in (slow, fast))
    assert abs(a.mean() - b.mean()) < 4 * np.hypot(a.std() / 60**0.5, b.std() / 2000**0.5)
