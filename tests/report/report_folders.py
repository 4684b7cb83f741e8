"""Results folders with made-up numbers, written by the real store."""

from pathlib import Path
from typing import Any

import numpy as np

from pbrl import store

EVALUATIONS = np.arange(0, 20_001, 1000)


def online(
    task: str = "walker-walk",
    method: str = "pebble",
    teacher: str | None = "oracle",
    *,
    seed: int = 0,
    labels: int = 100,
    steps: int = 20_000,
    **method_parameters: Any,
) -> dict[str, Any]:
    """The configuration of an online cell."""
    return {
        "kind": "online",
        "env": {"name": task, "label": task},
        "method": {"name": method, "label": method, **method_parameters},
        "teacher": None if teacher is None else {"name": teacher, "label": teacher},
        "steps": steps,
        "labels": labels if teacher else 0,
        "seed": seed,
        "eval_every": 1000,
        "eval_episodes": 10,
        "device": "cpu",
        "execution": {"hang_timeout": 600.0},
    }


def bandit(
    problem: str, algorithm: str, *, horizon: int = 100_000, repetitions: int = 20, seed: int = 0
) -> dict[str, Any]:
    """The configuration of a bandit cell."""
    return {
        "kind": "bandit",
        "problem": {"name": problem, "label": problem},
        "algorithm": {"name": algorithm, "label": algorithm},
        "horizon": horizon,
        "repetitions": repetitions,
        "seed": seed,
        "device": "cpu",
        "execution": {"hang_timeout": 600.0},
    }


def learning_rows(
    level: float, *, rng: np.random.Generator, success: bool = False, labels: int = 100
) -> list[dict[str, Any]]:
    """Evaluations of an agent that learns up to about `level`, and its training episodes."""
    speed, top = rng.uniform(2500, 6000), level * rng.uniform(0.8, 1.1)
    rows: list[dict[str, Any]] = []
    for step in EVALUATIONS.tolist():
        value = 40 + top * (1 - np.exp(-step / speed)) + rng.normal(0, 0.03 * level)
        rows.append(
            {
                "event": "eval",
                "step": step,
                "return": float(value),
                "returns_std": 10.0,
                "length": 1000.0,
                "success": float(np.clip(value / 1000, 0, 1)) if success else None,
                "labels": min(labels, labels * step // 10_000),
            }
        )
        rows.append({"event": "episode", "step": step, "return": float(value), "length": 1000})
    return rows


def regret_rows(
    slope: float, linear: float, *, config: dict[str, Any], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Regret slope * ln(1 + t) + linear * t, with noise between the repetitions."""
    times = np.unique(np.geomspace(1, config["horizon"], 50).astype(int)).tolist()
    rows: list[dict[str, Any]] = []
    for repetition in range(config["repetitions"]):
        factor = rng.uniform(0.7, 1.3)
        for t in times:
            value = factor * (slope * np.log1p(t) + linear * t)
            row = {"event": "regret", "repetition": repetition, "t": t}
            rows.append(row | {"average": value, "strong": 1.5 * value, "weak": 0.3 * value})
        rows.append({"event": "end", "repetition": repetition, "winner": 0, "resets": 2})
    return rows


def write(
    root: Path, config: dict[str, Any], rows: list[dict[str, Any]], **summary: Any
) -> store.Cell:
    """Write a finished cell."""
    cell = store.Cell(root, config)
    cell.create()
    with cell.lock():
        cell.restore()
        for row in rows:
            cell.journal(row)
        cell.finish(summary)
    return cell


def study(root: Path, *, seeds: int = 5, tasks: tuple[str, ...] = ("walker-walk",)) -> Path:
    """SAC, random play, PEBBLE and REED under two teachers on each task; two bandit problems."""
    rng = np.random.default_rng(0)
    configs = []
    levels = {"sac": 900, "random": 10, "pebble": 650, "reed": 800}
    for task in tasks:
        for method, level in levels.items():
            for teacher in (None,) if method in ("sac", "random") else ("oracle", "mistake"):
                for seed in range(seeds):
                    config = online(task, method, teacher, seed=seed)
                    reached = level * (0.7 if teacher == "mistake" else 1)
                    labels = 0 if teacher is None else 100
                    rows = learning_rows(reached, rng=rng, labels=labels)
                    configs.append(write(root, config, rows))
    shapes = {"uniform": (0, 0.06), "rucb": (60, 0), "rmed1": (22, 0), "ws-w": (15, 0.002)}
    for problem in ("six-rankers", "piecewise"):
        for algorithm, shape in shapes.items():
            config = bandit(problem, algorithm)
            changing = problem == "piecewise"
            facts = {"changes": [25_000, 50_000, 75_000]} if changing else {}
            if not changing:
                facts["lower_bound"] = {"average": 20.735}
            rows = regret_rows(*shape, config=config, rng=rng)
            cell = write(root, config, rows, duels_per_second=3.1e7, **facts)
            configs.append(cell)
    store.write_plan(root, configs)
    return root
