"""The one form in which every environment reaches a method."""

import atexit
import weakref
from collections.abc import Mapping
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, flatten, flatten_space

from envs.registry import EnvSpec

Step = tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]


class StandardEnv(gymnasium.Env[np.ndarray, Any]):
    """An environment with float32 vectors as observations, and a fixed horizon.

    Observations: float32 [O] (dictionaries and tuples are flattened). Actions: float [A] in
    [-1, 1], scaled to the range of the environment; a Discrete action space is passed on as it is.
    An episode is truncated at `spec_info.horizon`. `info["success"]` is 0.0 or 1.0 at every step
    where the task has a notion of success. An episode that is over must be reset.

    Raises ValueError when made over an environment with unbounded, whole-number or structured
    actions, with other actions than it declares, or whose observations are not numbers.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, spec_info: EnvSpec, parameters: Mapping[str, Any]) -> None:
        self.spec_info = spec_info
        self.env: gymnasium.Env[Any, Any] = spec_info.factory()(**spec_info.fixed, **parameters)
        self.render_mode = getattr(self.env, "render_mode", None)
        self._inner_space = self.env.observation_space
        self.observation_space = self._flat_space()
        self._as_is = isinstance(self._inner_space, Box) and len(self._inner_space.shape) == 1
        self._scale: tuple[np.ndarray, np.ndarray] | None = None
        self.action_space = self._standard_actions()
        self._steps = 0
        self._over = True
        self._close = weakref.finalize(self, self.env.close)

    def _flat_space(self) -> Box:
        try:
            space = flatten_space(self._inner_space)
        except NotImplementedError:
            space = None
        if not isinstance(space, Box):
            raise ValueError(
                f"environment {self.spec_info.name!r} observes {self._inner_space}; expected "
                "numbers (Box, or a Dict or Tuple of them)"
            )
        low, high = space.low.astype(np.float32), space.high.astype(np.float32)
        return Box(low, high, dtype=np.float32)

    def _standard_actions(self) -> Box | Discrete:
        space, declared = self.env.action_space, self.spec_info.actions
        found = "discrete" if isinstance(space, Discrete) else "box"
        if found == "box" and not (
            isinstance(space, Box)
            and len(space.shape) == 1
            and space.dtype is not None
            and space.dtype.kind == "f"
            and space.is_bounded()
        ):
            raise ValueError(
                f"environment {self.spec_info.name!r} has actions {space}; expected a Box of "
                "floats, of one axis and with finite bounds, or Discrete"
            )
        if found != declared:
            raise ValueError(
                f"environment {self.spec_info.name!r} has actions {space}, but declares "
                f"actions={declared!r}; expected actions={found!r} in its registration"
            )
        if isinstance(space, Discrete):
            return space
        assert isinstance(space, Box)
        as_it_is = np.all(space.low == -1) and np.all(space.high == 1)
        if not (as_it_is and space.dtype == np.float32):
            low, high = space.low.astype(np.float64), space.high.astype(np.float64)
            self._scale = (high + low) / 2, (high - low) / 2
        return Box(-1.0, 1.0, space.shape, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        obs, info = self.env.reset(seed=seed, options=options)
        self._steps, self._over = 0, False
        return self._flat(obs), info

    def step(self, action: Any) -> Step:
        if self._over:
            raise RuntimeError(
                f"step on environment {self.spec_info.name!r} whose episode is over; reset it first"
            )
        if self._scale is not None:
            space: Any = self.env.action_space
            action = (self._scale[0] + self._scale[1] * action).astype(space.dtype)
            action = np.clip(action, space.low, space.high)  # rounding may have left the box
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        truncated = truncated or (self._steps >= self.spec_info.horizon and not terminated)
        self._over = terminated or truncated
        key = self.spec_info.success_key
        if key is not None:
            info["success"] = float(info[key])
        return self._flat(obs), reward, terminated, truncated, info

    def _flat(self, obs: Any) -> np.ndarray:
        if self._as_is:
            return np.asarray(obs, np.float32)
        return np.asarray(flatten(self._inner_space, obs), np.float32)

    @property
    def restorable(self) -> bool:
        """Whether `get_state` works: built-ins can, a plug-in may lack it."""
        return hasattr(self.env, "get_state") and hasattr(self.env, "set_state")

    def get_state(self) -> dict[str, Any]:
        """All that decides how the episode, and those after it, go on, as plain arrays and numbers.

        Raises NotImplementedError for a plug-in without state.
        """
        self._need_state()
        return {"env": self.env.get_state(), "steps": self._steps, "over": self._over}  # type: ignore[attr-defined]

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of `get_state`, in this or a new environment of the same name.

        Raises NotImplementedError for a plug-in without state.
        """
        self._need_state()
        self.env.set_state(state["env"])  # type: ignore[attr-defined]
        self._steps, self._over = state["steps"], state["over"]

    def _need_state(self) -> None:
        if not self.restorable:
            raise NotImplementedError(
                f"environment {self.spec_info.name!r} has no get_state() and set_state(state); "
                "without them a run can only be resumed at the end of an episode"
            )

    def render(self) -> Any:
        """A frame, uint8 [H, W, 3]; raises RuntimeError where no OpenGL platform starts."""
        frame = self.env.render()
        # The first frame registers MuJoCo's exit hook. Ours, registered after it, runs before it:
        # a context that is freed once OpenGL has been shut down prints a traceback.
        atexit.unregister(self._close)
        atexit.register(self._close)
        return frame

    def close(self) -> None:
        self._close()
