"""A problem made of battles that were fought: a file of who beat whom."""

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from bandits import battles as of_battles
from bandits.preferences import Problem, stationary
from bandits.registry import problem


@problem("battles")
def battles(
    path: Path,
    layout: Literal["battles", "counts", "matrix"] = "battles",
    fit: Literal["none", "bradley-terry", "davidson"] = "none",
    prior: Annotated[float, Ge(0)] = 0.0,
) -> Problem:
    """Arms as good as a file of battles says: lines a, b, outcome; counts; or a matrix of wins.

    For example, with a file arena.csv of lines such as `gpt, llama, win` and `llama, qwen, tie`:

        problem: {name: battles, path: arena.csv, fit: bradley-terry, prior: 1}

    `bandits.battles` describes the layouts and fits. Without a fit every pair must have met. What
    the battles leave open (pairs that never met, groups apart) stands in the problem's notes, or
    in the ValueError that says what to do.
    """
    p, notes = of_battles.preferences(of_battles.read_battles(path, layout), fit, prior)
    return stationary(p, notes=notes)
