"""A loss picked by name, as a function of what the caller has: scores or log-probabilities."""

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .logprobs import LogProbs
from .registry import LOSSES, Range, naming, prepare, require

SegmentLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
PolicyLoss = Callable[..., Tensor]


def get(name: str) -> Callable[..., Tensor]:
    """The loss registered under `name`; raises ValueError with near matches for an unknown one."""
    if name not in LOSSES:
        known = {n: n for n in LOSSES}
        for n, function in LOSSES.items():
            also = function.meta.get("aka", "")  # type: ignore[attr-defined]
            known |= {alias.lower(): n for alias in also.split(", ") if alias}
        near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
        meant = dict.fromkeys(known[n] for n in near)
        hint = f"did you mean {' or '.join(map(repr, meant))}?" if meant else "see README.md"
        raise ValueError(f"unknown loss {name!r}; {hint}")
    return LOSSES[name]


def segment_loss(name: str | Callable[..., Tensor], **params: Any) -> SegmentLoss:
    """A named pair loss as `f(score_first, score_second, labels) -> Tensor`, one value per pair.

    Scores and labels have one shape, [N] or [members, N]; label = P(second preferred): 0 first,
    1 second, 0.5 a tie, other values in [0, 1] soft labels. A callable
    `f(chosen, rejected[, label], *, ...)` may be given in place of a name.

    Raises ValueError here for a loss that needs more than two scores, has no such parameter or not
    this value of it, and in the call for NaN labels, labels outside [0, 1] and ties with a loss
    that has none. Its `__wrapped__` is the same without these checks and without those of the named
    loss, each of which waits for the device.
    """
    function, shown = _named(name)
    soft = _check_takes_scores(function, shown, params)

    def of_pairs(function: Callable[..., Tensor]) -> SegmentLoss:
        def value(score_first: Tensor, score_second: Tensor, labels: Tensor) -> Tensor:
            labels = labels.to(score_second.dtype)
            if soft:
                return function(score_second, score_first, labels, **params)
            second = labels == 1
            chosen = torch.where(second, score_second, score_first)
            return function(chosen, torch.where(second, score_first, score_second), **params)

        return value

    of_values = of_pairs(function)

    @functools.wraps(of_pairs(inspect.unwrap(function)))
    def of_segments(score_first: Tensor, score_second: Tensor, labels: Tensor) -> Tensor:
        _check_labels(labels)
        if not soft and not bool(((labels == 0) | (labels == 1)).all()):
            between = labels[(labels != 0) & (labels != 1)]
            raise ValueError(
                f"loss {shown!r} has no ties or soft labels: found {between.numel()} labels of "
                f"{labels.numel()} that are not 0 or 1, the first {float(between[0]):g}; drop "
                "these pairs or choose a loss with ties, such as 'sigmoid' or 'rao_kupper'"
            )
        return of_values(score_first, score_second, labels)

    return of_segments


def bradley_terry(
    score_first: Tensor, score_second: Tensor, labels: Tensor, *, rejected_scale: float = 1.0
) -> Tensor:
    """Negative log-likelihood of labels = P(second preferred), one value per pair.

    With `rejected_scale` λ < 1 the biased form of CPL. Same checks as `segment_loss`.
    """
    return _scaled(rejected_scale)(score_first, score_second, labels)


@functools.cache
def _scaled(rejected_scale: float) -> SegmentLoss:
    if rejected_scale == 1.0:
        return segment_loss("sigmoid")
    return segment_loss("cpl", rejected_scale=rejected_scale)


def policy_loss(
    name: str | Callable[..., Tensor],
    *,
    beta: float | None = None,
    average: bool = False,
    **params: Any,
) -> PolicyLoss:
    """A named loss as `f(chosen: LogProbs, rejected: LogProbs, *data) -> Tensor [N]`.

    A loss of scores gets beta · log π/π_ref for scores, beta 0.1 unless given, divided by the
    lengths if `average`; one with a `beta` of its own (ipo, sppo_hard) gets the plain log-ratios
    and the beta. A loss of log-probabilities gets them as they are. `data`: what the loss takes
    beside the two.

    Raises ValueError for a loss that takes neither scores nor log-probabilities of a pair, for
    parameters the loss does not have, and in the call as every registered loss does.
    """
    function, shown = _named(name)
    kind = _kind(function)
    settings = _settings(function)
    of_scores = kind in ("pair", "tie", "informed")
    if not of_scores and not (kind in ("policy", "batch") and _takes_log_probs(function)):
        raise ValueError(
            f"loss {shown!r} cannot be used on a pair's log-probabilities: it is of kind {kind!r} "
            f"and takes ({', '.join(inspect.signature(function).parameters)})"
        )
    own_beta = "beta" in settings
    if beta is not None and own_beta:
        params = params | {"beta": beta}
    elif beta is not None and not of_scores:
        raise ValueError(f"loss {shown!r} has no parameter 'beta'; it takes: {_list(settings)}")
    _check_settings(shown, settings, params)
    if not of_scores:
        return functools.partial(function, **params)
    require(beta is None or beta in Range(gt=0), "beta", beta, str(Range(gt=0)))
    scale = 1.0 if own_beta else (0.1 if beta is None else beta)

    def of_pair(chosen: LogProbs, rejected: LogProbs, *data: Any) -> Tensor:
        with naming(shown):
            given = prepare({"chosen": chosen, "rejected": rejected}, one_shape=True)
        for side, item in given.items():
            require(
                item.reference is not None, f"{side}.reference", None, "LogProbs(policy, reference)"
            )
        chosen, rejected = given.values()
        ratios = [x.mean_ratio if average else x.ratio for x in (chosen, rejected)]
        if scale != 1.0:
            ratios = [scale * ratio for ratio in ratios]
        return function(*ratios, *data, **params)

    return of_pair


def _named(name: str | Callable[..., Tensor]) -> tuple[Callable[..., Tensor], str]:
    if isinstance(name, str):
        return get(name), name
    return name, getattr(name, "__name__", repr(name))


def _kind(function: Callable[..., Tensor]) -> str:
    """The kind given to the decorator; a plain function of (chosen, rejected) is a pair loss."""
    return getattr(function, "meta", {}).get("kind", "pair")


def _takes_log_probs(function: Callable[..., Tensor]) -> bool:
    first = next(iter(inspect.signature(function).parameters.values()))
    return first.annotation is LogProbs


def _settings(function: Callable[..., Tensor]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _check_settings(shown: str, settings: list[str], params: dict[str, Any]) -> None:
    for key in params:
        if key not in settings:
            raise ValueError(
                f"loss {shown!r} has no parameter {key!r}; it takes: {_list(settings)}"
            )


def _check_takes_scores(
    function: Callable[..., Tensor], shown: str, params: dict[str, Any]
) -> bool:
    """Whether the loss takes soft labels; raises when two scores and a label are not enough."""
    parameters = inspect.signature(function).parameters
    needed = [
        p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY and p.default is p.empty
    ]
    if _kind(function) not in ("pair", "tie") or needed != ["chosen", "rejected"]:
        raise ValueError(
            f"loss {shown!r} cannot be used on segment scores: it is of kind {_kind(function)!r} "
            f"and takes ({', '.join(needed)}); expected a loss of (chosen, rejected) alone, "
            "such as 'sigmoid'"
        )
    _check_settings(shown, _settings(function), params)
    # A value outside its range is to be found here, not in the first training session.
    try:
        function(torch.zeros(1), torch.zeros(1), **params)
    except TypeError as error:
        raise ValueError(f"parameters {params}: {error}") from None
    return "label" in parameters


def _check_labels(labels: Tensor) -> None:
    if labels.numel() == 0:
        return
    low, high = (float(x) for x in labels.detach().aminmax())
    if not (low >= 0 and high <= 1):
        skipped = int(labels.isnan().sum())
        found = f"NaN (skipped) for {skipped} of {labels.numel()} pairs"
        require(not skipped, "labels", found, "none: drop skipped pairs first")
        found = f"values in [{low:g}, {high:g}]"
        require(False, "labels", found, "P(second preferred), in [0, 1]")
