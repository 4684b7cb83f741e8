"""The run loop: exact resume, named streams, and faults of an environment blamed on it."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from pydantic import BaseModel

from pbrl import registry, suite
from pbrl.check.method import MemoryCell, _digest, _execute
from pbrl.errors import CellError, ConfigError, EnvironmentFault
from pbrl.run import Run
from pbrl.run.env import ActingEnv, Transition
from pbrl.run.evaluation import reward_accuracy
from pbrl.run.seeds import stream_int, stream_seed


class Faulty(gymnasium.Env):
    """A one-dimensional walk that breaks at a chosen step."""

    observation_space = Box(-100, 100, (1,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, fault: str = "none", at: int = 60) -> None:
        self.fault, self.at, self.count = fault, at, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.normal(size=1).astype(np.float32)
        return self.x, {}

    def step(self, action):
        self.count += 1
        broken = self.count == self.at
        if broken and self.fault == "raise":
            raise ZeroDivisionError("by zero")
        self.x = np.clip(self.x + action + self.np_random.normal(size=1), -99, 99).astype(
            np.float32
        )
        reward = float("nan") if broken and self.fault == "reward" else 1.0
        obs = self.x * np.nan if broken and self.fault == "obs" else self.x
        return obs, reward, False, False, {}


registry.env("test-faulty", horizon=50, reward_range=(0.0, 1.0))(Faulty)


class Walker:
    """An agent whose weights are a function of every draw and observation it met."""

    def __init__(self) -> None:
        self.weights_ = torch.zeros(2)

    def act(self, obs: np.ndarray, deterministic: bool = False) -> np.ndarray:
        return np.tanh(self.weights_[:1].numpy())

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights_}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights_ = state["weights"]


class Config(BaseModel):
    steps: int = 100
    loops: int = 1


def train(run: Any, cfg: Config) -> None:
    agent = Walker()
    rng = run.rng("noise")
    run.track(agent=agent)
    for _ in range(cfg.loops):
        for _step in run.loop(cfg.steps):
            moved = run.step(agent.act(run.obs) * 0 + rng.uniform(-1, 1, 1).astype(np.float32))
            agent.weights_ = 0.9 * agent.weights_ + torch.randn(2) + float(moved.next_obs[0])


registry.method("test-walker", labels=False)(train)


def cell(*, stop_at: int | None = None, **changes: Any) -> MemoryCell:
    env = {"name": "test-faulty", **changes.pop("env", {})}
    method = {"name": "test-walker", **changes.pop("method", {})}
    block = {"kind": "online", "env": env, "method": method, "steps": 173, "eval_every": 40,
             "eval_episodes": 2, "final_episodes": 3, "checkpoint_seconds": 0}  # fmt: skip
    (config,) = suite.cells({"name": "t", "seeds": 1, "blocks": [block | changes]})
    return MemoryCell(config, stop_at=stop_at)


def learned(cell: MemoryCell) -> str:
    return _digest(_execute(cell)["weights"])


def test_an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one() -> None:
    """The environment has no get_state: it is saved at episode starts and resumed exactly."""
    whole = cell()
    expected = learned(whole)
    for stop_at in (0, 40, 80, 120):  # an episode has 50 steps
        stopped = cell(stop_at=stop_at)
        assert learned(stopped) == expected
        assert stopped.rows == whole.rows


@pytest.mark.parametrize(
    "changes", [{"eval_every": 7}, {"eval_episodes": 5}, {"final_episodes": 9}]
)
def test_how_often_it_is_evaluated_does_not_change_what_is_learned(changes) -> None:
    assert learned(cell(**changes)) == learned(cell())


class Start(gymnasium.Env):
    """Every reward is where the episode started, whatever is done."""

    observation_space = Box(0, 1, (1,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.start = self.np_random.random()
        return np.array([self.start], np.float32), {}

    def step(self, action):
        return np.array([self.start], np.float32), self.start, False, False, {}


registry.env("test-start", horizon=1, reward_range=(0.0, 1.0))(Start)


def test_each_evaluation_starts_elsewhere_and_all_methods_start_there_too() -> None:
    def rows(method: str, seed: int, **changes: Any) -> dict[tuple[str, int], dict[str, Any]]:
        one = cell(env={"name": "test-start"}, method={"name": method}, **changes)
        one.config["seed"] = seed
        _execute(one)
        return {(r["event"], r["step"]): r for r in one.rows if r["event"] in ("eval", "final")}

    walker = rows("test-walker", 0)
    assert walker[("final", 173)]["episodes"] == 3
    starts = [(r["return"], r["returns_std"]) for r in walker.values()]
    assert len(set(starts)) == len(starts) == 7
    other = rows("random", 0)
    assert {k: r["return"] for k, r in other.items()} == {k: r["return"] for k, r in walker.items()}
    assert rows("random", 0, eval_every=80)[("eval", 80)] == other[("eval", 80)]
    assert rows("random", 1)[("eval", 40)]["return"] != other[("eval", 40)]["return"]


def test_an_evaluation_estimates_the_mean_over_start_states() -> None:
    """50 uniform starts: a mean within 5 standard errors, and a spread of 1/sqrt(12)."""
    one = cell(env={"name": "test-start"}, final_episodes=50)
    _execute(one)
    final = one.rows[-1]
    assert (final["event"], final["episodes"]) == ("final", 50)
    assert abs(final["return"] - 0.5) < 5 * 0.289 / 50**0.5
    assert 0.2 < final["returns_std"] < 0.38
    assert final.keys() - {"episodes"} == one.rows[0].keys()


def test_shipped_suites_evaluate_on_enough_episodes() -> None:
    for name in suite.shipped():
        for config in suite.cells(suite.read(name)):
            if config["kind"] == "online":
                assert config["eval_episodes"] >= 10
                assert config["final_episodes"] >= 50


def test_evaluations_are_due_at_multiples_and_at_the_end() -> None:
    one = cell()
    _execute(one)
    assert [r["step"] for r in one.rows if r["event"] == "eval"] == [0, 40, 80, 120, 160, 173]
    assert [r["step"] for r in one.rows if r["event"] == "episode"] == [50, 100, 150]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("reward", r"'test-faulty' returned reward nan.*step \d+ of stream 'env', action \["),
        ("obs", r"'test-faulty' returned an observation that is not finite at index \[0\]"),
        ("raise", r"'test-faulty' raised ZeroDivisionError in step: by zero \(step \d+"),
    ],
)
def test_a_fault_of_the_environment_stops_the_run_and_is_blamed_on_it(fault, message) -> None:
    with pytest.raises(EnvironmentFault, match=message):
        _execute(cell(env={"fault": fault, "at": 60}, eval_every=999, eval_episodes=1))


def test_a_second_loop_is_refused() -> None:
    with pytest.raises(CellError, match="a method has one loop"):
        _execute(cell(method={"loops": 2}))


def test_streams_of_different_names_and_seeds_are_unrelated() -> None:
    draws = {
        (seed, name): np.random.default_rng(stream_seed(seed, name)).random(2000)
        for seed in (0, 1)
        for name in ("env", "agent")
    }
    keys = list(draws)
    for i, a in enumerate(keys):
        for b in keys[i + 1 :]:
            # |r| of 2000 independent pairs exceeds 0.1 with probability 1e-5
            assert abs(np.corrcoef(draws[a], draws[b])[0, 1]) < 0.1
    assert stream_int(0, "env/0") != stream_int(0, "env/1")
    assert 0 <= stream_int(3, "torch") < 2**31


def test_an_agent_that_diverged_is_not_blamed_on_the_environment() -> None:
    env = ActingEnv("test-faulty", {}, seed=0, stream="env")
    with pytest.raises(FloatingPointError, match="the agent's action is not finite"):
        env.step(np.array([np.nan]))


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ((np.zeros(1), None, False, False, {}), "raised TypeError in step"),
        ((np.zeros(1), np.zeros(2), False, False, {}), "raised TypeError in step"),
        ((np.zeros(2), 0.0, False, False, {}), r"an observation of shape \(2,\); expected \(1,\)"),
        ((np.zeros(1), 0.0, False), "raised ValueError in step"),
    ],
)
def test_a_malformed_result_is_blamed_on_the_environment(result, message, monkeypatch) -> None:
    env = ActingEnv("test-faulty", {}, seed=0, stream="env")
    monkeypatch.setattr(env.env.env, "step", lambda action: result)
    with pytest.raises(EnvironmentFault, match=message):
        env.step(np.zeros(1))


def test_an_environment_may_reuse_its_buffer(monkeypatch) -> None:
    env = ActingEnv("test-faulty", {}, seed=0, stream="env")
    buffer = np.zeros(1, np.float32)

    def step(action):
        buffer[0] += 1
        return buffer, 0.0, False, False, {}

    monkeypatch.setattr(env.env.env, "step", step)
    env.step(np.zeros(1))
    moved = env.step(np.zeros(1))
    assert (moved.obs[0], moved.next_obs[0]) == (1, 2)


class Flat:
    """Segments of which all true returns are equal."""

    ground_truth, mask = torch.zeros(8, 5), torch.ones(8, 5, dtype=torch.bool)

    def __len__(self) -> int:
        return 8


def test_asking_counts_what_was_answered_and_a_draw_is_never_wrong() -> None:
    one = Run(cell())  # type: ignore[arg-type]

    class Fixed:
        def label(self, first, second, rng):
            return np.array([0, 1, 1, 1, 0.5, np.nan, np.nan, 0])

    one.teacher = Fixed()
    better = Flat()
    better.ground_truth = torch.ones(8, 5)
    one.ask(Flat(), Flat())  # type: ignore[arg-type]
    assert one.counts == {"asked": 8, "answered": 6, "skipped": 2, "ties": 1, "wrong": 0}
    one.ask(Flat(), better)  # type: ignore[arg-type]
    assert one.counts == {"asked": 16, "answered": 12, "skipped": 4, "ties": 2, "wrong": 2}
    one.log("session")
    one.log("session")
    sessions = [r for r in one.cell.rows if r["event"] == "session"]  # type: ignore[attr-defined]
    assert [r["asked"] for r in sessions] == [16, 0]


def test_the_learned_reward_is_judged_on_segments_it_was_not_asked_about() -> None:
    cpu = torch.device("cpu")
    rng = np.random.default_rng(0)
    steps = [
        Transition(np.array([x]), np.zeros(1), float(x), np.zeros(1), False, False, None)
        for x in rng.normal(size=500)
    ]
    for sign, accuracy in ((1.0, 1.0), (-1.0, 0.0)):
        assert reward_accuracy(lambda o, a, sign=sign: sign * o[:, 0], steps, cpu) == accuracy
    noise = reward_accuracy(lambda o, a: torch.as_tensor(rng.normal(size=len(o))), steps, cpu)
    assert 0.05 < noise < 0.95


def test_a_device_that_is_not_here_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="device 'nowhere' cannot be used here"):
        Run(cell(device="nowhere"))  # type: ignore[arg-type]
