"""Writes after which, whatever dies at whatever moment, a reader sees the old file or the new one.

Temporary file in the same folder, write, flush to disk, rename over the target, flush the folder.
Everything the store reads and changes goes through the calls on `os` in this module, which is where
the tests let each of them fail in turn. A call that fails says nothing about the file: only content
that was read, or a file that is surely not there, is `Damaged`.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from pbrl.errors import Damaged, StoreError
from pbrl.store.process import is_alive_elsewhere, own_name

TEMPORARY = ".tmp"
_WHAT_TO_DO = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EACCES: "no permission; choose a folder you can write to (-o DIR) or change its mode",
    errno.EPERM: "not permitted; choose a folder you can write to (-o DIR)",
    errno.EROFS: "the file system is read-only; choose another folder (-o DIR)",
    errno.ENOTDIR: "a file stands where a folder is expected; choose another folder (-o DIR)",
    errno.ELOOP: "a symbolic link stands there, which is not followed; remove it",
    errno.EISDIR: "a folder stands where a file is expected; move it away",
}
_WHEN_READING = {
    errno.EACCES: "no permission; change its mode, or run as its owner",
    errno.EPERM: "not permitted",
    errno.ENOTDIR: "a file stands where a folder is expected",
}
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@contextlib.contextmanager
def explained(path: Path, *, doing: str = "write", needed: int | None = None) -> Iterator[None]:
    """Turn an OSError about `path` into a StoreError that says what to do; `needed` is in bytes."""
    try:
        yield
    except OSError as error:
        known = _WHAT_TO_DO | (_WHEN_READING if doing == "read" else {})
        reason = known.get(error.errno or 0, error.strerror or repr(error))
        size = f" ({needed:,} bytes)" if needed is not None else ""
        raise StoreError(f"cannot {doing} {path}{size}: {reason}") from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents; raises StoreError."""
    with explained(path):
        os.makedirs(path, exist_ok=True)


def temporary(path: Path) -> Path:
    """A fresh name beside `path`, which `clean` removes if its writer dies."""
    return path.with_name(f".{path.name}-{own_name()}-{secrets.token_hex(4)}{TEMPORARY}")


def open_own(path: Path, flags: int) -> int:
    """A descriptor of a file of the store, made if need be; a symbolic link is not followed."""
    with explained(path):
        return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)


def refuse_link(path: Path) -> None:
    """Raise StoreError when a symbolic link stands at `path`: nothing is written through one."""
    with explained(path):
        if path.is_symlink():
            raise StoreError(
                f"{path} is a symbolic link and leads out of the results folder; remove that link"
            )


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
    """Delete a file, a link or a folder with all in it; what is gone already is fine."""
    with explained(path):
        if path.is_dir() and not path.is_symlink():
            for name in os.listdir(path):
                remove(path / name)
            os.rmdir(path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def clean(folder: Path) -> None:
    """Delete what writes that were cut short left in `folder`, but not of processes still alive."""
    for name in entries(folder):
        owner = name.removesuffix(TEMPORARY).rsplit("-", 2)[1:2]
        if name.endswith(TEMPORARY) and not (owner and is_alive_elsewhere(owner[0])):
            remove(folder / name)


def entries(folder: Path) -> list[str]:
    """The sorted names in a folder, none when there is no such folder; raises StoreError."""
    with explained(folder, doing="read"):
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []


def is_there(path: Path) -> bool:
    """Whether anything has this name, a dangling link too; raises StoreError if that is unknown."""
    with explained(path, doing="read"):
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True


def read_file(path: Path) -> bytes:
    """All bytes of a file.

    Raises Damaged when there is surely no such file (nothing, or a folder), StoreError when it
    cannot be read.
    """
    chunks = []
    with opened(path) as fd:
        size = os.fstat(fd).st_size
        while chunk := os.read(fd, size + 1):  # one more than it has: the next read is the end
            chunks.append(chunk)
    return b"".join(chunks)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A file open for reading; errors as those of `read_file`."""
    with explained(path, doing="read"):
        try:
            # Not blocking: a pipe in the place of the file reads as empty.
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                yield fd
            finally:
                os.close(fd)
        except _ABSENT as error:
            what = "is a folder" if isinstance(error, IsADirectoryError) else "is missing"
            raise Damaged(f"{path} {what}; expected a file") from error


def seal_of(path: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a file, as manifests hold them; errors as `read_file`'s."""
    whole, size = sha256(), 0
    with opened(path) as fd:
        while chunk := os.read(fd, 1 << 22):
            whole.update(chunk)
            size += len(chunk)
    return {"size": size, "sha256": whole.hexdigest()}


def size_of(path: Path) -> int:
    """Size of a file in bytes; errors as those of `read_file`."""
    with explained(path, doing="read"):
        try:
            found = os.stat(path)
        except _ABSENT as error:
            raise Damaged(f"{path} is missing; expected a file") from error
    if not stat.S_ISREG(found.st_mode):
        raise Damaged(f"{path} is a folder; expected a file")
    return found.st_size


def check(path: Path, seal: dict[str, Any], *, content: bool = True) -> None:
    """Raise Damaged unless a file has the size and (with `content`) SHA-256 of its seal."""
    _check_size(path, size_of(path), seal)
    if content:
        _check_digest(path, seal_of(path)["sha256"], seal)


def read_checked(path: Path, seal: dict[str, Any]) -> bytes:
    """All bytes of a file; raises Damaged unless it has the size and SHA-256 of its seal."""
    data = read_file(path)
    _check_size(path, len(data), seal)
    _check_digest(path, sha256(data).hexdigest(), seal)
    return data


def _check_size(path: Path, size: int, seal: dict[str, Any]) -> None:
    if size != seal["size"]:
        raise Damaged(
            f"{path} is damaged: it has {size} bytes and its manifest says {seal['size']}"
        )


def _check_digest(path: Path, digest: str, seal: dict[str, Any]) -> None:
    if digest != seal["sha256"]:
        raise Damaged(f"{path} is damaged: its SHA-256 differs from its manifest")


def canonical(content: Any) -> bytes:
    """The one JSON text of `content`: sorted keys, no spaces, no NaN."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


_SEAL = re.compile(rb'(\{\s*"seal": ")([^"]*)')


def sealed(content: dict[str, Any], *, indent: int | None = 1) -> bytes:
    """`content` as readable JSON that begins with the SHA-256 of all its other bytes."""
    text = json.dumps({"seal": ""} | content, indent=indent, allow_nan=False).encode() + b"\n"
    head = _SEAL.match(text)
    assert head is not None
    return text[: head.end()] + sha256(text).hexdigest().encode() + text[head.end() :]


def read_sealed(path: Path) -> dict[str, Any]:
    """What `sealed` wrote; raises Damaged when it is torn, changed or missing, else StoreError."""
    data = read_file(path)
    try:
        content = json.loads(data)
        del content["seal"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f"{path} is torn: {error!r}") from error
    head = _SEAL.match(data)
    others = data[: head.start(2)] + data[head.end() :] if head else data
    if head is None or head[2] != sha256(others).hexdigest().encode():
        raise Damaged(f"{path} was changed after it was written: its seal does not match")
    return content
