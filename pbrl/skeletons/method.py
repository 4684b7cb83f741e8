"""A method: PEBBLE's loop with a setting of its own.

The file of a method without a known loop writes its own, as in "A method" of the README.
"""

from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from pbrl import registry
from pbrl.methods import loop, pebble

if TYPE_CHECKING:
    from pbrl.run import Run


class Config(pebble.Config):
    """The settings of PEBBLE, one of them with another default, and a new one."""

    segment_length: Annotated[int, Ge(1)] = 5
    "Steps of a segment."
    extra_epochs: Annotated[int, Ge(0)] = 10
    "Epochs of reward training on top of those of PEBBLE."


@registry.method("plugin-name")
def train(run: "Run", cfg: Config) -> None:
    """PEBBLE that trains its reward for longer."""
    longer = cfg.model_copy(update={"reward_epochs": cfg.reward_epochs + cfg.extra_epochs})
    loop.train(run, longer, loop.Parts(pebble.reward_ensemble(run, longer)))
