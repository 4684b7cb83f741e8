"""One thread as in every cell; test files may import the helpers beside them."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pbrl.registry import finding

os.environ["OMP_NUM_THREADS"] = "1"  # small networks are fastest so, and the promise is made for it

sys.path.append(str(Path(__file__).parent))  # appended, so tests/envs never hides envs
import built_ins  # noqa: F401

settings.register_profile("pbrl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pbrl")  # a busy machine is no reason to fail

OURS = ("pbrl", "bandits", "envs")


@pytest.fixture(autouse=True)
def forget_plugins() -> Iterator[None]:
    """What a test registers, and the plug-ins it loads, are gone for the tests after it."""
    known = {kind: set(found) for kind, found in finding.REGISTERED.items()}
    files, modules = dict(finding._PLUGINS), set(sys.modules)
    yield
    for kind, found in finding.REGISTERED.items():
        for name in found.keys() - known[kind]:
            if found[name].__module__.partition(".")[0] not in OURS:
                del found[name]
    finding._PLUGINS.clear()
    finding._PLUGINS.update(files)
    for name in set(sys.modules) - modules:
        if name.startswith("pbrl_plugin_"):
            del sys.modules[name]
