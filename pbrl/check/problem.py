"""What a problem of dueling bandits promises: valid matrices, and draws from its stream alone."""

import numpy as np

from pbrl import registry
from pbrl.errors import PbrlError


def check(name: str) -> list[str]:
    """A preference matrix per segment, segments in order, the same draw from the same stream."""
    from bandits.preferences import as_problem

    try:
        made = registry.with_defaults("problem", name)()
        streams = [np.random.default_rng(0), np.random.default_rng(0)]
        one, again = (
            as_problem(made.sample(s) if hasattr(made, "sample") else made) for s in streams
        )
    except PbrlError:
        raise
    except ValueError as error:
        return [str(error)]
    except Exception as error:
        return [f"making it raises {type(error).__name__}: {error}"]
    if not np.array_equal(np.asarray(one.matrices), np.asarray(again.matrices)):
        return ["two draws from one stream differ; expected every draw from rng"]
    return []
