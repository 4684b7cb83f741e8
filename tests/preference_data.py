"""Random segments and pairs labeled by a linear reward, shared by the tests beside this file."""

import torch

from pbrl.segments import Preferences, Segments

OBS, ACT, LENGTH = 4, 2, 10


def segments(n: int, *, seed: int, ragged: bool = False) -> Segments:
    """n segments of LENGTH steps; with `ragged` each has 1 to LENGTH, NaN in the padding."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.ones(n, LENGTH, dtype=torch.bool)
    if ragged:
        lengths = torch.randint(1, LENGTH + 1, (n,), generator=g)
        mask = torch.arange(LENGTH) < lengths[:, None]
    hole = ~mask[..., None]
    obs = torch.randn(n, LENGTH, OBS, generator=g).masked_fill(hole, 0)
    return Segments(
        obs=obs,
        act=(torch.rand(n, LENGTH, ACT, generator=g) * 2 - 1).masked_fill(hole, 0),
        next_obs=obs.roll(-1, 1),
        terminal=torch.zeros_like(mask),
        mask=mask,
    )


def preferences(n: int, *, seed: int = 0, ragged: bool = False) -> Preferences:
    """n pairs labeled by the sum of the first two observations, without noise."""
    found = Preferences(OBS, ACT, length=LENGTH)
    first = segments(n, seed=2 * seed, ragged=ragged)
    second = segments(n, seed=2 * seed + 1, ragged=ragged)
    found.add(first, second, (true_return(second) > true_return(first)).float())
    return found


def true_return(s: Segments) -> torch.Tensor:
    return (s.obs[..., :2].sum(-1) * s.mask).sum(-1)
