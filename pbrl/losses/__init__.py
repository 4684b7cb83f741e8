"""The loss core: pure functions of scores, copyable as a folder; imports torch and nothing else."""

from .pairwise import cpl, pair, pair_loss, robust, sigmoid
from .registry import LOSSES, loss
from .select import bradley_terry, get, segment_loss

__all__ = [
    "LOSSES",
    "bradley_terry",
    "cpl",
    "get",
    "loss",
    "pair",
    "pair_loss",
    "robust",
    "segment_loss",
    "sigmoid",
]
