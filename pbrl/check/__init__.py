"""Contract tests of anything registered: each violation says what was found and what is expected.

`pbrl check` runs these on a plug-in, and the test suite runs them on every built-in. One file a
kind: it holds what that kind promises.
"""

import importlib
from pathlib import Path

from pbrl import registry
from pbrl.errors import ConfigError, PbrlError, did_you_mean


def targets(what: str) -> list[tuple[str, str]]:
    """The (kind, name) pairs that a name or plug-in file stands for.

    Raises ConfigError for an unknown name and PluginError for a file that does not import.
    """
    if what.endswith(".py") or Path(what).is_file():
        return [
            (kind, name) for kind, found in registry.load_plugin(what).items() for name in found
        ]
    found = [(kind, what) for kind in registry.KINDS if what in registry.names(kind)]
    if not found:
        known = {name for kind in registry.KINDS for name in registry.names(kind)}
        raise ConfigError(f"nothing is called {what!r}; {did_you_mean(what, known)}")
    return found


def violations(kind: str, name: str) -> list[str]:
    """How the registered object breaks the contract of its kind; empty when it keeps it."""
    try:
        return importlib.import_module(f"pbrl.check.{kind}").check(name)
    except PbrlError as error:
        return [str(error)]
