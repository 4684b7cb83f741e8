"""`pbrl check` outlives what it checks: hangs, exits and crashes are told, with file and line."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pbrl.check.method
import pbrl.check.teacher  # noqa: F401
from pbrl import registry
from pbrl.check.limited import LIMITS, violations

WAYS = {
    "hangs in Python": ("while True: pass", r"hangs: no answer after 5 s \(plug_"),
    "hangs asleep": ("time.sleep(1000)", r"hangs: no answer after 5 s \(plug_"),
    "exits": ("sys.exit(3)", r"SystemExit|sys.exit\(3\)"),
    "ends": ("os._exit(4)", "ends the process it runs in: exit code 4"),
    "crashes": ("os.kill(os.getpid(), 11)", r"ends the process it runs in: signal SIGSEGV \(plug_"),
}
KINDS = {
    "env": '''
@registry.env("NAME", horizon=10, reward_range=(0, 1))
class Plug(PointMass):
    """Made for a test."""
    def step(self, action):
        WAY
''',
    "teacher": '''
@registry.teacher("NAME")
class Plug:
    """Made for a test."""
    def probability(self, first, second):
        return np.full(len(first), 0.5)
    def label(self, first, second, rng):
        WAY
''',
    "method": '''
@registry.method("NAME", labels=False)
def train(run, cfg: Config):
    """Made for a test."""
    WAY
''',
}
HEAD = """
import os, sys, time
import numpy as np
from pydantic import BaseModel
import pbrl.registry as registry
from envs.pointmass import PointMass

class Config(BaseModel):
    steps: int = 100
"""


@pytest.mark.parametrize(
    "way", [pytest.param(w, marks=pytest.mark.faults) if "hangs" in w else w for w in WAYS]
)
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_plug_in_does_is_told(kind: str, way: str, tmp_path: Path) -> None:
    name = f"plug_{kind}_{way.replace(' ', '_')}"
    line, message = WAYS[way]
    file = tmp_path / f"{name}.py"
    file.write_text(HEAD + KINDS[kind].replace("NAME", name).replace("WAY", line))
    registry.load_plugin(file)
    began = time.monotonic()
    # A little for what hangs; long enough for the others on a busy machine.
    found = violations(kind, name, seconds=5 if "hangs" in way else 60)
    assert time.monotonic() - began < 60
    assert re.search(message, found[0]), found


def test_every_kind_has_a_limit() -> None:
    assert LIMITS.keys() == registry.KINDS.keys()


@pytest.mark.faults
def test_the_command_reports_what_the_process_found(tmp_path: Path) -> None:
    file = tmp_path / "sleepy.py"
    file.write_text(HEAD + KINDS["teacher"].replace("NAME", "sleepy").replace("WAY", "os._exit(9)"))
    command = [sys.executable, "-c", "from pbrl import cli; cli.main()", "check", str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1, ended.stderr
    assert "teacher sleepy: 1 violation\n" in ended.stdout
    assert "ends the process it runs in: exit code 9" in ended.stdout
