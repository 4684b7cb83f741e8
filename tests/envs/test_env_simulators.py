"""Adapters against the simulators' own environments, stepped side by side."""

import importlib
import pickle
import re
import sys
from contextlib import contextmanager

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import transform

import envs
from envs import catalog, rotation, tolerance

pytestmark = pytest.mark.filterwarnings("ignore:.in1d. is deprecated")


def actions(env, n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (n, *env.action_space.shape)).astype(np.float32)


def load_suite(domain, task, seed):
    from dm_control import suite

    return suite.load(domain, task, task_kwargs={"random": seed})


def flat(observation):
    return np.concatenate([np.ravel(v) for v in observation.values()]).astype(np.float32)


@contextmanager
def as_released(rewards, task=None):
    """These modules with the `tolerance` and the `Rotation` they came with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rewards, "tolerance", rewards.tolerance.__wrapped__)
        if hasattr(task, "Rotation"):
            patch.setattr(task, "Rotation", transform.Rotation)
        yield


TASKS = [(domain, task) for domain, tasks in catalog.DM_CONTROL.items() for task in tasks]


@pytest.mark.parametrize(
    ("domain", "task"),
    [
        pytest.param(*t, marks=() if t == next(x for x in TASKS if x[0] == t[0]) and t[0] != "dog"
                     else pytest.mark.slow)
        for t in TASKS
    ],
)  # fmt: skip
@pytest.mark.parametrize("steps", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_dm_control_is_what_the_suite_does(domain, task, steps):
    """Observations, rewards and the simulation behind them, to the bit."""
    env = envs.make(f"{domain}-{task}".lower().replace("_", "-"))
    raw = load_suite(domain, task, seed=3)
    rewards = importlib.import_module("dm_control.utils.rewards")
    obs, _ = env.reset(seed=3)
    with as_released(rewards):
        np.testing.assert_array_equal(obs, flat(raw.reset().observation))
    middle, half = env.env._middle, env.env._half
    for action in actions(env, steps):
        obs, reward, *_ = env.step(action)
        with as_released(rewards):
            theirs = raw.step(middle + half * action)
        np.testing.assert_array_equal(obs, flat(theirs.observation))
        assert reward == theirs.reward
    for name in ("qpos", "qvel", "qacc_warmstart", "xpos", "sensordata"):
        mine = getattr(env.env._physics.data, name)
        np.testing.assert_array_equal(mine, getattr(raw.physics.data, name))


def test_a_simulation_that_diverges_is_told_as_dm_control_tells_it():
    from dm_control.rl.control import PhysicsError

    env, raw = envs.make("walker-walk"), load_suite("walker", "walk", seed=0)
    env.reset(seed=0)
    raw.reset()
    for physics in (env.env._physics, raw.physics):
        physics.data.qvel[:] = 1e12
    with pytest.raises(PhysicsError, match="mjWARN_BADQ") as theirs:
        raw.step(np.zeros(6))
    with pytest.raises(PhysicsError) as mine:
        env.step(np.zeros(6, np.float32))
    assert str(mine.value) == str(theirs.value)


@given(
    x=st.one_of(
        st.floats(-1e6, 1e6).map(np.float64),
        st.floats(-3, 3),
        st.sampled_from([np.nan, np.inf, -np.inf]),
        arrays(np.float64, st.sampled_from([(1,), (4,), (), (1, 1)]), elements=st.floats(-3, 3)),
    ),
    bounds=st.tuples(
        st.floats(-2, 2), st.one_of(st.floats(0, 3), st.sampled_from([np.inf, np.ones(1)]))
    ).map(lambda b: (b[0], b[0] + b[1])),
    margin=st.one_of(
        st.sampled_from([0, 1, np.ones(1)]), st.floats(0.01, 5), st.floats(0.01, 5).map(np.float64)
    ),
    sigmoid=st.sampled_from([*tolerance.SLOPES, "cosine"]),
    value=st.one_of(st.just(0.1), st.just(0), st.floats(0, 1.1)),
)
@pytest.mark.parametrize("library", ["dm_control.utils.rewards", "metaworld.utils.reward_utils"])
def test_the_quick_tolerance_is_the_original_to_the_bit(library, x, bounds, margin, sigmoid, value):
    module = importlib.import_module(library)
    original = getattr(module.tolerance, "__wrapped__", module.tolerance)
    quick = tolerance.quick(original, module._sigmoids)
    given = {"bounds": bounds, "margin": margin, "sigmoid": sigmoid, "value_at_margin": value}
    try:
        expected = original(x, **given)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            quick(x, **given)
        return
    found = quick(x, **given)
    assert type(found) is type(expected)
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("library", ["dm_control.utils.rewards", "metaworld.utils.reward_utils"])
def test_the_quick_tolerance_goes_by_the_name_of_the_original(library):
    """What holds it, say a task that is sent to another process, can be pickled."""
    module = importlib.import_module(library)
    tolerance.hasten(module)
    quick = module.tolerance
    tolerance.hasten(module)  # does nothing more
    assert module.tolerance is pickle.loads(pickle.dumps(quick)) is quick
    assert not hasattr(quick.__wrapped__, "__wrapped__")


@given(
    quat=arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: np.abs(q).max() > 1e-3),
    off=st.sampled_from([0.0, 0.0, 1e-16, 5e-13, 1e-12, 1e-7, 1e-3]),
)
def test_the_quick_rotation_is_that_of_scipy_to_the_bit(quat, off):
    matrix = transform.Rotation.from_quat(quat).as_matrix()
    matrix[0, 1] += off
    found = rotation.Rotation.from_matrix(matrix).as_quat()
    np.testing.assert_array_equal(found, transform.Rotation.from_matrix(matrix).as_quat())


def test_quadruped_actions_reach_the_whole_range_of_its_actuators():
    env = envs.make("quadruped-walk")
    env.reset(seed=0)
    physics = env.env._physics
    for sign in (-1.0, 1.0):
        env.step(np.full(env.action_space.shape, sign, np.float32))
        limit = physics.model.actuator_ctrlrange[:, int(sign > 0)]
        np.testing.assert_allclose(physics.data.ctrl, limit)


@pytest.mark.parametrize("repeat", [2, 3])
def test_action_repeat_sums_rewards_up_to_the_time_limit(repeat):
    env = envs.make("cartpole-balance", action_repeat=repeat)
    raw = load_suite("cartpole", "balance", seed=1)
    env.reset(seed=1)
    raw.reset()
    steps, last = 0, None
    for action in actions(env, env.spec_info.horizon):
        obs, reward, terminated, truncated, _ = env.step(action)
        total = 0.0
        for _ in range(repeat):
            if last is None or not last.last():
                last = raw.step(action.astype(np.float64))
                total += last.reward
        assert reward == pytest.approx(total, abs=1e-12)
        np.testing.assert_array_equal(obs, flat(last.observation))
        assert not terminated
        steps += 1
    assert truncated
    assert last.last()
    assert steps == -(-1000 // repeat)


def meta_world(task, seed):
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    raw = ALL_V3_ENVIRONMENTS[task]()
    raw._freeze_rand_vec, raw._set_task_called, raw.seeded_rand_vec = False, True, True
    raw._partially_observable = False
    del raw.sawyer_observation_space
    raw.seed(seed)
    return raw


@pytest.mark.parametrize(
    "task",
    [
        "button-press-v3",
        "pick-place-v3",  # contacts of the gripper pay, a quaternion is computed
        "stick-push-v3",  # two objects
        *(
            pytest.param(f"{n}-v3", marks=pytest.mark.slow)
            for n in catalog.META_WORLD.split()
            if n not in ("button-press", "pick-place", "stick-push")
        ),
    ],
)
@pytest.mark.parametrize("steps", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_meta_world_is_what_meta_world_does(task, steps):
    """Observations, rewards and success, to the bit."""
    env, raw = envs.make(task), meta_world(task, seed=7)
    policy = importlib.import_module("metaworld.policies").ENV_POLICY_MAP[task]()
    utils = importlib.import_module("metaworld.utils.reward_utils")
    task_module = sys.modules[type(raw).__module__]
    obs, _ = env.reset(seed=7)
    with as_released(utils, task_module):
        theirs, _ = raw.reset()
    space = raw.sawyer_observation_space
    np.testing.assert_array_equal(obs, np.clip(theirs, space.low, space.high).astype(np.float32))
    for noise in actions(env, steps):  # a policy that grasps, and is disturbed
        action = np.clip(policy.get_action(obs.astype(np.float64)) + 0.3 * noise, -1, 1)
        action = action.astype(np.float32)
        obs, reward, _, _, info = env.step(action)
        with as_released(utils, task_module):
            theirs = raw.step(action)
        np.testing.assert_array_equal(obs, theirs[0].astype(np.float32))
        assert (reward, info["success"]) == (float(theirs[1]), theirs[4]["success"])
        for key in theirs[4]:
            assert info[key] == theirs[4][key]


def test_meta_world_goals_follow_the_seed_and_change_at_each_reset():
    env = envs.make("reach-v3")
    goals = [env.reset(seed=4)[0][-3:], env.reset()[0][-3:], env.reset(seed=4)[0][-3:]]
    np.testing.assert_array_equal(goals[0], goals[2])
    assert not np.allclose(goals[0], goals[1])
    hidden = envs.make("reach-v3", goal_visible=False)
    obs, _ = hidden.reset(seed=4)
    assert obs[-3:].tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_array_equal(obs[:-3], env.reset(seed=4)[0][:-3])
    assert hidden.step(np.ones(4, np.float32))[0][-3:].tolist() == [0.0, 0.0, 0.0]


def solve(name):
    """Success of Meta-World's own scripted policy in the best of three episodes."""
    from metaworld.policies import ENV_POLICY_MAP

    env, policy = envs.make(name), ENV_POLICY_MAP[name]()
    solved = 0.0
    for seed in range(3):
        obs, _ = env.reset(seed=seed)
        over = False
        while not over:
            action = np.clip(policy.get_action(obs.astype(np.float64)), -1, 1)
            obs, reward, terminated, truncated, info = env.step(action.astype(np.float32))
            assert 0.0 <= reward <= 10.0
            assert obs in env.observation_space
            solved = max(solved, info["success"])
            over = terminated or truncated or solved == 1.0
        if solved == 1.0:
            break
    return solved


@pytest.mark.parametrize(
    "name",
    [
        "door-close-v3",
        "window-open-v3",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in envs.names()
            if n.endswith("-v3") and n not in ("door-close-v3", "window-open-v3")
        ),
    ],
)
def test_meta_world_tasks_are_solved_by_their_scripted_policies(name):
    assert solve(name) == 1.0


@pytest.mark.parametrize("name", ["hopper-v5", "walker2d-v5", "ant-v5"])
def test_gymnasium_mujoco_is_what_gymnasium_does(name):
    env, raw = envs.make(name), gymnasium.make(name[0].upper() + name[1:])
    obs, _ = env.reset(seed=2)
    np.testing.assert_array_equal(obs, raw.reset(seed=2)[0].astype(np.float32))
    low, high = raw.action_space.low, raw.action_space.high
    for action in actions(env, 50):
        mine = env.step(action)
        theirs = raw.step(((high + low) / 2 + (high - low) / 2 * action).astype(np.float32))
        np.testing.assert_array_equal(mine[0], theirs[0].astype(np.float32))
        assert (mine[1], mine[2]) == (theirs[1], theirs[2])
        if mine[2]:
            break


def test_falling_ends_the_episode_unless_it_is_told_not_to():
    env = envs.make("hopper-v5")
    env.reset(seed=0)
    length = next(i for i, a in enumerate(actions(env, 1000), 1) if env.step(a)[2])
    assert length < 200
    env = envs.make("hopper-v5", terminate_when_unhealthy=False)
    env.reset(seed=0)
    ends = [env.step(a)[2:4] for a in actions(env, 1000)]
    assert ends == [(False, False)] * 999 + [(False, True)]
