"""Which OpenGL platform draws frames on this machine; without one, everything but frames works.

MuJoCo and dm_control read `MUJOCO_GL` once, when first imported, and fail to import when it names a
platform that does not start. So the simulators are imported through `load_mujoco`, which settles
on the first platform that does, unless the user has set `MUJOCO_GL`.
"""

import os
import subprocess
import sys
from functools import cache
from importlib import import_module

PLATFORMS = ("egl", "osmesa")
DISABLED = "disabled"

_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><light pos="0 0 3"/><geom type="sphere" size=".3"/></worldbody></mujoco>'
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 32, 32)
renderer.update_scene(data)
print("drawn" if renderer.render().max() > 0 else "blank")
renderer.close()
"""


def load_mujoco() -> None:
    """Import MuJoCo with the first platform of EGL, OSMesa, none that starts here (Linux).

    Raises RuntimeError when `MUJOCO_GL` was set to a platform that does not start.
    """
    if "mujoco" in sys.modules or sys.platform != "linux":
        return
    wanted = os.environ.get("MUJOCO_GL")
    for platform in (wanted,) if wanted else (*PLATFORMS, DISABLED):
        os.environ["MUJOCO_GL"] = platform
        # A platform fails in its own way: a missing library, no device, a bad driver.
        try:
            import_module("mujoco")
            import_module("dm_control._render")
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            _forget_opengl()
            continue
        return
    del os.environ["MUJOCO_GL"]
    raise RuntimeError(
        f"MUJOCO_GL={wanted} does not start here ({reason}); unset it to let a platform be chosen, "
        f"or set it to {DISABLED} to go without frames"
    )


def _forget_opengl() -> None:
    """Unload what a failed platform left behind, so that the next one is read afresh."""
    os.environ.pop("PYOPENGL_PLATFORM", None)
    for module in list(sys.modules):
        if module.split(".")[0] in ("OpenGL", "mujoco", "dm_control") and "mujoco._" not in module:
            del sys.modules[module]


def need_frames() -> None:
    """Raise RuntimeError when no platform draws frames in this process."""
    if os.environ.get("MUJOCO_GL") == DISABLED:
        raise RuntimeError(
            "no frames: no OpenGL platform starts here; envs.render_backend() says why each fails"
        )


@cache
def render_backend() -> tuple[str | None, str]:
    """The platform that draws a frame here, and one sentence about it.

    Each platform is tried in a process of its own (about a second), so that a driver that crashes
    takes nothing with it. Returns (None, why each failed) when none works.
    """
    failures = []
    for platform in (*PLATFORMS, "glfw"):
        environment = {**os.environ, "MUJOCO_GL": platform}
        environment.pop("PYOPENGL_PLATFORM", None)
        command = [sys.executable, "-c", _PROBE]
        try:
            result = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=60, check=False
            )
        except subprocess.TimeoutExpired:
            failures.append(f"{platform}: no frame within 60 s")
            continue
        if "drawn" in result.stdout:
            return platform, f"frames are drawn with {platform}"
        lines = (result.stderr or result.stdout or f"exit code {result.returncode}").strip()
        failures.append(f"{platform}: {lines.splitlines()[-1][:160]}")
    advice = "install libegl1 with Mesa, or libosmesa6; learning does not need frames"
    return None, f"no frames: {'; '.join(failures)}; {advice}"
