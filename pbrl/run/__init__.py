"""One cell being computed: what a method gets, the environment it acts in, cells without one."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbrl.run.run import Run
    from pbrl.store import Cell

__all__ = ["Run", "execute"]


def __getattr__(name: str) -> Any:  # who only looks at `signals` does not wait for torch
    if name == "Run":
        from pbrl.run.run import Run

        return Run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def execute(cell: "Cell") -> dict[str, Any]:
    """Compute one cell from its configuration, or the rest of it; returns the run's summary."""
    if cell.config["kind"] == "bandit":
        from pbrl.run import bandit

        return bandit.execute(cell)
    if cell.config["kind"] == "tabular":
        from pbrl.run import tabular

        return tabular.execute(cell)
    from pbrl.run import online

    return online.execute(cell)
