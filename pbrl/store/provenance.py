"""Where and with what a cell was computed: the scope within which equal cells give equal bytes."""

import contextlib
import functools
import platform
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pbrl

_PACKAGES = ("torch", "numpy", "numba", "polars", "safetensors")
_SIMULATORS = ("stable_baselines3", "gymnasium", "mujoco", "dm_control", "metaworld")
_SOURCE = Path(pbrl.__file__).resolve().parent.parent


@functools.cache
def source_digest() -> str:
    """SHA-256 over every Python file of pbrl, bandits and envs."""
    whole = sha256()
    for package in ("bandits", "envs", "pbrl"):
        for file in sorted((_SOURCE / package).rglob("*.py")):
            whole.update(str(file.relative_to(_SOURCE)).encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()


@functools.cache
def commit() -> str | None:
    """The git commit of the checkout pbrl runs from; None for an installed package."""
    if not (_SOURCE / ".git").exists():
        return None
    import subprocess

    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(_SOURCE), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return None


@functools.cache
def _version(package: str) -> str:
    from importlib import metadata

    return metadata.version(package.replace("_", "-"))


@functools.cache
def _platform() -> str:
    return platform.platform()


def environment() -> dict[str, Any]:
    """What bit-equality depends on: versions of what is imported, source, commit, threads."""
    threads = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else 1
    return {
        "pbrl": pbrl.__version__,
        "python": platform.python_version(),
        "platform": _platform(),
        "packages": {
            name: _version(name) for name in _PACKAGES + _SIMULATORS if name in sys.modules
        },
        "source": source_digest(),
        "commit": commit(),
        "threads": threads,
    }
