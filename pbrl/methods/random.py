"""Uniformly random actions: the floor that normalized returns are measured from."""

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge
from pydantic import BaseModel, ConfigDict

from pbrl import registry

if TYPE_CHECKING:
    from pbrl.run import Run


class Config(BaseModel):
    """Nothing to set but the length."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Annotated[int, Ge(1)] = 300_000
    "Environment steps."


class Uniform:
    """Draws every action anew, in evaluations from a stream of its own; the run saves both."""

    def __init__(self, act_dim: int, run: "Run") -> None:
        self.act_dim = act_dim
        self.training, self.evaluation = run.rng("random actions"), run.rng("evaluation actions")

    def act(self, obs: np.ndarray, deterministic: bool = False) -> np.ndarray:
        rng = self.evaluation if deterministic else self.training
        return rng.uniform(-1, 1, (*obs.shape[:-1], self.act_dim)).astype(np.float32)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@registry.method("random", labels=False)
def train(run: "Run", cfg: Config) -> None:
    """Act at random to the end."""
    agent = Uniform(run.action_space.shape[0], run)
    run.track(agent=agent)
    for _ in run.loop(cfg.steps):
        run.step(agent.act(run.obs))
