"""Symmetries and special cases of lists, batches, tokens, groups and games."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pbrl import losses
from pbrl.losses import LogProbs, Tokens
from pbrl.losses.games import Sampled
from pbrl.losses.tokens import Gates

N = 40


def drawn(seed: int, *shape: int, low: float = -3.0, high: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(shape or (N,), generator=generator, dtype=torch.float64)
    return low + (high - low) * uniform


W, L = drawn(1), drawn(2)
GAP, P = drawn(3, low=0.1, high=1.0), drawn(4, low=0.0, high=1.0)
ONES, ZEROS = torch.ones_like(W), torch.zeros_like(W)
LENGTH = torch.arange(N) % 7 + 2


def side(seed: int, length: Tensor = LENGTH) -> LogProbs:
    return LogProbs(drawn(seed, low=-9, high=0), drawn(seed + 50, low=-9, high=0), length)


CHOSEN, REJECTED, GOLD = side(11), side(12, LENGTH.flip(0)), side(13)
DPO = losses.policy_loss("sigmoid", beta=0.1)(CHOSEN, REJECTED)
UNIFORM = [x._replace(reference=ZEROS) for x in (CHOSEN, REJECTED)]


def same(left: Tensor, right: Tensor, tolerance: float = 1e-12) -> None:
    """Equal in shape too: a scalar is not a value per pair."""
    torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance)


# --- lists ---------------------------------------------------------------------------------------


def test_a_list_of_two_is_a_pair() -> None:
    two = torch.stack([W, L], -1)
    rewards = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(N, 2)
    plain = losses.sigmoid(W, L)
    same(losses.plackett_luce(two), plain)
    same(losses.plackett_luce(two.flip(-1), torch.tensor([1, 0]).expand(N, 2)), plain)
    same(losses.pairwise_mean(two, rewards), plain)
    same(losses.mpo_set(two, rewards), plain)
    same(losses.infonca(two, rewards, alpha=1e-3), plain)
    same(losses.nca(two, rewards, alpha=1e-3), losses.nca_pair(W, L))
    ranked = losses.lambda_rank(two, rewards)
    same(ranked, (1 - 1 / math.log2(3)) * plain)


LISTS = ["plackett_luce", "infonca", "nca", "mpo_set", "lambda_rank", "pairwise_mean"]


@pytest.mark.parametrize("name", LISTS)
def test_absent_items_leave_no_trace_and_order_does_not_matter(name: str) -> None:
    function = losses.LOSSES[name]
    scores, rewards = drawn(21, N, 4), drawn(22, N, 4)
    best_first = rewards.argsort(-1, descending=True)
    given = best_first if name == "plackett_luce" else rewards
    expected = function(scores, given)
    mixed = torch.tensor([2, 0, 3, 1])
    remade = rewards[:, mixed]
    again = remade.argsort(-1, descending=True) if name == "plackett_luce" else remade
    same(function(scores[:, mixed], again), expected)
    longer = torch.cat([scores, 100 + drawn(23, N, 1)], -1).requires_grad_()
    extra = (
        torch.cat([best_first, torch.full((N, 1), 4)], -1)
        if name == "plackett_luce"
        else torch.cat([rewards, 7 + drawn(24, N, 1)], -1)
    )
    present = torch.tensor([True, True, True, True, False]).expand(N, 5)
    value = function(longer, extra, present)
    same(value, expected)
    grad = torch.autograd.grad(value.sum(), longer)[0]
    assert torch.isfinite(grad).all()
    assert not grad[:, 4].any()


# --- batches -------------------------------------------------------------------------------------


def test_sorted_losses_see_the_batch_as_a_distribution() -> None:
    one = [LogProbs(x.policy[:1], x.base[:1], x.length[:1]) for x in (CHOSEN, REJECTED)]
    for function in (losses.aot, losses.aot_unpaired):
        same(function(*one), DPO[:1])
        shuffled = torch.randperm(N, generator=torch.Generator().manual_seed(0))
        sides = [LogProbs(x.policy, x.base) for x in (CHOSEN, REJECTED)]
        moved = [LogProbs(x.policy[shuffled], x.base[shuffled]) for x in sides]
        same(function(*sides).mean(), function(*moved).mean())
        halves = [
            [LogProbs(x.policy[h], x.base[h]) for x in sides] for h in (slice(20), slice(20, N))
        ]
        split = sum(function(*half).mean() for half in halves) / 2
        assert not torch.allclose(function(*sides).mean(), split)


def test_relative_po() -> None:
    same(losses.relative_po(W[:1], L[:1], ONES[:1, None]), losses.sigmoid(W[:1], L[:1]))
    alike = losses.prompt_weights(torch.zeros(N, N, dtype=torch.float64))
    same(alike, torch.full_like(alike, 1 / N))
    same(losses.relative_po_diagonal(W, L, diagonal=1.0), losses.sigmoid(W, L))


# --- tokens --------------------------------------------------------------------------------------

MASK = torch.arange(6) < (torch.arange(N) % 5 + 2).unsqueeze(1)
TOKENS = [
    Tokens(drawn(31 + i, N, 6, low=-4, high=0), drawn(41 + i, N, 6, low=-4, high=0), m)
    for i, m in enumerate((MASK, MASK.flip(0)))
]
TOKEN_DPO = losses.policy_loss("sigmoid", beta=0.1)(TOKENS[0].sums(), TOKENS[1].sums())
EVERY, NONE = torch.ones(N, 6, dtype=torch.float64), torch.zeros(N, 6, dtype=torch.float64)


def test_token_weights_of_one_are_dpo() -> None:
    same(losses.ld_dpo(*TOKENS, alpha=1.0), TOKEN_DPO)
    same(losses.bmc(*TOKENS, MASK, MASK, beta=0.1, delta=0.0), TOKEN_DPO)
    same(losses.bmc(*TOKENS, MASK & False, MASK & False, beta=0.1), TOKEN_DPO)
    same(losses.two_d_dpo(*TOKENS, EVERY, EVERY), TOKEN_DPO)
    gates = Gates(EVERY, NONE, EVERY)
    same(losses.sparse_po(*TOKENS, gates, gates), TOKEN_DPO)
    kl = [drawn(60 + i, N, 6, low=0, high=1) for i in range(2)]
    both = [Gates(EVERY, EVERY, k) for k in kl]
    sums = [x.sums() for x in TOKENS]
    summed = [(k * x.mask).sum(-1) for k, x in zip(kl, TOKENS, strict=True)]
    same(losses.sparse_po(*TOKENS, *both), losses.tdpo1(sums[0].ratio, sums[1].ratio, *summed))


def test_ld_dpo_without_the_tail_cuts_both_to_one_length() -> None:
    shared = torch.minimum(MASK.sum(-1), MASK.flip(0).sum(-1))
    cut = [x._replace(mask=torch.arange(6) < shared.unsqueeze(1)) for x in TOKENS]
    expected = losses.policy_loss("sigmoid", beta=0.1)(cut[0].sums(), cut[1].sums())
    same(losses.ld_dpo(*TOKENS, alpha=0.0), expected)


def test_wpo_weight_averages_one_under_the_policy() -> None:
    probs = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    weights = losses.wpo_weight(
        probs.log().unsqueeze(1), (probs**2).sum().log().expand(3, 1), torch.ones(3, 1)
    )
    assert (probs * weights).sum().item() == pytest.approx(1)
    assert weights[0].item() == pytest.approx(0.5 / 0.38)


def test_cringe_with_one_rival_is_a_pair_loss_against_the_best_other_token() -> None:
    logits = torch.tensor([[[1.0, 2.0, 4.0], [0.0, 3.0, 1.0]]] * 2, dtype=torch.float64)
    tokens, mask = torch.tensor([[2, 0]] * 2), torch.ones(2, 2)
    value = losses.cringe(logits, tokens, mask, torch.tensor([True, False]), k=1, alpha=0.5)
    nll = -(logits[0].log_softmax(-1)[0, 2] + logits[0].log_softmax(-1)[1, 0]) / 2
    contrast = 0.5 * (math.log1p(math.exp(4 - 2)) + math.log1p(math.exp(0 - 3))) / 2
    assert value.tolist() == pytest.approx([nll.item(), contrast])
    sampled = losses.cringe(
        logits, tokens, mask, torch.tensor([False, False]), k=2,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert torch.isfinite(sampled).all()


def test_pairwise_cringe_is_switched_by_its_gate() -> None:
    same(losses.pairwise_cringe(P, GAP, W, bias=1e3), P + GAP)
    assert losses.pairwise_cringe(P, GAP, W, bias=-1e3).max() < 1e-12


# --- general preference, groups, games -----------------------------------------------------------


def test_gpm_is_skew_and_holds_cycles_and_bradley_terry() -> None:
    a, b = drawn(81, N, 6), drawn(82, N, 6)
    same(losses.gpm_score(a, b), -losses.gpm_score(b, a))
    same(losses.gpm_score(a, a), ZEROS)
    angle = 2 * math.pi / 3 * torch.arange(3, dtype=torch.float64)
    v = torch.stack([angle.cos(), angle.sin()], -1)
    assert (losses.gpm_score(v, v.roll(-1, 0)) > 0).all()
    ranked = [torch.stack([x, ONES], -1) for x in (W, L)]
    same(losses.gpm(*ranked, tau=1.0), losses.sigmoid(W, L))


def test_one_group_is_bradley_terry() -> None:
    one = torch.zeros(1, dtype=torch.float64)
    same(losses.micro(W.unsqueeze(-1), L.unsqueeze(-1), one), losses.sigmoid(W, L))


def test_game_objectives() -> None:
    plain = losses.inpo(CHOSEN, REJECTED, drawn(1), drawn(2), eta=0.1, tau=0.1)
    same(plain, losses.ipo(CHOSEN.ratio, REJECTED.ratio, beta=0.1))
    same(
        losses.onpo(CHOSEN, REJECTED, eta=10.0), losses.ipo(CHOSEN.ratio, REJECTED.ratio, beta=0.1)
    )
    logits, reference = drawn(91, N, 4), drawn(92, N, 4)
    same(losses.geometric_mixture(logits, reference, mixture=0.0), logits.log_softmax(-1))
    same(losses.geometric_mixture(logits, reference, mixture=1.0), reference.log_softmax(-1))
    half = losses.geometric_mixture(logits, reference).exp()
    root = (logits.softmax(-1) * reference.softmax(-1)).sqrt()
    same(half, root / root.sum(-1, keepdim=True))
    wins = torch.tensor([[0.5, 1.0, 0.2], [0.0, 0.5, 0.4], [0.8, 0.6, 0.5]])
    assert losses.win_rate_rewards(wins).tolist() == pytest.approx([0.6, 0.2, 0.7])
    same(losses.lsc(W, 0.0) + losses.lsc(L, 0.0), torch.log(torch.sigmoid(W) * torch.sigmoid(L)))


def test_bnpo_is_reinforce_or_grpo_at_its_special_shapes() -> None:
    reward = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    p = torch.tensor([0.25, 0.5, 0.9], dtype=torch.float64)
    one, half = torch.tensor(1.0, dtype=torch.float64), torch.tensor(1.5, dtype=torch.float64)
    same(losses.bnpo_advantage(reward, p, one, one), reward - p)
    ratio = losses.bnpo_advantage(reward, p, half, half) / ((reward - p) / (p * (1 - p)).sqrt())
    same(ratio, ratio[0].expand(3))


def test_drpo_without_estimate_or_divergence_is_two_policy_gradients() -> None:
    drawn_item = Sampled(W, P, ZEROS)
    value = losses.drpo_doubly(CHOSEN, ONES, GAP, drawn_item, clip=1.0, beta=0.0)
    same(value, -(1 - GAP) * CHOSEN.policy - (P - 0.5) * W)


@settings(max_examples=50)
@given(alpha=st.floats(0.05, 3))
def test_itakura_saito_is_half_a_square_near_zero_and_never_negative(alpha: float) -> None:
    small = 1e-4 * W / alpha
    same(losses.itakura_saito(small, alpha=alpha), small**2 / 2 + alpha * small**3 / 6, 1e-9)
    assert (losses.itakura_saito(W, alpha=alpha) >= 0).all()
    same(losses.kl_k3(W), torch.exp(-W) + W - 1, 1e-9)


def test_helpers_compute_half_precision_in_float32() -> None:
    half = Tokens(*(x.bfloat16() if x.is_floating_point() else x for x in TOKENS[0]))
    full = half._replace(policy=half.policy.float(), reference=half.reference.float())
    for found, expected in (
        (half.sums().policy, full.sums().policy),
        (half.sums().reference, full.sums().reference),
        (losses.kto_baseline(half.policy.abs()), losses.kto_baseline(full.policy.abs())),
        (
            losses.geometric_mixture(half.policy, half.reference),
            losses.geometric_mixture(full.policy, full.reference),
        ),
        (
            losses.wpo_weight(half.policy, half.reference, half.mask),
            losses.wpo_weight(full.policy, full.reference, full.mask),
        ),
    ):
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)
    assert TOKENS[0].sums().policy.dtype == torch.float64
    sides = [LogProbs(x.sums().policy.bfloat16(), x.sums().reference.bfloat16()) for x in TOKENS]
    exact = [LogProbs(x.policy.float(), x.base.float()) for x in sides]
    dpo = losses.policy_loss("sigmoid")
    assert torch.equal(dpo(*sides), dpo(*exact))


def test_mrpo_of_two_uniform_references_is_reference_free() -> None:
    sides = [x._replace(reference=ZEROS) for x in (CHOSEN, REJECTED)]
    expected = losses.policy_loss("sigmoid", beta=0.1)(*sides)
    same(losses.mrpo(*sides, ZEROS, ZEROS), expected)
