"""Evaluations: what a policy earns from start states that nothing learned can influence."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from pbrl.errors import CellError
from pbrl.run.env import ActingEnv, EpisodeEnd, Transition

LANES = 5
"""Episodes played at once, each in an environment of its own (15 MB of dm_control's walker, 150 of
its dog): acting then costs little beside the simulator, and more lanes save little of that."""
SEGMENT = 25  # steps of the segments on which a learned reward is judged


class Episode(NamedTuple):
    """One whole episode of T steps."""

    obs: np.ndarray
    "[T, O] float32: observations before the actions."
    act: np.ndarray
    "[T, A] float32: actions; [T] whole numbers where they are discrete."
    reward: np.ndarray
    "[T] float64: true rewards."
    end: EpisodeEnd


def play(
    agent: Any,
    envs: Sequence[ActingEnv],
    *,
    stream: str,
    episodes: int,
    device: torch.device,
    beat: Callable[[], None],
) -> list[Episode]:
    """Whole episodes under the mean action, in the order of their numbers.

    All environments step in turn; the agent acts once for all of them, and one whose episode is
    over starts the next. Episode i starts from the seed of the stream "{stream}/{i}", whichever
    environment plays it: its result depends on the others only as far as the agent's arithmetic
    rounds otherwise in batches of other sizes. `beat()` is called before each step. The global
    torch stream is put back afterwards: how often a run is evaluated does not change what it
    learns.
    """
    played: dict[int, Episode] = {}
    busy: list[tuple[ActingEnv, list[Transition]]] = []
    started = 0
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        for env in envs[:episodes]:
            env.begin(stream, started)
            busy.append((env, []))
            started += 1
        while busy:
            shape = busy[0][0].env.action_space.shape
            actions = _actions(agent, np.stack([env.obs for env, _ in busy]), shape)
            still = []
            for (env, steps), action in zip(busy, actions, strict=True):
                beat()
                steps.append(env.act(action))
                if steps[-1].episode is None:
                    still.append((env, steps))
                    continue
                played[env.episodes] = _whole(steps)
                if started < episodes:
                    env.begin(stream, started)
                    still.append((env, []))
                    started += 1
            busy = still
    return [played[number] for number in range(episodes)]


def _actions(agent: Any, obs: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
    """The mean actions for observations [N, O]; CellError if the agent takes one at a time only."""
    try:
        actions = agent.act(obs, deterministic=True)
        found = f"an array {list(np.shape(actions))}"
    except Exception as error:
        try:
            agent.act(obs[0], deterministic=True)
        except Exception:
            raise error from None  # it fails for one as well
        actions, found = None, f"{type(error).__name__}: {error}"
    wanted = (len(obs), *(shape or ()))
    if isinstance(actions, np.ndarray) and actions.shape == wanted:
        return actions
    raise CellError(
        f"agent.act of {len(obs)} observations {list(obs.shape)} gave {found:.200}; expected "
        f"actions {list(wanted)}: act takes one observation [O], and several [N, O] when it is "
        "evaluated"
    )


def _whole(steps: list[Transition]) -> Episode:
    end = steps[-1].episode
    assert end is not None
    obs, act = (np.stack([getattr(t, key) for t in steps]) for key in ("obs", "action"))
    return Episode(obs, act, np.array([t.reward for t in steps]), end)


def summary(played: list[Episode]) -> dict[str, Any]:
    """Mean true return, its spread over episodes, mean length and success (None without one)."""
    returns = np.array([episode.end.ret for episode in played])
    known = [episode.end.success for episode in played if episode.end.success is not None]
    return {
        "return": float(returns.mean()),
        "returns_std": float(returns.std()),
        "length": float(np.mean([episode.end.length for episode in played])),
        "success": float(np.mean(known)) if known else None,
    }


def reward_accuracy(reward: Any, played: list[Episode], device: torch.device) -> float | None:
    """Share of pairs of evaluation segments that the learned reward orders as the true one.

    Segments of 25 steps that no label was asked about, none across two episodes; each is compared
    with one half the evaluation away. None without a `reward(obs [B, O], act [B, A]) -> [B]`, or
    while all segments are equally good.
    """
    if not callable(reward):
        return None
    whole = [(episode, len(episode.reward) // SEGMENT * SEGMENT) for episode in played]
    n = sum(steps for _, steps in whole) // SEGMENT
    if n < 2:
        return None
    stacked = (np.concatenate([getattr(e, key)[:t] for e, t in whole]) for key in ("obs", "act"))
    obs, act = (torch.as_tensor(x, dtype=torch.float32, device=device) for x in stacked)
    with torch.no_grad():
        predicted = reward(obs, act).double().cpu().numpy().reshape(n, SEGMENT).sum(1)
    true = np.concatenate([e.reward[:t] for e, t in whole]).reshape(n, SEGMENT).sum(1)
    other = (np.arange(n) + n // 2) % n
    differs = true != true[other]
    agrees = (predicted > predicted[other]) == (true > true[other])
    return float(agrees[differs].mean()) if differs.any() else None
