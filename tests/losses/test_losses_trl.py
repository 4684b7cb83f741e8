"""The same numbers and gradients as TRL's own trainers, for every loss TRL has.

Run where `trl` is installed (it is not a dependency): last with TRL 1.16.0 and torch 2.13.0. The
trainers' loss methods are called as they are, with a stand-in for the trainer and for the model:
nothing is trained or downloaded. TRL's loss is a mean over the batch, compared with our mean.
"""

from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from pbrl import losses
from pbrl.losses import LogProbs, Tokens

pytest.importorskip("trl")
pytestmark = pytest.mark.filterwarnings("ignore")

N, S = 6, 8


def drawn(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return -3 * torch.rand(shape, generator=generator, dtype=torch.float64) - 0.05


# The first position is the prompt, so that shifted and unshifted masks count the same tokens.
LENGTHS = torch.tensor([7, 5, 3, 6, 2, 4, 1, 5, 7, 3, 6, 2])
MASK = torch.arange(1, S) <= LENGTHS.unsqueeze(1)
POLICY, REFERENCE = (drawn(seed, 2 * N, S - 1) * MASK for seed in (1, 2))
LOG_SUM_SQUARE = drawn(3, 2 * N, S - 1)


def trainer(**settings: Any) -> SimpleNamespace:
    """What the loss methods read of a trainer."""
    same = SimpleNamespace(
        device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x, unwrap_model=lambda x: x
    )
    common = {
        "accelerator": same,
        "model": SimpleNamespace(training=True, is_gradient_checkpointing=False),
        "args": SimpleNamespace(
            discopop_tau=0.05, gradient_checkpointing_kwargs=None, center_rewards_coefficient=0.01
        ),
        "aux_loss_enabled": False,
        "precompute_ref_logps": False,
        "label_smoothing": 0.0,
        "_metrics": {"train": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    return SimpleNamespace(**(common | settings))


def head(log_probs: Tensor) -> Callable[..., SimpleNamespace]:
    """A model whose fused head returns these log-probabilities."""
    zeros = torch.zeros_like(log_probs)
    return lambda **kwargs: SimpleNamespace(
        log_probs=log_probs,
        log_sum_sq_probs=LOG_SUM_SQUARE,
        entropy=zeros,
        mean_logits=zeros,
        is_top1=zeros.bool(),
    )


def inputs() -> dict[str, Tensor]:
    mask = torch.cat([torch.zeros(2 * N, 1, dtype=torch.bool), MASK], 1).long()
    return {"input_ids": mask, "attention_mask": mask, "completion_mask": mask}


def trl_dpo(policy: Tensor, loss_type: str, beta: float, **settings: Any) -> Tensor:
    from trl import DPOTrainer

    options = {
        "beta": beta,
        "loss_types": [loss_type] if isinstance(loss_type, str) else loss_type,
        "loss_weights": [1.0],
        "ld_alpha": None,
        "f_divergence_type": "reverse_kl",
        "f_alpha_divergence_coef": 0.5,
        "use_weighting": False,
        "ref_model": head(REFERENCE),
    }
    this = trainer(**(options | settings))
    return DPOTrainer._compute_loss(this, head(policy), inputs(), return_outputs=False)


def sides(policy: Tensor) -> tuple[Tokens, Tokens]:
    half = [x.chunk(2) for x in (policy, REFERENCE, MASK)]
    return Tokens(*(x[0] for x in half)), Tokens(*(x[1] for x in half))


def ours(name: str, *data: Any, **params: Any) -> Callable[[Tensor], Tensor]:
    def call(policy: Tensor) -> Tensor:
        chosen, rejected = sides(policy)
        if losses.LOSSES[name].meta["kind"] == "token":  # type: ignore[attr-defined]
            return losses.LOSSES[name](chosen, rejected, **params)
        return losses.policy_loss(name, **params)(chosen.sums(), rejected.sums(), *data)

    return call


def wpo(policy: Tensor) -> Tensor:
    weight = losses.wpo_weight(policy, LOG_SUM_SQUARE, MASK)
    chosen, rejected = (x.sums() for x in sides(policy))
    return losses.policy_loss("wpo", beta=0.1)(chosen, rejected, weight[:N] * weight[N:])


def check(theirs: Callable[[Tensor], Tensor], mine: Callable[[Tensor], Tensor], tol: float) -> None:
    values, grads = [], []
    for function in (theirs, mine):
        policy = POLICY.clone().requires_grad_()
        value = function(policy).mean()
        values.append(value.item())
        # TRL's head gives zeros outside of the completion, and sums over them.
        grads.append(torch.autograd.grad(value, policy)[0] * MASK)
    assert values[1] == pytest.approx(values[0], rel=tol, abs=tol)
    assert torch.allclose(grads[1], grads[0], rtol=tol, atol=tol)


F32 = 2e-6  # where TRL itself rounds a constant or a score to float32
DPO_CASES: list[tuple[str, dict[str, Any], Callable[[Tensor], Tensor], float]] = [
    ("sigmoid", {}, ours("sigmoid", beta=0.3), 1e-12),
    ("hinge", {}, ours("hinge", beta=0.3), 1e-12),
    ("ipo", {}, ours("ipo", beta=0.3, average=True), 1e-12),
    ("exo_pair", {"label_smoothing": 0.1}, ours("exo_pair", beta=0.3, eps=0.1), F32),
    ("nca_pair", {}, ours("nca_pair", beta=0.3), 1e-12),
    ("robust", {"label_smoothing": 0.1}, ours("robust", beta=0.3, eps=0.1), 1e-12),
    ("bco_pair", {}, ours("bco_pair", beta=0.3), 1e-12),
    ("sppo_hard", {}, ours("sppo_hard", beta=0.3), 1e-12),
    ("aot", {"label_smoothing": 0.1}, ours("aot", beta=0.3, eps=0.1), 1e-12),
    ("aot_unpaired", {"label_smoothing": 0.1}, ours("aot_unpaired", beta=0.3, eps=0.1), 1e-12),
    ("apo_zero", {}, ours("apo_zero", beta=0.3), 1e-12),
    ("apo_down", {}, ours("apo_down", beta=0.3), 1e-12),
    ("discopop", {}, ours("discopop", beta=0.3), 1e-12),
    ("sigmoid_norm", {}, ours("sigmoid_norm", beta=0.3), 1e-12),
    ("sigmoid", {"ld_alpha": 0.4}, ours("ld_dpo", beta=0.3, alpha=0.4), 1e-12),
    ("sigmoid", {"use_weighting": True, "beta": 0.1}, wpo, 1e-12),
    *(
        ("sigmoid", {"f_divergence_type": d}, ours("f_dpo", beta=0.3, divergence=d), 1e-12)
        for d in ("reverse_kl", "forward_kl", "js_divergence")
    ),
]


@pytest.mark.parametrize(
    ("loss_type", "settings", "mine", "tolerance"),
    DPO_CASES,
    ids=[f"{c[0]} {' '.join(map(str, c[1].values()))}".strip() for c in DPO_CASES],
)
def test_dpo_trainer(
    loss_type: str,
    settings: dict[str, Any],
    mine: Callable[[Tensor], Tensor],
    tolerance: float,
) -> None:
    options = {"beta": 0.3} | settings
    check(lambda policy: trl_dpo(policy, loss_type, **options), mine, tolerance)


def test_dpo_trainer_alpha_divergence_in_float32() -> None:
    # TRL knows no float64 there.
    policy = POLICY.float()
    from trl import DPOTrainer

    this = trainer(
        beta=0.3, loss_types=["sigmoid"], loss_weights=[1.0], ld_alpha=None, use_weighting=False,
        f_divergence_type="alpha_divergence", f_alpha_divergence_coef=0.5,
        ref_model=head(REFERENCE.float()),
    )  # fmt: skip
    theirs = DPOTrainer._compute_loss(this, head(policy), inputs(), return_outputs=False)
    mine = ours("f_dpo", beta=0.3, divergence="alpha_divergence")(POLICY).mean()
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_dpo_trainer_sum_of_losses_and_its_sft() -> None:
    # TRL's "sft" averages over the batch's tokens: every item weighs by its length.
    def mine(policy: Tensor) -> Tensor:
        chosen, rejected = (x.sums() for x in sides(policy))
        share = chosen.length.double() / chosen.length.sum()
        tokens = (share * losses.sft(chosen, rejected)).sum()
        return losses.policy_loss("sigmoid", beta=0.3)(chosen, rejected).mean() + 0.7 * tokens

    both = ["sigmoid", "sft"]
    check(lambda p: trl_dpo(p, both, 0.3, loss_weights=[1.0, 0.7]), mine, 1e-12)
    equal = [x._replace(length=torch.ones(N)) for x in (y.sums() for y in sides(POLICY))]
    split = losses.policy_loss("sigmoid", beta=0.1)(*equal) + 0.7 * losses.sft(*equal)
    assert torch.allclose(losses.dpo_nll(*equal, alpha=0.7), split)


@pytest.mark.parametrize(
    ("settings", "name", "params"),
    [
        ({"loss_type": "sigmoid"}, "cpo", {"alpha": 0.0}),
        ({"loss_type": "simpo", "simpo_gamma": 0.5}, "simpo", {"gamma": 0.5}),
        ({"loss_type": "simpo", "simpo_gamma": 0.5, "alpha": 0.25}, "alphapo", {"gamma": 0.5}),
        ({"loss_type": "sigmoid", "label_smoothing": 0.2}, "cpo", {"alpha": 0.0, "label": 0.8}),
    ],
)
def test_cpo_trainer(settings: dict[str, Any], name: str, params: dict[str, Any]) -> None:
    from trl.experimental.cpo import CPOTrainer

    this = trainer(**({"alpha": 0.0, "beta": 2.0} | settings))
    label = [params.pop("label")] if "label" in params else []
    one = torch.ones(N)

    def theirs(policy: Tensor) -> Tensor:
        sums = policy.sum(1)
        return CPOTrainer.cpo_loss(this, sums[:N], sums[N:])[0]

    def mine(policy: Tensor) -> Tensor:
        # What TRL passes in is already averaged for SimPO: a length of one keeps it.
        pair = [LogProbs(x, None, one) for x in policy.sum(1).chunk(2)]
        return losses.LOSSES[name](*pair, *label, beta=2.0, **params)

    check(theirs, mine, 1e-12)


def test_orpo_trainer() -> None:
    from trl.experimental.orpo import ORPOTrainer

    averages = POLICY.sum(1) / LENGTHS
    theirs = -ORPOTrainer.odds_ratio_loss(trainer(beta=0.3), averages[:N], averages[N:])[0]
    chosen, rejected = (x.sums() for x in sides(POLICY))
    mine = losses.orpo(chosen, rejected, beta=0.3) - losses.sft(chosen, rejected)
    assert torch.allclose(mine.float(), theirs, rtol=F32, atol=F32)  # TRL computes in float32


@pytest.mark.parametrize(
    ("loss_type", "name"),
    [
        ("sigmoid", "tpo_triple"),
        ("hinge", "tpo_triple"),
        ("ipo", "tpo_triple"),
        ("tpo-l", "tpo_l"),
    ],
)
def test_tpo_trainer(loss_type: str, name: str) -> None:
    from trl.experimental.tpo import TPOTrainer

    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(3 * N, S, 9, generator=generator)
    ids = torch.randint(0, 9, (3 * N, S), generator=generator)
    mask = torch.cat([MASK, MASK[:N].flip(0)])
    padded = torch.cat([torch.zeros(3 * N, 1, dtype=torch.bool), mask], 1).long()
    this = trainer(tpo_alpha=0.9, tpo_l_gamma=0.5, beta=0.2, loss_type=loss_type)
    theirs = TPOTrainer._compute_loss(
        this,
        lambda **kwargs: SimpleNamespace(logits=logits),
        {"input_ids": ids, "attention_mask": padded, "completion_mask": padded},
        return_outputs=False,
    )
    token = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1) * mask
    groups = zip(token.sum(1).chunk(3), mask.sum(1).chunk(3), strict=True)
    chosen, rejected, gold = (LogProbs(x, None, n) for x, n in groups)
    link = {"link": loss_type} if name == "tpo_triple" else {}
    mine = losses.LOSSES[name](chosen, rejected, gold, alpha=0.0, **link).mean()
    # TRL averages the gold item's likelihood over the batch's tokens.
    mine = mine + 0.9 * -gold.policy.sum() / gold.length.sum()
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("loss_type", ["kto", "apo_zero_unpaired"])
def test_kto_trainer(loss_type: str) -> None:
    from trl import KTOTrainer

    good = torch.arange(2 * N) % 3 != 0
    mismatched = drawn(7, 2 * N) - drawn(8, 2 * N)
    batch = inputs() | {"label": good, "ref_logps": REFERENCE.sum(1), "ref_KL_logps": -mismatched}
    this = trainer(
        beta=0.3, loss_type=loss_type, precompute_ref_logps=True, calculate_KL=loss_type == "kto",
        desirable_weight=1.2, undesirable_weight=0.8,
        _compute_kl_logps=lambda model, batch: torch.zeros(2 * N, dtype=torch.float64),
    )  # fmt: skip

    def theirs(policy: Tensor) -> Tensor:
        return KTOTrainer._compute_loss(this, head(policy), batch, return_outputs=False)

    def mine(policy: Tensor) -> Tensor:
        ratio = (policy - REFERENCE).sum(1)
        weights = {"beta": 0.3, "desirable_weight": 1.2, "undesirable_weight": 0.8}
        if loss_type == "kto":
            return losses.kto(ratio, good, losses.kto_baseline(mismatched), **weights)
        return losses.apo_zero_unpaired(ratio, good, **weights)

    check(theirs, mine, 1e-12)


def test_reward_trainer() -> None:
    from trl import RewardTrainer

    margin = drawn(9, N).abs()

    def theirs(policy: Tensor) -> Tensor:
        rewards = SimpleNamespace(logits=policy.sum(1, keepdim=True))
        batch = {"margin": margin, "attention_mask": MASK.long()}
        return RewardTrainer.compute_loss(trainer(), lambda **kwargs: rewards, batch)

    def mine(policy: Tensor) -> Tensor:
        chosen, rejected = policy.sum(1).chunk(2)
        pair = losses.sigmoid(chosen, rejected, 1.0, margin)
        return pair + 0.01 * losses.center_rewards(chosen, rejected)

    check(theirs, mine, 1e-12)
