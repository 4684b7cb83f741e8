"""What every registered algorithm must satisfy; a new one is tested by existing."""

import re
import warnings

import numpy as np
import pytest
from interpreted import Draws, Interpreted, total_order

from bandits.algorithms import create, names
from bandits.detector import DGIM, Windows
from bandits.preferences import stationary
from bandits.replays import DyadicSums
from bandits.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
HORIZON = 400


@pytest.fixture(params=names())
def name(request) -> str:
    return request.param


def play(algorithm, K=5, repetitions=2, **how):
    how = {"horizon": HORIZON, "seed": 11} | how
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem = stationary(total_order(K), features=np.eye(K))
        return simulate(problem, algorithm, repetitions=repetitions, **how)


def test_plays_every_duel_and_repeats_itself_in_any_batches(name):
    whole = play(create(name), repetitions=3)
    assert (whole.plays.sum((1, 2)) == HORIZON).all()
    again = [play(create(name), repetitions=n, first_repetition=r) for r, n in [(0, 1), (1, 2)]]
    assert (np.concatenate([part.plays for part in again]) == whole.plays).all()
    average = np.concatenate([part.regret["average"] for part in again])
    assert (average == whole.regret["average"]).all()


def test_compiled_code_does_what_its_python_says(name):
    interpreted = play(Interpreted(create(name)))
    assert (interpreted.plays == play(create(name)).plays).all()


def test_two_arms(name):
    assert (play(create(name), K=2).plays.sum((1, 2)) == HORIZON).all()


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_any_horizon_is_played_to_its_end_or_refused(name, horizon):
    result = play_or_refusal(create(name), horizon=horizon)
    if isinstance(result, str):
        assert "horizon" in result
    else:
        assert (result.plays.sum((1, 2)) == horizon).all()


def play_or_refusal(algorithm, **how):
    try:
        return play(algorithm, **how)
    except ValueError as error:
        return str(error)


def numbers(algorithm) -> float:
    """Numbers of 8 bytes in the arrays of a state and what it holds, windows and sums left out."""
    held = [value for value in vars(algorithm).values() if hasattr(value, "start")]
    arrays = [value for value in vars(algorithm).values() if isinstance(value, np.ndarray)]
    streams = (Windows, DGIM, DyadicSums)  # they say themselves what a stream takes
    inner = sum(numbers(one) for one in held if not isinstance(one, streams))
    return sum(array.nbytes for array in arrays) / 8 + inner


def stated(algorithm) -> float:
    """How many K^2 numbers the docstrings of an algorithm and of what it holds speak of."""
    found = re.findall(r"([\d.]+) K\^2", type(algorithm).__doc__)
    own = float(found[-1 if getattr(algorithm, "plus", False) else 0]) if found else 0.0
    if "every layer" in type(algorithm).__doc__ or "every stage" in type(algorithm).__doc__:
        own *= algorithm.L if hasattr(algorithm, "L") else algorithm.stages
    held = [value for value in vars(algorithm).values() if hasattr(value, "start")]
    return own + sum(stated(one) for one in held)


def test_state_takes_the_memory_its_docstring_states(name):
    algorithm, K = create(name), 200
    if hasattr(algorithm, "features"):
        algorithm.features = np.eye(K, 3)
    algorithm.start(K, 10**6, Draws(np.random.default_rng(0)))
    found, promised = numbers(algorithm), stated(algorithm) * K**2
    outside = 20_000 if name == "sliding-window" else 0  # its two windows of duels
    assert 0.7 * promised - 20 * K <= found <= 1.1 * promised + 20 * K + outside
