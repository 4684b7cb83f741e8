"""Frames where OpenGL starts; everything else where it does not."""

import os
import subprocess
import sys

import numpy as np
import pytest

import envs

FLAT = ["pointmass", "gridworld", "pendulum", "mountaincar-continuous"]
SIMULATED = ["walker-walk", "hopper-v5", "button-press-v3"]

STEPS = """
import numpy as np, envs
for name in ["walker-walk", "hopper-v5", "button-press-v3"]:
    env = envs.make(name)
    env.reset(seed=0)
    env.step(np.zeros(env.action_space.shape, np.float32))
    try:
        env.render()
    except RuntimeError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def backend():
    platform, sentence = envs.render_backend()
    if platform is None:
        pytest.skip(sentence)
    return platform


def check_frame(name):
    env = envs.make(name)
    env.reset(seed=0)
    before = env.get_state()
    frame = env.render()
    assert frame.dtype == np.uint8
    assert frame.shape == (256, 256, 3)
    assert len(np.unique(frame)) > 2
    action = np.full(env.action_space.shape, 0.5, np.float32)
    after_frame = [env.step(action)[0] for _ in range(10)]
    moved = env.render()
    assert not np.array_equal(frame, moved)
    env.set_state(before)
    np.testing.assert_array_equal(after_frame, [env.step(action)[0] for _ in range(10)])
    np.testing.assert_array_equal(env.render(), moved)
    env.close()
    env.close()


@pytest.mark.parametrize("name", FLAT)
def test_drawn_frames(name):
    check_frame(name)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", SIMULATED)
def test_simulated_frames_change_nothing(name):
    check_frame(name)


def run(code, **environment):
    environment = {k: v for k, v in os.environ.items() if k != "MUJOCO_GL"} | environment
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="platforms are chosen on Linux only")
@pytest.mark.parametrize("environment", [{"MUJOCO_GL": "disabled"}, {"MUJOCO_EGL_DEVICE_ID": "99"}])
def test_without_opengl_everything_but_frames_works(environment):
    result = run(STEPS, **environment)
    if "MUJOCO_EGL_DEVICE_ID" in environment and not result.stdout:
        pytest.skip("OSMesa draws here")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("no frames: no OpenGL platform starts here") == 3


@pytest.mark.skipif(sys.platform != "linux", reason="platforms are chosen on Linux only")
def test_a_platform_that_the_user_asked_for_and_does_not_start_is_named():
    result = run("import envs; envs.make('walker-walk')", MUJOCO_GL="directx")
    assert "MUJOCO_GL=directx does not start here" in result.stderr
    assert "unset it to let a platform be chosen" in result.stderr


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", SIMULATED)
def test_a_frame_leaves_no_complaint_at_exit(name):
    result = run(f"import envs; e = envs.make('{name}'); e.reset(seed=0); e.render()")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
