"""Plug-ins to start from, one a kind, complete and checked; `pbrl new` copies them.

Nothing imports the files beside this one. `plugin-name` in them becomes the name that is given.
"""

import re
from pathlib import Path

from pbrl import registry
from pbrl.errors import ConfigError, did_you_mean

PLACEHOLDER = "plugin-name"


def text(kind: str, name: str) -> str:
    """The source of a plug-in of that kind and name."""
    source = (Path(__file__).parent / f"{kind}.py").read_text(encoding="utf-8")
    return source.replace(PLACEHOLDER, name)


def write(kind: str, name: str, out: Path | None = None) -> Path:
    """Write a plug-in to `out`, by default NAME.py with _ for -, and return its path.

    Raises ConfigError for an unknown kind, a name that is taken or no name, and a file that exists.
    """
    if kind not in registry.KINDS:
        raise ConfigError(f"unknown kind {kind!r}; {did_you_mean(kind, registry.KINDS)}")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", name):
        raise ConfigError(
            f"found name {name[:60]!r}; expected a to z, 0 to 9 and -, such as my-{kind}"
        )
    if name in registry.names(kind):
        raise ConfigError(f"{kind} {name!r} exists already; choose another name")
    path = out or Path(f"{name.replace('-', '_')}.py")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text(kind, name))
    except FileExistsError:
        raise ConfigError(f"{path} exists already; give another file with -o") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    return path
