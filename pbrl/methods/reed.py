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

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from pbrl import registry, sessions
from pbrl.agents.exploration import StateEntropy
from pbrl.agents.sac import SAC
from pbrl.rewards.reed import ReedEnsemble
from pbrl.segments import Episodes, Preferences

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
    "Neighbor whose distance is the entropy bonus (5)."
    entropy_particles: int = 1024
    "States a state is compared with (the whole replay buffer)."
    reset_updates: int = 100
    "Updates right after the switch to the learned reward (100)."

    label_interval: int = 250
    "Steps between feedback sessions (20,000 walker, 30,000 quadruped, 5,000 Meta-World)."
    labels_per_session: int = 20
    "Queries per session (the budget over 10 sessions on DMC, 200 on Meta-World)."
    label_schedule: Literal["constant", "decay", "growth"] = "constant"
    "Session size over time (constant)."
    query: str = "disagreement"
    "How queries are chosen, after the first session, which is uniform (disagreement)."
    query_candidates: int = 10
    "Candidate pairs drawn per query (10)."
    segment_length: int = 10
    "Steps of a segment (50)."

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


@registry.method("reed")
def train(run: "Run", cfg: Config) -> None:
    """PEBBLE's loop with a dynamics phase before the queries of a session."""
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
    reward = ReedEnsemble(
        *dims,
        seed=run.torch_seed("reward"),
        device=run.device,
        members=cfg.members,
        variant=cfg.variant,
        obs_width=cfg.obs_width,
        act_width=cfg.act_width,
        tau=cfg.sfc_temperature,
        hidden=cfg.reward_hidden,
        layers=cfg.reward_layers,
        learning_rate=cfg.reward_lr,
        batch_size=cfg.reward_batch,
        loss=cfg.loss,
    )
    labels = Preferences(*dims, length=cfg.segment_length, device=run.device)
    horizon = run.spec.horizon
    # Queries come from all episodes, not the last hundred (of those that end early, the latest).
    episodes = Episodes(
        *dims, horizon=horizon, capacity=cfg.steps // horizon + 1, device=run.device
    )
    entropy = StateEntropy(k=cfg.entropy_k, particles=cfg.entropy_particles)
    run.track(agent=agent, reward=reward, labels=labels, episodes=episodes, entropy=entropy)

    queries = {"uniform": registry.resolve("query", "uniform")}
    queries["chosen"] = registry.resolve("query", cfg.query)
    planned = sessions.sessions_of(cfg.model_dump())
    asking = {at: (index, size) for index, (at, size) in enumerate(planned)}
    switch = cfg.seed_steps + cfg.unsup_steps
    random_actions = run.rng("random actions")

    for step in run.loop(cfg.steps):
        if step in asking:
            index, n = asking[step]
            dynamics = None
            if index % cfg.sfc_interval == 0:
                experience = agent.replay.all()
                dynamics = reward.fit_dynamics(
                    experience.obs,
                    experience.act,
                    experience.next_obs,
                    epochs=cfg.sfc_epochs,
                    max_updates=cfg.sfc_updates,
                    batch_size=cfg.sfc_batch,
                    learning_rate=cfg.sfc_lr,
                )
            rng = run.rng("queries")
            query = queries["uniform" if index == 0 else "chosen"]
            candidates = n if index == 0 else n * cfg.query_candidates
            first = episodes.sample(candidates, cfg.segment_length, rng)
            second = episodes.sample(candidates, cfg.segment_length, rng)
            seen = first.without_reward(), second.without_reward()
            asked = query(*seen, n, reward=reward, labelled=labels, rng=rng)
            labels.add(first[asked], second[asked], run.ask(first[asked], second[asked]))
            fit = reward.fit(labels, epochs=cfg.reward_epochs)
            agent.replay.relabel(reward)
            run.log(
                "session",
                epochs=fit.epochs,
                loss=fit.loss,
                accuracy=fit.accuracy,
                sfc_loss=dynamics,
            )
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
