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

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from pbrl import registry, sessions
from pbrl.agents.exploration import StateEntropy
from pbrl.agents.sac import SAC
from pbrl.rewards.ensemble import RewardEnsemble
from pbrl.segments import Episodes, Preferences

if TYPE_CHECKING:
    from pbrl.run import Run


class Config(BaseModel):
    """CPU-scale defaults; in brackets what B-Pref published for its tasks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = 5000
    "Environment steps (500 k walker, 1 M quadruped and Meta-World)."
    labels: int = 200
    "Label budget; a query the teacher skips also spends it (500 to 20,000)."

    seed_steps: int = 250
    "Steps of uniform random actions (1,000)."
    unsup_steps: int = 750
    "Steps of exploration rewarded by state entropy (9,000)."
    entropy_k: int = 5
    "Neighbor whose distance is the entropy bonus (5)."
    entropy_particles: int = 1024
    "States a state is compared with (the whole replay buffer)."
    reset_updates: int = 100
    "Updates right after the switch to the learned reward (100)."

    label_interval: int = 250
    "Steps between feedback sessions (20,000 walker, 30,000 quadruped, 5,000 Meta-World)."
    labels_per_session: int = 20
    "Queries per session (50 to 200)."
    label_schedule: Literal["constant", "decay", "growth"] = "constant"
    "Session size over time (constant)."
    query: str = "disagreement"
    "How queries are chosen, after the first session, which is uniform (six rules compared)."
    query_candidates: int = 10
    "Candidate pairs drawn per query (10)."
    segment_length: int = 10
    "Steps of a segment (50)."
    episodes_kept: int = 100
    "Most recent complete episodes that segments are drawn from (100)."

    reward_epochs: int = 50
    "Epochs of reward training per session at most; fewer above 97 % accuracy (50 DMC, 10 MW)."
    reward_lr: float = 1e-3
    "Learning rate of the reward ensemble (3e-4)."
    reward_batch: int = 32
    "Pairs per minibatch (128)."
    reward_hidden: int = 64
    "Width of the reward networks (256)."
    reward_layers: int = 3
    "Hidden layers of the reward networks (3)."
    members: int = 3
    "Reward networks in the ensemble (3)."
    loss: str | dict[str, Any] = "sigmoid"
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


@registry.method("pebble")
def train(run: "Run", cfg: Config) -> None:
    """Explore, ask, learn the reward, relabel, and learn the policy from it."""
    agent = SAC(
        run.observation_space,
        run.action_space,
        seed=run.torch_seed("agent"),
        device=run.device,
        capacity=cfg.steps,
        net_arch=[cfg.hidden] * cfg.layers,
        batch_size=cfg.batch_size,
        learning_rate=cfg.learning_rate,
        temperature=cfg.temperature,
        temperature_lr=cfg.temperature_lr,
        gamma=cfg.gamma,
        tau=cfg.tau,
        target_update_interval=cfg.target_update_interval,
    )
    dims = agent.obs_dim, agent.act_dim
    reward = RewardEnsemble(
        *dims,
        seed=run.torch_seed("reward"),
        device=run.device,
        members=cfg.members,
        hidden=cfg.reward_hidden,
        layers=cfg.reward_layers,
        learning_rate=cfg.reward_lr,
        batch_size=cfg.reward_batch,
        loss=cfg.loss,
    )
    labels = Preferences(*dims, length=cfg.segment_length, device=run.device)
    episodes = Episodes(
        *dims, horizon=run.spec.horizon, capacity=cfg.episodes_kept, device=run.device
    )
    entropy = StateEntropy(k=cfg.entropy_k, particles=cfg.entropy_particles)
    run.track(agent=agent, reward=reward, labels=labels, episodes=episodes, entropy=entropy)

    queries = {"uniform": registry.resolve("query", "uniform")}
    queries["chosen"] = registry.resolve("query", cfg.query)
    planned = dict(sessions.sessions_of(cfg.model_dump()))
    switch = cfg.seed_steps + cfg.unsup_steps
    random_actions = run.rng("random actions")

    for step in run.loop(cfg.steps):
        if step in planned:
            n, rng = planned[step], run.rng("queries")
            query = queries["uniform" if step == switch else "chosen"]
            candidates = n if step == switch else n * cfg.query_candidates
            first = episodes.sample(candidates, cfg.segment_length, rng)
            second = episodes.sample(candidates, cfg.segment_length, rng)
            seen = first.without_reward(), second.without_reward()
            asked = query(*seen, n, reward=reward, labelled=labels, rng=rng)
            labels.add(first[asked], second[asked], run.ask(first[asked], second[asked]))
            fit = reward.fit(labels, epochs=cfg.reward_epochs)
            agent.replay.relabel(reward)
            run.log("session", epochs=fit.epochs, loss=fit.loss, accuracy=fit.accuracy)
        if step == switch:
            agent.reset_critic()
            for _ in range(cfg.reset_updates):
                agent.update(agent.sample())

        if step < cfg.seed_steps:
            action = random_actions.uniform(-1, 1, agent.act_dim).astype(np.float32)
        else:
            action = agent.act(run.obs)
        t = run.step(action)
        episodes.add(t)
        learned = reward.one(t.obs, t.action) if step >= switch else 0.0
        agent.replay.add(t.obs, t.action, t.next_obs, reward=learned, terminal=t.terminated)

        if step >= switch:
            agent.update(agent.sample())
        elif step >= cfg.seed_steps:
            batch = agent.sample()
            visited = agent.replay.all().obs
            bonus = entropy.bonus(batch.obs, visited, agent.generator)
            agent.update(batch._replace(reward=bonus))
