"""Tasks of Meta-World as gymnasium environments.

Made here and not by Meta-World's own `gym.make`: that fixes 50 goals by a seed given when it is
made, draws from numpy's global stream otherwise, ignores the seed given to `reset`, and restores
positions only.
"""

import sys
from typing import Any

import gymnasium
import numpy as np

from envs.rendering import load_mujoco, need_frames

load_mujoco()

from metaworld.env_dict import ALL_V3_ENVIRONMENTS  # noqa: E402
from metaworld.utils import reward_utils  # noqa: E402

from envs import tolerance  # noqa: E402
from envs.mujoco_state import State, model_arrays, restore, snapshot  # noqa: E402
from envs.rotation import Rotation  # noqa: E402

NUMBERS = (bool, int, float, str, type(None), np.ndarray, np.generic)


tolerance.hasten(reward_utils)


class Quick:
    """Put before a task of Meta-World: the same numbers to the bit, on a shorter way to them."""

    def _places(self) -> tuple[int, ...]:
        if not hasattr(self, "_ids"):
            names = ("hand", "rightclaw", "leftclaw")
            self._ids = tuple(self.model.body(name).id for name in names)  # type: ignore[attr-defined]
        return self._ids

    def set_xyz_action(self: Any, action: np.ndarray) -> None:
        """Move the body that the hand follows, within its bounds."""
        moved = self.data.mocap_pos[0] + np.clip(action, -1, 1) * self.action_scale
        self.data.mocap_pos[0] = np.minimum(np.maximum(moved, self.mocap_low), self.mocap_high)
        self.data.mocap_quat[:] = (1, 0, 1, 0)

    def _get_curr_obs_combined_no_goal(self: Any) -> np.ndarray:
        """[18]: hand, how far the gripper is open, then position and quaternion of each object."""
        hand, right, left = self._places()
        xpos = self.data.xpos
        obs = np.zeros(4 + self._obs_obj_max_len)
        obs[:3] = xpos[hand]
        apart = xpos[right] - xpos[left]
        obs[3] = min(max(np.sqrt(apart.dot(apart)) / 0.1, 0.0), 1.0)
        places, turns = self._get_pos_objects(), self._get_quat_objects()
        for i in range(len(places) // 3):
            obs[4 + 7 * i : 7 + 7 * i] = places[3 * i : 3 * i + 3]
            obs[7 + 7 * i : 11 + 7 * i] = turns[4 * i : 4 * i + 4]
        return obs

    def _get_obs(self: Any) -> np.ndarray:
        """[39]: this step's observation and the last one's, and the goal."""
        goal = np.zeros(3) if self._partially_observable else self._get_pos_goal()
        now = self._get_curr_obs_combined_no_goal()
        obs = np.concatenate((now, self._prev_obs, goal))
        self._prev_obs = now
        return obs

    def touching_object(self: Any, object_geom_id: int) -> bool:
        """Whether both pads of the gripper press on it."""
        contact, force = self.data.contact, self.data.efc_force
        found = [*zip(contact.geom.tolist(), contact.efc_address.tolist(), strict=True)]
        pads = (self.data.geom(name).id for name in ("leftpad_geom", "rightpad_geom"))
        return all(
            sum(force[at] for pair, at in found if pad in pair and object_geom_id in pair) > 0
            for pad in pads
        )


class MetaWorldEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """A task of Meta-World 3.1.1 (Yu et al. 2020), a Sawyer arm moved by 4 actions; 500 steps.

    The places of object and goal are drawn anew at each reset, from the seed given to it (B-Pref
    and its descendants do so too). With `goal_visible=False` the last three observations are 0.

    Observations: [39], this step's and the last one's, and the goal. Rewards: [0, 10] per step.
    `info["success"]`: 1.0 at the steps at which the task is solved; an episode counts as solved
    when it was at any step. Scores differ between versions of Meta-World and of MuJoCo: compare
    with a ground-truth run of the same installation, never with a published number.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, task: str, goal_visible: bool = True) -> None:
        original = ALL_V3_ENVIRONMENTS[task]
        module: Any = sys.modules[original.__module__]
        if hasattr(module, "Rotation"):
            module.Rotation = Rotation
        env = type(original.__name__, (Quick, original), {})(
            render_mode="rgb_array", camera_name="corner2", width=256, height=256
        )
        env._set_task_called = True
        env._freeze_rand_vec = False
        env.seeded_rand_vec = True
        env._partially_observable = not goal_visible
        del env.sawyer_observation_space  # cached before the goal became visible
        self._env = env
        self._original = model_arrays(env.model)
        self._low = env.sawyer_observation_space.low
        self._high = env.sawyer_observation_space.high
        self.observation_space = env.sawyer_observation_space
        self.action_space = env.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if seed is not None:
            self._env.seed(seed)
        obs, info = self._env.reset()
        return np.clip(obs, self._low, self._high), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self._env.step(action)
        return obs, float(reward), terminated, truncated, info

    def get_state(self) -> State:
        """The simulation, the numbers the task keeps for the episode, and the random stream."""
        kept = {
            name: np.array(value) if isinstance(value, np.ndarray | np.generic) else value
            for name, value in self._own_numbers().items()
        }
        return {
            "physics": snapshot(self._env.model, self._env.data, self._original),
            "task": kept,
            "random": self._env.np_random.bit_generator.state,
        }

    def set_state(self, state: State) -> None:
        """Continue from a state of `get_state`; raises ValueError for one of another task."""
        # Tasks keep windows into the simulation's arrays as attributes; a reset opens them.
        self._env.reset()
        restore(self._env.model, self._env.data, self._original, state["physics"])
        for name, value in state["task"].items():
            # `[()]` makes a scalar of an array without axes, of the type it was.
            setattr(self._env, name, value.copy()[()] if isinstance(value, np.ndarray) else value)
        self._env.np_random.bit_generator.state = state["random"]

    def _own_numbers(self) -> dict[str, Any]:
        """Attributes of the task that hold numbers, except windows into the simulation's arrays."""
        return {
            name: value
            for name, value in vars(self._env).items()
            if isinstance(value, NUMBERS) and not _is_window(value)
        }

    def render(self) -> np.ndarray:
        """A frame, uint8 [256, 256, 3], from the camera `corner2`."""
        need_frames()
        # The camera hangs upside down.
        return self._env.render()[::-1, ::-1].copy()

    def close(self) -> None:
        self._env.close()


def _is_window(value: Any) -> bool:
    """Whether an array shows memory that MuJoCo owns, and so changes with every step."""
    while isinstance(value, np.ndarray) and value.base is not None:
        value = value.base
    return not isinstance(value, NUMBERS)
