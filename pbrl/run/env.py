"""An environment as a run acts in it: resets by itself, and is blamed for what it gets wrong."""

import math
from typing import Any, NamedTuple

import numpy as np

import envs
from pbrl.errors import CellError, EnvironmentFault
from pbrl.run.seeds import stream_int


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


class ActingEnv:
    """The training environment: steps, resets by itself, keeps the true return, checks every value.

    Each episode starts from a seed derived from its number, so an environment that cannot save
    its state is still resumed exactly at episode starts.
    """

    def __init__(self, name: str, parameters: dict[str, Any], *, seed: int, stream: str) -> None:
        self.name, self.seed, self.stream = name, seed, stream
        self.steps = self.episodes = 0
        self.env = self._guarded(lambda: envs.make(name, **parameters), "make", None)
        self.can_save = self.env.restorable
        self.obs: np.ndarray = np.zeros(0, dtype=np.float32)
        self._start_episode()

    def begin(self, stream: str) -> None:
        """Start the first episode of another stream of seeds."""
        self.stream, self.episodes = stream, 0
        self._start_episode()

    def _start_episode(self) -> None:
        self.ret, self.length = 0.0, 0
        self.success: float | None = None
        seed = stream_int(self.seed, f"{self.stream}/{self.episodes}")
        obs, _ = self._guarded(lambda: self.env.reset(seed=seed), "reset", None)
        self.obs = np.array(obs, dtype=np.float32)
        self._check(self.obs, 0.0, None)

    def step(self, action: np.ndarray) -> Transition:
        """One step of the environment, and a reset when that ends the episode.

        Raises EnvironmentFault for an exception, NaN or a malformed result, and FloatingPointError
        for an action that is not finite, which is the agent's fault.
        """
        if not np.isfinite(action).all():
            raise FloatingPointError(
                f"the agent's action is not finite{self._place(action)}: it diverged; lower the "
                "learning rate"
            )
        next_obs, reward, terminated, truncated, success = self._guarded(
            lambda: self._results(action), "step", action
        )
        self._check(next_obs, reward, action)
        self.steps += 1
        self.ret += reward
        self.length += 1
        if success is not None:
            self.success = max(self.success or 0.0, success)
        obs, end = self.obs, None
        if terminated or truncated:
            end = EpisodeEnd(self.ret, self.length, self.success)
            self.episodes += 1
            self._start_episode()
        else:
            self.obs = next_obs
        return Transition(obs, action, reward, next_obs, terminated, truncated, end)

    def _results(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, float | None]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        success = float(info["success"]) if self.env.spec_info.success_key is not None else None
        obs = np.array(obs, dtype=np.float32)  # a copy: an environment may reuse its buffer
        return obs, float(reward), bool(terminated), bool(truncated), success

    def _guarded(self, call: Any, verb: str, action: np.ndarray | None) -> Any:
        try:
            return call()
        except CellError:
            raise
        except Exception as error:
            raise EnvironmentFault(
                f"environment {self.name!r} raised {type(error).__name__} in {verb}: {error}"
                f"{self._place(action)}"
            ) from error

    def _check(self, obs: np.ndarray, reward: float, action: np.ndarray | None) -> None:
        if obs.shape != self.env.observation_space.shape:
            raise EnvironmentFault(
                f"environment {self.name!r} returned an observation of shape {obs.shape}; expected "
                f"{self.env.observation_space.shape}{self._place(action)}"
            )
        if not math.isfinite(reward):
            raise EnvironmentFault(
                f"environment {self.name!r} returned reward {reward}; expected a finite number"
                f"{self._place(action)}"
            )
        if not np.isfinite(obs).all():
            where = np.flatnonzero(~np.isfinite(obs)).tolist()
            raise EnvironmentFault(
                f"environment {self.name!r} returned an observation that is not finite at "
                f"index {where}{self._place(action)}"
            )

    def _place(self, action: np.ndarray | None) -> str:
        if action is None:
            return f" (episode {self.episodes} of stream {self.stream!r})"
        shown = np.array2string(np.asarray(action), precision=4, threshold=12)
        return f" (step {self.steps} of stream {self.stream!r}, action {shown})"

    def state_dict(self) -> dict[str, Any]:
        own = {
            "steps": self.steps,
            "episodes": self.episodes,
            "obs": self.obs,
            "ret": self.ret,
            "length": self.length,
            "success": self.success,
        }
        return own | ({"env": self.env.get_state()} if self.can_save else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps, self.episodes = state["steps"], state["episodes"]
        self._start_episode()
        if self.can_save:
            self.env.set_state(state["env"])
        self.obs, self.ret = np.asarray(state["obs"]), state["ret"]
        self.length, self.success = state["length"], state["success"]

    def close(self) -> None:
        self.env.close()
