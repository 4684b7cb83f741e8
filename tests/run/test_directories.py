"""Whatever changes the directory it runs in: paths that were relative still mean the same."""

import subprocess
import sys
from pathlib import Path

import pytest

from pbrl import store

PLUGIN = '''
import os
import numpy as np
import pbrl.registry as registry
from envs.pointmass import PointMass

@registry.env("mover", horizon=100, reward_range=(0.0, 1.0))
class Mover(PointMass):
    """Leaves the directory at every step."""
    def step(self, action):
        os.chdir("/")
        return super().step(action)
'''
SUITE = """
name: moving
seeds: 1
blocks:
- {kind: online, env: mover, method: random, steps: 300, eval_every: 300, final_episodes: 2,
   checkpoint_seconds: 0}
"""


@pytest.mark.faults
def test_a_cell_survives_a_change_of_directory(tmp_path: Path) -> None:
    (tmp_path / "mover.py").write_text(PLUGIN)
    (tmp_path / "moving.yaml").write_text(SUITE)
    command = [sys.executable, "-c", "from pbrl import cli; cli.main()", "run", "moving.yaml"]
    command += ["-o", "out", "--plugin", "mover.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [cell.status for cell in store.load(tmp_path / "out").cells] == ["done"]
    (folder,) = (tmp_path / "out" / "cells").iterdir()
    (folder / "manifest.json").unlink()
    command = [sys.executable, "-m", "pbrl.jobs.worker", f"out/cells/{folder.name}"]
    command += ["--plugin", "mover.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
