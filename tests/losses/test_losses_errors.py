"""Bad input: one clear error each, naming the argument and what was found."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pbrl import losses
from pbrl.losses import LogProbs, Tokens

A, B = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.3, 0.1, 0.2])
GOOD = torch.tensor([True, False, True])
EMPTY = torch.zeros(0)
SIDE = LogProbs(-A, -B, torch.tensor([1, 2, 3]))
PAIR, ONE_ITEM = LogProbs(A, B), LogProbs(A[:1], B[:1])
TOKENS = Tokens(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool))
LIST, REWARDS = torch.zeros(2, 3), torch.tensor([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])

CASES: list[tuple[Callable[[], Any], str]] = [
    # shapes
    (
        lambda: losses.sigmoid(A, B[:2]),
        r"loss 'sigmoid': rejected = shape \(2,\); expected \(3,\) as of chosen",
    ),
    (
        lambda: losses.hinge(A, B, B[:1]),
        r"loss 'hinge': label = shape \(1,\); expected \(3,\) as of chosen",
    ),
    (
        lambda: losses.simpo(SIDE, SIDE._replace(length=torch.tensor([1, 2]))),
        r"loss 'simpo': rejected.length = shape \(2,\); expected \(3,\) as of chosen.policy",
    ),
    (
        lambda: losses.nca(LIST, REWARDS[:1]),
        r"rewards or order = shape \(1, 3\); expected \(2, 3\)",
    ),
    (
        lambda: losses.relative_po(A, B, torch.zeros(3, 2)),
        r"weight = shape \(3, 2\); expected \(3, 3",
    ),
    # types
    (lambda: losses.mae([0.1], [0.2]), "loss 'mae': arguments = no tensor; expected scores"),
    (lambda: losses.mae(A.long(), B), "loss 'mae': chosen = torch.int64; expected floats"),
    (lambda: losses.point_bce(A, B), "desirable = torch.float32; expected torch.bool"),
    # empty
    (lambda: losses.robust(EMPTY, EMPTY), r"loss 'robust': chosen = empty, shape \(0,\)"),
    (lambda: losses.plackett_luce(torch.zeros(0, 3)), r"scores = empty, shape \(0, 3\)"),
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
    (
        lambda: losses.aot(PAIR, ONE_ITEM),
        r"'aot': rejected.policy = shape \(1,\); expected \(3,\)",
    ),
    (lambda: losses.aot_unpaired(PAIR, ONE_ITEM), r"rejected.policy = shape \(1,\); expected \(3"),
    (
        lambda: losses.aot(LogProbs(A, B[:1]), PAIR),
        r"'aot': chosen.reference = shape \(1,\); expected \(3,\) as of chosen.policy",
    ),
    (
        lambda: losses.micro(LIST, LIST[:1], torch.zeros(3).log_softmax(-1)),
        r"rejected = shape \(1, 3\); expected \(2, 3\)",
    ),
    (
        lambda: losses.micro(LIST, LIST, torch.zeros(2).log_softmax(-1)),
        r"log_weight = shape \(2,\); expected \(3,\)",
    ),
    (
        lambda: losses.micro(LIST, LIST, torch.zeros(3)),
        "log_weight = of weights with sums in .3, 3.; expec",
    ),
    (lambda: losses.pairwise_cringe(A, B, A[:1]), r"margin = shape \(1,\); expected \(3,\)"),
    (
        lambda: losses.ld_dpo(TOKENS._replace(mask=torch.ones(2, 1)), TOKENS),
        r"chosen.mask = shape \(2, 1\); expected \(2, 3\) as of chosen.policy",
    ),
    (
        lambda: losses.ld_dpo(TOKENS, Tokens(*(x[:1] for x in TOKENS))),
        r"rejected_mask = shape \(1, 3\); expected \(2, 3\)",
    ),
    (
        lambda: losses.ld_dpo(TOKENS, TOKENS._replace(mask=torch.tensor([[1, 1, 1], [0, 0, 0]]))),
        "rejected.mask = no token in some item; expected at least one token",
    ),
    (
        lambda: losses.two_d_dpo(TOKENS, TOKENS, LIST[:, :1], LIST),
        r"chosen_value = shape \(2, 1\); expected \(2, 3\)",
    ),
    (
        lambda: losses.cringe(torch.zeros(2, 3, 4), LIST.long(), torch.ones(2, 1), GOOD[:2], k=1),
        r"mask = shape \(2, 1\); expected \(2, 3\)",
    ),
    (
        lambda: losses.cringe(torch.zeros(2, 3, 4), LIST.long(), torch.ones(2, 3), GOOD[:2], k=2),
        "generator = None; expected a torch.Generator, as k = 2 draws",
    ),
    (
        lambda: losses.plackett_luce(LIST, torch.tensor([[0, 1, 2], [0, 1, 1]])),
        "order = an index twice or out of range; expected each item of a list once",
    ),
    # not finite
    (lambda: losses.sigmoid(A, B, float("nan")), "loss 'sigmoid': label = nan; expected a finite"),
    (
        lambda: losses.ulma(SIDE, GOOD, A * float("nan")),
        "'ulma': rating has 3 values of 3 that are",
    ),
    (
        lambda: losses.pairwise_mean(LIST, REWARDS * float("nan")),
        "'pairwise_mean': rewards has 6 values of 6 that are NaN",
    ),
    (
        lambda: losses.policy_loss("sigmoid")(SIDE, SIDE._replace(reference=B / 0)),
        "'sigmoid': rejected.reference has 3 values of 3 .* NaN or infinite",
    ),
    (
        lambda: losses.policy_loss("sigmoid")(SIDE, LogProbs(A[:1], B[:1])),
        r"'sigmoid': rejected.policy = shape \(1,\); expected \(3,\) as of chosen.policy",
    ),
    (lambda: losses.sigmoid(A, B / 0), r"'sigmoid': rejected has 3 values of 3 .* NaN or infinite"),
    (lambda: losses.ipo(1e30 * A, B), "the result is not finite although every input is"),
    # ranges
    (lambda: losses.robust(A, B, eps=0.5), r"eps = 0.5; expected a number in \[0, 0.5\)"),
    (lambda: losses.robust(A, B, eps=-0.1), r"eps = -0.1; expected a number in \[0, 0.5\)"),
    (lambda: losses.cdpo(A, B, eps=0.6), r"eps = 0.6; expected a number in \[0, 0.5\)"),
    (lambda: losses.flip_nll(A, B, eps=1.0), r"eps = 1.0; expected a number in"),
    (lambda: losses.exo_pair(A, B, eps=0.0), r"eps = 0.0; expected a number in \(0, 0.5\)"),
    (lambda: losses.napo(A, B, q=1.5), r"q = 1.5; expected a number in \(0, 1\]"),
    (lambda: losses.discopop(A, B, tau=1.0), r"tau = 1.0; expected a number in \(0, 1\)"),
    (lambda: losses.ipo(A, B, beta=0.0), "beta = 0.0; expected a number over 0"),
    (
        lambda: losses.cpl(A, B, rejected_scale=0.0),
        r"rejected_scale = 0.0; expected a number in \(0, 1\]",
    ),
    (lambda: losses.hinge(A, B, margin=-1), "margin = -1; expected a number of at least 0"),
    (
        lambda: losses.hinge(A, B, margin=float("inf")),
        "margin = inf; expected a number of",
    ),
    (lambda: losses.pair(A, B, margin=float("nan")), "margin = nan; expected a finite number"),
    (lambda: losses.odpo(A, B, A - 0.1), "gap = 0 at its smallest; expected gap > 0"),
    (lambda: losses.mappo(A, B, 10 * A), r"gap = in \[1, 3\]; expected gaps in \[0, 1\]"),
    (lambda: losses.pair(A, B, link="hing"), "link = 'hing'; expected one of: logistic, hinge"),
    (lambda: losses.gpm(LIST, LIST), "first = width 3; expected an even width"),
    (
        lambda: losses.nbpo(A, B, gamma_minus=-0.1),
        r"'nbpo': gamma_minus = -0.1; expected a number in \[0, 1\)",
    ),
    (
        lambda: losses.nbpo(A, B, gamma_minus=0.7, gamma_plus=0.5),
        r"gamma_minus \+ gamma_plus = 1.2; expected less than 1",
    ),
    (
        lambda: losses.orpo(LogProbs(A, None, A + 1), SIDE),
        "chosen.policy = .* per token at its hig",
    ),
    (
        lambda: losses.alphapo(SIDE, LogProbs(A, None, A + 1)),
        "rejected.policy = .* per token at it",
    ),
    *(
        (
            lambda name=name: losses.policy_loss(name, beta=0.0)(SIDE, SIDE),
            "beta = 0.0; expected a number over 0",
        )
        for name in (
            "sigmoid",
            "ipo",
            "sppo_hard",
            "sigmoid_norm",
            "h_dpo",
            "f_dpo",
            "simpo",
            "alphapo",
            "dpo_nll",
            "cpo",
            "aot",
            "aot_unpaired",
        )
    ),
    (
        lambda: losses.segment_loss("robust", eps=0.7),
        "loss 'robust': eps = 0.7; expected a number in",
    ),
    (
        lambda: losses.segment_loss("robust", eps="x"),
        "loss 'robust': eps = x; expected a number in",
    ),
    # ties
    (
        lambda: losses.rao_kupper(A, B, 0.5, alpha=0.0),
        "alpha = 0.0; expected alpha > 0: the labels have",
    ),
    (lambda: losses.davidson(A, B, 0.5, nu=0.0), "nu = 0.0; expected nu > 0: the labels have ties"),
    *(
        (lambda f=f, y=y: f(A, B, y), rf"label: 1 of 1 are not 0, 0.5 or 1, the first {y:g}")
        for f in (losses.rao_kupper, losses.davidson)
        for y in (2.0, -1.0, 1.5)
    ),
    (lambda: losses.davidson(A, B, A), "label: 3 of 3 are not 0, 0.5 or 1, the first 0.1"),
    (
        lambda: losses.segment_loss("apo_zero")(A, B, torch.tensor([1.0, 0.5, 0.0])),
        "loss 'apo_zero' has no ties or soft labels: found 1 labels of 3 that are not 0 or 1",
    ),
    # unbounded below
    (
        lambda: losses.pmpo(A, GOOD, A, beta=0.0),
        "loss 'pmpo': beta = 0.0; expected beta > 0: alpha = 0.5 with 1 undesirable items is unb",
    ),
    (
        lambda: losses.pmpo(A, GOOD),
        "kl = 0.0; expected a KL tensor .* undesirable items is unbounded",
    ),
    (
        lambda: losses.pmpo(A.clone().requires_grad_(), GOOD, A),
        "kl = a tensor without gradient; expected a KL tensor that is differentiated",
    ),
    (
        lambda: losses.diffusion_kto(A, GOOD, 0.0, utility="risk_seeking"),
        "kl = 0.0; expected a KL tensor .* utility = 'risk_seeking' is unbounded below",
    ),
    # missing parts and wrong places
    (
        lambda: losses.policy_loss("sigmoid")(LogProbs(A), SIDE),
        r"chosen.reference = None; expected LogProbs\(policy, reference",
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


@pytest.mark.parametrize(
    ("call", "message"),
    CASES,
    ids=[f"{i} {m[:40]}" for i, (_, m) in enumerate(CASES)],
)
def test_bad_input_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_infinity_is_an_error_even_where_the_result_is_finite(name: str, example: Any) -> None:
    for sign in (1, -1):
        made = example(name)
        made.leaves[0].view(-1)[0] = sign * float("inf")
        with pytest.raises(ValueError, match=rf"loss '{name}': \S+ has .* NaN or infinite"):
            made.call(*made.leaves)


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="loss 'sigmoid' is already registered"):
        losses.loss("sigmoid", kind="pair", paper="")(lambda chosen, rejected: chosen - rejected)


@pytest.mark.parametrize("label", [torch.tensor([True, False, True]), torch.ones(3).double()])
@pytest.mark.parametrize(
    "name", ["sigmoid", "hinge", "robust", "smpo", "cpl", "cdpo", "nbpo", "rao_kupper", "davidson"]
)
def test_a_label_of_any_dtype_counts_in_the_dtype_of_the_scores(
    name: str, label: torch.Tensor
) -> None:
    function = losses.LOSSES[name]
    value = function(A, B, label)
    assert value.dtype == torch.float32
    assert torch.equal(value, function(A, B, label.float()))
    assert losses.pair_loss(losses.LINKS["hinge"], A, B, label).dtype == torch.float32


def test_a_wrong_number_of_arguments_is_told_with_the_name_of_the_loss() -> None:
    with pytest.raises(TypeError, match="loss 'hinge': missing a required argument: 'rejected'"):
        losses.hinge(A)  # type: ignore[call-arg]
