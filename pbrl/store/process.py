"""Which process: told apart from a later one with the same number, and from those elsewhere."""

import contextlib
import functools
import os
from hashlib import sha256
from pathlib import Path


@functools.cache
def machine() -> str:
    """This boot of this machine and the process namespace: where a process number counts."""
    parts = [os.uname().nodename]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def started(pid: int) -> str:
    """When a process started, in the kernel's ticks; "" when there is none (or only its corpse)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
        try:  # no /proc (macOS): a later process of the same number cannot be told apart
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            return "alive"
        return "alive"
    return "" if fields[0] in "ZX" else fields[19]


@functools.cache
def _name(pid: int) -> str:
    return f"{sha256(machine().encode()).hexdigest()[:8]}.{pid}.{started(pid)}"


def own_name() -> str:
    """This process as a part of a file's name."""
    return _name(os.getpid())


def is_alive_elsewhere(name: str) -> bool:
    """Whether `own_name` of some process is that of another one that may still be running."""
    if name == own_name():
        return False
    place, _, rest = name.partition(".")
    pid, _, since = rest.partition(".")
    here = place == own_name().partition(".")[0]
    return not here or not pid.isdecimal() or started(int(pid)) == since
