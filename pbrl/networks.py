"""Several multilayer perceptrons of one shape, computed as one batch of matrix products.

Reward ensembles and twin critics are the same thing: members that never share a weight and always
run together. A leading member axis turns their layers into one batched product each.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class StackedMLP(nn.Module):
    """`members` independent perceptrons with layer widths `sizes`; the last layer is linear.

    `slope` is that of the leaky ReLU between layers (0 for ReLU). Weights are [members, out, in],
    biases [members, 1, out], drawn from `generator` as `torch.nn.Linear` draws its own:
    U(-1/sqrt(in), 1/sqrt(in)), member after member.
    """

    def __init__(
        self,
        members: int,
        sizes: Sequence[int],
        *,
        slope: float = 0.0,
        generator: torch.Generator,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__()
        self.members, self.sizes, self.slope = members, tuple(sizes), slope
        shapes = list(zip(self.sizes[:-1], self.sizes[1:], strict=True))
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(members, o, i, device=device)) for i, o in shapes
        )
        self.biases = nn.ParameterList(
            nn.Parameter(torch.empty(members, 1, o, device=device)) for _, o in shapes
        )
        self.layers = list(zip(self.weights, self.biases, strict=True))
        self.reset(generator)

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Draw all weights anew, in place."""
        for member in range(self.members):
            for weight, bias in self.layers:
                bound = weight.shape[-1] ** -0.5
                weight[member].uniform_(-bound, bound, generator=generator)
                bias[member].uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """[members, N, in], or [N, in] given to every member, -> [members, N, out]."""
        if x.dim() == 2:
            x = x.expand(self.members, *x.shape)
        *hidden, (weight, bias) = self.layers
        for w, b in hidden:
            # In place: a fresh buffer for every activation costs more than computing it.
            x = torch.baddbmm(b, x, w.mT)
            x = F.leaky_relu_(x, self.slope) if self.slope else x.relu_()
        return torch.baddbmm(bias, x, weight.mT)

    def member(self, index: int) -> list[tuple[Tensor, Tensor]]:
        """(weight [out, in], bias [out]) of each layer of one member: views, not copies."""
        return [(w.data[index], b.data[index, 0]) for w, b in self.layers]
