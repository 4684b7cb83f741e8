"""Where and with what a cell was computed: the scope within which equal cells give equal bytes."""

import contextlib
import functools
import os
import platform
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pbrl
from pbrl import registry
from pbrl.store import inputs

_PACKAGES = ("torch", "numpy", "numba", "polars", "safetensors")
SIMULATORS = ("stable_baselines3", "gymnasium", "mujoco", "dm_control", "metaworld")
_SOURCE = Path(pbrl.__file__).resolve().parent.parent


_SHOWS = ("pbrl/report/", "pbrl/check/", "pbrl/cli.py", "pbrl/terminal.py", "pbrl/doctor.py")
_OUTSIDE = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "DISPLAY")


@functools.cache
def source_digest() -> str:
    """SHA-256 over every Python file of pbrl, bandits and envs that a cell's numbers can see."""
    whole = sha256()
    for package in ("bandits", "envs", "pbrl"):
        for file in sorted((_SOURCE / package).rglob("*.py")):
            name = file.relative_to(_SOURCE).as_posix()
            if not name.startswith(_SHOWS):
                whole.update(name.encode() + b"\0" + file.read_bytes())
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
def installed(package: str) -> str:
    """The version of an installed package, without importing it."""
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
            name: installed(name) for name in _PACKAGES + SIMULATORS if name in sys.modules
        },
        **code(),
        "commit": commit(),
        "threads": threads,
    }


def code() -> dict[str, Any]:
    """Digests of the source and of the plug-ins of this process."""
    return {"source": source_digest(), "plugins": registry.plugins()}


def changed(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The code that differs between two environments: "pbrl", and plug-ins by their file's name.

    A plug-in that only one of them knows is not compared: what a cell needs, it has to find.
    """
    known, found = then.get("plugins", {}), now["plugins"]
    other = [name for name in sorted(known.keys() & found.keys()) if known[name] != found[name]]
    return ["pbrl"] * (then.get("source", now["source"]) != now["source"]) + other


def changed_packages(then: dict[str, Any], now: dict[str, Any]) -> str:
    """What else bit-equality depends on and differs, as text; "" when nothing does."""
    before, after = ({"python": e["python"], **e["packages"]} for e in (then, now))
    return ", ".join(
        f"{name} {after[name]} after {before[name]}"
        for name in sorted(before.keys() & after.keys())
        if before[name] != after[name]
    )


def circumstances(config: dict[str, Any]) -> dict[str, Any]:
    """All that a failure could depend on besides the cell's configuration, by name."""
    return {
        **config.get("execution", {}),
        **{path: inputs.content(Path(path)) for path in config.get("inputs", {})},
        **registry.plugins(),
        **{name: os.environ.get(name) for name in _OUTSIDE},
        "pbrl": source_digest(),
        "python": platform.python_version(),
        "installed packages": _installed(),
        "graphics cards": graphics_cards(),
    }


def graphics_cards() -> list[str]:
    """The graphics cards of this machine, found without asking torch."""
    return sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))


@functools.cache
def _installed() -> str:
    from importlib import metadata

    # A set: from a checkout's folder its own package is found a second time.
    found = sorted({f"{d.name}=={d.version}" for d in metadata.distributions()})
    return sha256("\n".join(found).encode()).hexdigest()
