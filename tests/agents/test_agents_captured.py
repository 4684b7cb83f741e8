"""An update as one CUDA graph: what can be said without a GPU, and what needs one."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from pbrl.agents.captured import Captured
from pbrl.agents.sac import SAC

HERE = torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not HERE, reason="this machine has no CUDA")
OBS, ACT = 5, 2


def make(device: str = "cpu", seed: int = 3) -> SAC:
    agent = SAC(
        Box(-np.inf, np.inf, (OBS,), np.float32), Box(-1.0, 1.0, (ACT,), np.float32), seed=seed,
        device=device, capacity=200, net_arch=(32, 32), batch_size=16, learning_rate=1e-3,
        temperature=0.1, temperature_lr=1e-3, gamma=0.99, tau=0.01, target_update_interval=2,
        core="torch",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for _ in range(100):
        obs, after = rng.normal(size=(2, OBS)).astype(np.float32)
        act = rng.uniform(-1, 1, ACT).astype(np.float32)
        agent.replay.add(obs, act, after, reward=float(rng.normal()), terminal=False)
    return agent


def differences(a: object, b: object, at: str = "") -> list[str]:
    """Where two nested states are not the same bits."""
    if isinstance(a, dict):
        assert isinstance(b, dict)
        assert a.keys() == b.keys()
        return [found for key in a for found in differences(a[key], b[key], f"{at}/{key}")]
    if isinstance(a, list | tuple):
        return [f for i, (x, y) in enumerate(zip(a, b, strict=True)) for f in differences(x, y, at)]  # type: ignore[arg-type]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if same else [at]


@pytest.mark.parametrize("given", [False, True])
def test_the_runs_before_the_recording_leave_no_trace(given: bool) -> None:
    """All that a step changes is put back: a tensor missing from `changed` would show."""
    agent = make()
    agent.update(agent.sample())
    for is_due in (True, False):
        captured = agent._captured(
            lambda *inputs, is_due=is_due: agent._step(*inputs, is_due=is_due)
        )
        rows = torch.arange(16)
        captured.inputs = [rows, torch.randn(16)] if given else [rows]
        before = copy.deepcopy(agent.state_dict())
        captured.step(*captured.inputs)
        changed = differences(before, agent.state_dict())
        assert {place.split("/")[1] for place in changed} == {
            "policy", "actor_optimizer", "critic_optimizer", "temperature_optimizer",
            "log_temperature", "generator",
        }  # fmt: skip
        agent.load_state_dict(before)
        captured.changed = agent._captured(captured.step).changed
        captured.rehearse()
        assert differences(before, agent.state_dict()) == []


def test_one_recording_per_kind_of_update_until_the_optimizer_is_another(monkeypatch) -> None:
    """With the device called a GPU and a recording that just runs the step."""
    recorded: list[Captured] = []

    def called(self: Captured, *inputs: torch.Tensor) -> None:
        if self not in recorded:
            recorded.append(self)
        self.step(*inputs)

    monkeypatch.setattr(Captured, "__call__", called)
    agent, plain = make(), make()
    agent.device = torch.device("cuda")
    agent._noise = lambda like: torch.randn(like.shape, generator=agent.generator)  # type: ignore[method-assign]
    reward = torch.randn(16)
    for _ in range(4):
        rows = plain.sample()
        agent.generator.set_state(plain.generator.get_state())
        for one in (agent, plain):
            one.update(rows)
            one.update(rows, reward=reward)
    assert len(recorded) == 2  # with and without reward; the target moves with every second update
    for ours, expected in zip(agent.weights().values(), plain.weights().values(), strict=True):
        assert torch.equal(ours, expected)
    assert len(agent._graphs) == 2
    agent._look()  # as after new critics or a restored state
    assert agent._graphs == plain._graphs == {}


def test_what_is_replayed_finds_the_inputs_of_the_call_in_one_place(monkeypatch) -> None:
    seen: list[tuple[int, float]] = []
    captured = Captured(
        lambda x, y: seen.append((x.data_ptr(), float(x.sum() + y.sum()))),
        changed=[],
        generator=torch.Generator(),
    )
    replayed = SimpleNamespace(replay=lambda: captured.step(*captured.inputs))
    monkeypatch.setattr(captured, "_recorded", lambda: replayed)
    for value in (1.0, 2.0, 3.0):
        captured(torch.full((2,), value), torch.zeros(2))
    assert [found for _, found in seen] == [2.0, 4.0, 6.0]
    assert len({place for place, _ in seen}) == 1


@needs_gpu
@pytest.mark.parametrize("given", [False, True])
def test_a_recorded_update_is_the_eager_one(given: bool) -> None:
    recorded, eager = make("cuda"), make("cuda")
    eager._captured = lambda step: step  # type: ignore[assignment, method-assign, return-value]
    for update in range(8):
        for agent in (recorded, eager):
            rows = agent.sample()
            reward = {"reward": rows.float() / 50} if given else {}
            agent.update(rows, **reward)
            if update == 4:
                agent.reset_critic()
    assert all(isinstance(graph, Captured) for graph in recorded._graphs.values())
    for a, b in zip(recorded.weights().values(), eager.weights().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@needs_gpu
def test_a_restored_agent_goes_on_bit_for_bit_on_a_gpu() -> None:
    original, restored = make("cuda"), make("cuda", seed=9)
    for _ in range(5):
        original.update(original.sample())
    restored.load_state_dict(copy.deepcopy(original.state_dict()))
    for agent in (original, restored):
        for _ in range(5):
            agent.update(agent.sample())
    assert differences(original.state_dict(), restored.state_dict()) == []
