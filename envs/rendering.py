"""Which OpenGL platform draws frames on this machine; without one, everything but frames works.

MuJoCo and dm_control read `MUJOCO_GL` once, when first imported, and fail to import when it names a
platform that does not start. So the simulators are imported through `load_mujoco`, which settles
on the first platform that does. A `MUJOCO_GL` set by the user is left as it is.
"""

import os
import subprocess
import sys
from functools import cache

PLATFORMS = ("egl", "osmesa")

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
    """Import mujoco with the first platform of EGL, OSMesa, none that starts here (Linux)."""
    if "mujoco" in sys.modules or "MUJOCO_GL" in os.environ or sys.platform != "linux":
        return
    for platform in (*PLATFORMS, "disabled"):
        os.environ["MUJOCO_GL"] = platform
        os.environ.pop("PYOPENGL_PLATFORM", None)
        # A platform fails in its own way: a missing library, no device, a bad driver.
        try:
            import mujoco  # noqa: F401
        except Exception:
            _forget_opengl()
            continue
        return


def _forget_opengl() -> None:
    """Unload what a failed platform left behind, so that the next one is read afresh."""
    for module in [m for m in sys.modules if m == "OpenGL" or m.startswith(("OpenGL.", "mujoco."))]:
        if "mujoco._" not in module:
            del sys.modules[module]


@cache
def render_backend() -> tuple[str | None, str]:
    """The platform that draws a frame here, and one sentence about it.

    Each platform is tried in a process of its own (about a second), so that a driver that crashes
    takes nothing with it. Returns (None, why each failed) when none works.
    """
    chosen = os.environ.get("MUJOCO_GL")
    known = chosen in PLATFORMS and "mujoco" not in sys.modules
    candidates = (chosen,) if chosen and known else (*PLATFORMS, "glfw")
    failures = []
    for platform in candidates:
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
