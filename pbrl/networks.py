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
LARGE = 1 << 27
"""Multiplications per member, N · in · out, from which oneDNN takes a layer forward and back.

Milliseconds of whole SAC updates, and of an epoch of reward training on 500 labels, by where the
layers between the first and the last go (one core of an AMD EPYC, torch 2.13; minima of repeats in
turns; the weight gradient goes to MKL in all of them, which is as fast or faster at each shape):

| shape | N · in · out | MKL | oneDNN |
|---|---|---|---|
| walker, 2 x 256, batch 256 | 2^24 | **9.97** | 10.25 |
| Meta-World, 3 x 256, batch 512 | 2^25 | 32.6 | 32.5 |
| reward, 3 x 256, blocks of 4,000 steps | 2^28 | 1726 | **1649** |
| REED's reward, the same | 2^28 | 1897 | **1746** |
| walker, 2 x 1024, batch 1024 | 2^30 | 411 | **371** |
| quadruped, 2 x 1024, batch 1024 | 2^30 | 439 | **394** |

The first and the last layers are below it at every published shape.
"""


def stacked_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x [members, N, in], weight [members, out, in], bias [members, 1, out] -> [members, N, out].

    One batched product (MKL's on a CPU, whatever the strides); large ones of float32 on a CPU go to
    oneDNN, which torch ships beside it and which gets dense matrices only: for a view of some
    columns it takes up to 400 times as long.
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
        return _products(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        g = gradients[0].contiguous()
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            _products(g, weight.mT) if of_x else None,
            torch.bmm(g.mT, x) if of_weight else None,
            g.sum(1, keepdim=True) if of_bias else None,
        )


def _products(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a [members, N, K] times the transpose of b [members, P, K], plus bias: [members, N, P]."""
    linear = torch.ops.mkldnn._linear_pointwise
    biases = [None] * len(a) if bias is None else bias.squeeze(1)
    products = [linear(x, w, c, "none", [], "") for x, w, c in zip(a, b, biases, strict=True)]
    return torch.stack(products)


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
