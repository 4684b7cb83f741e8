"""The loop of PEBBLE, shared by the methods that exchange a part of it.

    steps   0        seed_steps        + unsup_steps                                     steps
            | random | state entropy   | switch: labels, new critics | learned reward, ... |

A method gives its settings, those of PEBBLE or more, and its `Parts`. Every part draws from a
stream of its own, so that exchanging one does not shift what another draws.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pbrl import registry, sessions
from pbrl.agents.exploration import StateEntropy
from pbrl.agents.replay import Batch
from pbrl.methods.sac import sac_agent
from pbrl.rewards.ensemble import RewardEnsemble
from pbrl.segments import Episodes, Preferences

if TYPE_CHECKING:
    from pbrl.methods.pebble import Config
    from pbrl.run import Run


def nothing(experience: Batch, session: int) -> dict[str, Any]:
    """PEBBLE asks without preparation."""
    return {}


@dataclass(frozen=True)
class Parts:
    """What a method brings to the loop; the method itself tracks what it adds to the reward."""

    reward: RewardEnsemble
    "Learns from the labels and rewards every step."
    before_queries: Callable[[Batch, int], dict[str, Any]] = nothing
    "Gets all transitions and the session's number, from 0; returns facts for the session's row."


def train(run: "Run", cfg: "Config", parts: Parts) -> None:
    """Explore, ask, learn the reward, relabel, and learn the policy from it."""
    agent = sac_agent(run, cfg)
    dims, horizon, reward = (agent.obs_dim, agent.act_dim), run.spec.horizon, parts.reward
    labels = Preferences(*dims, length=cfg.segment_length, device=run.device)
    # Without a limit there is room for all episodes, or the latest where some end early.
    window = cfg.episodes_kept or cfg.steps // horizon + 1
    episodes = Episodes(*dims, horizon=horizon, capacity=window, device=run.device)
    entropy = StateEntropy(k=cfg.entropy_k, device=run.device)
    run.track(agent=agent, reward=reward, labels=labels, episodes=episodes, entropy=entropy)

    planned = sessions.sessions_of(cfg.model_dump())
    asking = {at: (session, size) for session, (at, size) in enumerate(planned)}
    queries = [registry.make("query", name) for name in ("uniform", cfg.query)]
    switch = cfg.seed_steps + cfg.unsup_steps
    random_actions = run.rng("random actions")

    for step in run.loop(cfg.steps):
        if step in asking:
            session, n = asking[step]
            facts = parts.before_queries(agent.replay.all(), session)
            query, wide = (queries[0], 1) if session == 0 else (queries[1], cfg.query_candidates)
            rng = run.rng("queries")
            first = episodes.sample(n * wide, cfg.segment_length, rng)
            second = episodes.sample(n * wide, cfg.segment_length, rng)
            seen = first.without_reward(), second.without_reward()
            asked = query(*seen, n, reward=reward, labeled=labels, rng=rng)
            labels.add(first[asked], second[asked], run.ask(first[asked], second[asked]))
            fit = reward.fit(labels, epochs=cfg.reward_epochs)
            agent.replay.relabel(reward)
            run.log("session", epochs=fit.epochs, loss=fit.loss, accuracy=fit.accuracy, **facts)
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
        elif step >= max(cfg.seed_steps, cfg.entropy_k):
            rows = agent.sample()
            bonus = entropy.bonus(agent.replay.at(rows).obs, agent.replay.all().obs)
            agent.update(rows, reward=bonus)
