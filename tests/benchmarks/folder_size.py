"""Seconds and memory of the commands on large results folders, in fresh processes.

    python tests/benchmarks/folder_size.py [--cells 10000] [--plotted 1000] [--planned 100000]
        [--folder DIR] [--repeats 3]

The folders are made up, by the store's own calls: four cells in five are online (agents on 50 tasks
at most, 16 learners, 10 seeds; each with 51 evaluations, 500 training episodes, 20 label sessions
and a last evaluation, as runs of 500,000 steps have), one in five a bandit (20 algorithms on each
problem; 20 repetitions, 50 points, 4 regrets). With `--folder` they are kept and used again.

Printed per command: least wall-clock and CPU seconds of its repeats, and the largest memory.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "report"))
import report_folders as folders

from pbrl import store

PBRL = "import sys; from pbrl import cli; sys.argv = ['pbrl', *sys.argv[1:]]; cli.main()"
STEPS, EVERY, HORIZON, LABELS, SESSIONS = 500_000, 10_000, 1000, 1000, 20
LEARNERS: list[tuple[str, str | None]] = [("sac", None)] + [
    (method, teacher)
    for method in ("pebble", "reed", "rune", "surf", "qpa")
    for teacher in ("oracle", "mistake", "skip")
]
ALGORITHMS, SEEDS, REPETITIONS, POINTS = 20, 10, 20, 50


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--plotted", type=int, default=1000)
    parser.add_argument("--planned", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = options.folder or Path(name)
        large, small = root / f"cells-{options.cells}", root / f"cells-{options.plotted}"
        for folder, cells in ((large, options.cells), (small, options.plotted)):
            if not (folder / "plan.json").exists():
                fill(folder, cells)
        suite = root / "planned.yaml"
        suite.write_text(yaml.safe_dump(planned(options.planned)))
        print(f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}")
        for count, arguments in (
            (options.cells, ["table", large]),
            (options.plotted, ["table", small]),
            (options.plotted, ["plot", small]),
            (options.plotted, ["status", small]),
            (options.cells, ["status", large]),
            (options.planned, ["plan", suite, "-o", root / "none"]),
            (42, ["plan", "quick"]),
            (0, ["list", "--json"]),
        ):
            show(count, [str(word) for word in arguments], repeats=options.repeats)


# --- made-up cells ------------------------------------------------------------------------------


def fill(root: Path, cells: int) -> None:
    """Write so many finished cells."""
    began, rng = time.perf_counter(), np.random.default_rng(0)
    bandits = cells // 5
    tasks = -(-(cells - bandits) // (len(LEARNERS) * SEEDS))
    written = [
        folders.write(root, *online(f"task-{task}-v3", *learner, seed=seed, rng=rng))
        for task, learner, seed in list(product(range(tasks), LEARNERS, range(SEEDS)))[
            : cells - bandits
        ]
    ]
    for number in range(bandits):
        problem, algorithm = divmod(number, ALGORITHMS)
        config = folders.bandit(f"problem-{problem}", f"algorithm-{algorithm}")
        rows = regret_rows(rng, config["horizon"], level=rng.uniform(5, 500))
        written.append(folders.write(root, config, rows, duels_per_second=3.1e7, notes=[]))
    store.write_plan(root, written)
    print(f"{cells} cells written in {time.perf_counter() - began:.0f} s")


def online(
    task: str, method: str, teacher: str | None, *, seed: int, rng: np.random.Generator
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Configuration and rows of an agent that learns."""
    config = folders.online(
        task, method, teacher, seed=seed, labels=LABELS, steps=STEPS,
        gamma=0.99, batch_size=1024, width=1024, depth=2, lr=5e-4, query="disagreement",
    )  # fmt: skip
    speed, top = rng.uniform(5e4, 3e5), rng.uniform(300, 900)
    ends = np.arange(HORIZON, STEPS + 1, HORIZON)
    returns = top * (1 - np.exp(-ends / speed)) + rng.normal(0, 30, len(ends))
    rows: list[dict[str, Any]] = []
    for number, (step, value) in enumerate(zip(ends.tolist(), returns.tolist(), strict=True)):
        if step % EVERY == 0 or number == 0:
            at = step if number else 0
            answered = min(LABELS, LABELS * at // (STEPS // 2)) if teacher else 0
            row = {"event": "eval", "step": at, "return": value * 1.1, "returns_std": 30.5}
            rows.append(row | {"length": 1000.0, "success": float(value > 450), "labels": answered})
        if teacher and step % (STEPS // 2 // SESSIONS) == 0 and step <= STEPS // 2:
            rows.append({"event": "session", "step": step, "epochs": 20, "loss": 0.3,
                         "accuracy": 0.97, "asked": 50, "answered": 50})  # fmt: skip
        rows.append({"event": "episode", "step": step, "return": value, "length": HORIZON,
                     "success": float(value > 500)})  # fmt: skip
    rows.append({"event": "final", "step": STEPS, "return": float(returns[-1]), "episodes": 50,
                 "success": 0.5, "length": 1000.0, "labels": LABELS if teacher else 0})  # fmt: skip
    return config, rows


def regret_rows(rng: np.random.Generator, horizon: int, *, level: float) -> list[dict[str, Any]]:
    """Regret that grows like the logarithm, another factor in each repetition."""
    times = np.unique(np.geomspace(1, horizon, POINTS).astype(int)).tolist()
    rows: list[dict[str, Any]] = []
    for repetition in range(REPETITIONS):
        values = level * rng.uniform(0.7, 1.3) * np.log1p(times)
        for t, value in zip(times, values.tolist(), strict=True):
            row = {"event": "regret", "repetition": repetition, "t": t, "average": value}
            rows.append(row | {"strong": 1.5 * value, "weak": 0.3 * value, "copeland": value})
        end = {"event": "end", "repetition": repetition, "winner": 0, "resets": 2}
        rows.append(end | {"samples": 1000, "policy_regret": 3.5, "correct": 1})
    return rows


def planned(cells: int) -> dict[str, Any]:
    """A suite of about so many cells: variants of PEBBLE on two tasks, many seeds."""
    variants = {
        "name": "pebble",
        "learning_rate": [1e-4, 3e-4, 1e-3],
        "reward_lr": [1e-4, 3e-4, 1e-3],
    }
    block = {"kind": "online", "env": ["walker-walk", "pointmass"], "method": variants,
             "teacher": ["oracle", {"name": "mistake", "eps": [0.1, 0.2, 0.3]}],
             "steps": 100_000, "labels": [100, 400]}  # fmt: skip
    runs = 2 * 9 * 4 * 2
    return {"name": "planned", "seeds": cells // runs, "blocks": [block]}


# --- measuring ----------------------------------------------------------------------------------


def show(cells: int, arguments: list[str], *, repeats: int) -> None:
    """Print the least time and the largest memory of a command."""
    walls, cpus, memory = [], [], 0
    for _ in range(repeats):
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", PBRL, *arguments], stdout=subprocess.DEVNULL
        )
        _, code, used = os.wait4(process.pid, 0)
        walls.append(time.perf_counter() - began)
        if code:
            sys.exit(f"pbrl {' '.join(arguments)} failed")
        cpus.append(used.ru_utime + used.ru_stime)
        memory = max(memory, used.ru_maxrss // 1024)
    name = " ".join(Path(word).name for word in arguments)
    print(
        f"{name:<32} {cells:>7,} cells {min(walls):6.2f} s wall {min(cpus):6.2f} s CPU "
        f"{memory:>5} MiB"
    )


if __name__ == "__main__":
    main()
