"""A world as a study uses it: known to be one, and solved."""

from typing import Any

from envs.tabular.solvers import Scale
from envs.tabular.world import World
from pbrl.errors import ConfigError


def solved(world: Any, name: str) -> Scale:
    """The exact solution of a world; ConfigError for what is no world or has no solution.

    A discount of 1 is refused: learners plan for rewards of any sign, whose sums need not exist.
    """
    if not isinstance(world, World):
        raise ConfigError(
            f"world {name!r} is a {type(world).__name__}; expected a World of envs.tabular.world, "
            "or something with sample(rng) that gives one"
        )
    if world.gamma == 1:
        raise ConfigError(
            f"world {name!r}: gamma = 1; expected less: learners plan for rewards of any sign, "
            "whose undiscounted sums need not exist"
        )
    return Scale(world)
