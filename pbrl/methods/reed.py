"""REED: dynamics-aware rewards (Metcalf, Sarabia, Mackraz & Theobald, CoRL 2023).

PEBBLE's loop with a reward whose encoder of (s, a) also learns, from all transitions and without
labels, to predict the embedding of the next state. At a session:

1. Every `sfc_interval`-th session the encoder is trained on dynamics, distilled or contrastive.
2. Then queries are chosen, so this phase can move the members' disagreement.
3. Reward training, relabeling, and SAC as in PEBBLE.

Checked against the configurations of apple/ml-reed, whose launcher does not run as published. The
two losses alternate and are never added. `Config` gives CPU-scale defaults and the published number
of each setting. Two things the paper does not: `sfc_updates` caps the gradient steps of a session,
and dynamics are learned by Adam on every task, where ml-reed takes SGD 1e-3 on walker and cheetah.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt

from pbrl import registry
from pbrl.agents.replay import Batch
from pbrl.agents.sac import flat_dims
from pbrl.methods import loop, pebble, sac
from pbrl.rewards.ensemble import RewardEnsemble
from pbrl.rewards.reed import Dynamics, EncodedRewardNet

if TYPE_CHECKING:
    from pbrl.run import Run


class Config(pebble.Config):
    """The settings of PEBBLE and these; CPU-scale defaults, in brackets what ml-reed published.

    Its other numbers are PEBBLE's, but for labels (50 to 10,000), spread over 10 sessions on DMC
    and 200 on Meta-World, and minibatches (the queries of a session).
    """

    episodes_kept: Annotated[int, Ge(1)] | None = None
    "Most recent complete episodes that segments are drawn from, null for all (all)."

    variant: Literal["distill", "contrast"] = "distill"
    "Loss of the dynamics phase (both compared)."
    obs_width: Annotated[int, Ge(1)] = 20
    "Width of the state encoder (20 walker, 17 cheetah, 78 quadruped, 39 or 10 Meta-World)."
    act_width: Annotated[int, Ge(1)] = 10
    "Width of the action encoder (10 walker, 6 cheetah, 12 quadruped, 4 Meta-World)."
    sfc_interval: Annotated[int, Ge(1)] = 1
    "Sessions between dynamics phases (1 DMC, 4 Meta-World)."
    sfc_epochs: Annotated[int, Ge(1)] = 20
    "Epochs of a dynamics phase, a fifth of the replay held out (20; contrastive on MW 10 or 5)."
    sfc_updates: Annotated[int, Ge(0)] = 200
    "Cap on the gradient steps of a dynamics phase (none)."
    sfc_batch: Annotated[int, Ge(1)] = 128
    "Transitions per update of a dynamics phase (12 walker, cheetah, 128 quadruped, 128 or 256 MW)."
    sfc_lr: Annotated[float, Gt(0)] = 1e-4
    "Adam's learning rate in a dynamics phase (1e-4 quadruped, 5e-5 or 1e-4 Meta-World)."
    sfc_temperature: Annotated[float, Gt(0)] = 0.5
    "Temperature of the contrastive loss (0.5 DMC, 0.1 Meta-World)."


@registry.method("reed")
def train(run: "Run", cfg: Config) -> None:
    """PEBBLE's loop with a dynamics phase before the queries of a session."""
    reward_stream, dynamics_stream = (
        torch.Generator(run.device).manual_seed(run.torch_seed(name))
        for name in ("reward", "dynamics")
    )
    net = EncodedRewardNet(
        *flat_dims(run.observation_space, run.action_space),
        members=cfg.members,
        obs_width=cfg.obs_width,
        act_width=cfg.act_width,
        hidden=cfg.reward_hidden,
        layers=cfg.reward_layers,
        generator=reward_stream,
    )
    dynamics = Dynamics(net, cfg.variant, tau=cfg.sfc_temperature, generator=dynamics_stream)
    reward = RewardEnsemble(
        net,
        generator=reward_stream,
        learning_rate=cfg.reward_lr,
        batch_size=cfg.reward_batch,
        loss=cfg.loss,
        core=sac.core(run, cfg),
    )

    def before_queries(experience: Batch, session: int) -> dict[str, Any]:
        if session % cfg.sfc_interval:
            return {"sfc_loss": None}
        held_out_loss = dynamics.fit(
            experience.obs,
            experience.act,
            experience.next_obs,
            epochs=cfg.sfc_epochs,
            max_updates=cfg.sfc_updates,
            batch_size=cfg.sfc_batch,
            learning_rate=cfg.sfc_lr,
        )
        return {"sfc_loss": held_out_loss}

    run.track(dynamics=dynamics)
    loop.train(run, cfg, loop.Parts(reward, before_queries))
