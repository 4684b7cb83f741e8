"""What a tabular world promises: valid tables, an exact solution, draws from its stream alone."""

import numpy as np

from pbrl import registry
from pbrl.check.global_random import global_randomness
from pbrl.errors import PbrlError

WORLDS = 3  # drawn worlds that are looked at


def check(name: str) -> list[str]:
    """Tables that can be solved; of worlds that are drawn, the same from the same stream."""
    from pbrl.tabular.worlds import solved

    found: list[str] = []
    try:
        made = registry.with_defaults("world", name)()
        if not hasattr(made, "sample"):
            solved(made, name)
            return found
        for seed in range(WORLDS):
            with global_randomness() as used:
                one, again = (made.sample(np.random.default_rng(seed)) for _ in range(2))
            solved(one, name)
            found += [
                f"draws from the global generator of {library}; use the rng passed in"
                for library in used
            ]
            if one.transitions.shape != again.transitions.shape or not all(
                np.array_equal(getattr(one, table), getattr(again, table))
                for table in ("transitions", "features", "start", "weights")
            ):
                found.append("two draws from one stream differ; expected every draw from rng")
    except PbrlError:
        raise
    except ValueError as error:
        found.append(str(error))
    except Exception as error:
        found.append(f"making it raises {type(error).__name__}: {error}")
    return list(dict.fromkeys(found))
