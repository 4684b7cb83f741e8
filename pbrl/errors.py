"""One error per party at fault; messages say what was found, what was expected, what to do."""

import difflib
import os
import re
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path

_OURS = tuple(str(Path(__file__).parent.parent / n) + "/" for n in ("pbrl", "envs", "bandits"))
_NOT_THE_USERS = (  # the standard library, installed packages, and this one
    *(
        form(sysconfig.get_paths()[key])
        for key in ("stdlib", "platstdlib", "purelib", "platlib")
        for form in (str, os.path.realpath)
    ),
    *_OURS,
    "<",
)
MESSAGE = 2_000  # characters of one message that are kept; the traceback holds more


class PbrlError(Exception):
    """An error shown to the user as its message alone, without a traceback."""


class ConfigError(PbrlError):
    """A suite, a parameter or a command-line argument is wrong (exit code 2)."""


class PluginError(PbrlError):
    """A user's plug-in does not import or breaks its contract (exit code 2)."""


class StoreError(PbrlError):
    """A results folder cannot be read or written now: full, forbidden, gone (exit code 2)."""


class Damaged(StoreError):
    """What stands on disk was looked at and is not what was written: missing, torn or changed."""


class CellError(PbrlError):
    """One cell cannot go on; the cell fails, the others continue (exit code 1)."""


class EnvironmentFault(CellError):
    """An environment broke its contract while a cell was running: NaN, exception or hang."""


def where(error: BaseException) -> str:
    """The innermost line of a user's file that an error came through: " (my.py, line 3)", or ""."""
    frames = reversed([*traceback.walk_tb(error.__traceback__)])
    return shown_place([(frame.f_code.co_filename, line) for frame, line in frames])


def shown_place(places: Iterable[tuple[str, int]]) -> str:
    """The first of these (file, line), innermost first, that is in a user's file, or ""."""
    for file, line in places:
        if not file.startswith(_NOT_THE_USERS):
            return f" ({Path(file).name}, line {line})"
    return ""


def is_users(error: BaseException) -> bool:
    """Whether a user's file raised it, by itself or through a library, and none of ours between."""
    users = False
    for frame, _ in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if file.startswith(_OURS):
            users = False
        elif not file.startswith(_NOT_THE_USERS):
            users = True
    return users


def count(number: int, noun: str) -> str:
    """Such as `1 cell` or `3 cells`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """The near matches of `found` among `known` as a clause, or all of them when few."""
    known = sorted(known)
    near = difflib.get_close_matches(found[:80], known, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(repr(n) for n in near)}?"
    if 0 < len(known) <= 12:
        return f"expected one of: {', '.join(known)}"
    return "see `pbrl list` for all names"


# What a terminal obeys instead of showing: C0 and C1 controls, separators, text direction; and lone
# surrogates, which no encoding takes.
_OBEYED = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_LINES, _LINE = re.compile(f"[{_OBEYED}]"), re.compile(f"[{_OBEYED}\n\t]")


def shown(text: object, *, limit: int = 100_000, lines: bool = True) -> str:
    """`text` as any terminal, file or encoding takes it.

    Control characters and lone surrogates stand as escapes (newline and tab too unless `lines`),
    and of more than `limit` characters the middle is left out. Never raises, whatever `str(text)`
    does.
    """
    try:
        whole = str(text)
    except BaseException as error:
        whole = f"<its text cannot be shown: {type(error).__name__}>"
    if len(whole) > limit:
        note = f" [... {len(whole) - limit:,} characters left out ...] "
        whole = whole[: limit - limit // 3] + note + whole[len(whole) - limit // 3 :]
    return (_LINES if lines else _LINE).sub(lambda found: _escape(found[0]), whole)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
