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
from pydantic import BaseModel, ConfigDict

from pbrl import registry
from pbrl.agents.replay import Batch
from pbrl.agents.sac import flat_dims
from pbrl.methods import loop
from pbrl.rewards.ensemble import RewardEnsemble
from pbrl.rewards.reed import Dynamics, EncodedRewardNet

if TYPE_CHECKING:
    from pbrl.run import Run


class Config(BaseModel):
    """CPU-scale defaults; in brackets what ml-reed published for its tasks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = 5000
    "Environment steps (500 k walker and cheetah, 1 M quadruped)."
    labels: int = 200
    "Label budget; a query the teacher skips also spends it (50 to 10,000)."

    seed_steps: int = 250
    "Steps of uniform random actions (1,000)."
    unsup_steps: int = 750
    "Steps of exploration rewarded by state entropy (9,000)."
    entropy_k: int = 5
    "Neighbor, among all states so far, whose distance is the entropy bonus (5)."
    reset_updates: int = 100
    "Updates right after the switch to the learned reward (100)."

    label_interval: int = 250
    "Steps between feedback sessions (20,000 walker, 30,000 quadruped, 5,000 Meta-World)."
    labels_per_session: int = 20
    "Queries per session (the budget over 10 sessions on DMC, 200 on Meta-World)."
    label_schedule: Literal["constant", "decay", "growth"] = "constant"
    "Session size over time (constant)."
    query: Annotated[str | dict[str, Any], registry.Names("query")] = "disagreement"
    "How queries are chosen, after the first session, which is uniform (disagreement)."
    query_candidates: int = 10
    "Candidate pairs drawn per query (10)."
    segment_length: int = 10
    "Steps of a segment (50)."

    episodes_kept: int | None = None
    "Most recent complete episodes that segments are drawn from (all, here none)."

    variant: Literal["distill", "contrast"] = "distill"
    "Loss of the dynamics phase (both compared)."
    obs_width: int = 20
    "Width of the state encoder (20 walker, 17 cheetah, 78 quadruped, 39 or 10 Meta-World)."
    act_width: int = 10
    "Width of the action encoder (10 walker, 6 cheetah, 12 quadruped, 4 Meta-World)."
    sfc_interval: int = 1
    "Sessions between dynamics phases (1 DMC, 4 Meta-World)."
    sfc_epochs: int = 20
    "Epochs of a dynamics phase, a fifth of the replay held out (20; contrastive on MW 10 or 5)."
    sfc_updates: int = 200
    "Cap on the gradient steps of a dynamics phase (none)."
    sfc_batch: int = 128
    "Transitions per update of a dynamics phase (12 walker, cheetah, 128 quadruped, 128 or 256 MW)."
    sfc_lr: float = 1e-4
    "Adam's learning rate in a dynamics phase (1e-4 quadruped, 5e-5 or 1e-4 Meta-World)."
    sfc_temperature: float = 0.5
    "Temperature of the contrastive loss (0.5 DMC, 0.1 Meta-World)."

    reward_epochs: int = 50
    "Epochs of reward training per session at most; fewer above 97 % accuracy (50 DMC, 10 MW)."
    reward_lr: float = 1e-3
    "Learning rate of the reward ensemble (3e-4)."
    reward_batch: int = 32
    "Pairs per minibatch (the number of queries of a session)."
    reward_hidden: int = 64
    "Width of the trunk (256)."
    reward_layers: int = 3
    "Layers of the trunk (3)."
    members: int = 3
    "Reward networks in the ensemble (3)."
    loss: Annotated[str | dict[str, Any], registry.Names("loss", among=("pair", "tie"))] = "sigmoid"
    "On pairs of segment scores: a name, or {name: robust, eps: 0.1} (cross-entropy: 'sigmoid')."

    hidden: int = 64
    "Width of the hidden layers of actor and critics (1024 DMC, 256 Meta-World)."
    layers: int = 2
    "Hidden layers of actor and critics (2 DMC, 3 Meta-World)."
    batch_size: int = 64
    "Transitions per update (1024 DMC, 512 Meta-World)."
    learning_rate: float = 1e-3
    "Of actor and critics (5e-4 walker, 1e-4 quadruped, 3e-4 Meta-World)."
    temperature: float = 0.5
    "Initial entropy temperature (0.1)."
    temperature_lr: float = 3e-4
    "Learning rate of the log temperature (1e-4)."
    gamma: float = 0.99
    "Discount (0.99)."
    tau: float = 0.01
    "Step of the target critics towards the critics (0.005)."
    target_update_interval: int = 1
    "Updates between steps of the target critics (2)."


@registry.method("reed")
def train(run: "Run", cfg: Config) -> None:
    """PEBBLE's loop with a dynamics phase before the queries of a session."""
    generator = torch.Generator(run.device).manual_seed(run.torch_seed("reward"))
    net = EncodedRewardNet(
        *flat_dims(run.observation_space, run.action_space),
        members=cfg.members,
        obs_width=cfg.obs_width,
        act_width=cfg.act_width,
        hidden=cfg.reward_hidden,
        layers=cfg.reward_layers,
        generator=generator,
    )
    dynamics = Dynamics(net, cfg.variant, tau=cfg.sfc_temperature, generator=generator)
    reward = RewardEnsemble(
        net,
        generator=generator,
        learning_rate=cfg.reward_lr,
        batch_size=cfg.reward_batch,
        loss=cfg.loss,
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
