"""The files a cell reads: what is in them is part of what the cell is, where they stand is not.

Every parameter of type `Path`, of any kind of plug-in and at any depth, is such a file (or folder).
"""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from pbrl.errors import ConfigError, Damaged
from pbrl.store import atomic

_KNOWN: dict[tuple[str, int, int, int], str] = {}  # digest by path, inode, size and time of change


def sealed_inputs(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A configuration as plain JSON: `inputs` holds the SHA-256 of each file by its absolute path.

    Relative paths start at `folder`, the suite's. Raises ConfigError for a file that is not there.
    """
    inputs: dict[str, str] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            path = str(Path(os.path.abspath(folder / value.expanduser())))
            found = content(Path(path))
            if found is None:
                raise ConfigError(
                    f"{value} cannot be read: there is no such file at {path}; a path in a suite, "
                    "and one given by --set, starts at the suite file's folder"
                )
            inputs[path] = found
            return path
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return [plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value

    made = plain(config)
    return made | {"inputs": inputs} if inputs else made


def without_places(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the content of each input file in the place of its path."""
    inputs = config.get("inputs")
    if not inputs:
        return config
    return _replaced({k: v for k, v in config.items() if k != "inputs"}, inputs)


def opened(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with its input files as `Path`s, each as it was when the cell was planned.

    Raises ConfigError for a file that is missing or was changed since.
    """
    inputs = config.get("inputs", {})
    for path, planned in inputs.items():
        found = content(Path(path))
        if found != planned:
            what = "is missing" if found is None else "was changed after the cell was planned"
            raise ConfigError(f"{path} {what}; run the suite again, or put the file back")
    return _replaced(config, {path: Path(path) for path in inputs})


def _replaced(value: Any, by: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(inner, by) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, by) for inner in value]
    return by.get(value, value) if isinstance(value, str) else value


def content(path: Path) -> str | None:
    """SHA-256 of a file, or of all files of a folder with their names; None when not there.

    Raises StoreError for a file that cannot be read.
    """
    with atomic.explained(path, doing="read"):
        if not path.is_dir():
            return _digest(path)
        whole = sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            whole.update(f"{file.relative_to(path)}\0{_digest(file)}\n".encode())
        return whole.hexdigest()


def _digest(path: Path) -> str | None:
    try:
        stat = path.stat()
        key = (str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if key not in _KNOWN:
            _KNOWN[key] = atomic.seal_of(path)["sha256"]
    except (FileNotFoundError, NotADirectoryError, Damaged):
        return None
    return _KNOWN[key]
