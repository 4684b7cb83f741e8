"""The compiled core against torch on the same rows and noise: weights, and gradients."""

import copy
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.compiled import can_keep
from pbrl import compiled
from pbrl.agents.sac import SAC
from pbrl.errors import ConfigError
from pbrl.networks import StackedMLP
from pbrl.rewards.ensemble import RewardEnsemble, RewardNet

SETTINGS = {
    "capacity": 300,
    "batch_size": 24,
    "learning_rate": 1e-3,
    "temperature": 0.1,
    "temperature_lr": 1e-3,
    "gamma": 0.99,
    "tau": 0.01,
    "target_update_interval": 2,
}


@pytest.fixture
def double() -> Iterator[None]:
    """Everything is float64, where rounding hides no mistake."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def make(
    core: str, *, obs: int = 5, act: int = 2, hidden=(16, 16), seed: int = 0, **changes
) -> SAC:
    """An agent whose replay buffer is full."""
    spaces = Box(-np.inf, np.inf, (obs,), np.float32), Box(-1.0, 1.0, (act,), np.float32)
    given = SETTINGS | {"net_arch": hidden, "seed": seed, "core": core} | changes
    agent = SAC(*spaces, **given)
    rng = np.random.default_rng(seed)
    n = given["capacity"]
    table = rng.normal(size=(n, 2 * obs + act + 2))
    table[:, obs : obs + act] = rng.uniform(-1, 1, (n, act))
    table[:, -1] = rng.random(n) < 0.3
    agent.replay.rows.copy_(torch.from_numpy(table))
    agent.replay._added = n
    return agent


def weights(agent: SAC) -> torch.Tensor:
    """All that an update changes, as one vector."""
    nets = (agent.gaussian, agent.twin, agent.twin_target)
    return torch.cat([p.detach().flatten() for net in nets for p in net.parameters()])


def apart(one: SAC, other: SAC) -> float:
    """The largest difference of weights, of temperatures too."""
    temperatures = (one.log_ent_coef - other.log_ent_coef).abs().max()
    return max((weights(one) - weights(other)).abs().max().item(), temperatures.item())


@pytest.mark.parametrize(
    "hidden",
    [
        pytest.param((), marks=pytest.mark.slow, id="0"),  # slow: each depth is compiled
        pytest.param((16,), marks=pytest.mark.slow, id="1"),
        pytest.param((16, 16), id="2"),
        pytest.param((16, 8, 16), id="3"),
    ],
)
def test_a_hundred_updates_in_float64_equal_those_of_torch(double, hidden) -> None:
    ours, theirs = (make(core, hidden=hidden) for core in ("compiled", "torch"))
    before = weights(ours).clone()
    bonus = torch.Generator().manual_seed(1)
    for i in range(100):
        extra = {}
        if i % 3 == 0:  # rewards that replace the stored ones
            extra = {"reward": torch.randn(24, generator=bonus)}
        for agent in (ours, theirs):
            agent.update(agent.sample(), **extra)
    assert (weights(ours) - before).abs().max() > 1e-2
    assert apart(ours, theirs) < 1e-9


@given(
    obs=st.integers(1, 7),
    act=st.integers(1, 4),
    width=st.integers(1, 9),
    batch=st.integers(1, 33),
    seed=st.integers(0, 2**31),
    size=st.floats(0.1, 30),
)
@settings(max_examples=60)
def test_gradients_in_float64_are_those_of_autograd(obs, act, width, batch, seed, size) -> None:
    # Large weights reach the clamp of the log standard deviation and saturate tanh, where the
    # digits of 1 - a² cancel: there rounding is 1e-16 / TANH_EPS.
    tolerance = 1e-10 if size <= 1 else 1e-7
    torch.set_default_dtype(torch.float64)
    try:
        agents = []
        for core in ("compiled", "torch"):
            agent = make(core, obs=obs, act=act, hidden=(width, width), seed=seed, batch_size=batch)
            with torch.no_grad():
                for p in agent.gaussian.parameters():
                    p *= size
            agents.append(agent)
            agent.update(agent.sample())
        ours, theirs = agents
        alpha_adam, actor_adam, twin_adam = (ours._machine.learners[i] for i in (6, 1, 3))
        for optimizer, net in ((actor_adam, theirs.gaussian), (twin_adam, theirs.twin)):
            found = optimizer.gradient.weights + optimizer.gradient.biases
            for gradient, p in zip(found, net.parameters(), strict=True):
                scale = max(1.0, p.grad.abs().max().item())
                assert np.abs(gradient - p.grad.numpy()).max() < tolerance * scale
        of_alpha = theirs.log_ent_coef.grad.item()
        assert alpha_adam.gradient[0] == pytest.approx(of_alpha, abs=10 * tolerance)
    finally:
        torch.set_default_dtype(torch.float32)


def test_one_update_in_float32_equals_that_of_torch() -> None:
    """From each of a hundred states of a run, to 1e-5 of the largest weight."""
    ours, theirs = (make(core, hidden=(64, 64), batch_size=64) for core in ("compiled", "torch"))
    for _ in range(100):
        theirs.load_state_dict(ours.state_dict())
        for agent in (ours, theirs):
            agent.update(agent.sample())
        assert apart(ours, theirs) < 1e-5 * weights(theirs).abs().max()


def draws_as(agent: SAC, generator: torch.Generator, order: torch.Tensor) -> None:
    """Let the agent draw from this generator, each batch's rows in this order."""

    def of_torch(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator, dtype=torch.float32)[order].to(like)

    def of_machine(n: int, which: int = 0) -> np.ndarray:
        return torch.randn(n, agent.act_dim, generator=generator)[order].numpy()

    agent._noise = of_torch  # type: ignore[method-assign]
    if agent._machine is not None:
        agent._machine._noise = of_machine  # type: ignore[method-assign]


def test_it_drifts_no_further_than_torch_does_with_permuted_rows() -> None:
    """A hundred updates magnify rounding; the truth is what float64 gives on the same noise."""
    shape = {"obs": 24, "act": 6, "hidden": (64, 64), "batch_size": 64}
    ours, theirs, permuted = (make(core, **shape) for core in ("compiled", "torch", "torch"))
    torch.set_default_dtype(torch.float64)
    truth = make("torch", **shape)
    truth.load_state_dict(copy.deepcopy(theirs.state_dict()))
    torch.set_default_dtype(torch.float32)
    as_drawn, other = torch.arange(64), torch.randperm(64, generator=torch.Generator())
    noise = torch.Generator()
    orders = {ours: as_drawn, theirs: as_drawn, permuted: other, truth: as_drawn}
    for step in range(100):
        rows = theirs.sample()
        for agent, order in orders.items():
            draws_as(agent, noise.manual_seed(step), order)
            agent.update(rows[order])
        if step in (0, 9, 99):
            drifts = [
                (weights(agent) - weights(truth)).abs().mean().item()
                for agent in (ours, theirs, permuted)
            ]
            assert drifts[0] < 1.1 * max(drifts[1:])


def test_columns_beyond_those_of_a_transition_are_left_alone() -> None:
    plain, wide = make("compiled"), make("compiled")
    rows = wide.replay.rows
    wide.replay.rows = torch.cat((rows, torch.full((len(rows), 3), torch.nan)), dim=1)
    for agent in (plain, wide):
        for _ in range(5):
            agent.update(agent.sample())
    assert apart(plain, wide) == 0


def test_rows_chosen_by_hand_may_be_of_any_number_and_kind() -> None:
    ours, theirs = make("compiled"), make("torch")
    for rows in (torch.tensor([3]), torch.arange(0, 300, 7)[::2], torch.arange(9).int()):
        reward = torch.ones(2 * len(rows), dtype=torch.float64)[::2]
        for agent in (ours, theirs):
            agent.update(rows, reward=reward.float() if agent is theirs else reward)
    assert apart(ours, theirs) < 1e-5
    for kind, count in ((ours._machine._update, 1), (ours._machine._act, 0)):
        assert len(kind.signatures) <= max(1, count)  # nothing was compiled anew


@pytest.mark.parametrize(("rows", "stored"), [([0, 300], 500), ([-1, 4], 300), ([0, 200], 200)])
def test_rows_that_are_not_there_are_refused(rows, stored: int) -> None:
    """Nor are those of a table that is not full yet, where memory holds anything."""
    agent = make("compiled")
    agent.replay._added = stored
    before = weights(agent).clone()
    with pytest.raises(IndexError, match="rows that the replay buffer does not have"):
        agent.update(torch.tensor(rows))
    with pytest.raises(ValueError, match=r"found rewards \[3\] for rows \[2\]"):
        agent.update(torch.tensor([0, 1]), reward=torch.ones(3))
    assert torch.equal(before, weights(agent))


@pytest.mark.parametrize("core", ["compiled", "torch"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("column", [0, 5, 8, 12])  # of s, a, s', r
def test_what_is_not_finite_reaches_the_weights(core: str, bad: float, column: int) -> None:
    agent = make(core)
    agent.replay.rows[7, column] = bad
    for _ in range(3):  # from reward to critics, from critics to actor
        agent.update(torch.tensor([5, 6, 7, 8]))
    assert not np.isfinite(agent.act(np.ones(5))).any()


@pytest.mark.parametrize("core", ["compiled", "torch"])
def test_observations_of_any_kind_and_number_are_acted_on(core: str) -> None:
    agent = make(core)
    obs = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    several = agent.act(obs, deterministic=True)
    assert several.shape == (6, 2)
    assert several.dtype == np.float32
    views = (obs.astype(np.float64), np.asfortranarray(obs), np.repeat(obs, 2, axis=1)[:, ::2])
    for view in views:
        assert np.array_equal(agent.act(view, deterministic=True), several)
        assert np.allclose(agent.act(view[2], deterministic=True), several[2], atol=1e-6)


@pytest.mark.parametrize("core", ["compiled", "torch"])
def test_observations_of_another_width_are_refused(core: str) -> None:
    agent = make(core)
    for shape in ((10,), (2, 10), (4,), (1, 1, 5), ()):
        found = re.escape(f"found observations {list(shape)}; expected [5], or several [N, 5]")
        with pytest.raises(ValueError, match=found):
            agent.act(np.ones(shape, np.float32))


def test_observations_that_are_not_writable_compile_nothing_anew(recwarn) -> None:
    obs = np.ones(5, np.float32)
    obs.flags.writeable = False
    make("torch").act(obs)  # torch would warn of memory that it must not write to
    agent = make("compiled")
    agent.act(obs)
    assert not recwarn.list
    assert len(agent._machine._act.signatures) <= 1


@pytest.mark.parametrize("core", ["compiled", "torch"])
def test_an_agent_is_neither_copied_nor_pickled(core: str) -> None:
    """A copy's views, of the machine and of SB3's modules, would be of other memory than it is."""
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(NotImplementedError, match=r"copied nor pickled; keep state_dict\(\)"):
            way(make(core))


def test_a_copied_reward_looks_at_its_own_network() -> None:
    generator = torch.Generator().manual_seed(0)
    mlp = StackedMLP(2, [3, 4, 1], slope=0.01, generator=generator)
    reward = compiled.Reward(mlp)
    step = np.ones(2), np.ones(1)
    net, copied = copy.deepcopy((mlp, reward))
    assert copied(*step) == reward(*step) != 0
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    assert copied(*step) == 0 != reward(*step)


def test_both_cores_draw_the_same_noise() -> None:
    ours, theirs = make("compiled"), make("torch")
    for obs in (np.ones(5, np.float32), np.ones((20, 5), np.float32)):
        drawn = ours.act(obs)
        assert np.allclose(drawn, theirs.act(obs), atol=1e-6)
        mean = ours.act(obs, deterministic=True)
        assert np.allclose(mean, theirs.act(obs, deterministic=True), atol=1e-6)
        assert (drawn != mean).all()


@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 2**31))
@settings(max_examples=30)
def test_the_reward_of_a_step_is_that_of_torch(members: int, hidden: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    net = RewardNet(4, 2, members=members, hidden=hidden, layers=2, generator=generator)
    rest = {"generator": generator, "learning_rate": 1e-3, "batch_size": 8, "loss": "sigmoid"}
    ours, theirs = (RewardEnsemble(net, core=core, **rest) for core in ("compiled", "torch"))
    obs, act = np.split(np.random.default_rng(seed).normal(size=6), [4])
    assert ours.one(obs, act) == pytest.approx(theirs.one(obs, act).item(), abs=1e-6)


def test_views_follow_the_weights() -> None:
    """Of a critic made anew, of a restored agent and of reward training: no copy stays behind."""
    agent, other = make("compiled"), make("compiled", seed=5)
    for one in (agent, other):
        for _ in range(3):
            one.update(one.sample())
    agent.reset_critic()
    agent.update(agent.sample())
    other.load_state_dict(copy.deepcopy(agent.state_dict()))
    assert apart(agent, other) == 0
    for one in (agent, other):
        assert one.critic.optimizer.state_dict()["state"][0]["step"] == 1
        one.update(one.sample())
        assert one.critic.optimizer.state_dict()["state"][0]["step"] == 2
        assert one.actor.optimizer.state_dict()["state"][0]["step"] == 5
    assert apart(agent, other) == 0
    with torch.no_grad():
        agent.gaussian.weights[0].zero_()
        agent.gaussian.biases[0].zero_()
    constant = agent.act(np.random.default_rng(0).normal(size=(2, 5)), deterministic=True)
    assert np.array_equal(constant[0], constant[1])


def test_a_forward_pass_is_that_of_the_stacked_network() -> None:
    mlp = StackedMLP(3, [4, 8, 2], slope=0.01, generator=torch.Generator().manual_seed(0))
    x = torch.randn(5, 4)
    columns, net = np.ascontiguousarray(x.numpy().T), compiled.network(mlp)
    for k in range(3):
        found = compiled.forward(net, k, columns, np.float32(0.01))[-1]
        assert np.allclose(found.T, mlp(x)[k].detach().numpy(), atol=1e-6)


def test_the_compiled_core_is_refused_elsewhere() -> None:
    with pytest.raises(ConfigError, match="core 'compiled' is for the CPU, found device 'meta'"):
        make("compiled", device="meta")


def test_compiled_code_is_kept_where_that_is_possible_and_nowhere_else(
    tmp_path, monkeypatch
) -> None:
    source, blocked = tmp_path / "package" / "compiled.py", tmp_path / "file" / "within"
    source.parent.mkdir()
    blocked.parent.touch()
    for place, kept in ((tmp_path / "new" / "cache", True), (blocked, False), ("", True)):
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(place))
        assert can_keep(str(source)) is kept
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert can_keep(str(source))
    assert not can_keep(str(blocked / "compiled.py"))


UNKEPT = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_compiled import make
print(make("compiled", hidden=()).act(np.zeros((1, 5))).shape)
"""


@pytest.mark.slow
def test_without_a_place_for_compiled_code_an_agent_acts_all_the_same(tmp_path) -> None:
    (tmp_path / "file").touch()
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file"), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", UNKEPT, str(Path(__file__).parent)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "(1, 2)"
    assert [path.name for path in tmp_path.rglob("*.nb?")] == []


@pytest.mark.parametrize("name", ["_update", "_update_critic", "sample_action", "_act"])
def test_a_subclass_whose_code_it_would_not_run_is_refused(name: str, monkeypatch) -> None:
    changed = type("Mine", (SAC,), {name: lambda *_: 1 / 0})
    extended = type("Other", (SAC,), {"extra": None})
    monkeypatch.setitem(make.__globals__, "SAC", changed)
    with pytest.raises(ConfigError, match=f"Mine has {name} of its own, found core 'compiled'"):
        make("compiled")
    assert make("torch").core == "torch"
    monkeypatch.setitem(make.__globals__, "SAC", extended)
    assert make("compiled").core == "compiled"


FRESH = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from test_compiled import make, weights
agent = make("compiled", hidden=(16,))
for _ in range(20):
    agent.update(agent.sample())
print(hashlib.sha256(weights(agent).numpy().tobytes()).hexdigest())
print(sum(agent._machine._update.stats.cache_hits.values()))
"""


@pytest.mark.slow
def test_what_compiles_and_what_loads_from_the_cache_give_the_same_bits(tmp_path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", FRESH, str(Path(__file__).parent)]
    found = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    (fresh, none), (loaded, once) = (process.stdout.split() for process in found)
    assert (none, once) == ("0", "1")
    assert fresh == loaded
