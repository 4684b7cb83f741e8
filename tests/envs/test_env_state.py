"""States: plain data, exact continuation in another process; the same streams in every process."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import envs

NAMES = [
    "pointmass",
    "gridworld",
    "pendulum",
    "mountaincar-continuous",
    "ant-v5",
    "quadruped-escape",
    "reacher-hard",
    "coffee-push-v3",
]


def actions(env, seed, n):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (n, *env.action_space.shape)).astype(np.float32)


def digest(env, steps=80):
    """A hash of what happens next, over the end of the episode if it comes, and a reset."""
    total = hashlib.sha256()
    for i, action in enumerate(actions(env, 1, steps)):
        obs, reward, terminated, truncated, _ = env.step(action)
        total.update(obs.tobytes() + np.float64(reward).tobytes())
        if terminated or truncated or i == steps - 10:
            total.update(env.reset()[0].tobytes())
    return total.hexdigest()


def pack(state):
    """Through bytes that hold no pickle: arrays as raw bytes, the rest as JSON."""
    if isinstance(state, dict):
        return {key: pack(value) for key, value in state.items()}
    if isinstance(state, np.ndarray):
        assert state.dtype.kind in "fiub"
        return {"dtype": str(state.dtype), "shape": state.shape, "bytes": state.tobytes().hex()}
    assert state is None or type(state) in (bool, int, float, str), type(state)
    return state


def unpack(state):
    if isinstance(state, dict) and set(state) == {"dtype", "shape", "bytes"}:
        flat = np.frombuffer(bytes.fromhex(state["bytes"]), state["dtype"])
        return flat.reshape(state["shape"])
    if isinstance(state, dict):
        return {key: unpack(value) for key, value in state.items()}
    return state


CHILD = """
import json, sys
sys.path.insert(0, sys.argv[1])
import envs
from test_env_state import digest, unpack
for name, state in json.load(sys.stdin).items():
    env = envs.make(name)
    if state is None:
        env.reset(seed=5)
    else:
        env.set_state(unpack(state))
    print(name, digest(env))
"""


def in_a_new_process(states, tmp_path, **environment):
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, os.path.dirname(__file__)],
        input=json.dumps(states),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, **environment},
    )
    return dict(line.split() for line in result.stdout.splitlines())


def test_a_state_continues_in_another_process(tmp_path):
    states, expected = {}, {}
    for name in NAMES:
        env = envs.make(name)
        env.reset(seed=11)
        for action in actions(env, 0, 13):
            env.step(action)
        states[name] = pack(env.get_state())
        expected[name] = digest(env)
    assert in_a_new_process(states, tmp_path) == expected


def test_a_seed_means_the_same_in_every_process(tmp_path):
    expected = {}
    for name in NAMES:
        env = envs.make(name)
        env.reset(seed=5)
        expected[name] = digest(env)
    strange = {"PYTHONHASHSEED": "123", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    assert in_a_new_process(dict.fromkeys(NAMES), tmp_path, **strange) == expected


def test_the_time_limit_is_part_of_the_state():
    env = envs.make("pointmass")
    env.reset(seed=0)
    for action in actions(env, 0, 99):
        env.step(action)
    state = env.get_state()
    other = envs.make("pointmass")
    other.set_state(state)
    assert other.step(np.zeros(2, np.float32))[3]
    with pytest.raises(RuntimeError, match="whose episode is over; reset it first"):
        other.step(np.zeros(2, np.float32))
    finished = other.get_state()
    env.set_state(finished)
    with pytest.raises(RuntimeError, match="whose episode is over"):
        env.step(np.zeros(2, np.float32))


def test_a_state_of_another_task_is_refused():
    walker, cartpole = envs.make("walker-walk"), envs.make("cartpole-swingup")
    walker.reset(seed=0)
    with pytest.raises(ValueError, match="restore it into the environment it was taken from"):
        cartpole.set_state(walker.get_state())


def test_an_environment_without_state_says_what_follows():
    class Bare(type(envs.make("pointmass").env)):
        get_state = set_state = property()

    env = envs.standard.StandardEnv(envs.EnvSpec("bare", 9, (0.0, 1.0), None, "", Bare), {})
    assert not env.restorable
    with pytest.raises(NotImplementedError, match="only be resumed at the end of an episode"):
        env.get_state()
