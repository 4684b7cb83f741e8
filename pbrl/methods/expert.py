"""The expert whose values teachers consult: SAC on the true reward, kept at several stages.

Not a method to compare with others, though its returns stand in the table: a cell of this method is
built before the cells whose teachers need it (`pbrl oracle ENV` builds one alone). Of its stages
three are kept: `good` is the last; `medium` and `poor` are the first whose training return has come
two thirds and one third of the way from the first stage's to the last's.
"""

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le

from pbrl import registry
from pbrl.methods import sac

if TYPE_CHECKING:
    from pbrl.run import Run

EPISODES = 5  # whose mean return is that of a stage
SHARES = {"poor": 1 / 3, "medium": 2 / 3}


class Config(sac.Config):
    """The settings of SAC and these."""

    stages: Annotated[int, Ge(3), Le(1000)] = 20
    "How often on the way the networks are put aside, of which three stages are kept."


class Stages:
    """The networks on the way: their steps, the training return then, and the weights."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma
        self.returns: list[float] = []
        self.stages: list[dict[str, Any]] = []

    def ended(self, true_return: float) -> None:
        """Note the return of a training episode."""
        self.returns = [*self.returns, true_return][-EPISODES:]

    def keep(self, step: int, weights: dict[str, torch.Tensor]) -> float | None:
        """Put the networks of a step aside; returns what the last episodes earned."""
        mean = float(np.mean(self.returns)) if self.returns else None
        copies = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
        self.stages.append({"step": step, "return": mean, "weights": copies})
        return mean

    def weights(self) -> dict[str, Any]:
        """The three stages that are kept; an unknown return counts as the lowest."""
        known = [one["return"] for one in self.stages if one["return"] is not None]
        first, last = (known[0], known[-1]) if known else (0.0, 0.0)
        kept: dict[str, Any] = {"gamma": self.gamma, "good": self.stages[-1]}
        for level, share in SHARES.items():
            enough = first + share * max(last - first, 0.0)
            good = (s for s in self.stages if s["return"] is not None and s["return"] >= enough)
            kept[level] = next(good, self.stages[-1])
        return kept

    def state_dict(self) -> dict[str, Any]:
        return {"returns": self.returns, "stages": self.stages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.returns, self.stages = state["returns"], state["stages"]


@registry.method("expert", labels=False)
def train(run: "Run", cfg: Config) -> None:
    """SAC as it is, putting its networks aside at regular steps."""
    agent = sac.sac_agent(run, cfg)
    experts = Stages(cfg.gamma)
    run.track(agent=agent, experts=experts)
    asides = {round(cfg.steps * (i + 1) / cfg.stages) for i in range(cfg.stages)}

    for step, t in sac.learn(run, cfg, agent):
        if t.episode is not None:
            experts.ended(t.episode.ret)
        if step + 1 in asides:
            run.log("stage", earned=experts.keep(step + 1, agent.weights()))
