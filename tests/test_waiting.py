"""Between two actions nothing asks for a value on the device, which would wait for a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch.utils._python_dispatch import TorchDispatchMode

from pbrl import transfer
from pbrl.agents import replay as replays
from pbrl.agents.exploration import StateEntropy
from pbrl.agents.sac import SAC
from pbrl.rewards import ensemble as ensembles
from pbrl.rewards.ensemble import RewardEnsemble, RewardNet
from pbrl.rewards.reed import Dynamics, EncodedRewardNet
from pbrl.segments import Preferences, Segments

OBS, ACT = 5, 2
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="this machine has no CUDA"
))]  # fmt: skip
pytestmark = pytest.mark.parametrize("device", DEVICES)

# What a GPU answers only when it has computed all before: a value, or a shape that depends on one.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim"}


class Watched(TorchDispatchMode):
    """Counts the operations that wait, selections by mask among them."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        masks = name in ("index", "index_put_") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        )
        if name in WAITING or masks:
            self.waited.append(name)
        return func(*args, **(kwargs or {}))


@contextmanager
def waits(monkeypatch: pytest.MonkeyPatch, at_most: int = 0) -> Iterator[None]:
    """Fail where values leave the device, or come to it except as `sent` sends them."""

    def leaves(*_: Any, **__: Any) -> Any:
        raise AssertionError("values left the device")

    def comes(*_: Any, **__: Any) -> Any:
        raise AssertionError("values came to the device, and it was waited for")

    watched = Watched()
    with monkeypatch.context() as patch, watched:
        from_numpy = torch.from_numpy
        for way in ("cpu", "numpy", "tolist", "__array__"):
            patch.setattr(torch.Tensor, way, leaves)
        for way in ("from_numpy", "as_tensor", "tensor"):
            patch.setattr(torch, way, comes)

        def sent(array: np.ndarray, device: torch.device) -> torch.Tensor:
            here = from_numpy(array)
            return here if device.type == "cpu" else here.pin_memory().to(device, non_blocking=True)

        for module in (replays, ensembles):
            patch.setattr(module, "sent", sent)
        if torch.cuda.is_available() and not at_most:
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default") if torch.cuda.is_available() else None
    assert len(watched.waited) <= at_most, watched.waited


def agent_on(device: str) -> SAC:
    agent = SAC(
        Box(-np.inf, np.inf, (OBS,), np.float32), Box(-1.0, 1.0, (ACT,), np.float32), seed=0,
        device=device, capacity=60, net_arch=(16, 16), batch_size=16, learning_rate=1e-3,
        temperature=0.1, temperature_lr=1e-3, gamma=0.99, tau=0.01, target_update_interval=2,
        core="torch",
    )  # fmt: skip
    for _ in range(50):
        add(agent, 0.5)
    for given in ({}, {"reward": torch.zeros(16, device=device)}):
        for _ in range(2):  # with the target critics and without: a GPU records each kind once
            agent.update(agent.sample(), **given)
    return agent


def add(agent: SAC, reward: float | torch.Tensor) -> None:
    obs, act = np.ones(OBS, np.float32), np.zeros(ACT, np.float32)
    agent.replay.add(obs, act, obs, reward=reward, terminal=False)


def ensemble_on(device: str, loss: str = "sigmoid", reed: bool = False) -> RewardEnsemble:
    g = torch.Generator(device).manual_seed(0)
    common = {"members": 3, "hidden": 16, "layers": 2, "generator": g}
    if reed:
        net = EncodedRewardNet(OBS, ACT, obs_width=4, act_width=2, **common)
    else:
        net = RewardNet(OBS, ACT, **common)
    return RewardEnsemble(net, generator=g, learning_rate=1e-3, batch_size=8, loss=loss)


def labeled(device: str) -> Preferences:
    def side() -> Segments:
        obs, steps = torch.randn(20, 6, OBS), torch.ones(20, 6, dtype=torch.bool)
        whole = Segments(
            obs=obs, act=torch.zeros(20, 6, ACT), next_obs=obs, terminal=~steps, mask=steps
        )
        return whole.to(device)

    found = Preferences(OBS, ACT, length=6, device=device)
    found.add(side(), side(), torch.arange(20, device=device) % 2)
    return found


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).all()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.cpu(),
        lambda x: torch.tensor([1.0], device=x.device),
    ],
)
def test_what_waits_is_noticed(device: str, ask, monkeypatch) -> None:
    x = torch.ones(3, device=device)
    with pytest.raises((AssertionError, RuntimeError)), waits(monkeypatch):
        ask(x)


def test_a_step_after_its_action(device: str, monkeypatch) -> None:
    """The learned reward, storing, sampling, the update, with its own rewards and stored ones."""
    agent, ensemble = agent_on(device), ensemble_on(device)
    obs, act = np.ones(OBS, np.float32), np.zeros(ACT, np.float32)
    with waits(monkeypatch):
        for _ in range(15):  # the ring wraps
            add(agent, ensemble.one(obs, act))
            agent.update(agent.sample())


def test_exploration(device: str, monkeypatch) -> None:
    agent, entropy = agent_on(device), StateEntropy(k=3, device=device)
    with waits(monkeypatch):
        for _ in range(3):
            rows = agent.sample()
            bonus = entropy.bonus(agent.replay.at(rows).obs, agent.replay.all().obs)
            agent.update(rows, reward=bonus)


def test_relabeling_and_new_critics(device: str, monkeypatch) -> None:
    agent, ensemble = agent_on(device), ensemble_on(device)
    with waits(monkeypatch):
        agent.replay.relabel(ensemble)
        agent.reset_critic()


@pytest.mark.parametrize("loss", ["sigmoid", "hinge", "dpo_shift", "davidson"])
@pytest.mark.parametrize("reed", [False, True])
def test_reward_training_waits_once_an_epoch(
    device: str, loss: str, reed: bool, monkeypatch
) -> None:
    """Three values an epoch, beside those of the labels before the first and the weights' after."""
    ensemble, data = ensemble_on(device, loss, reed), labeled(device)

    def waited(epochs: int) -> int:
        watched = Watched()
        with watched:
            assert ensemble.fit(data, epochs=epochs).epochs == epochs
        return len(watched.waited)

    monkeypatch.setattr("pbrl.rewards.fit.STOP_ACCURACY", 2.0)
    once = waited(1)
    assert once <= 3 + 12 + len(list(ensemble.net.parameters()))
    assert waited(5) == once + 4 * 3


def test_a_dynamics_phase_waits_once(device: str, monkeypatch) -> None:
    g = torch.Generator(device).manual_seed(0)
    ensemble = ensemble_on(device, reed=True)
    dynamics = Dynamics(ensemble.net, "contrast", tau=0.5, generator=g)
    obs, act = torch.randn(60, OBS, device=device), torch.zeros(60, ACT, device=device)
    with waits(monkeypatch, at_most=1):
        dynamics.fit(obs, act, obs, epochs=3, max_updates=9, batch_size=16, learning_rate=1e-3)


def test_what_is_sent_is_the_array_of_that_moment(device: str) -> None:
    array = np.arange(4, dtype=np.float32)
    found = transfer.sent(array, torch.device(device))
    assert found.device.type == device
    assert found.tolist() == [0, 1, 2, 3]
