"""Results as plain files: one folder per cell, complete or visibly not; no database, no server.

Nothing here imports torch, polars or numpy before a cell is written or rows are read.
"""

from pbrl.store.cell import Cell, FailureKind, Status, cell_id, identity
from pbrl.store.lease import LeaseLost, Locked
from pbrl.store.results import (
    CellInfo,
    Plan,
    Results,
    labels,
    load,
    look,
    outdated,
    read_plan,
    title,
    write_plan,
)

__all__ = [
    "Cell",
    "CellInfo",
    "FailureKind",
    "LeaseLost",
    "Locked",
    "Plan",
    "Results",
    "Status",
    "cell_id",
    "identity",
    "labels",
    "load",
    "look",
    "outdated",
    "read_plan",
    "title",
    "write_plan",
]
