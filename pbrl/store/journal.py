"""The rows of a running cell: one JSON object a line, each line with the CRC-32 of its text.

    7e1c3f0a {"event": "eval", "step": 1000, "return": 12.5}

JSON has no NaN and no infinity: they are written as the strings "NaN", "Infinity" and "-Infinity"
and read back as numbers, so these three strings cannot be values of a row.
"""

import contextlib
import json
import math
import os
import time
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

from pbrl.errors import CellError, Damaged
from pbrl.store import atomic

Row = dict[str, Any]
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_FLUSH_SECONDS = 1.0


def _plain(key: str, value: Any) -> Any:
    if hasattr(value, "item") and not isinstance(value, (bool, int, float, str)):
        with contextlib.suppress(ValueError, RuntimeError):  # more than one number: refused below
            value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return next(text for text, number in _NOT_FINITE.items() if str(number) == str(value))
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise CellError(f"log: {key} = {value!r}; a value is a number, a string, a bool or None")
    return value


def encode(row: Row) -> bytes:
    """One line; raises CellError for a value that is not a scalar."""
    text = json.dumps({key: _plain(key, value) for key, value in row.items()}, allow_nan=False)
    return b"%08x %s\n" % (zlib.crc32(text.encode()), text.encode())


def decode(line: bytes) -> Row | None:
    """The row of one line without its newline; None when the line is damaged."""
    checksum, _, text = line.partition(b" ")
    try:
        if len(checksum) != 8 or int(checksum, 16) != zlib.crc32(text):
            return None
        row = json.loads(text)
    except ValueError:
        return None
    return {k: _NOT_FINITE.get(v, v) if isinstance(v, str) else v for k, v in row.items()}


def read(path: Path) -> tuple[list[Row], int]:
    """All intact rows and the number of damaged lines; a missing file has none of either.

    Text after the last newline is a line still being written: neither a row nor damage. Raises
    Damaged for a folder in its place and StoreError for a file that cannot be read.
    """
    if not atomic.is_there(path):
        return [], 0
    rows = [decode(line) for line in atomic.read_file(path).split(b"\n")[:-1]]
    return [row for row in rows if row is not None], rows.count(None)


def last(path: Path) -> Row | None:
    """The newest intact row, read from the end of the file; errors as those of `read`."""
    if not atomic.is_there(path):
        return None
    with atomic.opened(path) as fd:
        os.lseek(fd, max(0, os.fstat(fd).st_size - 8192), os.SEEK_SET)
        lines = os.read(fd, 8192).split(b"\n")[:-1]
    return next((row for row in map(decode, reversed(lines)) if row is not None), None)


class Journal:
    """A journal open for appending, cut to its first `size` bytes.

    The kept part is copied to a new file that replaces the old one, so a process that lost its
    lease goes on writing to a file nobody reads.
    """

    def __init__(self, path: Path, *, size: int = 0) -> None:
        self.path = path
        kept = atomic.read_file(path)[:size] if size else b""
        if len(kept) < size:
            raise Damaged(f"{path} has {len(kept)} bytes; expected at least {size}")
        atomic.write_file(path, kept)
        self._fd = atomic.open_own(path, os.O_WRONLY | os.O_APPEND)
        self.size = size
        self._hash = sha256(kept)
        self._waiting: list[bytes] = []
        self._flushed = -math.inf  # the first row shows at once that the cell is alive

    def append(self, row: Row) -> None:
        """Add one row; it reaches the file within about a second if rows keep coming."""
        line = encode(row)
        self._waiting.append(line)
        self._hash.update(line)
        self.size += len(line)
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self._write()

    def _write(self) -> None:
        data = b"".join(self._waiting)
        with atomic.explained(self.path, needed=len(data)):
            atomic.write_all(self._fd, data)
        self._waiting.clear()
        self._flushed = time.monotonic()

    def sync(self) -> dict[str, Any]:
        """Make all rows durable; returns the size and SHA-256 of the file so far."""
        self._write()
        with atomic.explained(self.path):
            os.fsync(self._fd)
        return {"size": self.size, "sha256": self._hash.hexdigest()}

    def close(self) -> None:
        """Write what is waiting and close the file."""
        if self._fd >= 0:
            try:
                self._write()
            finally:
                os.close(self._fd)
                self._fd = -1
