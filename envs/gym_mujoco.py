"""gymnasium's MuJoCo walkers, whose episodes end when they fall.

**A warning about comparing methods here.** A reward learner sees how long episodes are, and falling
ends them: any reward that is positive on average makes the agent stay up, and one that is negative
makes it fall at once, whatever was learned from preferences. Scores then measure the sign of the
learned reward as much as its content (Kostrikov et al. 2019 on imitation; the `seals` environments
remove the effect). Set `terminate_when_unhealthy: false` for a fixed horizon, or use the dm_control
tasks. Segments of shorter episodes are padded and masked, which makes them valid and not fair.
"""

from typing import Any

import gymnasium
import numpy as np

from envs.rendering import load_mujoco, need_frames

load_mujoco()

from gymnasium.envs.mujoco import MujocoEnv  # noqa: E402

from envs.mujoco_state import State, model_arrays, restore, snapshot  # noqa: E402


class GymMujocoEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """Hopper, Walker2d or Ant of gymnasium (version 5) with state that can be restored; 1000 steps.

    Rewards (forward speed, staying up, minus effort) have no bounds and can be negative, so
    thresholds of the Skip and Equal teachers are off while the average return is negative.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, task: str, terminate_when_unhealthy: bool = True) -> None:
        made = gymnasium.make(
            task[0].upper() + task[1:],
            render_mode="rgb_array",
            width=256,
            height=256,
            terminate_when_unhealthy=terminate_when_unhealthy,
        )
        assert isinstance(made.unwrapped, MujocoEnv)
        self._env = made.unwrapped
        self._original = model_arrays(self._env.model)
        self.observation_space = self._env.observation_space
        self.action_space = self._env.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        return self._env.reset(seed=seed)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self._env.step(action)
        return obs, float(reward), bool(terminated), bool(truncated), info

    def get_state(self) -> State:
        """The simulation and the random stream."""
        return {
            "physics": snapshot(self._env.model, self._env.data, self._original),
            "random": self._env.np_random.bit_generator.state,
        }

    def set_state(self, state: State) -> None:
        """Continue from a state of `get_state`; raises ValueError for one of another task."""
        restore(self._env.model, self._env.data, self._original, state["physics"])
        self._env.np_random.bit_generator.state = state["random"]

    def render(self) -> np.ndarray:
        """A frame, uint8 [256, 256, 3]."""
        need_frames()
        return self._env.render()

    def close(self) -> None:
        self._env.close()
