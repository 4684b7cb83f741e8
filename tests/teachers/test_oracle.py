"""Oracles: lookups by number and one-hot, and what a segment's start, end and steps are worth."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pbrl.errors import ConfigError
from pbrl.segments import Segments
from pbrl.teachers.oracle import TabularOracle, advantages, end_values, start_values

V = np.array([1.0, 2.0, 4.0])
Q = np.array([[1.0, 0.0], [1.5, 2.0], [4.0, 3.0]])
ORACLE = TabularOracle(V, Q, gamma=0.9)


def walk(states: list[int], actions: list[int], *, steps: int, terminal: bool) -> Segments:
    """One segment through `states`, of which the first `steps` steps exist."""
    at = torch.tensor(states, dtype=torch.float32)[None, :, None]
    mask = torch.arange(len(actions))[None] < steps
    ends = (torch.arange(len(actions))[None] == steps - 1) & terminal
    act = torch.tensor(actions, dtype=torch.float32)[None, :, None]
    return Segments(obs=at[:, :-1], act=act, next_obs=at[:, 1:], terminal=ends, mask=mask)


def test_what_a_segment_is_worth() -> None:
    whole = walk([0, 1, 2], [1, 0], steps=2, terminal=False)
    assert advantages(ORACLE, whole).tolist() == [[-1.0, -0.5]]
    assert start_values(ORACLE, whole).tolist() == [1.0]
    assert end_values(ORACLE, whole).tolist() == [4.0]


def test_steps_and_ends_that_do_not_exist_are_worth_nothing() -> None:
    short = walk([0, 2, 2], [1, 1], steps=1, terminal=True)
    assert advantages(ORACLE, short).tolist() == [[-1.0, 0.0]]
    assert end_values(ORACLE, short).tolist() == [0.0]
    cut = walk([0, 2, 0], [1, 1], steps=1, terminal=False)
    assert end_values(ORACLE, cut).tolist() == [4.0]


def test_numbers_and_one_hot_observations_are_the_same() -> None:
    states, act = torch.tensor([[0, 2], [1, 1]]), torch.tensor([[0.0, 1], [1, 0]])[..., None]
    numbers, one_hot = states[..., None].float(), F.one_hot(states, 3).float()
    assert torch.equal(ORACLE.values(numbers), ORACLE.values(one_hot))
    found = ORACLE.action_values(one_hot, act)
    assert found.tolist() == [[1.0, 3.0], [2.0, 1.5]]


def test_shapes_that_fit_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"V \[S\] and Q \[S, A\]"):
        TabularOracle(V, Q[:2], gamma=1.0)
    with pytest.raises(ConfigError, match="2 numbers for an oracle of 3 states"):
        ORACLE.values(torch.zeros(4, 2))
