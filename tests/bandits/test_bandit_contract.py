"""What every registered algorithm must satisfy; a new one is tested by existing."""

import warnings

import numpy as np
import pytest
from interpreted import Interpreted, total_order

from bandits.algorithms import create, names
from bandits.preferences import stationary
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
