"""Contract tests of anything registered: each violation says what was found and what is expected.

`pbrl check` runs these on a plug-in, and the test suite runs them on every built-in.
"""

import copy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pbrl import registry, suite
from pbrl import run as run_module
from pbrl.errors import ConfigError, PbrlError, did_you_mean
from pbrl.purity import global_randomness
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
    "entropy_particles": 32,
    "hidden": 16,
    "reward_hidden": 16,
    "members": 2,
}
STEPS, LABELS, EVAL_EVERY = 260, 16, 37  # 37 does not divide the horizon: stops fall mid-episode


def targets(what: str) -> list[tuple[str, str]]:
    """The (kind, name) pairs that a name or plug-in file stands for.

    Raises ConfigError for an unknown name and PluginError for a file that does not import.
    """
    if what.endswith(".py") or Path(what).is_file():
        return [
            (kind, name) for kind, found in registry.load_plugin(what).items() for name in found
        ]
    found = [(kind, what) for kind in registry.KINDS if what in registry.names(kind)]
    if not found:
        known = {name for kind in registry.KINDS for name in registry.names(kind)}
        raise ConfigError(f"nothing is called {what!r}; {did_you_mean(what, known)}")
    return found


def violations(kind: str, name: str) -> list[str]:
    """How the registered object breaks the contract of its kind; empty when it keeps it."""
    try:
        return _CHECKS[kind](name)
    except PbrlError as error:
        return [str(error)]


def _env(name: str) -> list[str]:
    import envs
    from envs import contract

    return contract.violations(lambda: envs.make(name), registry.resolve("env", name))


def _teacher(name: str) -> list[str]:
    from pbrl.teachers import contract

    return contract.violations(_with_defaults("teacher", name))


def _query(name: str) -> list[str]:
    from pbrl import query_contract

    return query_contract.violations(registry.resolve("query", name))


def _with_defaults(kind: str, name: str) -> Any:
    registry.check_parameters(registry.describe(kind, name), {}, "check")
    return registry.resolve(kind, name)


# --- methods ------------------------------------------------------------------------------------


class Coin:
    """A teacher that ignores what it is shown."""

    def label(self, first: Any, second: Any, rng: np.random.Generator) -> np.ndarray:
        return (rng.random(len(first)) < 0.5).astype(float)

    def probability(self, first: Any, second: Any) -> np.ndarray:
        return np.full(len(first), 0.5)


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
            run_module.Stop.signal = 15

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


def _execute(cell: MemoryCell, *, reward_noise: bool = False) -> dict[str, Any]:
    """Run the cell; with `reward_noise` the true reward it sees is noise instead."""
    original = run_module.ActingEnv.step
    noise = np.random.default_rng(0)

    def noisy(self: Any, action: np.ndarray) -> Any:
        transition = original(self, action)
        end = transition.episode
        if end is not None:
            success = None if end.success is None else float(noise.random() < 0.5)
            end = end._replace(ret=float(noise.normal()), success=success)
        return transition._replace(reward=float(noise.normal()), episode=end)

    if reward_noise:
        run_module.ActingEnv.step = noisy  # type: ignore[method-assign]
    try:
        return run_module.execute(cell)  # type: ignore[arg-type]
    except run_module.Interrupted:
        run_module.Stop.signal = None
        return run_module.execute(cell)  # type: ignore[arg-type]
    finally:
        run_module.Stop.signal = None
        run_module.ActingEnv.step = original  # type: ignore[method-assign]


def _method(name: str) -> list[str]:
    entry = registry.describe("method", name)
    with registry.temporarily("teacher", "check-coin", Coin):
        return _check_method(name, entry)


def _check_method(name: str, entry: registry.Entry) -> list[str]:
    small = {key: value for key, value in SMALL.items() if key in entry.parameters}
    learns = "labels" in entry.parameters
    block = {
        "kind": "online",
        "env": "pointmass",
        "method": {"name": name, **small},
        "teacher": "check-coin",
        "steps": STEPS,
        "labels": LABELS if learns else 0,
        "eval_every": EVAL_EVERY,
        "eval_episodes": 1,
    }
    (config,) = suite.cells({"name": "check", "seeds": 1, "blocks": [block]})
    whole = MemoryCell(config)
    try:
        ended = _execute(whole)
    except PbrlError as error:
        return [f"a run of {STEPS} steps on pointmass fails: {error}"]
    except Exception as error:
        return [f"a run of {STEPS} steps on pointmass raises {type(error).__name__}: {error}"]
    expected, weights = _digest(ended), _digest(ended["weights"])
    found = []
    if not any(row["event"] == "eval" for row in whole.rows):
        found.append(
            "no evaluation was logged; drive the run with `for step in run.loop(cfg.steps)`"
        )
    again = MemoryCell(config)
    with global_randomness() as used:  # the second run: imports of the first may draw
        repeated = _digest(_execute(again))
    used = [library for library in used if library != "torch"]  # which the run seeds and saves
    if used:
        found.append(f"draws from global randomness: {', '.join(used)}; use run.rng(name)")
    if repeated != expected or again.rows != whole.rows:
        found.append("two runs of one seed differ; expected the same bits: is a draw not from run?")
        return found
    for stop_at in (EVAL_EVERY, 3 * EVAL_EVERY, 4 * EVAL_EVERY, 5 * EVAL_EVERY):
        cell = MemoryCell(config, stop_at=stop_at)
        if _digest(_execute(cell)) != expected or cell.rows != whole.rows:
            found.append(
                f"stopped at step {stop_at + 1} and resumed, it ends elsewhere than without the "
                "stop; expected the same bits: some state is not in run.track(...)"
            )
            break
    if learns:
        cell = MemoryCell(config)
        if _digest(_execute(cell, reward_noise=True)["weights"]) != weights:
            found.append(
                "with other true rewards but the same labels it learns something else; expected "
                "labels to be all it learns from (run.step(...).reward is for SAC and evaluators)"
            )
    return found


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


# --- losses, bandits, problems ------------------------------------------------------------------


def _loss(name: str) -> list[str]:
    """Pair losses: one finite value per pair, a gradient, and each pair judged by itself.

    The other kinds take other arguments, each its own; the decorator checks what goes into them.
    """
    loss = registry.resolve("loss", name)
    if loss.meta["kind"] != "pair":
        return []
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 64, generator=generator, dtype=torch.float64, requires_grad=True)
    try:
        values = loss(scores[0], scores[1])
    except Exception as error:
        return [f"of 64 pairs of scores it raises {type(error).__name__}: {error}"]
    if not isinstance(values, torch.Tensor) or values.shape != (64,):
        shape = list(getattr(values, "shape", []))
        return [
            f"returns {type(values).__name__} of shape {shape}; expected one value per pair, [64]"
        ]
    found = []
    (gradient,) = torch.autograd.grad(values.sum(), scores, allow_unused=True)
    if gradient is None or not torch.isfinite(gradient).all():
        found.append("has no finite gradient with respect to the scores")
    alone = torch.stack([loss(scores[0, i : i + 1], scores[1, i : i + 1])[0] for i in range(64)])
    if not torch.allclose(alone, values):
        found.append("a pair's value depends on the other pairs of its batch; expected its own")
    return found


def _bandit(name: str) -> list[str]:
    """Valid pairs, replayable, nothing kept between repetitions, blind to the arms' labels."""
    from bandits.preferences import relabel, stationary
    from bandits.simulate import simulate

    factory = _with_defaults("bandit", name)
    ranks = np.arange(5)
    p = 0.5 + 0.1 * np.sign(ranks[None, :] - ranks[:, None])
    features, order = np.eye(5), np.array([3, 0, 4, 2, 1])
    plain, turned = stationary(p, features), stationary(relabel(p, order), features[order])
    size: dict[str, Any] = {"horizon": 2000, "seed": 0, "shuffle": False}
    try:
        with global_randomness() as used:
            one = simulate(plain, factory(), repetitions=40, **size)
        again = simulate(plain, factory(), repetitions=40, **size)
        last = simulate(plain, factory(), repetitions=1, first_repetition=39, **size)
        other = simulate(turned, factory(), repetitions=40, **size | {"seed": 1})
    except Exception as error:
        return [f"2,000 duels among 5 arms raise {type(error).__name__}: {error}"]
    found = [
        f"draws from global randomness of {library}; use the rng it is given" for library in used
    ]
    regret = one.regret["average"]
    if not np.array_equal(regret, again.regret["average"]):
        found.append("two simulations of one seed differ; expected every draw from rng")
    if not np.array_equal(regret[-1], last.regret["average"][0]):
        found.append("a repetition depends on those before it; set all state in start(K, T, rng)")
    ends = np.stack([regret[:, -1], other.regret["average"][:, -1]])
    deviation = np.sqrt(ends.var(axis=1, ddof=1).sum() / ends.shape[1])
    if abs(ends[0].mean() - ends[1].mean()) > 6 * deviation + 1e-9:  # 6 standard errors: p < 1e-8
        found.append(
            f"average regret is {ends[0].mean():.1f}, and {ends[1].mean():.1f} with the arms "
            "renumbered; expected the same: do not prefer arms by their number"
        )
    return found


def _problem(name: str) -> list[str]:
    """A preference matrix per segment, segments in order, the same draw from the same stream."""
    from bandits.preferences import check_matrix

    try:
        made = _with_defaults("problem", name)()
        streams = [np.random.default_rng(0), np.random.default_rng(0)]
        problems = [made.sample(s) if hasattr(made, "sample") else made for s in streams]
    except PbrlError:
        raise
    except Exception as error:
        return [f"making it raises {type(error).__name__}: {error}"]
    matrices, starts = np.asarray(problems[0].matrices), np.asarray(problems[0].starts)
    found = []
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2]:
        return [f"matrices has shape {list(matrices.shape)}; expected [M, K, K]"]
    for number, matrix in enumerate(matrices[:50]):
        try:
            check_matrix(matrix, f"matrices[{number}]")
        except ValueError as error:
            found.append(str(error))
    if starts[0] != 0 or (np.diff(starts) <= 0).any():
        found.append(f"starts is {starts[:5].tolist()}...; expected 0 first, then increasing")
    if not np.array_equal(matrices, np.asarray(problems[1].matrices)):
        found.append("two draws from one stream differ; expected every draw from rng")
    return found


_CHECKS = {
    "env": _env,
    "teacher": _teacher,
    "query": _query,
    "method": _method,
    "loss": _loss,
    "bandit": _bandit,
    "problem": _problem,
}
