"""Seconds to read and tabulate a folder of 1,000 finished cells, and to draw its figures.

    python tests/benchmarks/report_speed.py [--cells 1000]

The folder is made up: 10 tasks, SAC and 3 methods under 3 teachers, 10 seeds each, 21 evaluations
and 21 training episodes per cell. Printed: wall-clock and CPU seconds of this process, best of 3.
"""

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "report"))
import report_folders as folders

from pbrl import report, store


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=1000)
    cells = parser.parse_args().cells
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        fill(root, cells)
        print(f"{cells} cells, {platform.processor() or platform.machine()}")
        best("store.load", lambda: store.load(root))
        best("report.table", lambda: report.table(root))
        best("report.plot", lambda: report.plot(root), repeats=1)


def fill(root: Path, cells: int) -> None:
    """Write the made-up folder."""
    rng = np.random.default_rng(0)
    learners = [("sac", None)]
    learners += [(m, t) for m in ("pebble", "reed", "rune") for t in ("oracle", "mistake", "skip")]
    configs = [
        folders.online(f"task-{task}", method, teacher, seed=seed)
        for task in range(10)
        for method, teacher in learners
        for seed in range(10)
    ]
    for config in configs[:cells]:
        rows = folders.learning_rows(rng.uniform(300, 900), rng=rng, labels=config["labels"])
        folders.write(root, config, rows)
    store.write_plan(root, [store.Cell(root, config) for config in configs[:cells]])


def best(name: str, action: Callable[[], object], *, repeats: int = 3) -> None:
    """Print the least wall-clock and CPU seconds of an action."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        action()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    print(f"{name:<14} {min(walls):6.2f} s wall  {min(cpus):6.2f} s CPU")


if __name__ == "__main__":
    main()
