"""What to ask: given candidate pairs, the indices of the n that go to the teacher.

B-Pref (Lee et al. 2021, released code) draws ten times as many random candidates as it asks
about, then picks by one of these rules; `uniform` needs no more candidates than questions.
Every rule sees segments without ground truth. Equal values are settled by the lowest index;
candidates are random, so that favors nothing.

A rule is called as rule(first, second, n, *, reward, labeled, rng, ...) and names what it needs;
`**context` takes the rest, also what a later loop adds. Keywords with a default are settings.
"""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pbrl import registry
from pbrl.errors import CellError, ConfigError
from pbrl.segments import Preferences, Segments

LABELED_AT_ONCE = 1024  # labeled pairs compared at a time: bounds memory, changes no result


class Ensemble(Protocol):
    """What the rules need of a learned reward."""

    def probability(self, first: Segments, second: Segments) -> Tensor:
        """[members, N]: P(second preferred) of each member."""
        ...


@registry.query("uniform")
def uniform(
    first: Segments, second: Segments, n: int, *, rng: np.random.Generator, **context: Any
) -> Tensor:
    """n candidates at random, without replacement."""
    _enough(first, n)
    return torch.from_numpy(rng.permutation(len(first))[:n]).to(first.device)


@registry.query("disagreement")
def disagreement(
    first: Segments, second: Segments, n: int, *, reward: Ensemble, **context: Any
) -> Tensor:
    """The n pairs on whose probability the members differ most (standard deviation)."""
    _enough(first, n)
    return _largest(_disagreement(reward, first, second), n)


@registry.query("entropy")
def entropy(
    first: Segments, second: Segments, n: int, *, reward: Ensemble, **context: Any
) -> Tensor:
    """The n pairs whose answer the members find most uncertain (mean binary entropy)."""
    _enough(first, n)
    return _largest(_entropy(reward, first, second), n)


@registry.query("kcenter")
def kcenter(
    first: Segments, second: Segments, n: int, *, labeled: Preferences, **context: Any
) -> Tensor:
    """n pairs spread far from each other and from the labeled ones, in states (coreset)."""
    _enough(first, n)
    return _farthest_points(first, second, n, labeled)


@registry.query("kcenter-disagreement")
def kcenter_disagreement(
    first: Segments,
    second: Segments,
    n: int,
    *,
    reward: Ensemble,
    labeled: Preferences,
    **context: Any,
) -> Tensor:
    """The half with the largest disagreement, then k-center among them."""
    _enough(first, n)
    kept = _largest(_disagreement(reward, first, second), _half(first, n))
    return kept[_farthest_points(first[kept], second[kept], n, labeled)]


@registry.query("kcenter-entropy")
def kcenter_entropy(
    first: Segments,
    second: Segments,
    n: int,
    *,
    reward: Ensemble,
    labeled: Preferences,
    **context: Any,
) -> Tensor:
    """The half with the largest entropy, then k-center among them."""
    _enough(first, n)
    kept = _largest(_entropy(reward, first, second), _half(first, n))
    return kept[_farthest_points(first[kept], second[kept], n, labeled)]


def _enough(candidates: Segments, n: int) -> None:
    if not 0 <= n <= len(candidates):
        raise ConfigError(
            f"asked to choose {n} of {len(candidates)} candidate pairs; draw at least as many "
            "candidates as questions"
        )


def _half(candidates: Segments, n: int) -> int:
    """Half of the candidates, or n when there are fewer than 2 n."""
    return max(n, len(candidates) // 2)


def _largest(score: Tensor, n: int) -> Tensor:
    return torch.argsort(score, descending=True, stable=True)[:n]


def _probability(reward: Ensemble, first: Segments, second: Segments) -> Tensor:
    with torch.no_grad():
        p = reward.probability(first, second)
    if not torch.isfinite(p).all():
        raise CellError("the learned reward gives probabilities that are not finite; it diverged")
    return p


def _disagreement(reward: Ensemble, first: Segments, second: Segments) -> Tensor:
    p = _probability(reward, first, second)
    if len(p) < 2:
        raise ConfigError(
            "disagreement is between ensemble members and there is 1; use two or more, or another "
            "query such as 'entropy'"
        )
    return p.std(0, correction=0)


def _entropy(reward: Ensemble, first: Segments, second: Segments) -> Tensor:
    p = _probability(reward, first, second)
    return (torch.special.entr(p) + torch.special.entr(1 - p)).mean(0)


def _farthest_points(first: Segments, second: Segments, n: int, labeled: Preferences) -> Tensor:
    """Greedy k-center: again and again the pair farthest from its nearest labeled or chosen one.

    The feature of a pair is all states of both segments, not normalized, padding as zeros (B-Pref
    code). With nothing labeled the first candidate is taken first. A running minimum of distances
    makes each pick O(N) distances.
    """
    features = _features(first, second)
    center = features.mean(0)  # distances stay, and large offsets no longer cost precision
    features = features - center
    nearest = torch.full((len(features),), torch.inf, device=features.device)
    for start in range(0, len(labeled), LABELED_AT_ONCE):
        part = slice(start, start + LABELED_AT_ONCE)
        others = _features(labeled.first[part], labeled.second[part]) - center
        nearest = torch.minimum(nearest, torch.cdist(features, others).amin(1))
    chosen = torch.empty(n, dtype=torch.long, device=features.device)
    for k in range(n):
        pick = nearest.argmax()
        chosen[k] = pick
        nearest = torch.minimum(nearest, (features - features[pick]).square().sum(1).sqrt())
        nearest[chosen[: k + 1]] = -1  # never again, even among identical pairs
    return chosen


def _features(first: Segments, second: Segments) -> Tensor:
    return torch.cat([first.obs.flatten(1), second.obs.flatten(1)], dim=1)
