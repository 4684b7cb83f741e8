"""SAC on the ground-truth reward (Haarnoja et al. 2018): the normalizer of preference methods.

B-Pref divides the return of PEBBLE by that of SAC with the same networks and learning rates.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval
from pydantic import BaseModel, ConfigDict

from pbrl import devices, registry
from pbrl.agents.sac import SAC

if TYPE_CHECKING:
    from pbrl.run import Run
    from pbrl.run.env import Transition


class Config(BaseModel):
    """CPU-scale defaults; in brackets what B-Pref published, for PEBBLE too where that differs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: Annotated[int, Ge(1)] = 300_000
    "Environment steps (1 M; PEBBLE on walker 500 k)."
    seed_steps: Annotated[int, Ge(0)] = 250
    "Steps of uniform random actions (5,000; PEBBLE 1,000)."

    hidden: Annotated[int, Ge(1)] = 64
    "Width of the hidden layers of actor and critics (1024 DMC, 256 Meta-World)."
    layers: Annotated[int, Ge(0)] = 2
    "Hidden layers of actor and critics (2 DMC, 3 Meta-World)."
    batch_size: Annotated[int, Ge(1)] = 64
    "Transitions per update (1024 DMC, 512 Meta-World)."
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    "Of actor and critics (5e-4 walker, 1e-4 quadruped, 3e-4 Meta-World)."
    temperature: Annotated[float, Gt(0)] = 0.5
    "Initial entropy temperature (0.1)."
    temperature_lr: Annotated[float, Ge(0)] = 3e-4
    "Learning rate of the log temperature, 0 to keep it (1e-4)."
    gamma: Annotated[float, Interval(ge=0, lt=1)] = 0.99
    "Discount (0.99)."
    tau: Annotated[float, Interval(gt=0, le=1)] = 0.01
    "Step of the target critics towards the critics (0.005)."
    target_update_interval: Annotated[int, Ge(1)] = 1
    "Updates between steps of the target critics (2)."

    core: Literal["compiled", "torch"] | None = None
    "What computes an update: machine code or torch; null for compiled on the CPU, torch elsewhere."


def core(run: "Run", cfg: Config) -> str:
    """What computes an update; a plan has filled it in, a configuration made by hand may not."""
    return cfg.core or devices.core(run.device.type)


def sac_agent(run: "Run", cfg: Config) -> SAC:
    """An agent for the run's environment that remembers the whole run."""
    return SAC(
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
        core=core(run, cfg),
    )


@registry.method("sac", labels=False)
def train(run: "Run", cfg: Config) -> None:
    """The loop as it is."""
    agent = sac_agent(run, cfg)
    run.track(agent=agent)
    for _ in learn(run, cfg, agent):
        pass


def learn(run: "Run", cfg: Config, agent: SAC) -> Iterator[tuple[int, "Transition"]]:
    """Act, store the true reward, update once per step; yields each step when it is done."""
    random_actions = run.rng("random actions")
    for step in run.loop(cfg.steps):
        if step < cfg.seed_steps:
            action = random_actions.uniform(-1, 1, agent.act_dim).astype(np.float32)
        else:
            action = agent.act(run.obs)
        t = run.step(action)
        agent.replay.add(t.obs, t.action, t.next_obs, reward=t.reward, terminal=t.terminated)
        if step >= cfg.seed_steps:
            agent.update(agent.sample())
        yield step, t
