"""An environment as a run acts in it: every value is checked, and it is blamed for wrong ones."""

import sys
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Discrete

import envs
from pbrl.errors import MESSAGE, CellError, EnvironmentFault, shown, where
from pbrl.run.seeds import stream_int
from pbrl.run.signals import is_interruption, within

LARGEST = float(np.finfo(np.float32).max)


class EpisodeEnd(NamedTuple):
    """What is known when an episode ends: true return, length in steps, success or None."""

    ret: float
    length: int
    success: float | None


class Transition(NamedTuple):
    """One environment step; `reward` is the true one, for teachers, evaluators and SAC only."""

    obs: np.ndarray
    action: np.ndarray
    reward: float
    next_obs: np.ndarray
    terminated: bool
    truncated: bool
    episode: EpisodeEnd | None
    stage: float | None = None
    """what the environment reports as `info["stage"]`, in [0, 1]; for teachers alone"""


class ActingEnv:
    """An environment a run acts in: steps, keeps the true return, checks every value.

    Each episode starts from a seed derived from its number, so an environment that cannot save
    its state is still resumed exactly at episode starts.
    """

    def __init__(self, name: str, parameters: dict[str, Any], *, seed: int, stream: str) -> None:
        self.name, self.seed = name, seed
        self.stream, self.steps, self.episodes = stream, 0, 0
        self.env = self._guarded("make", None, lambda: envs.make(name, **parameters))
        self.can_save = self.env.restorable
        self.obs: np.ndarray = np.zeros(0, dtype=np.float32)
        self._shape = self.env.observation_space.shape
        self._start_episode()

    def begin(self, stream: str, episode: int) -> None:
        """Start that episode of another stream of seeds, and count steps from there."""
        self.stream, self.steps, self.episodes = stream, 0, episode
        self._start_episode()

    def _start_episode(self) -> None:
        self.ret, self.length = 0.0, 0
        self.success: float | None = None
        seed = stream_int(self.seed, f"{self.stream}/{self.episodes}")
        obs, _ = self._guarded("reset", None, lambda: self.env.reset(seed=seed))
        self.obs = np.array(obs, dtype=np.float32)
        self._check(self.obs, 0.0, None)

    def step(self, action: Any) -> Transition:
        """`act`, and the start of the next episode when that ends one."""
        transition = self.act(action)
        if transition.episode is not None:
            self.episodes += 1
            self._start_episode()
        return transition

    def act(self, action: Any) -> Transition:
        """One step of the environment.

        Raises EnvironmentFault for what the environment does wrong (an exception, a malformed
        result, a number that is not finite, an end its registration does not declare), and
        CellError or, if it is not finite, FloatingPointError for a wrong action.
        """
        action = self._checked(action)
        next_obs, reward, terminated, truncated, success, stage = self._guarded(
            "step", action, self._results, action
        )
        self._check(next_obs, reward, action)
        if not (success is None or 0 <= success <= 1):
            raise self._fault(f"reported success {success}; expected 0 or 1", action)
        if not (stage is None or 0 <= stage <= 1):
            raise self._fault(f"reported stage {stage}; expected a number in [0, 1]", action)
        self.steps += 1
        self.ret += reward
        self.length += 1
        if success is not None:
            self.success = max(self.success or 0.0, success)
        obs, end = self.obs, None
        self.obs = next_obs
        if terminated or truncated:
            self._check_end(terminated)
            end = EpisodeEnd(self.ret, self.length, self.success)
        return Transition(obs, action, reward, next_obs, terminated, truncated, end, stage)

    def _checked(self, action: Any) -> Any:
        """The action in the environment's form: float32 [A] in [-1, 1], or an index."""
        space = self.env.action_space
        if isinstance(space, Discrete):
            if isinstance(action, bool) or not space.contains(action):
                last = space.start + space.n - 1
                raise self._wrong_action(action, f"a whole number from {space.start} to {last}")
            return action
        assert space.shape is not None
        expected = f"a float32 array [{space.shape[0]}] in [-1, 1]"
        if not isinstance(action, np.ndarray) or action.dtype.kind != "f":
            raise self._wrong_action(action, expected)
        if action.shape != space.shape:
            raise self._wrong_action(action, expected)
        largest = np.abs(action).max()  # NaN where one is
        if not largest <= 1:
            if not np.isfinite(largest):
                raise FloatingPointError(
                    f"the agent's action is not finite{self._place(action)}: it diverged; lower "
                    "the learning rate"
                )
            raise self._wrong_action(action, f"{expected}: clip it, or squash it with tanh")
        return action.astype(np.float32)  # a copy: an environment may write into what it is given

    def _wrong_action(self, action: Any, expected: str) -> CellError:
        found = _shown(action)
        if isinstance(action, np.ndarray):
            found = f"{action.dtype} {list(action.shape)} {found}"
        return CellError(
            f"the agent's action is {type(action).__name__} {found} (step {self.steps} of stream "
            f"{self.stream!r}); expected {expected}"
        )

    def _results(self, action: Any) -> tuple[Any, float, bool, bool, float | None, float | None]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        success = float(info["success"]) if self.env.spec_info.success_key is not None else None
        obs = np.array(obs, dtype=np.float32)  # a copy: an environment may reuse its buffer
        stage = float(info["stage"]) if "stage" in info else None
        return obs, float(reward), bool(terminated), bool(truncated), success, stage

    def _guarded(self, verb: str, action: Any, call: Any, *given: Any) -> Any:
        try:
            return within("environment", call, *given)
        except BaseException as error:
            if isinstance(error, CellError) or is_interruption(error):
                raise
            text = shown(error, limit=MESSAGE)
            raise EnvironmentFault(
                f"environment {self.name!r} raised {type(error).__name__} in {verb}: {text}"
                f"{self._place(action)}{where(error)}"
            ) from error

    def _check(self, obs: np.ndarray, reward: float, action: Any) -> None:
        if obs.shape != self._shape:
            raise self._fault(
                f"returned an observation of shape {obs.shape}; expected {self._shape}", action
            )
        if not abs(reward) <= LARGEST:
            raise self._fault(
                f"returned reward {reward}; expected a finite number that float32 holds", action
            )
        # A finite sum of squares has finite terms, and takes a fifth of the time.
        if not isfinite(obs.dot(obs)) and not np.isfinite(obs).all():
            indices = np.flatnonzero(~np.isfinite(obs)).tolist()
            raise self._fault(
                f"returned an observation that is not finite at index {indices}", action
            )

    def _check_end(self, terminated: bool) -> None:
        """An episode ends at the declared horizon, or earlier for good where that is declared."""
        spec = self.env.spec_info
        if terminated and not spec.early_termination:
            raise self._fault(
                f"terminated an episode at step {self.length}; expected early_termination=True in "
                f"its registration, or truncation at its horizon of {spec.horizon} steps"
            )
        if not terminated and self.length < spec.horizon:
            raise self._fault(
                f"truncated an episode at step {self.length}; expected the declared horizon of "
                f"{spec.horizon} steps: declare horizon={self.length}, or lift its own time limit"
            )

    def _fault(self, what: str, action: Any = None) -> EnvironmentFault:
        return EnvironmentFault(f"environment {self.name!r} {what}{self._place(action)}")

    def _place(self, action: Any) -> str:
        if action is None:
            return f" (episode {self.episodes} of stream {self.stream!r})"
        place = f"step {self.steps}, in episode {self.episodes} of stream {self.stream!r}"
        return f" ({place}, action {_shown(action)})"

    def state_dict(self) -> dict[str, Any]:
        own = {
            "steps": self.steps,
            "episodes": self.episodes,
            "obs": self.obs,
            "ret": self.ret,
            "length": self.length,
            "success": self.success,
        }
        if not self.can_save:
            return own
        return own | {"env": self._guarded("get_state", None, self.env.get_state)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps, self.episodes = state["steps"], state["episodes"]
        self._start_episode()
        if self.can_save:
            self._guarded("set_state", None, self.env.set_state, state["env"])
        self.obs, self.ret = np.asarray(state["obs"]), state["ret"]
        self.length, self.success = state["length"], state["success"]

    def close(self) -> None:
        """Free the environment; what goes wrong then changes no result, and is told in the log."""
        try:
            self._guarded("close", None, self.env.close)
        except EnvironmentFault as error:
            print(error, file=sys.stderr)


def _shown(action: Any) -> str:
    if isinstance(action, np.ndarray):
        return np.array2string(action, precision=9, threshold=12)
    return f"{action!r:.80}"
