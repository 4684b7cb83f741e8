"""A preference matrix of the user's own, from a file."""

from pathlib import Path

import numpy as np

from bandits.preferences import Problem, check_matrix, stationary
from bandits.registry import problem


@problem("csv")
def csv(path: Path) -> Problem:
    """The preference matrix in a csv file: K rows of K numbers, no header, row beats column.

    Lines starting with # are comments. Raises ValueError when the file is missing, holds something
    other than numbers, or is not a preference matrix (which entry, which rule, what to do).
    """
    return stationary(read_matrix(path))


def read_matrix(path: str | Path) -> np.ndarray:
    """The checked preference matrix [K, K] in a csv file; raises ValueError as `csv` does."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.strip() for line in file]
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; give a csv file") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text; give a csv file") from None
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("#"):
            continue
        try:
            rows.append([float(cell) for cell in line.split(",")])
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: {error}; expected numbers separated by commas, no header"
            ) from None
        if len(rows[-1]) != len(rows[0]):
            raise ValueError(
                f"{path}, line {number} has {len(rows[-1])} entries and the first row "
                f"{len(rows[0])}; expected as many in every row"
            )
    return check_matrix(np.array(rows), str(path))
