"""Gymnasium environments with a known horizon, reward range, success key and restorable state.

`envs.names()` and `envs.spec(name)` answer without importing a simulator; `envs.make(name)` gives
the environment.
"""

from typing import TYPE_CHECKING, Any

from envs import catalog as catalog
from envs.registry import EnvSpec, env, names, spec

if TYPE_CHECKING:
    from envs.standard import StandardEnv

__all__ = ["EnvSpec", "env", "make", "names", "render_backend", "spec"]


def make(name: str, **parameters: Any) -> "StandardEnv":
    """The environment `name` in the form every method expects, see `envs.standard.StandardEnv`.

    Raises ValueError for an unknown name or parameter, or an environment of the wrong kind.
    """
    from envs.standard import StandardEnv

    return StandardEnv(spec(name, **parameters), parameters)


def render_backend() -> tuple[str | None, str]:
    """The OpenGL platform that draws frames here, see `envs.rendering.render_backend`."""
    from envs.rendering import render_backend

    return render_backend()
