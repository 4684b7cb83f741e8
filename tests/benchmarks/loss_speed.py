"""Forward and backward of every loss of pairs, on a million, against torch's own logistic loss.

    python tests/benchmarks/loss_speed.py [--pairs N] [--repeats N]

The yardstick is `torch.nn.functional.binary_cross_entropy_with_logits` on the difference of the two
scores, with soft labels; the target is at most twice its time. Times are CPU time of one thread,
the best of several, alternating with the yardstick in the same process.
"""

import argparse
import inspect
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from pbrl import losses
from pbrl.losses import LogProbs

TARGET = 2.0

LENGTHS = (
    "sigmoid_norm", "simpo", "simpo, labels", "repo", "slic", "dpo_nll", "cpo", "cpo, labels",
    "tpo_triple", "tpo_l",
)  # fmt: skip
# What costs more than the target, and why; soft labels need both φ(u) and φ(-u).
EXCEPTIONS = {
    "discopop": "three transcendental functions",
    "discopop, labels": "three transcendental functions, both directions",
    "exo_pair, labels": "both directions of a two-term divergence",
    "exp, labels": "both directions, each with its tangent for large |u|",
    "napo, labels": "both directions of a power of σ",
    "flip_nll, labels": "both directions of a mixture",
    "cpl, labels": "both directions: each has a margin of its own",
    "davidson": "three outcomes: an exponential, a logarithm, two masks",
    "davidson, labels": "three outcomes: an exponential, a logarithm, two masks",
    "rao_kupper, labels": "three outcomes: two logarithms, two masks",
    "nca_pair": "two logarithms: chosen and rejected are judged apart",
    "dpop": "a penalty beside the margin (about 2)",
    "exo_pair": "a logarithm and an exponential",
    "nbpo, labels": "both directions of a mixture",
    **dict.fromkeys(("mae, labels", "ipo, labels", "hinge, labels"), "both directions of the link"),
    "orpo": "log(1 - p) of both items, in two branches with a gradient each",
    "mrpo": "a mixture of two references in logarithms, for both items",
    "alphapo": "a power of both items with its tangent, and lengths",
    "f_dpo": "an exponential of both items with its tangent",
    **dict.fromkeys(LENGTHS, "divides by lengths, which are integers and checked to be positive"),
}


def seconds(function: Callable[[], Tensor], leaves: list[Tensor]) -> float:
    """CPU seconds of one forward and backward pass."""
    for leaf in leaves:
        leaf.grad = None
    start = time.process_time()
    function().sum().backward()
    return time.process_time() - start


def cases(
    pairs: int,
) -> tuple[dict[str, Callable[[], Tensor]], Callable[[], Tensor], list[Tensor]]:
    """Every loss of a pair by name, once without and once with labels, if it takes any."""
    generator = torch.Generator().manual_seed(0)
    chosen, rejected = (torch.randn(pairs, generator=generator).requires_grad_() for _ in range(2))
    soft = torch.rand(pairs, generator=generator)
    outcomes = (3 * soft).floor() / 2
    length = torch.full((pairs,), 5)
    sides = [
        LogProbs((-5 * torch.rand(pairs, generator=generator)).requires_grad_(), -5 * soft, length)
        for _ in range(2)
    ]
    found: dict[str, Callable[[], Tensor]] = {}
    for name, function in losses.LOSSES.items():
        kind = function.meta["kind"]  # type: ignore[attr-defined]
        if kind not in ("pair", "tie", "informed", "policy"):
            continue
        pair = sides if kind == "policy" else [chosen, rejected]
        parameters = inspect.signature(function).parameters.values()
        needed = [p for p in parameters if p.kind is not p.KEYWORD_ONLY and p.default is p.empty]
        data = [sides[0] if p.annotation is LogProbs else soft + 0.01 for p in needed[2:]]
        if name == "mappo":
            data = [soft]
        given = (*pair, *data)
        found[name] = partial(function, *given)
        if "label" in inspect.signature(function).parameters:
            labels = outcomes if kind == "tie" else soft
            found[name + ", labels"] = partial(function, *given, labels)
    yardstick = lambda: F.binary_cross_entropy_with_logits(  # noqa: E731
        chosen - rejected, soft, reduction="none"
    )
    return found, yardstick, [chosen, rejected, *(side.policy for side in sides)]


def main() -> None:
    """Measure and print one line per loss, slowest first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found, yardstick, leaves = cases(arguments.pairs)
    rows = []
    for name, function in found.items():
        own, reference = [], []
        for _ in range(arguments.repeats):
            reference.append(seconds(yardstick, leaves))
            own.append(seconds(function, leaves))
        rows.append((min(own) / min(reference), min(own), min(reference), name))
    rows.sort(reverse=True)
    print(f"{'loss':<24}{'ms':>8}{'BCE ms':>8}{'ratio':>8}")
    for ratio, own_time, reference_time, name in rows:
        over = f"  over the target: {EXCEPTIONS.get(name, 'why?')}" if ratio > TARGET else ""
        print(f"{name:<24}{1e3 * own_time:8.2f}{1e3 * reference_time:8.2f}{ratio:8.2f}{over}")


if __name__ == "__main__":
    main()
