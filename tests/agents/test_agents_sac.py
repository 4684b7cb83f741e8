"""The SAC agent against Stable-Baselines3's own `train` on the same batches and noise."""

import copy
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.logger import configure
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from pbrl.agents.replay import Batch
from pbrl.agents.sac import SAC
from pbrl.errors import ConfigError

OBS, ACT = 5, 2
OBSERVATIONS = Box(-np.inf, np.inf, (OBS,), np.float32)
ACTIONS = Box(-1.0, 1.0, (ACT,), np.float32)


class Still(gymnasium.Env):
    """Gives Stable-Baselines3 its spaces."""

    observation_space, action_space = OBSERVATIONS, ACTIONS

    def reset(self, *, seed=None, options=None):
        return np.zeros(OBS, np.float32), {}


SETTINGS = {
    "seed": 3,
    "capacity": 200,
    "net_arch": (32, 32),
    "batch_size": 16,
    "learning_rate": 3e-4,
    "temperature": 0.1,
    "temperature_lr": 3e-4,
    "gamma": 0.99,
    "tau": 0.005,
    "target_update_interval": 1,
}


@pytest.fixture(autouse=True, params=["torch", "compiled"])
def core(request, monkeypatch) -> None:
    """Every law holds for both."""
    monkeypatch.setitem(SETTINGS, "core", request.param)


def make(**changes) -> SAC:
    return SAC(OBSERVATIONS, ACTIONS, **SETTINGS | changes)


def random_batch(seed: int, n: int = 16) -> Batch:
    g = torch.Generator().manual_seed(seed)
    return Batch(
        obs=torch.randn(n, OBS, generator=g),
        act=torch.rand(n, ACT, generator=g) * 2 - 1,
        next_obs=torch.randn(n, OBS, generator=g),
        reward=torch.randn(n, generator=g),
        terminal=(torch.rand(n, generator=g) < 0.3).float(),
    )


def learn(agent: SAC, batch: Batch, **given) -> None:
    """One update from a batch, which becomes the first rows of the replay buffer."""
    n = len(batch.reward)
    agent.replay.rows[:n] = torch.column_stack(batch)
    agent.replay._added = max(n, agent.replay._added)
    agent.update(torch.arange(n), **given)


def fill(agent: SAC, n: int = 50) -> None:
    rng = np.random.default_rng(0)
    for _ in range(n):
        obs, next_obs = rng.normal(size=(2, OBS)).astype(np.float32)
        act = rng.uniform(-1, 1, ACT).astype(np.float32)
        agent.replay.add(obs, act, next_obs, reward=float(rng.normal()), terminal=False)


def reference(agent: SAC, batches: list[Batch], **settings) -> stable_baselines3.SAC:
    """SB3's SAC with the agent's weights, whose replay buffer hands out `batches`."""
    sb3 = stable_baselines3.SAC(
        "MlpPolicy",
        Still(),
        ent_coef="auto_0.1",
        buffer_size=10,
        learning_rate=1e-3,
        policy_kwargs={"net_arch": [32, 32]},
        **settings,
    )
    sb3.set_logger(configure(None, []))
    sb3.policy.load_state_dict(agent.policy.state_dict())
    queue = iter(batches)

    def sample(batch_size, env=None):
        batch = next(queue)
        return SimpleNamespace(
            observations=batch.obs,
            actions=batch.act,
            next_observations=batch.next_obs,
            rewards=batch.reward[:, None],
            dones=batch.terminal[:, None],
            discounts=None,
        )

    sb3.replay_buffer.sample = sample
    return sb3


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max((a[k] - b[k]).abs().max().item() for k in a)


def test_ten_updates_equal_those_of_stable_baselines3() -> None:
    # The same mathematics in another order (fused Adam, batched products, lerp): what is left is
    # float32 rounding, which Adam's division by a small second moment magnifies.
    agent = make(learning_rate=1e-3, temperature_lr=1e-3)
    batches = [random_batch(i) for i in range(10)]
    sb3 = reference(agent, batches)
    agent.generator.manual_seed(11)
    torch.manual_seed(11)  # SB3 draws its noise, in the same order, from the global stream
    before = copy.deepcopy(agent.policy.state_dict())
    for batch in batches:
        learn(agent, batch)
        sb3.train(1, 16)
    assert largest_difference(before, agent.policy.state_dict()) > 5e-3
    assert largest_difference(sb3.policy.state_dict(), agent.policy.state_dict()) < 1e-5
    assert abs(sb3.log_ent_coef.item() - agent.log_ent_coef.item()) < 1e-6


def test_one_update_equals_that_of_stable_baselines3_to_1e_6() -> None:
    agent = make(learning_rate=1e-3, temperature_lr=1e-3)
    sb3 = reference(agent, [random_batch(0)])
    agent.generator.manual_seed(11)
    torch.manual_seed(11)
    learn(agent, random_batch(0))
    sb3.train(1, 16)
    assert largest_difference(sb3.policy.state_dict(), agent.policy.state_dict()) < 1e-6


def test_target_update_interval_counts_updates() -> None:
    agent = make(target_update_interval=3)
    moved = []
    for i in range(7):
        before = copy.deepcopy(agent.twin_target.state_dict())
        learn(agent, random_batch(i))
        moved.append(largest_difference(before, agent.twin_target.state_dict()) > 0)
    assert moved == [True, False, False, True, False, False, True]


def test_temperature_has_its_own_learning_rate() -> None:
    slow, fast = make(temperature_lr=1e-5), make(temperature_lr=1e-2)
    start = slow.log_ent_coef.item()
    learn(slow, random_batch(0))
    learn(fast, random_batch(0))
    assert abs(slow.log_ent_coef.item() - start) == pytest.approx(1e-5, rel=0.05)
    assert abs(fast.log_ent_coef.item() - start) == pytest.approx(1e-2, rel=0.05)
    assert largest_difference(slow.policy.state_dict(), fast.policy.state_dict()) == 0


def test_log_probability_is_that_of_a_squashed_gaussian() -> None:
    agent = make()
    obs = torch.randn(64, OBS, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        action, log_prob = agent.sample_action(obs)
        mean, log_std = agent.mean_and_log_std(obs)
        squashed = TransformedDistribution(Normal(mean, log_std.exp()), [TanhTransform()])
        expected = squashed.log_prob(action.clamp(-1 + 1e-6, 1 - 1e-6)).sum(1)
    assert torch.allclose(log_prob, expected, atol=2e-3)  # SB3's 1e-6 inside the logarithm


def test_stable_baselines3_sees_the_trained_weights() -> None:
    agent = make()
    for i in range(3):
        learn(agent, random_batch(i))
    batch = random_batch(9)
    with torch.no_grad():
        theirs = torch.cat(agent.critic(batch.obs, batch.act), dim=1)
        ours = agent.twin(torch.cat((batch.obs, batch.act), dim=1)).squeeze(2).T
    assert torch.allclose(theirs, ours, atol=1e-6)
    obs = np.ones(OBS, np.float32)
    predicted, _ = agent.predict(obs, deterministic=True)
    assert np.allclose(predicted, agent.act(obs, deterministic=True), atol=1e-6)


def test_reset_critic_draws_critics_anew_and_keeps_the_rest() -> None:
    agent = make()
    fill(agent)
    for _ in range(3):
        agent.update(agent.sample())
    before = copy.deepcopy(agent.state_dict())
    agent.reset_critic()
    after = agent.state_dict()
    for name, value in after["policy"].items():
        kept = torch.equal(value, before["policy"][name])
        assert kept == name.startswith("actor"), name
    assert largest_difference(agent.critic.state_dict(), agent.critic_target.state_dict()) == 0
    for moments in after["critic_optimizer"]["state"].values():
        assert not any(value.any() for value in moments.values())
    assert after["actor_optimizer"]["state"].keys() == before["actor_optimizer"]["state"].keys()
    assert torch.equal(after["log_temperature"], before["log_temperature"])
    assert torch.equal(after["replay"]["rows"], before["replay"]["rows"])


@pytest.mark.parametrize("reset", [False, True])
def test_a_restored_agent_goes_on_bit_for_bit(reset: bool) -> None:
    original, restored = make(), make(seed=99)
    fill(original)
    for _ in range(5):
        original.update(original.sample())
    if reset:
        original.reset_critic()
    restored.load_state_dict(copy.deepcopy(original.state_dict()))
    obs = np.ones(OBS, np.float32)
    for agent in (original, restored):
        for _ in range(5):
            agent.update(agent.sample())
            agent.act(obs)
    assert largest_difference(original.policy.state_dict(), restored.policy.state_dict()) == 0
    assert np.array_equal(original.act(obs), restored.act(obs))
    assert original._n_updates == restored._n_updates


def test_a_saved_state_does_not_follow_the_agent() -> None:
    agent = make()
    fill(agent)
    state = agent.state_dict()
    before = copy.deepcopy(state)
    agent.update(agent.sample())
    agent.replay.relabel(lambda obs, act: obs[:, 0])
    assert largest_difference(before["policy"], state["policy"]) == 0
    assert torch.equal(before["log_temperature"], state["log_temperature"])
    assert torch.equal(before["replay"]["rows"], state["replay"]["rows"])


def test_the_global_stream_is_not_touched() -> None:
    state = torch.get_rng_state()
    agent = make()
    fill(agent)
    agent.update(agent.sample())
    agent.act(np.zeros(OBS, np.float32))
    agent.reset_critic()
    assert torch.equal(state, torch.get_rng_state())


def test_the_seed_decides_everything() -> None:
    same, again, other = make(seed=1), make(seed=1), make(seed=2)
    assert largest_difference(same.policy.state_dict(), again.policy.state_dict()) == 0
    assert largest_difference(same.policy.state_dict(), other.policy.state_dict()) > 0


def test_critics_start_as_torch_linear_layers_do() -> None:
    agent = make(net_arch=(256, 256))
    for layer in agent.critic.qf0:
        if isinstance(layer, torch.nn.Linear):
            bound = layer.in_features**-0.5
            weight = layer.weight.detach().flatten()
            assert weight.abs().max() <= bound
            assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.1)
    assert not torch.equal(agent.critic.qf0[0].weight, agent.critic.qf1[0].weight)


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (OBSERVATIONS, Discrete(3), r"flat Box actions in \[-1, 1\], found Discrete\(3\)"),
        (OBSERVATIONS, Box(-2.0, 2.0, (1,)), r"found Box\(-2.0, 2.0.*RescaleAction"),
        (Box(0, 1, (4, 4)), ACTIONS, "flat Box observations.*FlattenObservation"),
    ],
)
def test_other_spaces_are_refused(observations, actions, message) -> None:
    with pytest.raises(ConfigError, match=message):
        SAC(observations, actions, **SETTINGS)


def test_the_policy_is_saved_and_the_agent_says_how(tmp_path) -> None:
    agent = make()
    learn(agent, random_batch(0))
    agent.policy.save(tmp_path / "policy.zip")
    loaded = stable_baselines3.sac.MlpPolicy.load(tmp_path / "policy.zip")
    obs = np.ones(OBS, np.float32)
    assert np.array_equal(
        agent.predict(obs, None, None, True)[0], loaded.predict(obs, None, None, True)[0]
    )
    with pytest.raises(NotImplementedError, match="keep state_dict"):
        agent.save(tmp_path / "agent.zip")


def test_no_other_device_is_touched(monkeypatch) -> None:
    asked = []
    fork = torch.random.fork_rng
    monkeypatch.setattr(
        torch.random, "fork_rng", lambda devices: asked.append(devices) or fork(devices)
    )
    make()
    assert asked == [[]]


@pytest.mark.slow
def test_it_learns_to_reach_a_point() -> None:
    """Reward -|x - a|² in one step: the mean action becomes x."""
    agent = make(net_arch=(64, 64), batch_size=64, capacity=3000, learning_rate=1e-3, gamma=0.0)
    rng = np.random.default_rng(0)
    for _ in range(1500):
        obs = rng.uniform(-0.8, 0.8, OBS).astype(np.float32)
        act = agent.act(obs)
        reward = -float(np.square(act - obs[:ACT]).sum())
        agent.replay.add(obs, act, obs, reward=reward, terminal=True)
        agent.update(agent.sample())
    obs = rng.uniform(-0.8, 0.8, (100, OBS)).astype(np.float32)
    error = [np.abs(agent.act(o, deterministic=True) - o[:ACT]).mean() for o in obs]
    assert np.mean(error) < 0.1
