"""The complete state of a MuJoCo simulation as plain arrays, for continuing it to the bit.

`qpos`, `qvel` and `time` are not enough: the solver starts from the accelerations of the step
before, tasks read derived quantities (body positions, sensors) that lag one step behind, and many
tasks write into the model at reset (where the goal stands, the height of the terrain).
"""

from typing import Any

import mujoco
import numpy as np

State = dict[str, Any]
_INTEGRATION = mujoco.mjtState.mjSTATE_INTEGRATION


def model_arrays(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    """A copy of every numerical array of a model; taken once, before a task changes any."""
    return {name: array.copy() for name, array in _arrays(model).items()}


def snapshot(model: mujoco.MjModel, data: mujoco.MjData, original: dict[str, np.ndarray]) -> State:
    """What `restore` needs: the integration state, the derived arrays, the changed model arrays."""
    integration = np.empty(mujoco.mj_stateSize(model, _INTEGRATION))
    mujoco.mj_getState(model, data, integration, _INTEGRATION)
    derived = np.concatenate([array.ravel() for array in _derived(data)])
    changed = {
        name: array.copy()
        for name, array in _arrays(model).items()
        if not np.array_equal(array, original[name], equal_nan=True)
    }
    return {"integration": integration, "derived": derived, "model": changed}


def restore(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    original: dict[str, np.ndarray],
    state: State,
) -> None:
    """Bring `model` and `data` to `state`; raises ValueError when it is of another model."""
    size = mujoco.mj_stateSize(model, _INTEGRATION)
    if len(state["integration"]) != size:
        raise ValueError(
            f"state of {len(state['integration'])} numbers; this simulation has {size}: restore it "
            "into the environment it was taken from"
        )
    for name, array in _arrays(model).items():
        wanted = state["model"].get(name, original[name])
        # Some arrays of a model are read-only; only what a task changed differs.
        if not np.array_equal(array, wanted, equal_nan=True):
            array[...] = wanted
    # MuJoCo wants an array it may write to; one read from a file may not be.
    mujoco.mj_setState(model, data, np.array(state["integration"]), _INTEGRATION)
    # Contacts and constraints live in an arena that only a forward pass can lay out again; the
    # derived arrays are then put back as they were, because some lag behind the positions.
    mujoco.mj_forward(model, data)
    start = 0
    for array in _derived(data):
        array[...] = state["derived"][start : start + array.size].reshape(array.shape)
        start += array.size


def _arrays(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    # Textures, meshes and names take megabytes and no task writes to them.
    fixed = ("_", "tex_", "mesh_", "name")
    named = ((name, getattr(model, name)) for name in dir(model) if not name.startswith(fixed))
    return {
        name: array
        for name, array in named
        if isinstance(array, np.ndarray) and array.dtype.kind in "fiub" and array.size
    }


def _derived(data: mujoco.MjData) -> list[np.ndarray]:
    """The float arrays of `data` whose size the model fixes, in a fixed order."""
    named = ((n, getattr(data, n)) for n in sorted(dir(data)) if not n.startswith(("_", "efc_")))
    return [a for _, a in named if isinstance(a, np.ndarray) and a.dtype == np.float64 and a.size]
