"""What every environment must keep to, checked on built-ins by tests and on plug-ins by request."""

import math
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import gymnasium
import numpy as np

import envs
from envs.registry import EnvSpec
from envs.standard import StandardEnv
from pbrl import registry
from pbrl.errors import where

TRACE = 60
"""Steps over which two runs that should agree are compared."""

Record = tuple[bytes, float, bool, bool]


def violations(env_factory: Callable[[], gymnasium.Env[Any, Any]], spec: EnvSpec) -> list[str]:
    """What an environment breaks, each as what was found and what was expected; [] if nothing.

    Made several times; takes about `spec.horizon` + 1,200 steps with random actions. Looked at:
    spaces, types, bounds and NaN of observations and rewards, the horizon, success, exceptions,
    that a seed fixes everything (in a new environment and in one already used), that no global
    random stream is drawn from, that several share no state, that arrays handed out are not written
    to later, and, if the environment has `get_state` and `set_state`, that a restored episode goes
    on identically.
    Below `StandardEnv`, which would hide it by conversion, the user's own environment is looked at.
    """
    watch = _Watch(spec)
    try:
        with _global_streams_kept():
            _check(env_factory, spec, watch)
    except _Enough:
        pass
    except Exception as error:
        what = f"{type(error).__name__}: {error}{where(error)}"
        watch.say(f"{watch.doing} raised {what}; expected no exception")
    return watch.found


def _check(
    env_factory: Callable[[], gymnasium.Env[Any, Any]], spec: EnvSpec, watch: "_Watch"
) -> None:
    env = _watched(env_factory, watch)
    streams = _global_streams()
    _horizon(env, spec, watch)
    if _global_streams() != streams:
        watch.say(
            "draws from (or seeds) a global random stream; expected only self.np_random, or a "
            "generator made from the seed given to reset"
        )
    first = _trace(_watched(env_factory, watch), seed=0)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the stream a liar would draw from
    if _trace(_watched(env_factory, watch), seed=0) != first:
        watch.say("seed 0 gave two different episodes in two new environments; expected the same")
        raise _Enough
    used = _trace(env, seed=0)
    if used != first:
        watch.say(
            "reset(seed=0) after an episode differs from reset(seed=0) of a new environment; "
            "expected the same: state is kept across reset, or reset does not use the seed"
        )
    other = _trace(_watched(env_factory, watch), seed=1)
    half = len(first) // 2
    if other == first and first[:half] != first[half:]:
        watch.say("seeds 0 and 1 gave the same random episodes; expected reset to use its seed")
    _side_by_side(_watched(env_factory, watch), _watched(env_factory, watch), first, watch)
    if _restorable(env):
        _round_trip(env, _watched(env_factory, watch), watch)


def _side_by_side(env: Any, other: Any, alone: list[Record], watch: "_Watch") -> None:
    """Evaluations step several environments in turn, and training goes on with another one."""
    in_turn = zip_longest(_records(env, seed=0), _records(other, seed=1))
    if [record for record, _ in in_turn if record is not None] != alone:
        watch.say(
            "stepped in turn with another environment it does not do what it does alone; expected "
            "them to share no state: a run acts in several"
        )


def _horizon(env: Any, spec: EnvSpec, watch: "_Watch") -> None:
    """One whole episode (three if it may end early): ends by truncation, at the horizon."""
    actions = _actions(env, seed=2)
    for episode in range(3 if spec.early_termination else 1):
        env.reset(seed=episode)
        for step in range(1, spec.horizon + 1):
            _, _, terminated, truncated, _ = env.step(next(actions))
            if terminated and not spec.early_termination:
                watch.say(
                    f"terminated at step {step}; expected truncation at step {spec.horizon}, or "
                    "early_termination=True in its registration"
                )
                return
            if terminated or truncated:
                break
        if truncated and step < spec.horizon:
            watch.say(f"truncated at step {step}; expected the horizon {spec.horizon}")
            return
    if not (terminated or truncated):
        watch.say(f"not truncated at the horizon; expected truncation at step {spec.horizon}")


def _round_trip(env: Any, new: Any, watch: "_Watch") -> None:
    """A state taken in mid-episode, put back into the same and into a new environment."""
    actions = _actions(env, seed=3)
    env.reset(seed=4)
    for _ in range(7):
        if any(env.step(next(actions))[2:4]):
            env.reset()
    watch.doing = "get_state()"
    state = env.get_state()
    expected = _trace(env, seed=None)
    for target, which in ((env, "the same"), (new, "a new")):
        watch.doing = f"set_state(get_state()) into {which} environment"
        target.set_state(state)
        if _trace(target, seed=None) != expected:
            watch.say(
                f"set_state(get_state()) into {which} environment continues differently; expected "
                "identical observations and rewards, and the same next episode"
            )


def _trace(env: Any, seed: int | None) -> list[Record]:
    """Two short episodes under the same actions; without a seed, starts in the current episode."""
    return list(_records(env, seed))


def _records(env: Any, seed: int | None) -> Iterator[Record]:
    for number, start in enumerate((seed is not None, True)):
        actions = _actions(env, seed=5)
        if start:
            obs, _ = env.reset(seed=None if number else seed)
            yield np.asarray(obs).tobytes(), 0.0, False, False
        for _ in range(TRACE):
            obs, reward, terminated, truncated, _ = env.step(next(actions))
            yield np.asarray(obs).tobytes(), float(reward), terminated, truncated
            if terminated or truncated:
                obs, _ = env.reset()


def _actions(env: Any, seed: int) -> Iterator[Any]:
    """Random actions, one in five of them extreme."""
    rng = np.random.default_rng(seed)
    space = env.action_space
    while True:
        if isinstance(space, gymnasium.spaces.Discrete):
            yield int(space.start + rng.integers(space.n))
            continue
        low = np.where(np.isfinite(space.low), space.low, -1.0)
        high = np.where(np.isfinite(space.high), space.high, 1.0)
        share = rng.uniform(size=space.shape)
        if rng.uniform() < 0.2:
            share = np.round(share)
        yield (low + (high - low) * share).astype(space.dtype)


class _Enough(Exception):
    """What was found makes the remaining checks meaningless."""


class _Watch:
    """Collects what is found, once per kind, and remembers what was being done."""

    def __init__(self, spec: EnvSpec) -> None:
        self.spec = spec
        self.found: list[str] = []
        self.doing = "making it"
        self._kinds: set[str] = set()

    def say(self, message: str, kind: str | None = None) -> None:
        if kind not in self._kinds:
            self.found.append(message)
        if kind:
            self._kinds.add(kind)


class _Spy:
    """Stands before a user's environment and looks at all that passes."""

    def __init__(self, env: Any, watch: _Watch) -> None:
        self._env, self._watch = env, watch
        self._steps = 0
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self._steps = 0
        self._watch.doing = f"reset(seed={seed})"
        result = self._env.reset(seed=seed, options=options)
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
            self._watch.say(f"reset returned {_short(result)}; expected (observation, info)")
            raise _Enough
        self._observation(result[0], "reset")
        return result

    def step(self, action: Any) -> Any:
        self._steps += 1
        self._watch.doing = f"step {self._steps} with action {_short(action)}"
        given = np.array(action)
        result = self._env.step(action)
        if not (isinstance(result, tuple) and len(result) == 5 and isinstance(result[4], dict)):
            self._watch.say(
                f"step returned {_short(result)}; expected (observation, reward, terminated, "
                "truncated, info)"
            )
            raise _Enough
        if not np.array_equal(given, action):
            self._watch.say("step wrote into the action it was given; expected a copy", "action")
        obs, reward, terminated, truncated, info = result
        self._observation(obs, f"step {self._steps}")
        self._reward(reward)
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if not isinstance(flag, bool | np.bool_):
                self._watch.say(f"{name} is {_short(flag)}; expected True or False", name)
        self._success(info)
        return result

    def _observation(self, obs: Any, when: str) -> None:
        space, say = self._env.observation_space, self._watch.say
        if self._last is not None and not np.array_equal(*self._last, equal_nan=True):
            say(f"an observation handed out was changed by {when}; expected a new array", "alias")
        self._last = None
        if not isinstance(space, gymnasium.spaces.Box):
            if not space.contains(obs):
                say(f"observation of {when} is outside {space}: {_short(obs)}", "obs")
            return
        if not isinstance(obs, np.ndarray):
            say(f"observation of {when} is a {type(obs).__name__}; expected a numpy array", "obs")
        elif obs.dtype != space.dtype:
            say(f"observation of {when} has dtype {obs.dtype}; expected {space.dtype}", "obs")
        elif obs.shape != space.shape:
            say(f"observation of {when} has shape {obs.shape}; expected {space.shape}", "obs")
        elif not np.isfinite(obs).all():
            say(f"observation of {when} is {_short(obs)}; expected finite numbers", "obs")
        elif not space.contains(obs):
            worst = int(np.argmax(np.maximum(space.low - obs, obs - space.high)))
            say(
                f"observation of {when} is outside its space: entry {worst} is "
                f"{obs.flat[worst]:.6g}; expected {space.low.flat[worst]:.6g} to "
                f"{space.high.flat[worst]:.6g}",
                "obs",
            )
        if isinstance(obs, np.ndarray):
            self._last = (obs, obs.copy())

    def _reward(self, reward: Any) -> None:
        low, high = self._watch.spec.reward_range
        slack = 1e-6 * (high - low) if math.isfinite(high - low) else 0.0
        if not isinstance(reward, float | int | np.floating | np.integer):
            self._watch.say(f"reward is {_short(reward)}; expected one number")
            raise _Enough
        elif not math.isfinite(reward):
            self._watch.say(
                f"reward of step {self._steps} is {reward}; expected a number", "reward"
            )
        elif not low - slack <= reward <= high + slack:
            self._watch.say(
                f"reward of step {self._steps} is {reward:.6g}; expected {low:g} to {high:g}",
                "reward",
            )

    def _success(self, info: dict[str, Any]) -> None:
        key = self._watch.spec.success_key
        if key is None:
            return
        if key not in info:
            self._watch.say(
                f"info of step {self._steps} has no {key!r}, its success key; expected 0 or 1 at "
                "every step",
                "success",
            )
            raise _Enough
        if info[key] not in (0, 1):
            self._watch.say(f"info[{key!r}] is {_short(info[key])}; expected 0 or 1", "success")


def _watched(env_factory: Callable[[], gymnasium.Env[Any, Any]], watch: _Watch) -> Any:
    watch.doing = "making it"
    env: Any = env_factory()
    if isinstance(env, StandardEnv):
        env.env = _Spy(env.env, watch)  # type: ignore[assignment]
        return env
    return _Spy(env, watch)


def _restorable(env: Any) -> bool:
    if isinstance(env, StandardEnv):
        return env.restorable
    return hasattr(env, "get_state") and hasattr(env, "set_state")


def _global_streams() -> list[Any]:
    numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - to see whether it moves
    inner = numpy_state["state"]
    streams = [random.getstate(), inner["key"].tobytes(), inner["pos"], numpy_state["has_gauss"]]
    if "torch" in sys.modules:
        streams.append(sys.modules["torch"].get_rng_state().numpy().tobytes())
    return streams


@contextmanager
def _global_streams_kept() -> Iterator[None]:
    """Leave the global random streams as they were."""
    python, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)  # noqa: NPY002


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def check(name: str) -> list[str]:
    """Violations of the registered environment of that name."""
    return violations(lambda: envs.make(name), registry.resolve("env", name))
