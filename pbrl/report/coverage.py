"""What a nominal 95 % interval covers for few runs: the measured table, as notes.

The table is made by `tests/benchmarks/interval_coverage.py`, which says what was simulated.
"""

import csv
import functools
from importlib import resources
from typing import NamedTuple

TOO_LOW = 0.90  # a note names what is measured below
NAMES = {
    "normal": "normal scores",
    "heavy": "heavy tails",
    "lognormal": "lognormal scores",
    "failing": "one run in five failing",
}


class Row(NamedTuple):
    """The share of simulated studies whose interval held the true value."""

    statistic: str
    interval: str
    distribution: str
    tasks: int
    runs: int
    coverage: float


@functools.cache
def table() -> list[Row]:
    """The measured table."""
    text = (resources.files("pbrl.report") / "coverage.csv").read_text()
    return [
        Row(x["statistic"], x["interval"], x["distribution"], int(x["tasks"]), int(x["runs"]),
            float(x["coverage"]))
        for x in csv.DictReader(text.splitlines())
    ]  # fmt: skip


def measured(statistic: str, runs: int, tasks: int = 1) -> list[Row]:
    """The interval in use at the most tasks and runs measured that are no more than these."""
    rows = [row for row in table() if row.statistic == statistic and row.interval != "bootstrap"]
    for size, most in (("tasks", tasks), ("runs", runs)):
        nearest = max((n for row in rows if (n := getattr(row, size)) <= most), default=0)
        rows = [row for row in rows if getattr(row, size) == nearest]
    return rows


def note(statistic: str, runs: int, tasks: int = 1) -> str | None:
    """A sentence on the coverage at so few runs; None where all that was measured holds 90 %."""
    rows = measured(statistic, runs, tasks)
    if all(row.coverage >= TOO_LOW for row in rows):
        return None
    found = {row.distribution: row.coverage for row in rows}
    shown = ", ".join(f"{100 * found[k]:.0f} % for {name}" for k, name in NAMES.items())
    tasks = rows[0].tasks
    place = f" on each of {tasks} tasks" if tasks > 1 else ""
    return f"measured coverage of a 95 % interval of {rows[0].runs} runs{place}: {shown}"
