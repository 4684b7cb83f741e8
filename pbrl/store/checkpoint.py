"""The whole state of a run as safetensors and JSON, no pickle, with SHA-256 of every file.

A state is nested dicts, lists and tuples of tensors, numpy arrays and scalars, numbers, strings and
None. Arrays go to `state.safetensors`; everything else, with the arrays' places, to `state.json`.
"""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbrl.errors import CellError, Damaged
from pbrl.store import atomic

if TYPE_CHECKING:
    import torch

ARRAYS, TREE, MANIFEST = "state.safetensors", "state.json", "manifest.json"
KEPT = 2  # the newest, and the one before it in case the newest is damaged on disk


def _pack(value: Any, place: str, arrays: dict[str, "torch.Tensor"]) -> Any:
    """`value` as JSON; its arrays are added to `arrays` under the place they stand at."""
    import numpy as np
    import torch

    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, torch.Tensor):
        arrays[place] = value.detach().cpu().contiguous()
        return {"$tensor": place}
    if isinstance(value, (np.ndarray, np.generic)):
        try:
            arrays[place] = torch.from_numpy(np.array(value, copy=True, order="C"))
        except TypeError as error:
            raise _cannot_store(place, f"an array of dtype {value.dtype}") from error
        return {"$scalar" if isinstance(value, np.generic) else "$numpy": place}
    if isinstance(value, (list, tuple)):
        items = [_pack(item, f"{place}.{i}", arrays) for i, item in enumerate(value)]
        return {"$tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        packed = [(k, _pack(v, f"{place}.{k}", arrays)) for k, v in value.items()]
        if all(type(k) is str and not k.startswith("$") for k in value):
            return dict(packed)
        if all(type(k) in (str, int) for k in value):
            return {"$dict": packed}
        raise _cannot_store(place, "a dict whose keys are neither strings nor integers")
    raise _cannot_store(place, f"a {type(value).__module__}.{type(value).__qualname__}")


def _cannot_store(place: str, found: str) -> CellError:
    return CellError(
        f"checkpoint: state{place} is {found}; expected tensors, arrays, numbers, strings, None "
        "and lists, tuples or dicts of these"
    )


def _unpack(value: Any, arrays: dict[str, "torch.Tensor"]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (mark, content), *_ = value.items()
        if mark == "$tensor":
            return arrays[content]
        if mark == "$numpy":
            return arrays[content].numpy()
        if mark == "$scalar":
            return arrays[content].numpy()[()]
        if mark == "$tuple":
            return tuple(_unpack(item, arrays) for item in content)
        if mark == "$dict":
            return {k: _unpack(v, arrays) for k, v in content}
    return {k: _unpack(v, arrays) for k, v in value.items()}


def _apart(arrays: dict[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """Copies of the tensors that share memory with an earlier one, which safetensors refuses."""
    seen: set[int] = set()
    found = {}
    for name, tensor in arrays.items():
        pointer = tensor.untyped_storage().data_ptr()
        whole = tensor.untyped_storage().nbytes() == tensor.nbytes
        found[name] = tensor.clone() if pointer in seen or not whole else tensor
        seen.add(pointer)
    return found


def write_state(folder: Path, state: Any) -> dict[str, dict[str, Any]]:
    """Write a state durably into an existing folder; returns size and SHA-256 of each file.

    Raises CellError for a value that cannot be stored and StoreError when the disk refuses.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    arrays: dict[str, torch.Tensor] = {}
    tree = json.dumps(_pack(state, "", arrays)).encode()
    arrays = _apart(arrays)
    path = folder / ARRAYS
    needed = sum(tensor.nbytes for tensor in arrays.values())
    with atomic.explained(path, needed=needed):
        try:
            save_file(arrays, path)
        except SafetensorError as error:
            raise _as_os_error(error) from error
        path.chmod(path.parent.stat().st_mode & 0o666)  # safetensors makes it readable to us alone
        atomic.sync(path)
    atomic.write_file(folder / TREE, tree)
    return {name: atomic.seal_of(folder / name) for name in (ARRAYS, TREE)}


def _as_os_error(error: Exception) -> OSError:
    """safetensors tells a disk error as text: "... (os error 28)"."""
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]) if number else 0, str(error))


def read_state(folder: Path) -> Any:
    """The state of a folder whose files were found intact; tensors are on the CPU.

    Raises Damaged for content that is no state, StoreError for what cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / ARRAYS
    with atomic.explained(path, doing="read"):
        try:
            # Copies: load_file maps the file into memory, and the file is deleted later.
            arrays = {name: tensor.clone() for name, tensor in load_file(path).items()}
        except SafetensorError as error:
            reason = _as_os_error(error)
            if reason.errno:
                raise reason from error
            raise Damaged(f"{path} is damaged: {error}") from error
    tree = atomic.read_file(folder / TREE)
    try:
        return _unpack(json.loads(tree), arrays)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f"{folder / TREE} is damaged: {error!r}") from error


def steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in a folder, newest first; says nothing of their health."""
    return sorted((int(name) for name in atomic.entries(folder) if name.isdecimal()), reverse=True)


def place(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return folder / f"{step:012d}"


def read(folder: Path, step: int) -> tuple[Any, dict[str, Any]]:
    """State and manifest of one checkpoint.

    Raises Damaged when anything in it is not what was written, and StoreError when it cannot be
    read, which says nothing about it.
    """
    path = place(folder, step)
    manifest = atomic.read_sealed(path / MANIFEST)
    if manifest["step"] != step:
        raise Damaged(f"{path} is of step {manifest['step']}, not {step}")
    for name, seal in manifest["files"].items():
        atomic.check(path / name, seal)
    return read_state(path), manifest
