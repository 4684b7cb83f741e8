"""Results as plain files: one folder per cell, complete or visibly not; no database, no server.

Nothing here imports torch, polars or numpy before a cell is written or rows are read.
"""

from pbrl.store.cell import Cell, FailureKind, Status, cell_id, cells_of, identity
from pbrl.store.lease import LeaseLost, Locked
from pbrl.store.provenance import changed
from pbrl.store.results import (
    Batch,
    CellInfo,
    Plan,
    Results,
    batches,
    begun,
    labels,
    load,
    look,
    read_plan,
    title,
    write_plan,
)

__all__ = [
    "Batch",
    "Cell",
    "CellInfo",
    "FailureKind",
    "LeaseLost",
    "Locked",
    "Plan",
    "Results",
    "Status",
    "batches",
    "begun",
    "cell_id",
    "cells_of",
    "changed",
    "identity",
    "labels",
    "load",
    "look",
    "read_plan",
    "title",
    "write_plan",
]
