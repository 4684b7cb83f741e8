"""Tasks of the dm_control suite as gymnasium environments.

An adapter of our own and not shimmy's (2.0.1): shimmy restores no state, returns a dictionary of
float64 arrays that two more wrappers must flatten and cast, and computes an observation for each
of the steps an action is repeated. What both have in common: the end of an episode by the time
limit is a truncation.

Observations and rewards are those of dm_control's own tasks, to the bit. What is done here so that
the simulation, and not the way to its numbers, takes the time of a step: names are looked up once
(`Named`), rewards get a quicker `tolerance`, and `_advance` is `Physics.step` without its context
managers.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from envs.rendering import load_mujoco, need_frames

load_mujoco()

import mujoco  # noqa: E402
from dm_control import suite  # noqa: E402
from dm_control.mujoco import index  # noqa: E402
from dm_control.rl.control import PhysicsError  # noqa: E402
from dm_control.utils import rewards  # noqa: E402

from envs import tolerance  # noqa: E402
from envs.mujoco_state import State, model_arrays, restore, snapshot  # noqa: E402

# dm_control 1.0.28 calls it in quadruped; the numpy that removes it (2.4) is excluded.
warnings.filterwarnings("ignore", message="`in1d` is deprecated", module="dm_control")
tolerance.hasten(rewards)


class Named(index.FieldIndexer):
    """An array of the simulation whose named indices, which never change, are worked out once."""

    def __init__(self, slow: index.FieldIndexer) -> None:
        self._field_name, self._field, self._axes = slow._field_name, slow._field, slow._axes
        self._known: dict[str, Any] = {}

    def __getitem__(self, key: Any) -> Any:
        if type(key) is str:
            spelled = key
        elif type(key) in (tuple, list):  # no keys of a dictionary when lists or slices are in them
            spelled = repr(key)
        else:
            return self._field[self._convert_key(key)]
        place = self._known.get(spelled)
        if place is None:
            place = self._convert_key(key)
            if "array" not in spelled:  # which is written in part when it is long
                self._known[spelled] = place
        return self._field[place]


def _with_known_names(physics: Any) -> None:
    physics._named = type(physics.named)(
        *(
            index.make_struct_indexer({name: Named(f) for name, f in fields._asdict().items()})
            for fields in physics.named
        )
    )


class SuiteEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """A task of the dm_control suite (Tassa et al. 2018, Tunyasuvunakool et al. 2020).

    Observations: the task's arrays in its own order, flattened to float32 [O]. Actions: float [A]
    in [-1, 1], scaled to the actuators' ranges (only quadruped differs). Rewards: [0, 1] per
    control step, summed over `action_repeat` steps. Episodes: 1000 control steps; no task here
    ends earlier. Seeds: below 2**32; without one, the first episode is that of seed 0. Raises
    `dm_control.rl.control.PhysicsError` when the simulation diverges.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, domain: str, task: str, action_repeat: int = 1) -> None:
        self._env = suite.load(domain, task, task_kwargs={"random": 0})
        self._task, self._physics = self._env.task, self._env.physics
        _with_known_names(self._physics)
        self._model, self._data = self._physics.model.ptr, self._physics.data.ptr
        self._original = model_arrays(self._model)
        self._warnings = self._physics.data.warning.number
        self._is_rk4 = self._model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4
        self._substeps = self._env._n_sub_steps
        self._repeat = action_repeat
        self._steps, self._limit = 0, round(self._env._step_limit)
        actions = self._env.action_spec()
        self.action_space = Box(-1.0, 1.0, actions.shape, np.float32)
        self._middle = (actions.maximum + actions.minimum) / 2
        self._half = (actions.maximum - actions.minimum) / 2
        size = sum(int(np.prod(s.shape)) for s in self._env.observation_spec().values())
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._task._random = np.random.RandomState(seed)
        self._steps = 0
        return self._flat(self._env.reset().observation), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        task, physics = self._task, self._physics
        control = self._middle + self._half * action
        reward = 0.0
        for _ in range(self._repeat):
            task.before_step(control, physics)
            self._advance()
            task.after_step(physics)
            reward += float(task.get_reward(physics))
            self._steps += 1
            if self._steps >= self._limit:
                break
        truncated = self._steps >= self._limit
        return self._flat(task.get_observation(physics)), reward, False, truncated, {}

    def _advance(self) -> None:
        """`Physics.step`, which leaves positions and what follows from them in agreement."""
        before = self._warnings.tolist()
        if self._is_rk4:
            mujoco.mj_step(self._model, self._data, self._substeps)
        else:
            mujoco.mj_step2(self._model, self._data)
            if self._substeps > 1:
                mujoco.mj_step(self._model, self._data, self._substeps - 1)
        mujoco.mj_step1(self._model, self._data)
        after = self._warnings.tolist()
        if after != before:
            kinds = zip(mujoco.mjtWarning.__members__, before, after, strict=False)
            new = ", ".join(name for name, old, now in kinds if now > old)
            if new:
                raise PhysicsError(f"Physics state is invalid. Warning(s) raised: {new}")

    def _flat(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.concatenate(
            [np.ravel(part) for part in observation.values()], dtype=np.float32, casting="same_kind"
        )

    def get_state(self) -> State:
        """All that decides how the episode, and those after it, go on."""
        return {
            "physics": snapshot(self._model, self._data, self._original),
            "random": self._task._random.get_state(legacy=False),
            "steps": self._steps,
        }

    def set_state(self, state: State) -> None:
        """Continue from a state of `get_state`; raises ValueError for one of another task."""
        # Some tasks set constants of theirs only at reset; what it draws is overwritten below.
        self._env.reset()
        restore(self._model, self._data, self._original, state["physics"])
        self._task._random.set_state(state["random"])
        self._steps = state["steps"]

    def render(self) -> np.ndarray:
        """A frame, uint8 [256, 256, 3], from the task's first camera."""
        need_frames()
        return self._physics.render(256, 256, camera_id=0 if self._physics.model.ncam else -1)

    def close(self) -> None:
        self._env.close()
