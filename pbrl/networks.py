"""Several multilayer perceptrons of one shape, computed as one batch of matrix products.

Reward ensembles and twin critics are the same thing: members that never share a weight and always
run together. A leading member axis turns their layers into one batched product each.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
LARGE = 1 << 22  # multiplications per member from which oneDNN wins over one batched call


def stacked_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x [members, N, in], weight [members, out, in], bias [members, 1, out] -> [members, N, out].

    One batched product; large ones of float32 on a CPU go to oneDNN, which torch ships beside MKL:
    on processors that are not Intel's, MKL's kernels run at half its speed. oneDNN gets dense
    matrices only: for a view of some columns it takes up to 400 times as long.
    """
    large = x.shape[1] * weight[0].numel() >= LARGE
    if ONEDNN and large and x.device.type == "cpu" and x.dtype == torch.float32:
        return _OneDNN.apply(x, weight, bias)
    return torch.baddbmm(bias, x, weight.mT)


class _OneDNN(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        return _products(x, weight).add_(bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        g = gradients[0].contiguous()
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            _products(g, weight.mT) if of_x else None,
            _products(g.mT, x.mT) if of_weight else None,
            g.sum(1, keepdim=True) if of_bias else None,
        )


def _products(a: Tensor, b: Tensor) -> Tensor:
    """a [members, N, K] times the transpose of b [members, P, K]: [members, N, P]."""
    out = a.new_empty(len(a), a.shape[1], b.shape[1])
    for i in range(len(a)):
        out[i] = torch.ops.mkldnn._linear_pointwise(a[i], b[i], None, "none", [], "")
    return out


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
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(members, o, i, device=device)) for i, o in pairwise(sizes)
        )
        self.biases = nn.ParameterList(
            nn.Parameter(torch.empty(members, 1, o, device=device)) for o in self.sizes[1:]
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

    def forward(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """[members, N, in], or [N, in] given to every member, -> [members, N, out].

        With `frozen` the gradient passes through to x alone, not into the weights.
        """
        if x.dim() == 2:
            x = x.expand(self.members, *x.shape)
        for index, (weight, bias) in enumerate(self.layers):
            if frozen:
                weight, bias = weight.detach(), bias.detach()
            if index > 0:
                # In place: a fresh buffer for every activation costs more than computing it.
                x = F.leaky_relu_(x, self.slope) if self.slope else x.relu_()
            x = stacked_linear(x, weight, bias)
        return x

    def member(self, index: int) -> list[tuple[Tensor, Tensor]]:
        """(weight [out, in], bias [out]) of each layer of one member: views, not copies."""
        return [(w.data[index], b.data[index, 0]) for w, b in self.layers]
