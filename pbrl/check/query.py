"""What every query rule promises, checked: valid indices, replayable, blind to the ground truth."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pbrl import registry
from pbrl.check.global_random import global_randomness
from pbrl.segments import GroundTruthError, Preferences, Segments

Query = Callable[..., Tensor]
CASES = ((60, 7, 0), (60, 7, 12), (8, 8, 3), (5, 0, 0))  # candidates, questions, labeled pairs


class LinearEnsemble:
    """Three fixed linear rewards: all that a query may see of what was learned."""

    def probability(self, first: Segments, second: Segments) -> Tensor:
        weights = torch.tensor([[1.0, 0, 0], [0.5, 1, 0], [0.2, -0.5, 1]])
        gain = ((second.obs - first.obs) * first.mask[..., None]).sum(1) @ weights.T
        return torch.sigmoid(gain.T)


def violations(query: Query) -> list[str]:
    """Every broken promise of a query rule, one sentence each; empty if sound.

    Checks that it can be called with more than it uses; that it returns n distinct indices of
    candidates as a LongTensor, also with nothing labeled yet, all candidates or none asked; that
    randomness comes from `rng` only; that it leaves what it is given alone; and that it does
    without ground truth.
    """
    found: list[str] = []
    taken = inspect.signature(query).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in taken):
        found.append(
            "takes no **context; expected it last, for what a loop offers and the rule does not use"
        )
    for candidates, n, labeled in CASES:
        try:
            found += _case(query, candidates, n, labeled)
        except GroundTruthError:
            found.append("reads the ground-truth reward; a query may only use what was learned")
        except Exception as error:
            where = f"{n} of {candidates} candidates with {labeled} labeled pairs"
            found.append(f"{type(error).__name__} on {where}: {error}")
    return list(dict.fromkeys(found))


def _case(query: Query, candidates: int, n: int, labeled: int) -> list[str]:
    inputs = [_inputs(candidates, labeled) for _ in range(3)]  # the third is never shown
    with global_randomness() as used:
        one, again = (_ask(query, given, n) for given in inputs[:2])
    found = [
        f"draws from the global generator of {library}; use the rng passed in" for library in used
    ]
    if not isinstance(one, Tensor) or one.dtype != torch.long or one.shape != (n,):
        shown = f"{one.dtype} {list(one.shape)}" if isinstance(one, Tensor) else type(one).__name__
        return [*found, f"returns {shown}; expected a LongTensor [{n}]"]
    if ((one < 0) | (one >= candidates)).any():
        found.append(f"returns an index outside 0..{candidates - 1}")
    if len(one.unique()) < n:
        found.append("returns an index twice; each question must be another pair")
    if not torch.equal(one, again):
        found.append(
            "differs between two calls with the same rng; draw only from the rng passed in"
        )
    for name, tensor in _tensors(inputs[0]).items():
        if not torch.equal(tensor, _tensors(inputs[2])[name]):
            found.append(f"changes {name}")
    return found


def _ask(query: Query, given: dict[str, Any], n: int) -> Any:
    return query(
        given["first"],
        given["second"],
        n,
        reward=LinearEnsemble(),
        labeled=given["labeled"],
        rng=np.random.default_rng(0),
    )


def _inputs(candidates: int, known: int) -> dict[str, Any]:
    g = torch.Generator().manual_seed(candidates)
    labeled = Preferences(3, 2, length=5)
    labeled.add(_segments(known, g), _segments(known, g), torch.zeros(known))
    return {
        "first": _segments(candidates, g),
        "second": _segments(candidates, g),
        "labeled": labeled,
    }


def _segments(n: int, g: torch.Generator) -> Segments:
    mask = torch.arange(5) < torch.randint(1, 6, (n, 1), generator=g)
    obs, act = torch.randn(n, 5, 3, generator=g), torch.randn(n, 5, 2, generator=g)
    obs, act = obs * mask[..., None], act * mask[..., None]
    return Segments(obs, act, obs.roll(-1, 1), torch.zeros_like(mask), mask)


def _tensors(given: dict[str, Any]) -> dict[str, Tensor]:
    sides = {
        "first": given["first"],
        "second": given["second"],
        "labeled.first": given["labeled"].first,
        "labeled.second": given["labeled"].second,
    }
    found = {f"{side}.{k}": v for side, s in sides.items() for k, v in s.tensors().items()}
    return {**found, "labeled.labels": given["labeled"].labels}


def check(name: str) -> list[str]:
    """Violations of the registered query rule of that name."""
    return violations(registry.resolve("query", name))
