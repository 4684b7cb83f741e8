"""A step of learning as one CUDA graph: recorded once, then replayed without Python in between.

Networks of this size keep a GPU waiting for the next kernel; a graph launches all of them at once
(as LeanRL does). Not verified on CUDA: the tests that need one are skipped where there is none.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UP = 3  # runs before the recording, in which libraries choose kernels and take memory


class Captured:
    """`step(*inputs)`, recorded at the first call and replayed by each.

    `changed` are all the tensors that a step changes and a later one reads, `generator` is what it
    draws from: the runs before the recording leave no trace in them. The step always gets the same
    memory for its inputs, whose shapes must stay; it never asks for a value on the device.
    """

    def __init__(
        self,
        step: Callable[..., None],
        *,
        changed: Sequence[Tensor],
        generator: torch.Generator,
    ) -> None:
        self.step, self.changed, self.generator = step, changed, generator
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: list[Tensor] = []

    def __call__(self, *inputs: Tensor) -> None:
        if self.graph is None:
            self.inputs = [given.clone() for given in inputs]
            self.graph = self._recorded()
        for kept, given in zip(self.inputs, inputs, strict=True):
            kept.copy_(given)
        self.graph.replay()

    def _recorded(self) -> torch.cuda.CUDAGraph:
        stream = torch.cuda.Stream()  # a graph is recorded, and must be rehearsed, beside the first
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.rehearse()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        with torch.cuda.graph(graph):
            self.step(*self.inputs)
        return graph

    def rehearse(self) -> None:
        """Run the step and put everything back as it was."""
        before, drawn = (
            [value.detach().clone() for value in self.changed],
            self.generator.get_state(),
        )
        for _ in range(WARM_UP):
            self.step(*self.inputs)
        with torch.no_grad():
            for value, kept in zip(self.changed, before, strict=True):
                value.copy_(kept)
        self.generator.set_state(drawn)
