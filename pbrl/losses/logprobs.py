"""What a policy says about a batch of items, and the scores made of it."""

from typing import NamedTuple

import torch
from torch import Tensor

from .registry import require


class LogProbs(NamedTuple):
    """What a policy says about N items; sums over the item's own tokens or steps, float [N].

    Prompt and padding are not in the sums (DOVE counts the prompt).
    Raises ValueError when a missing part is read.
    """

    policy: Tensor
    """log π(y|x), summed."""
    reference: Tensor | None = None
    """log π_ref(y|x), summed, without gradient."""
    length: Tensor | None = None
    """Number of tokens or steps, at least 1."""

    @property
    def base(self) -> Tensor:
        """log π_ref."""
        if self.reference is None:
            raise ValueError("reference is missing; expected LogProbs(policy, reference)")
        return self.reference

    @property
    def ratio(self) -> Tensor:
        """ρ = log π/π_ref."""
        return self.policy - self.base

    @property
    def mean(self) -> Tensor:
        """log π per token."""
        return self.policy / self._length()

    @property
    def nll(self) -> Tensor:
        """-log π per token: what supervised fine-tuning minimizes."""
        return -self.mean

    @property
    def mean_ratio(self) -> Tensor:
        """ρ per token."""
        return self.ratio / self._length()

    def _length(self) -> Tensor:
        if self.length is None:
            raise ValueError("length is missing; expected LogProbs(policy, reference, length)")
        require(bool((self.length > 0).all()), "length", "0 for some item", "at least one token")
        return self.length


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - e^x) for x < 0, accurate at both ends; x is kept 1e-7 below 0, where it is -∞."""
    x = x.clamp(max=-1e-7)
    near = x > -0.6931471805599453
    # Each branch sees only inputs where its gradient is finite, or `where` would pass on NaN.
    return torch.where(
        near,
        torch.log(-torch.expm1(torch.where(near, x, -1.0))),
        torch.log1p(-torch.exp(torch.where(near, -1.0, x))),
    )
