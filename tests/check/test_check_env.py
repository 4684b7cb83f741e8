"""The contract: environments that lie are found out, those that are shipped are not accused."""

import dataclasses
import random
import re

import gymnasium
import gymnasium.utils.env_checker
import numpy as np
import pytest
import stable_baselines3.common.env_checker
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from hypothesis import given
from hypothesis import strategies as st

import envs
from envs.registry import ENVS, EnvSpec
from envs.standard import StandardEnv
from pbrl.check.env import violations

FAST = [
    "ant-v5",
    "button-press-v3",
    "cartpole-swingup",
    "finger-turn-hard",
    "gridworld",
    "hopper-v5",
    "mountaincar-continuous",
    "peg-insert-side-v3",
    "pendulum",
    "pointmass",
    "walker-walk",
]
OTHERS = [pytest.param(n, marks=pytest.mark.slow) for n in envs.names() if n not in FAST]


@pytest.mark.parametrize("name", FAST + OTHERS)
@pytest.mark.filterwarnings("ignore:.in1d. is deprecated")
def test_shipped_environments_keep_the_contract(name):
    assert violations(lambda: envs.make(name), envs.spec(name)) == []


FAMILIES = ["cartpole-swingup", "hopper-v5", "button-press-v3"]  # one of each simulator, and
FAMILIES += ["gridworld", "mountaincar-continuous", "pendulum", "pointmass"]


@pytest.mark.parametrize(
    "name",
    [n if n in FAMILIES else pytest.param(n, marks=pytest.mark.slow) for n in envs.names()],
)
@pytest.mark.filterwarnings(
    "error",
    "ignore:.in1d. is deprecated",
    "ignore:.*observation space m.*imum value is -?infinity",
    "ignore:.*maximum and minimum values are equal",  # a goal at one height
)
def test_the_checkers_of_gymnasium_and_stable_baselines_agree(name):
    gymnasium.utils.env_checker.check_env(envs.make(name), skip_render_check=True)
    stable_baselines3.common.env_checker.check_env(envs.make(name), skip_render_check=True)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cartpole-swingup", {"action_repeat": 3}),
        ("reach-v3", {"goal_visible": False}),
        ("hopper-v5", {"terminate_when_unhealthy": False}),
        ("gridworld", {"size": 2, "slip": 1.0}),
        ("gridworld", {"slip": 0.0}),
    ],
)
def test_parameters_keep_the_contract(name, parameters):
    spec = envs.spec(name, **parameters)
    assert violations(lambda: envs.make(name, **parameters), spec) == []


class Honest(gymnasium.Env):
    """A walk on a line with a little noise; every liar below changes one thing."""

    low, high, horizon = -10.0, 10.0, 40

    def __init__(self):
        self.observation_space = Box(self.low, self.high, (1,), np.float32)
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = self.np_random.uniform(-0.1, 0.1), 0
        return self.observe(), {}

    def noise(self):
        return self.np_random.normal() * 0.01

    def observe(self):
        return np.array([self.x], np.float32)

    def reward(self):
        return 1.0 / (1.0 + self.x**2)

    def step(self, action):
        self.t += 1
        self.x += 0.1 * float(action[0]) + self.noise()
        info = {"success": float(abs(self.x) < 0.1)}
        return self.observe(), self.reward(), False, self.t >= self.horizon, info


class GlobalNumpy(Honest):
    def noise(self):
        return np.random.normal() * 0.01  # noqa: NPY002


class GlobalPython(Honest):
    def noise(self):
        return random.gauss(0, 0.01)


class SeedsGlobal(Honest):
    def reset(self, *, seed=None, options=None):
        if seed is not None:
            np.random.seed(seed)  # noqa: NPY002
        return super().reset(seed=seed)


class Entropy(Honest):
    def noise(self):
        return np.random.default_rng().normal() * 0.01


class Unseeded(Honest):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=7)

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def noise(self):
        return self.rng.normal() * 0.01


class SeedIgnoredAtReset(Honest):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None if seed is None else 7)


class Outside(Honest):
    high = 0.02


class WrongDtype(Honest):
    def observe(self):
        return np.array([self.x])


class WrongShape(Honest):
    def observe(self):
        return np.array([[self.x]], np.float32)


class ListObservation(Honest):
    def observe(self):
        return [self.x]


class NaNObservation(Honest):
    def observe(self):
        return np.array([np.nan if getattr(self, "t", 0) == 17 else self.x], np.float32)


class Keeps(Honest):
    wear = 0.0

    def noise(self):
        self.wear += 1e-3
        return super().noise() + self.wear


class Shares(Honest):
    """Where it is stands in the class."""

    place = 0.0

    @property
    def x(self):
        return Shares.place

    @x.setter
    def x(self, value):
        Shares.place = value


class NaNReward(Honest):
    def reward(self):
        return float("nan") if self.t == 23 else super().reward()


class TooMuch(Honest):
    def reward(self):
        return 1.5 if self.t == 30 else super().reward()


class ArrayReward(Honest):
    def reward(self):
        return np.array([super().reward()])


class Short(Honest):
    horizon = 25


class Long(Honest):
    horizon = 50


class Falls(Honest):
    def step(self, action):
        obs, reward, _, truncated, info = super().step(action)
        return obs, reward, self.t == 12, truncated, info


class Raises(Honest):
    def noise(self):
        return 1 / (13 - self.t)


class Aliased(Honest):
    def observe(self):
        self.buffer = getattr(self, "buffer", np.zeros(1, np.float32))
        self.buffer[0] = self.x
        return self.buffer


class WritesAction(Honest):
    def step(self, action):
        action *= 0.5
        return super().step(action)


class NoSuccess(Honest):
    def step(self, action):
        return *super().step(action)[:4], {}


class HalfSuccess(Honest):
    def step(self, action):
        return *super().step(action)[:4], {"success": 0.5}


class FlagNumber(Honest):
    def step(self, action):
        obs, reward, _, truncated, info = super().step(action)
        return obs, reward, None, truncated, info


class OldReset(Honest):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class OldStep(Honest):
    def step(self, action):
        obs, reward, *_, info = super().step(action)
        return obs, reward, False, info


class ForgetsRandom(Honest):
    def get_state(self):
        return {"x": self.x, "t": self.t}

    def set_state(self, state):
        self.x, self.t = state["x"], state["t"]


LIARS = [
    (GlobalNumpy, "global random stream"),
    (GlobalPython, "global random stream"),
    (SeedsGlobal, "global random stream"),
    (Entropy, "seed 0 gave two different episodes"),
    (Unseeded, "state is kept across reset, or reset does not use the seed"),
    (SeedIgnoredAtReset, "seeds 0 and 1 gave the same random episodes"),
    (Outside, r"outside its space: entry 0 is .*; expected -10 to 0.02"),
    (WrongDtype, "has dtype float64; expected float32"),
    (WrongShape, r"has shape \(1, 1\); expected \(1,\)"),
    (ListObservation, "is a list; expected a numpy array"),
    (NaNObservation, r"step 17 is .*nan.*; expected finite numbers"),
    (Keeps, "state is kept across reset"),
    (Shares, "expected them to share no state"),
    (NaNReward, "reward of step 23 is nan"),
    (TooMuch, "reward of step 30 is 1.5; expected 0 to 1"),
    (ArrayReward, "expected one number"),
    (Short, "truncated at step 25; expected the horizon 40"),
    (Falls, "terminated at step 12; expected truncation at step 40"),
    (Raises, r"step 13 with action array\(.* raised ZeroDivisionError: .*; expected no exception"),
    (Aliased, "an observation handed out was changed by"),
    (WritesAction, "wrote into the action"),
    (NoSuccess, "has no 'success', its success key"),
    (HalfSuccess, "is 0.5; expected 0 or 1"),
    (FlagNumber, "terminated is None; expected True or False"),
    (OldReset, r"reset returned .*; expected \(observation, info\)"),
    (OldStep, r"step returned .*; expected \(observation, reward, terminated, truncated, info\)"),
    (ForgetsRandom, "continues differently"),
]


def spec_of(env_class):
    return EnvSpec("liar", 40, (0.0, 1.0), "success", "", env_class)


def found_by(env_class, through_make):
    spec = spec_of(env_class)
    return violations((lambda: StandardEnv(spec, {})) if through_make else env_class, spec)


@pytest.mark.parametrize("through_make", [True, False])
def test_an_honest_environment_is_not_accused(through_make):
    assert found_by(Honest, through_make) == []


@pytest.mark.parametrize("through_make", [True, False], ids=["made", "raw"])
@pytest.mark.parametrize(("liar", "expected"), LIARS, ids=[x.__name__ for x, _ in LIARS])
def test_liars_are_caught(liar, expected, through_make):
    found = found_by(liar, through_make)
    assert any(re.search(expected, f) for f in found), found


def test_an_episode_that_does_not_end_is_caught():
    assert any("not truncated at the horizon" in f for f in found_by(Long, through_make=False))
    # Through `envs.make` the horizon is enforced, so there is nothing to complain about.
    assert found_by(Long, through_make=True) == []


def test_an_environment_that_cannot_be_made_is_a_finding():
    def broken():
        raise OSError("no asset")

    (found,) = violations(broken, spec_of(broken))
    assert re.fullmatch(
        r"making it raised OSError: no asset \(test_check_env.py, line \d+\); "
        "expected no exception",
        found,
    )


def test_the_check_leaves_global_streams_alone():
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    found_by(GlobalNumpy, through_make=True)
    after = random.random(), np.random.random()  # noqa: NPY002
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    assert after == (random.random(), np.random.random())  # noqa: NPY002


class Unbounded(Honest):
    def __init__(self):
        super().__init__()
        self.action_space = Box(-np.inf, np.inf, (1,), np.float32)


class Whole(Honest):
    def __init__(self):
        super().__init__()
        self.action_space = Box(-3, 3, (1,), np.int32)


class Several(Honest):
    def __init__(self):
        super().__init__()
        self.action_space = MultiDiscrete([2, 3])


class Letters(Honest):
    def __init__(self):
        super().__init__()
        self.observation_space = gymnasium.spaces.Sequence(Box(0.0, 1.0))


def test_spaces_that_no_method_can_use_are_refused():
    for liar in (Unbounded, Whole, Several):
        with pytest.raises(ValueError, match="expected a Box of floats, of one axis and with fin"):
            StandardEnv(spec_of(liar), {})
    with pytest.raises(ValueError, match="expected numbers"):
        StandardEnv(spec_of(Letters), {})


class Buttons(Honest):
    def __init__(self):
        super().__init__()
        self.action_space = Discrete(3, start=-1)

    def step(self, action):
        return super().step([float(action)])


def test_the_kind_of_actions_is_what_was_declared():
    declared = dataclasses.replace(spec_of(Buttons), actions="discrete")
    assert violations(lambda: StandardEnv(declared, {}), declared) == []
    with pytest.raises(ValueError, match=r"Discrete\(3.*expected actions='discrete' in its regis"):
        StandardEnv(spec_of(Buttons), {})
    with pytest.raises(ValueError, match="expected actions='box' in its registration"):
        StandardEnv(dataclasses.replace(spec_of(Honest), actions="discrete"), {})
    with pytest.raises(ValueError, match="actions = 'buttons'; expected 'box' or 'discrete'"):
        envs.env("test-no", horizon=1, reward_range=(0, 1), actions="buttons")(Honest)


@given(
    low=st.floats(-1000, 1000, width=16),
    width=st.floats(2**-10, 1000, width=16),
    action=st.sampled_from([-1.0, 0.0, 1.0]) | st.floats(-1, 1, width=32),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_no_scaled_action_leaves_the_box(low, width, action, dtype):
    """Middle plus half the width is 0.07000005 for high 0.07; and each type rounds its own way."""
    bounds = np.array([low], dtype), np.array([dtype(low) + dtype(width)], dtype)
    seen = []

    class Strict(Honest):
        def __init__(self):
            super().__init__()
            self.action_space = Box(*bounds, dtype=dtype)

        def step(self, action):
            seen.append(action)
            assert self.action_space.contains(action)
            return self.observe(), 0.0, False, False, {"success": 0.0}

    env = StandardEnv(spec_of(Strict), {})
    env.reset(seed=0)
    env.step(np.array([action], np.float32))
    if abs(action) == 1:
        assert seen[0] == bounds[int(action > 0)]


class Structured(Honest):
    """A dictionary of float64 observations and actions in [0, 4]."""

    def __init__(self):
        box = Box(-10.0, 10.0, (), np.float64)
        self.observation_space = gymnasium.spaces.Dict({"b": box, "a": Discrete(3)})
        self.action_space = Box(0.0, 4.0, (1,), np.float64)

    def observe(self):
        return {"b": np.array(self.x), "a": 2}

    def step(self, action):
        assert 0 <= action[0] <= 4
        return super().step((action - 2) / 2)


def test_other_spaces_are_brought_into_the_standard_form():
    env = StandardEnv(spec_of(Structured), {})
    assert env.observation_space == Box(
        np.array([0, 0, 0, -10], np.float32), np.array([1, 1, 1, 10], np.float32)
    )
    assert env.action_space == Box(-1.0, 1.0, (1,), np.float32)
    obs, _ = env.reset(seed=0)
    assert obs.dtype == np.float32
    assert obs[2] == 1
    plain = Honest()
    plain.reset(seed=0)
    for action in (-1.0, 0.25, 1.0):
        mine = env.step(np.array([action], np.float32))
        theirs = plain.step(np.array([action], np.float32))
        assert mine[0][3] == pytest.approx(theirs[0][0], abs=1e-6)
    assert ENVS.keys() == set(envs.names())
