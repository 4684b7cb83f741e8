"""What a method promises: it learns from labels alone, resumes exactly and draws from the run."""

import copy
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete

import envs
from envs.pointmass import PointMass
from envs.registry import EnvSpec
from pbrl import registry, run, suite
from pbrl.check.global_random import global_randomness
from pbrl.errors import PbrlError, where
from pbrl.run import online
from pbrl.run.signals import Interrupted, Stop
from pbrl.store.checkpoint import read_state, write_state

# Settings that make a method small enough to check in seconds, where it has them.
SMALL: dict[str, Any] = {
    "seed_steps": 40,
    "unsup_steps": 80,
    "label_interval": 60,
    "labels_per_session": 8,
    "segment_length": 10,
    "reward_epochs": 3,
    "reset_updates": 5,
    "batch_size": 16,
    "query_candidates": 2,
    "hidden": 16,
    "reward_hidden": 16,
    "members": 2,
}
STEPS, LABELS, EVAL_EVERY = 260, 16, 37  # 37 does not divide the horizon: stops fall mid-episode
EPISODES = 2  # of an evaluation, played at once


class Coin:
    """A teacher that ignores what it is shown, and counts in the class what it is asked."""

    asked = 0

    def label(self, first: Any, second: Any, rng: np.random.Generator) -> np.ndarray:
        Coin.asked += len(first)
        return (rng.random(len(first)) < 0.5).astype(float)

    def probability(self, first: Any, second: Any) -> np.ndarray:
        return np.full(len(first), 0.5)


class World(PointMass):
    """The point mass, on request under other true rewards, or moved by one of five buttons."""

    made = 0

    def __init__(self, noise: bool = False, buttons: bool = False) -> None:
        super().__init__()
        World.made += 1
        self.noise = np.random.default_rng(0) if noise else None
        if buttons:
            self.action_space = Discrete(5)  # type: ignore[assignment]

    def step(self, action: Any) -> Any:
        if isinstance(self.action_space, Discrete):
            action = np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)][action], np.float32)
        obs, reward, terminated, truncated, info = super().step(action)
        if self.noise is not None:
            reward = self.noise.random()
            info = {"success": float(self.noise.random() < 0.5)}
        return obs, reward, terminated, truncated, info


def _worlds(actions: str) -> dict[bool, EnvSpec]:
    """Noise or not -> the world to check in, under a name that only this module knows."""
    return {
        noise: dataclasses.replace(
            envs.spec("pointmass"),
            name=f"check-{actions}{'-noise' if noise else ''}",
            entry_point=World,
            fixed={"noise": noise, "buttons": actions == "discrete"},
            actions=actions,
        )
        for noise in (False, True)
    }


class MemoryCell:
    """A cell kept in memory, stopped by a pretended signal after its first row at `stop_at`."""

    def __init__(self, config: dict[str, Any], *, stop_at: int | None = None) -> None:
        self.config, self.stop_at = config, stop_at
        self.rows: list[dict[str, Any]] = []
        self.saved: tuple[dict[str, Any], int, int] | None = None

    def journal(self, row: dict[str, Any]) -> None:
        self.rows.append(copy.deepcopy(row))
        if self.stop_at is not None and row["event"] == "eval" and row["step"] >= self.stop_at:
            self.stop_at = None
            Stop.signal = 15

    def checkpoint(self, state: dict[str, Any], *, step: int) -> None:
        with tempfile.TemporaryDirectory() as folder:  # through the real format, as on disk
            write_state(Path(folder), state)
            self.saved = (read_state(Path(folder)), step, len(self.rows))

    def restore(self) -> tuple[dict[str, Any], int] | None:
        if self.saved is None:
            self.rows.clear()
            return None
        state, step, count = self.saved
        del self.rows[count:]
        return copy.deepcopy(state), step


def _execute(cell: MemoryCell) -> dict[str, Any]:
    """Run the cell to its end, again after the pretended signal."""
    try:
        return run.execute(cell)  # type: ignore[arg-type]
    except Interrupted:
        Stop.signal = None
        return run.execute(cell)  # type: ignore[arg-type]
    finally:
        Stop.signal = None


def check(name: str) -> list[str]:
    """Violations of the registered method of that name, with each kind of actions it takes."""
    entry = registry.describe("method", name)
    takes = entry.meta.get("actions", "box")
    kinds = {"box": ["box"], "discrete": ["discrete"], "any": ["box", "discrete"]}.get(takes)
    if kinds is None:
        return [f"declares actions = {takes!r}; expected 'box', 'discrete' or 'any'"]
    found = [violation for actions in kinds for violation in _check_method(name, entry, actions)]
    return list(dict.fromkeys(found))


def _check_method(name: str, entry: registry.Entry, actions: str) -> list[str]:
    worlds = _worlds(actions)
    with (
        registry.temporarily("teacher", "check-coin", Coin),
        registry.temporarily("env", worlds[False].name, worlds[False]),
        registry.temporarily("env", worlds[True].name, worlds[True]),
    ):
        return _check_in(worlds, name, entry)


def _check_in(worlds: dict[bool, EnvSpec], name: str, entry: registry.Entry) -> list[str]:
    small = {key: value for key, value in SMALL.items() if key in entry.parameters}
    learns = "labels" in entry.parameters
    block = {
        "kind": "online",
        "env": worlds[False].name,
        "method": {"name": name, **small},
        "teacher": "check-coin",
        "steps": STEPS,
        "labels": LABELS if learns else 0,
        "eval_every": EVAL_EVERY,
        "eval_episodes": EPISODES,
        "final_episodes": EPISODES,
    }
    (config,) = suite.cells({"name": "check", "seeds": 1, "blocks": [block]})
    found: list[str] = []
    doing = [f"a run of {STEPS} steps on a point mass"]
    try:
        for violation in _compared(config, worlds[True].name, learns, doing):
            found.append(violation)
    except PbrlError as error:
        found.append(f"{doing[-1]} fails: {error}")
    except Exception as error:
        found.append(f"{doing[-1]} raises {type(error).__name__}: {error}{where(error)}")
    return found


def _compared(config: dict[str, Any], noise: str, learns: bool, doing: list[str]) -> Iterator[str]:
    """What runs that should agree show; `doing` tells what is being run."""
    Coin.asked = World.made = 0
    whole = MemoryCell(config)
    first = online.OnlineCell(whole)  # type: ignore[arg-type]
    ended = online.train(first)
    expected, weights = _digest(ended), _digest(ended["weights"])
    counted = ended["counts"]["asked"]
    if Coin.asked != counted:
        yield (
            f"got {Coin.asked} labels of which {counted} were counted; expected run.ask to be the "
            "only way to a label"
        )
    if World.made > 1 + EPISODES:  # one to train in, the others to be evaluated in
        yield "makes an environment of its own; expected run.step to be the only way to act"
    doing.append("acting for several observations")
    if not _acts_alike(first.agent):
        yield (
            "agent.act of several observations [N, O] gives other actions than for each alone; "
            "expected [N, A] whose rows know nothing of each other"
        )
    doing.append("a second run of the same seed")
    again = MemoryCell(config)
    with global_randomness() as used:  # the second run: imports of the first may draw
        repeated = _digest(_execute(again))
    used = [library for library in used if library != "torch"]  # which the run seeds and saves
    if used:
        yield f"draws from global randomness: {', '.join(used)}; use run.rng(name)"
    if repeated != expected or again.rows != whole.rows:
        yield "two runs of one seed differ; expected the same bits: is a draw not from run?"
        return
    for stop_at in (EVAL_EVERY, 3 * EVAL_EVERY, 4 * EVAL_EVERY, 5 * EVAL_EVERY):
        doing.append(f"a run stopped at step {stop_at + 1} and resumed")
        cell = MemoryCell(config, stop_at=stop_at)
        if _digest(_execute(cell)) != expected or cell.rows != whole.rows:
            yield (
                f"stopped at step {stop_at + 1} and resumed, it ends elsewhere than without the "
                "stop; expected the same bits: some state is not in run.track(...)"
            )
            break
    doing.append("a run with more evaluations")
    often = MemoryCell(config | {"eval_every": 23, "eval_episodes": EPISODES + 1})
    if _digest(_execute(often)["weights"]) != weights:
        yield (
            "evaluated more often it learns something else; expected the same: act(obs, "
            "deterministic=True) must change nothing that training uses"
        )
    if learns:
        doing.append("a run under other true rewards")
        noisy = MemoryCell(config | {"env": config["env"] | {"name": noise}})
        if _digest(_execute(noisy)["weights"]) != weights:
            yield (
                "with other true rewards but the same labels it learns something else; expected "
                "labels to be all it learns from (run.step(...).reward is for SAC and evaluators)"
            )


def _acts_alike(agent: Any) -> bool:
    """Whether actions for several observations are those for each; True where they are drawn."""
    obs = np.random.default_rng(0).uniform(-1, 1, (5, 4)).astype(np.float32)
    with torch.random.fork_rng(), torch.no_grad():
        alone, again = ([agent.act(o, deterministic=True) for o in obs] for _ in range(2))
        together = agent.act(obs, deterministic=True)
    return not np.array_equal(alone, again) or np.allclose(alone, together, atol=1e-3)


def _digest(summary: dict[str, Any]) -> str:
    import hashlib

    sha = hashlib.sha256()

    def feed(value: Any) -> None:
        if isinstance(value, dict):
            for key in sorted(value, key=str):
                sha.update(str(key).encode())
                feed(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                feed(item)
        elif isinstance(value, torch.Tensor):
            sha.update(value.detach().cpu().contiguous().numpy().tobytes())
        elif isinstance(value, np.ndarray):
            sha.update(value.tobytes())
        else:
            sha.update(repr(value).encode())

    feed(summary)
    return sha.hexdigest()
