"""Bad input: one clear error each, naming the argument and what was found."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pbrl import losses
from pbrl.losses import LogProbs

A, B = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.3, 0.1, 0.2])
GOOD = torch.tensor([True, False, True])
EMPTY = torch.zeros(0)
SIDE = LogProbs(-A, -B, torch.tensor([1, 2, 3]))
LIST, REWARDS = torch.zeros(2, 3), torch.tensor([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])

CASES: list[tuple[Callable[[], Any], str]] = [
    # shapes
    (
        lambda: losses.sigmoid(A, B[:2]),
        r"loss 'sigmoid': rejected has shape \(2,\) but chosen has \(3,",
    ),
    (
        lambda: losses.hinge(A, B, B[:1]),
        r"loss 'hinge': label has shape \(1,\) but chosen has \(3,\)",
    ),
    (
        lambda: losses.simpo(SIDE, SIDE._replace(length=torch.tensor([1, 2]))),
        r"loss 'simpo': rejected.length has shape \(2,\) but chosen.policy has \(3,\)",
    ),
    (lambda: losses.nca(LIST, REWARDS[:1]), r"has shape \(1, 3\) but scores has \(2, 3\)"),
    (
        lambda: losses.relative_po(A, B, torch.zeros(3, 2)),
        r"weight = shape \(3, 2\); expected \(3, 3",
    ),
    # types
    (lambda: losses.mae([0.1], [0.2]), "loss 'mae': found no tensor among the arguments"),
    (lambda: losses.mae(A.long(), B), "loss 'mae': chosen is of torch.int64; expected floats"),
    (lambda: losses.point_bce(A, B), "desirable is of torch.float32; expected torch.bool"),
    # empty
    (lambda: losses.robust(EMPTY, EMPTY), r"loss 'robust': chosen is empty, shape \(0,\)"),
    (lambda: losses.plackett_luce(torch.zeros(0, 3)), r"scores is empty, shape \(0, 3\)"),
    (
        lambda: losses.mpo_set(LIST, REWARDS),
        "rewards = all equal in 1 lists; expected a best and a worst in each list",
    ),
    (
        lambda: losses.infonca(LIST, REWARDS, torch.tensor([[True, False, False]] * 2)),
        "present = 1 items in the shortest list; expected at least two",
    ),
    (
        lambda: losses.sft(SIDE._replace(length=torch.tensor([1, 0, 2])), SIDE),
        "length = 0 for some item; expected at least one token",
    ),
    # not finite
    (lambda: losses.sigmoid(A, B / 0), r"'sigmoid': rejected has 3 values of 3 .* NaN or infinite"),
    (lambda: losses.ipo(1e30 * A, B), "the result is not finite although every input is"),
    # ranges
    (lambda: losses.robust(A, B, eps=0.5), r"eps = 0.5; expected a flip rate in \[0, 0.5\)"),
    (lambda: losses.robust(A, B, eps=-0.1), r"eps = -0.1; expected a flip rate in \[0, 0.5\)"),
    (lambda: losses.cdpo(A, B, eps=0.6), r"eps = 0.6; expected a smoothing in \[0, 0.5\)"),
    (lambda: losses.flip_nll(A, B, eps=1.0), r"eps = 1.0; expected a flip rate"),
    (lambda: losses.exo_pair(A, B, eps=0.0), "eps = 0.0; expected 0 < eps < 0.5"),
    (lambda: losses.napo(A, B, q=1.5), "q = 1.5; expected 0 < q <= 1"),
    (lambda: losses.discopop(A, B, tau=1.0), "tau = 1.0; expected 0 < tau < 1"),
    (lambda: losses.ipo(A, B, beta=0.0), "beta = 0.0; expected beta > 0"),
    (
        lambda: losses.cpl(A, B, rejected_scale=0.0),
        "rejected_scale = 0.0; expected 0 < rejected_sc",
    ),
    (lambda: losses.odpo(A, B, A - 0.1), "gap = 0 at its smallest; expected gap > 0"),
    (lambda: losses.mappo(A, B, 10 * A), r"gap = in \[1, 3\]; expected gaps in \[0, 1\]"),
    (lambda: losses.pair(A, B, link="hing"), "link = 'hing'; expected one of: logistic, hinge"),
    (lambda: losses.gpm(LIST, LIST), "first = width 3; expected an even width"),
    # ties
    (
        lambda: losses.rao_kupper(A, B, 0.5, alpha=0.0),
        "alpha = 0.0; expected alpha > 0: the labels have",
    ),
    (lambda: losses.davidson(A, B, 0.5, nu=0.0), "nu = 0.0; expected nu > 0: the labels have ties"),
    (lambda: losses.davidson(A, B, A), "label: 3 of 3 are not 0, 0.5 or 1, the first 0.1"),
    (
        lambda: losses.segment_loss("apo_zero")(A, B, torch.tensor([1.0, 0.5, 0.0])),
        "loss 'apo_zero' has no ties or soft labels: found 1 labels of 3 that are not 0 or 1",
    ),
    # unbounded below
    (
        lambda: losses.pmpo(A, GOOD, A, beta=0.0),
        "alpha = 0.5 with 1 undesirable items, beta = 0.0 and a kl tensor is unbounded below",
    ),
    (lambda: losses.pmpo(A, GOOD), "beta = 0.3 and no kl tensor is unbounded below"),
    # missing parts and wrong places
    (
        lambda: losses.policy_loss("sigmoid")(LogProbs(A), SIDE),
        "reference is missing; expected LogP",
    ),
    (lambda: losses.simpo(LogProbs(A), SIDE), "length is missing; expected LogProbs"),
    (
        lambda: losses.segment_loss("simpo"),
        r"'simpo' cannot be used on segment scores: it is of kind 'policy'",
    ),
    (
        lambda: losses.segment_loss("odpo"),
        r"'odpo' cannot be used on segment scores: .* takes \(chosen, rejected, gap\)",
    ),
    (
        lambda: losses.segment_loss("kto"),
        r"of kind 'point' and takes \(score, desirable, baseline\)",
    ),
    (lambda: losses.policy_loss("plackett_luce"), "cannot be used on a pair's log-probabilities"),
    (
        lambda: losses.policy_loss("repo", beta=1.0),
        "'repo' has no parameter 'beta'; it takes: gamma",
    ),
    (lambda: losses.policy_loss("robust", epsilon=1.0), "no parameter 'epsilon'; it takes: eps"),
    (lambda: losses.get("dpo"), "unknown loss 'dpo'; did you mean 'sigmoid'"),
]


@pytest.mark.parametrize(("call", "message"), CASES, ids=[m[:40] for _, m in CASES])
def test_bad_input_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="loss 'sigmoid' is already registered"):
        losses.loss("sigmoid", kind="pair", paper="")(lambda chosen, rejected: chosen - rejected)
