"""Writes after which, whatever dies at whatever moment, a reader sees the old file or the new one.

Temporary file in the same folder, write, flush to disk, rename over the target, flush the folder.
Every change the store makes to the file system goes through the calls on `os` in this module, which
is where the tests let each of them fail in turn.
"""

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from pbrl.errors import StoreError

TEMPORARY = ".tmp"
_WHAT_TO_DO = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EACCES: "no permission; choose a folder you can write to (-o DIR) or change its mode",
    errno.EPERM: "not permitted; choose a folder you can write to (-o DIR)",
    errno.EROFS: "the file system is read-only; choose another folder (-o DIR)",
    errno.ENOTDIR: "a file stands where a folder is expected; choose another folder (-o DIR)",
}


@contextlib.contextmanager
def explained(path: Path, *, doing: str = "write", needed: int | None = None) -> Iterator[None]:
    """Turn an OSError about `path` into a StoreError that says what to do; `needed` is in bytes."""
    try:
        yield
    except OSError as error:
        reason = _WHAT_TO_DO.get(error.errno or 0, error.strerror or repr(error))
        size = f" ({needed:,} bytes)" if needed is not None else ""
        raise StoreError(f"cannot {doing} {path}{size}: {reason}") from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents; raises StoreError."""
    with explained(path):
        os.makedirs(path, exist_ok=True)


def temporary(path: Path) -> Path:
    """A fresh name beside `path`, which `clean` removes if it is left over."""
    return path.with_name(f".{path.name}-{secrets.token_hex(4)}{TEMPORARY}")


def write_file(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, durably and in one step; raises StoreError."""
    temp = temporary(path)
    with explained(path, needed=len(data)):
        try:
            fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                write_all(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(temp, path)
        except OSError:
            temp.unlink(missing_ok=True)
            raise
        sync(path.parent)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, however many calls that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def rename_folder(source: Path, target: Path) -> None:
    """Give a finished folder its name, durably; `target` must not exist."""
    os.rename(source, target)
    sync(target.parent)


def remove(path: Path) -> None:
    """Delete a file or a folder of files; one that is gone already is fine."""
    with explained(path):
        if path.is_dir() and not path.is_symlink():
            for name in os.listdir(path):
                os.unlink(path / name)
            os.rmdir(path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def clean(folder: Path) -> None:
    """Delete what writes that were cut short left in `folder`."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name.endswith(TEMPORARY):
                remove(path)


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def canonical(content: Any) -> bytes:
    """The one JSON text of `content`: sorted keys, no spaces, no NaN."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sealed(content: dict[str, Any]) -> bytes:
    """`content` as readable JSON with the SHA-256 of itself, so that any later change shows."""
    seal = sha256(canonical(content)).hexdigest()
    return json.dumps(content | {"seal": seal}, indent=1, allow_nan=False).encode() + b"\n"


def read_sealed(path: Path) -> dict[str, Any]:
    """What `sealed` wrote; raises StoreError when the file is torn, changed or missing."""
    try:
        content = json.loads(path.read_bytes())
        seal = content.pop("seal")
        intact = seal == sha256(canonical(content)).hexdigest()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} is missing or torn: {error!r}") from error
    if not intact:
        raise StoreError(f"{path} was changed after it was written: its seal does not match")
    return content
