"""What a problem of dueling bandits promises: valid matrices, and draws from its stream alone."""

import numpy as np

from pbrl import registry
from pbrl.errors import PbrlError


def check(name: str) -> list[str]:
    """A preference matrix per segment, segments in order, the same draw from the same stream."""
    from bandits.preferences import check_matrix

    try:
        made = registry.with_defaults("problem", name)()
        streams = [np.random.default_rng(0), np.random.default_rng(0)]
        problems = [made.sample(s) if hasattr(made, "sample") else made for s in streams]
    except PbrlError:
        raise
    except Exception as error:
        return [f"making it raises {type(error).__name__}: {error}"]
    matrices, starts = np.asarray(problems[0].matrices), np.asarray(problems[0].starts)
    found = []
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2]:
        return [f"matrices has shape {list(matrices.shape)}; expected [M, K, K]"]
    for number, matrix in enumerate(matrices[:50]):
        try:
            check_matrix(matrix, f"matrices[{number}]")
        except ValueError as error:
            found.append(str(error))
    if starts[0] != 0 or (np.diff(starts) <= 0).any():
        found.append(f"starts is {starts[:5].tolist()}...; expected 0 first, then increasing")
    if not np.array_equal(matrices, np.asarray(problems[1].matrices)):
        found.append("two draws from one stream differ; expected every draw from rng")
    return found
