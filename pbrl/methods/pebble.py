"""PEBBLE: feedback-efficient interactive RL via relabeling experience (Lee, Smith & Abbeel 2021).

1. Random actions, then exploration rewarded by state entropy, without labels.
2. At the switch: the first labels, a reward ensemble trained on them, the whole replay buffer
   relabeled, new critics, a burst of updates; actor and temperature are kept.
3. SAC on the learned reward; at intervals more labels, more reward training, relabeling.

Checked against the B-Pref code (rll-research/BPref), whose known defects are not repeated: the
threshold of its teachers, the relabeling that stops at the write position, the drifting normalizer
of the entropy bonus. Deviations: an update follows the environment step of its iteration (B-Pref:
precedes it), and the switch has one ordinary update beside its burst (B-Pref: the burst alone); see
`pbrl/agents/sac.py` for those of SAC. `Config` gives CPU-scale defaults and the published number of
each setting.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt

from pbrl import registry
from pbrl.agents.sac import flat_dims
from pbrl.methods import loop, sac
from pbrl.rewards.ensemble import RewardEnsemble, RewardNet

if TYPE_CHECKING:
    from pbrl.run import Run


class Config(sac.Config):
    """The settings of SAC and these; CPU-scale defaults, in brackets what B-Pref published."""

    labels: Annotated[int, Ge(1)] = 200
    "Label budget; a query the teacher skips also spends it (500 to 20,000)."

    unsup_steps: Annotated[int, Ge(0)] = 750
    "Steps of exploration rewarded by state entropy (9,000)."
    entropy_k: Annotated[int, Ge(1)] = 5
    "Neighbor, among all states so far, whose distance is the entropy bonus (5)."
    reset_updates: Annotated[int, Ge(0)] = 100
    "Updates right after the switch to the learned reward (100)."

    label_interval: Annotated[int, Ge(1)] | None = None
    "Steps between sessions, null for all in three quarters of the run (DMC 20 k, 30 k, MW 5 k)."
    labels_per_session: Annotated[int, Ge(1)] = 20
    "Queries per session (50 to 200)."
    label_schedule: Literal["constant", "decay", "growth"] = "constant"
    "Session size over time (constant)."
    query: Annotated[str | dict[str, Any], registry.Names("query")] = "disagreement"
    "How queries are chosen, after the first session, which is uniform (six rules compared)."
    query_candidates: Annotated[int, Ge(1)] = 10
    "Candidate pairs drawn per query (10)."
    segment_length: Annotated[int, Ge(1)] = 10
    "Steps of a segment (50)."
    episodes_kept: Annotated[int, Ge(1)] | None = 100
    "Most recent complete episodes that segments are drawn from, null for all (100)."

    reward_epochs: Annotated[int, Ge(1)] = 50
    "Epochs of reward training per session at most; fewer above 97 % accuracy (50 DMC, 10 MW)."
    reward_lr: Annotated[float, Gt(0)] = 1e-3
    "Learning rate of the reward ensemble (3e-4)."
    reward_batch: Annotated[int, Ge(1)] = 32
    "Pairs per minibatch (128)."
    reward_hidden: Annotated[int, Ge(1)] = 64
    "Width of the reward networks (256)."
    reward_layers: Annotated[int, Ge(1)] = 3
    "Hidden layers of the reward networks (3)."
    members: Annotated[int, Ge(1)] = 3
    "Reward networks in the ensemble (3)."
    loss: Annotated[str | dict[str, Any], registry.Names("loss", among=("pair", "tie"))] = "sigmoid"
    "On pairs of segment scores: a name, or {name: robust, eps: 0.1} (cross-entropy: 'sigmoid')."


def reward_ensemble(run: "Run", cfg: Config) -> RewardEnsemble:
    """PEBBLE's reward for the run's environment."""
    generator = torch.Generator(run.device).manual_seed(run.torch_seed("reward"))
    net = RewardNet(
        *flat_dims(run.observation_space, run.action_space),
        members=cfg.members,
        hidden=cfg.reward_hidden,
        layers=cfg.reward_layers,
        generator=generator,
    )
    return RewardEnsemble(
        net,
        generator=generator,
        learning_rate=cfg.reward_lr,
        batch_size=cfg.reward_batch,
        loss=cfg.loss,
        core=sac.core(run, cfg),
    )


@registry.method("pebble")
def train(run: "Run", cfg: Config) -> None:
    """The loop as it is, with a reward ensemble."""
    loop.train(run, cfg, loop.Parts(reward_ensemble(run, cfg)))
