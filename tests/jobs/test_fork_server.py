"""What the server prepares before it forks."""

import random

import numba
import torch

from pbrl import compiled
from pbrl.jobs import fork_server


def test_an_agent_is_made_ready_without_a_trace() -> None:
    random.seed(0)
    before = random.getstate(), torch.get_rng_state().tolist()
    fork_server.preload_agent(2)
    assert before == (random.getstate(), torch.get_rng_state().tolist())
    for function in (compiled.update, compiled.act):
        assert len(compiled.machine_code(function, 3, "float32").signatures) == 1


def test_it_tells_while_it_compiles_an_agent(monkeypatch) -> None:
    function = numba.njit(lambda x: x + 1)
    monkeypatch.setattr(fork_server, "preload_agent", function)
    told: list[bool] = []
    fork_server.preload([], depths=[2, 3], tell=told.append)
    assert told == [True, False]  # the second one is there already


def test_what_cannot_be_made_ready_is_told_in_the_log(capfd, monkeypatch) -> None:
    def fails(layers: int) -> None:
        raise OSError("no room for machine code")

    monkeypatch.setattr(fork_server, "preload_agent", fails)
    fork_server.preload([["method", "no-such"]], depths=[2])
    told = capfd.readouterr().err
    assert "not preloaded: method 'no-such'" in told
    assert "not preloaded: an agent of 2 layers: no room for machine code" in told
