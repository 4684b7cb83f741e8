"""A loss picked by name, as a function of what the caller has: segment scores with labels."""

import difflib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .registry import LOSSES

SegmentLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


def get(name: str) -> Callable[..., Tensor]:
    """The loss registered under `name`; raises ValueError with near matches for an unknown one."""
    if name not in LOSSES:
        near = difflib.get_close_matches(name, LOSSES, n=3, cutoff=0.5) or sorted(LOSSES)
        raise ValueError(f"unknown loss {name!r}; did you mean {' or '.join(map(repr, near))}?")
    return LOSSES[name]


def segment_loss(name: str | Callable[..., Tensor], **params: Any) -> SegmentLoss:
    """A named pair loss as `f(score_first, score_second, labels) -> Tensor`, one value per pair.

    Scores and labels have one shape, [N] or [members, N]; label = P(second preferred): 0 first,
    1 second, 0.5 a tie, other values in [0, 1] soft labels. A callable
    `f(chosen, rejected[, label], *, ...)` may be given in place of a name.

    Raises ValueError here for a loss that needs more than two scores or has no such parameter, and in
    the call for NaN labels, labels outside [0, 1] and ties with a loss that has none.
    """
    function = get(name) if isinstance(name, str) else name
    shown = name if isinstance(name, str) else getattr(name, "__name__", repr(name))
    soft = _check_takes_scores(function, shown, params)

    def of_segments(score_first: Tensor, score_second: Tensor, labels: Tensor) -> Tensor:
        _check_labels(labels)
        if soft:
            return function(score_second, score_first, labels, **params)
        if not bool(((labels == 0) | (labels == 1)).all()):
            between = labels[(labels != 0) & (labels != 1)]
            raise ValueError(
                f"loss {shown!r} has no ties or soft labels: found {between.numel()} labels of "
                f"{labels.numel()} that are not 0 or 1, the first {float(between[0]):g}; drop these "
                "pairs or choose a loss with ties, such as 'sigmoid' or 'rao_kupper'"
            )
        second = labels == 1
        chosen = torch.where(second, score_second, score_first)
        return function(chosen, torch.where(second, score_first, score_second), **params)

    return of_segments


def bradley_terry(
    score_first: Tensor, score_second: Tensor, labels: Tensor, *, rejected_scale: float = 1.0
) -> Tensor:
    """Negative log-likelihood of labels = P(second preferred), one value per pair.

    With `rejected_scale` λ < 1 the biased form of CPL. Same checks as `segment_loss`.
    """
    if rejected_scale == 1.0:
        return segment_loss("sigmoid")(score_first, score_second, labels)
    return segment_loss("cpl", rejected_scale=rejected_scale)(score_first, score_second, labels)


def _check_takes_scores(
    function: Callable[..., Tensor], shown: str, params: dict[str, Any]
) -> bool:
    """Whether the loss takes soft labels; raises when two scores and a label are not enough."""
    signature = inspect.signature(function).parameters
    kind = getattr(function, "meta", {}).get("kind", "pair")
    positional = [p for p in signature.values() if p.kind is not p.KEYWORD_ONLY]
    needed = [p.name for p in positional if p.default is p.empty]
    if kind not in ("pair", "tie") or needed != ["chosen", "rejected"]:
        raise ValueError(
            f"loss {shown!r} cannot be used on segment scores: it is of kind {kind!r} and takes "
            f"({', '.join(needed)}); expected a loss of (chosen, rejected) alone, such as 'sigmoid'"
        )
    settings = [p.name for p in signature.values() if p.kind is p.KEYWORD_ONLY]
    for key in params:
        if key not in settings:
            takes = ", ".join(settings) or "none"
            raise ValueError(f"loss {shown!r} has no parameter {key!r}; it takes: {takes}")
    return "label" in signature


def _check_labels(labels: Tensor) -> None:
    low, high = labels.detach().aminmax() if labels.numel() else (labels, labels)
    if labels.numel() and not (low >= 0 and high <= 1):
        skipped = int(labels.isnan().sum())
        if skipped:
            raise ValueError(
                f"labels: {skipped} of {labels.numel()} are NaN (skipped); drop skipped pairs first"
            )
        raise ValueError(
            f"labels lie in [{float(low):g}, {float(high):g}]; expected P(second preferred) in [0, 1]"
        )
