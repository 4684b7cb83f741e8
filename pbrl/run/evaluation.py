"""Evaluations: what a policy earns from start states that nothing learned can influence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pbrl.run.env import ActingEnv, Transition

SEGMENT = 25  # steps of the segments on which a learned reward is judged


def play(
    agent: Any,
    env: ActingEnv,
    *,
    stream: str,
    episodes: int,
    device: torch.device,
    beat: Callable[[], None],
) -> list[Transition]:
    """All steps of whole episodes under the mean action; `beat()` is called before each step.

    Episode i starts from the seed of the stream "{stream}/{i}". The global torch stream is put back
    afterwards: how often a run is evaluated does not change what it learns.
    """
    env.begin(stream)
    steps: list[Transition] = []
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        while env.episodes < episodes:
            beat()
            steps.append(env.step(agent.act(env.obs, deterministic=True)))
    return steps


def summary(steps: list[Transition]) -> dict[str, Any]:
    """Mean true return, its spread over episodes, mean length and success (None without one)."""
    ends = [t.episode for t in steps if t.episode is not None]
    returns = np.array([end.ret for end in ends])
    known = [end.success for end in ends if end.success is not None]
    return {
        "return": float(returns.mean()),
        "returns_std": float(returns.std()),
        "length": float(np.mean([end.length for end in ends])),
        "success": float(np.mean(known)) if known else None,
    }


def reward_accuracy(reward: Any, steps: list[Transition], device: torch.device) -> float | None:
    """Share of pairs of evaluation segments that the learned reward orders as the true one.

    Segments of 25 steps that no label was asked about; each is compared with one half the
    evaluation away. None without a `reward(obs [B, O], act [B, A]) -> [B]`, or while all segments
    are equally good.
    """
    n = len(steps) // SEGMENT
    if not callable(reward) or n < 2:
        return None
    steps = steps[: n * SEGMENT]
    stacked = [np.stack([getattr(t, key) for t in steps]) for key in ("obs", "action")]
    obs, act = (torch.as_tensor(x, dtype=torch.float32, device=device) for x in stacked)
    with torch.no_grad():
        predicted = reward(obs, act).double().cpu().numpy().reshape(n, SEGMENT).sum(1)
    true = np.array([t.reward for t in steps]).reshape(n, SEGMENT).sum(1)
    other = (np.arange(n) + n // 2) % n
    differs = true != true[other]
    agrees = (predicted > predicted[other]) == (true > true[other])
    return float(agrees[differs].mean()) if differs.any() else None
