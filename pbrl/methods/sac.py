"""SAC on the ground-truth reward (Haarnoja et al. 2018): the normalizer of preference methods.

B-Pref divides the return of PEBBLE by that of SAC with the same networks and learning rates.
"""

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from pbrl import registry
from pbrl.agents.sac import SAC

if TYPE_CHECKING:
    from pbrl.run import Run


class Config(BaseModel):
    """CPU-scale defaults; the published numbers of B-Pref stand behind each field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = 5000
    "Environment steps (B-Pref: 1 M)."
    seed_steps: int = 250
    "Steps of uniform random actions before the first update (B-Pref: 5,000)."
    hidden: int = 64
    "Width of the hidden layers of actor and critics (B-Pref: 1024 on DMC, 256 on Meta-World)."
    layers: int = 2
    "Hidden layers of actor and critics (B-Pref: 2 on DMC, 3 on Meta-World)."
    batch_size: int = 64
    "Transitions per update (B-Pref: 1024 on DMC, 512 on Meta-World)."
    learning_rate: float = 1e-3
    "Of actor and critics (B-Pref: 5e-4 walker, 1e-4 quadruped, 3e-4 Meta-World)."
    temperature: float = 0.5
    "Initial entropy temperature (B-Pref: 0.1)."
    temperature_lr: float = 3e-4
    "Learning rate of the log temperature (B-Pref: 1e-4)."
    gamma: float = 0.99
    "Discount (B-Pref: 0.99)."
    tau: float = 0.01
    "Step of the target critics towards the critics (B-Pref: 0.005)."
    target_update_interval: int = 1
    "Updates between steps of the target critics (B-Pref: 2)."


@registry.method("sac", labels=False)
def train(run: "Run", cfg: Config) -> None:
    """Act, store the true reward, update once per step."""
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
    random_actions = run.rng("random actions")
    run.track(agent=agent)

    for step in run.loop(cfg.steps):
        if step < cfg.seed_steps:
            action = random_actions.uniform(-1, 1, agent.act_dim).astype(np.float32)
        else:
            action = agent.act(run.obs)
        t = run.step(action)
        agent.replay.add(t.obs, t.action, t.next_obs, reward=t.reward, terminal=t.terminated)
        if step >= cfg.seed_steps:
            agent.update(agent.sample())
