"""What a loss promises: one finite value a pair, a gradient, each pair judged by itself."""

import torch

from pbrl import registry


def check(name: str) -> list[str]:
    """Pair losses: one finite value per pair, a gradient, and each pair judged by itself.

    The other kinds take other arguments, each its own; the decorator checks what goes into them.
    """
    loss = registry.resolve("loss", name)
    if loss.meta["kind"] != "pair":
        return []
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 64, generator=generator, dtype=torch.float64, requires_grad=True)
    try:
        values = loss(scores[0], scores[1])
    except Exception as error:
        return [f"of 64 pairs of scores it raises {type(error).__name__}: {error}"]
    if not isinstance(values, torch.Tensor) or values.shape != (64,):
        shape = list(getattr(values, "shape", []))
        return [
            f"returns {type(values).__name__} of shape {shape}; expected one value per pair, [64]"
        ]
    found = []
    (gradient,) = torch.autograd.grad(values.sum(), scores, allow_unused=True)
    if gradient is None or not torch.isfinite(gradient).all():
        found.append("has no finite gradient with respect to the scores")
    alone = torch.stack([loss(scores[0, i : i + 1], scores[1, i : i + 1])[0] for i in range(64)])
    if not torch.allclose(alone, values):
        found.append("a pair's value depends on the other pairs of its batch; expected its own")
    return found
