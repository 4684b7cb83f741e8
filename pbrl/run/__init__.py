"""One cell being computed: what a method gets, the environment it acts in, bandit cells."""

from typing import TYPE_CHECKING, Any

from pbrl.run.run import Run

if TYPE_CHECKING:
    from pbrl.store import Cell

__all__ = ["Run", "execute"]


def execute(cell: "Cell") -> dict[str, Any]:
    """Compute one cell from its configuration, or the rest of it; returns the run's summary."""
    if cell.config["kind"] == "bandit":
        from pbrl.run import bandit  # numba is needed for these cells alone

        return bandit.execute(cell)
    from pbrl.run import online

    return online.execute(cell)
