"""What the runner adds to the cells' own time, and how fast a large folder answers.

    python tests/benchmarks/runner_overhead.py [CELLS] [SECONDS_EACH]

Overhead: wall-clock of `run_cells` with one job, without the start of the fork server (paid once
per run, shown apart), against the sum of the cells' busy time. The cells burn processor time, so
on a busy machine run it twice and take the smaller figure.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # envs before tests/envs
import tiny_cells

from pbrl import store
from pbrl.jobs import queue


def overhead(root: Path, *, cells: int, seconds: float) -> None:
    """Print the share of time that is not the cells' own."""
    steps = 20
    configs = [
        tiny_cells.config(seed, steps=steps, every=steps, busy=seconds / steps)
        for seed in range(cells)
    ]
    planned = [store.Cell(root, config) for config in configs]
    times: list[tuple[str, float]] = []
    began = time.monotonic()
    before = time.process_time()
    queue.run_cells(
        planned,
        root,
        jobs=1,
        plugins=[tiny_cells.PLUGIN],
        on_event=lambda what, cell, note: times.append((what, time.monotonic() - began)),
    )
    total, own = time.monotonic() - began, time.process_time() - before
    # The first cell waits for the server: count from the end of the first to the end of the last.
    ends = [at for what, at in times if what == "done"]
    wall, busy = ends[-1] - ends[0], (cells - 1) * seconds
    print(
        f"{cells} cells of {seconds:g} s: {total:.2f} s in all; start of the server and first cell"
    )
    print(f"  {ends[0]:.2f} s; then {wall:.2f} s for {busy:.2f} s of work: {wall / busy - 1:+.1%}")
    print(f"  ({1000 * (wall - busy) / (cells - 1):.0f} ms a cell; the runner used {own:.2f} s)")


def large_folder(root: Path, *, cells: int) -> None:
    """Print the time of a fresh process to say the status, and to load all rows."""
    rows = [{"event": "eval", "step": s, "return": s / 7, "success": None} for s in range(100)]
    planned = [store.Cell(root, tiny_cells.config(seed)) for seed in range(cells)]
    began = time.monotonic()
    for cell in planned:
        with cell.lock():
            cell.restore()
            for row in rows:
                cell.journal(row)
            cell.finish({})
    print(f"{cells} cells of {len(rows)} rows written in {time.monotonic() - began:.1f} s")
    store.write_plan(root, planned)
    status = (
        "cells = store.read_plan(r).cells; c = {s: [store.look(x).status for x in cells].count(s)"
    )
    status += " for s in ('done', 'damaged')}"
    for name, code in (("status", status), ("load", "c = store.load(r).frame.shape")):
        script = (
            f"from pathlib import Path; from pbrl import store; r = Path({str(root)!r}); {code}"
        )
        began = time.monotonic()
        shown = subprocess.check_output([sys.executable, "-c", f"{script}; print(c)"], text=True)
        print(f"{name}: {time.monotonic() - began:.2f} s in a fresh process: {shown.strip()}")


def main() -> None:
    """Both measurements, in a folder that is deleted afterwards."""
    cells = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
    root = Path(tempfile.mkdtemp(prefix="pbrl-overhead-"))
    try:
        overhead(root / "run", cells=cells, seconds=seconds)
        large_folder(root / "large", cells=1000)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
