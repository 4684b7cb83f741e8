"""What one loss becomes in the limit or special case of another, and the symmetries of each."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pbrl import losses
from pbrl.losses import LogProbs

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


def logistic(u: Tensor) -> Tensor:
    """Written otherwise than in the library."""
    return torch.log1p(torch.exp(-u.abs())) + (-u).clamp(min=0)


# --- the logistic family -------------------------------------------------------------------------


def test_sigmoid_is_the_log_of_the_logistic_function() -> None:
    same(losses.sigmoid(W, L), logistic(W - L))
    same(losses.sigmoid(W, L, P, 0.3), P * logistic(W - L - 0.3) + (1 - P) * logistic(L - W + 0.3))


@pytest.mark.parametrize("name", ["cdpo", "robust", "flip_nll"])
def test_without_noise_the_noise_losses_are_logistic(name: str) -> None:
    same(losses.LOSSES[name](W, L, P, eps=0.0), losses.sigmoid(W, L, P))


@given(eps=st.floats(0, 0.45), u=st.floats(-50, 50))
def test_robust_is_unbiased_under_flips(eps: float, u: float) -> None:
    u_ = torch.tensor([u], dtype=torch.float64)
    right, wrong = (losses.robust(a, b, eps=eps) for a, b in ((u_, 0 * u_), (0 * u_, u_)))
    same((1 - eps) * right + eps * wrong, losses.sigmoid(u_, 0 * u_), 1e-9)


def test_flips_of_one_rate_are_flip_nll_and_bounded() -> None:
    same(losses.nbpo(W, L, gamma_minus=0.2, gamma_plus=0.2), losses.flip_nll(W, L, eps=0.2))
    same(losses.nbpo(W, L, P, gamma_minus=0.0, gamma_plus=0.0), losses.sigmoid(W, L, P))
    assert (losses.flip_nll(1e4 * W, 1e4 * L, eps=0.2) <= -math.log(0.2) + 1e-12).all()
    written_out = -torch.log(0.7 * torch.sigmoid(W - L) + 0.1 * torch.sigmoid(L - W))
    same(losses.nbpo(W, L, gamma_minus=0.3, gamma_plus=0.1), written_out)


@given(
    u=st.floats(-30, 30),
    minus=st.floats(0, 0.9),
    plus=st.floats(0, 0.09),
)
def test_both_labels_of_nbpo_have_probabilities_that_sum_to_one(
    u: float, minus: float, plus: float
) -> None:
    w = torch.tensor([u], dtype=torch.float64)
    rates = {"gamma_minus": minus, "gamma_plus": plus}
    both = [torch.exp(-losses.nbpo(w, 0 * w, y, **rates)) for y in (0.0, 1.0)]
    same(both[0] + both[1], 0 * w + 1)
    mixed = losses.nbpo(w, 0 * w, torch.tensor([0.25], dtype=torch.float64), **rates)
    same(mixed, -0.75 * both[0].log() - 0.25 * both[1].log(), 1e-9)


def test_box_cox_lies_between_logistic_and_mae() -> None:
    same(losses.napo(W, L, q=1e-8), losses.sigmoid(W, L), 1e-6)
    same(losses.napo(W, L, q=1.0), losses.mae(W, L))
    same(losses.napo(W, L, q=0.3), (1 - torch.sigmoid(W - L) ** 0.3) / 0.3)


def test_exo_is_a_divergence_with_minimum_zero_at_the_smoothed_label() -> None:
    u = torch.tensor([math.log(9.0)], dtype=torch.float64)
    assert losses.exo_pair(u, 0 * u, eps=0.1).item() == pytest.approx(0, abs=1e-15)
    assert (losses.exo_pair(W, L, eps=0.1) >= 0).all()
    q = torch.sigmoid(W - L)
    same(
        losses.exo_pair(W, L, eps=0.1), q * torch.log(q / 0.9) + (1 - q) * torch.log((1 - q) / 0.1)
    )


def test_discopop_mixes_the_logistic_and_the_exponential() -> None:
    u, s = W - L, torch.sigmoid((W - L) / 0.5)
    same(losses.discopop(W, L, tau=0.5), (1 - s) * logistic(u) + s * torch.exp(-u))


def test_smpo_scales_by_the_certainty_of_the_label() -> None:
    same(losses.smpo(W, L, ONES), losses.sigmoid(W, L))
    same(losses.smpo(W, L, 0.5 * ONES), math.log(2) * ONES)
    same(losses.smpo(W, L, P), logistic((2 * P - 1) * (W - L)))


def test_hinge_exponential_and_square_are_what_they_say() -> None:
    same(losses.hinge(W, L, margin=0.7), (0.7 - W + L).clamp(min=0))
    same(losses.exp(W, L), torch.exp(L - W))
    same(losses.ipo(W, L, beta=0.25), (W - L - 2) ** 2)


@pytest.mark.parametrize("name", ["logistic", "hinge", "square", "exponential", "mae", "exo"])
def test_the_grid_applies_every_modifier_in_its_place(name: str) -> None:
    def link(u: Tensor) -> Tensor:
        return losses.LINKS[name](u)

    found = losses.pair(
        W, L, P, link=name, margin=0.3, rejected_scale=0.6, temperature=1.7, weight=2.0
    )
    ahead, behind = 1.7 * (W - 0.6 * L - 0.3), 1.7 * (L - 0.6 * W + 0.3)
    same(found, 2 * (P * link(ahead) + (1 - P) * link(behind)))


# --- margins, scales, weights --------------------------------------------------------------------


def test_the_scale_on_the_rejected_score() -> None:
    same(losses.dpo_shift(W, L, rejected_scale=1.0), losses.sigmoid(W, L))
    same(losses.mappo(W, L, ONES), losses.sigmoid(W, L))
    same(losses.mappo(W, L, 0.4 * ONES), losses.dpo_shift(W, L, rejected_scale=0.4))
    same(losses.cpl(W, L, rejected_scale=0.4), losses.dpo_shift(W, L, rejected_scale=0.4))
    same(losses.cpl(W, L, P, rejected_scale=1.0), losses.sigmoid(W, L, P))
    same(losses.dppo(W, L, temperature=0.5), losses.sigmoid(2 * W, 2 * L))
    w, l = W.clone().requires_grad_(), L.clone().requires_grad_()  # noqa: E741
    grads = torch.autograd.grad(losses.dpo_shift(w, l, rejected_scale=0.9).sum(), (w, l))
    same(-grads[1] / grads[0], 0.9 * ONES)


def test_margins_that_vanish() -> None:
    plain = losses.sigmoid(W, L)
    same(losses.odpo(W, L, GAP, alpha=0.0), plain)
    same(losses.odpo(W, L, ONES), plain)
    same(losses.r_dpo(W, L, LENGTH, LENGTH), plain)
    same(losses.spo_sequential(W, L, GAP, mu=0.0), plain)
    same(losses.dpop(W.abs(), L), losses.sigmoid(W.abs(), L))
    same(losses.wpo(W, L, ONES), plain)
    same(losses.mmpo(W, L, ZEROS), losses.sigmoid(W, L, 0.5))


def test_a_longer_winner_needs_less_of_a_margin() -> None:
    longer = losses.r_dpo(W, L, 2 * LENGTH, LENGTH, alpha=0.1)
    same(longer, losses.sigmoid(W, L, 1.0, -0.1 * LENGTH))
    assert (longer < losses.sigmoid(W, L)).all()


def test_weights_only_scale() -> None:
    leaf = W.clone().requires_grad_()
    value = losses.wpo(leaf, L, torch.where(P > 0.5, 1.0, 0.0))
    grad = torch.autograd.grad(value.sum(), leaf)[0]
    assert not value[P <= 0.5].any()
    assert not grad[P <= 0.5].any()


def test_token_level_dpo() -> None:
    plain = losses.sigmoid(0.1 * W, 0.1 * L)
    same(losses.tdpo2(W, L, GAP, P, alpha=0.0), plain)
    same(losses.tdpo1(W, L, GAP, GAP), plain)
    same(losses.tdpo1(W, L, GAP, P), losses.tdpo2(W, L, GAP, P, alpha=1.0))


def test_regressions_of_the_margin() -> None:
    same(losses.bfpo(W, L, ONES, ONES), losses.ipo(W, L))
    same(losses.bfpo(W, L, ZEROS, ZEROS), (W - L + 5) ** 2)
    same(losses.egpo(W, L, ONES, 0.5 * ONES), losses.ipo(W, L))
    same(losses.sppo(W, L, ONES, ZEROS, beta=0.1), losses.sppo_hard(W, L, beta=0.1))
    assert losses.sppo_hard(5 * ONES, -5 * ONES, beta=0.1).max() == 0
    same(losses.gpo(W, GAP, beta=0.5), (W - 2 * GAP) ** 2)


# --- two-sided -----------------------------------------------------------------------------------


@given(a=st.floats(-30, 30), b=st.floats(-30, 30), delta=st.floats(-30, 30))
def test_bco_bounds_dpo_from_above_for_every_shift(a: float, b: float, delta: float) -> None:
    w, l = (torch.tensor([x], dtype=torch.float64) for x in (a, b))  # noqa: E741
    assert losses.bco_pair(w, l, delta=delta) >= losses.sigmoid(w, l) - 1e-12


def test_two_sided_losses_are_pointwise_losses_of_both_items() -> None:
    good, bad = torch.ones(N, dtype=torch.bool), torch.zeros(N, dtype=torch.bool)
    of_points = losses.bco(W, good, 0.2) + losses.bco(L, bad, 0.2)
    same(losses.bco_pair(W, L, delta=0.2), of_points)
    of_points = losses.apo_zero_unpaired(W, good) + losses.apo_zero_unpaired(L, bad)
    same(losses.apo_zero(0.1 * W, 0.1 * L), of_points)
    of_points = losses.point_bce(W, good) + losses.point_bce(L, bad)
    same(losses.bco_pair(W, L), of_points)
    same(losses.apo_down(W, L), torch.sigmoid(W) + 1 - torch.sigmoid(W - L))


SHIFTED_BY_A_CONSTANT = ["nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down", "dpop"]


OF_SCORES = [
    name
    for name, function in sorted(losses.LOSSES.items())
    if function.meta["kind"] in ("pair", "tie")  # type: ignore[attr-defined]
    and name not in ("cpl", "dpo_shift")  # λ < 1 sees the constant: the next test
]


@pytest.mark.parametrize("name", OF_SCORES)
def test_only_differences_count_except_where_zero_means_something(name: str) -> None:
    function = losses.LOSSES[name]
    moved = torch.allclose(function(W + 5, L + 5), function(W, L), rtol=1e-10)
    assert moved is (name not in SHIFTED_BY_A_CONSTANT)


def test_a_scale_below_one_sees_a_constant() -> None:
    assert (losses.cpl(W + 5, L + 5) < losses.cpl(W, L)).all()


@pytest.mark.parametrize(
    "name", ["sigmoid", "cdpo", "robust", "hinge", "ipo", "exo_pair", "napo", "cpl", "dppo", "pair"]
)
@pytest.mark.parametrize("margin", [0.0, 0.4])
def test_exchanging_the_items_and_the_label_changes_nothing(name: str, margin: float) -> None:
    if name == "sigmoid":
        same(losses.sigmoid(W, L, P, margin), losses.sigmoid(L, W, 1 - P, -margin))
    else:
        function = losses.LOSSES[name]
        same(function(W, L, P), function(L, W, 1 - P))


# --- log-probabilities ---------------------------------------------------------------------------


def test_losses_that_become_dpo() -> None:
    same(losses.h_dpo(CHOSEN, REJECTED, alpha=1.0), DPO)
    same(losses.f_dpo(CHOSEN, REJECTED, divergence="reverse_kl"), DPO)
    near_one = losses.f_dpo(CHOSEN, REJECTED, divergence="alpha_divergence", alpha=1 - 1e-7)
    same(near_one, DPO, 1e-5)
    same(losses.mrpo(CHOSEN, REJECTED, CHOSEN.base, REJECTED.base), DPO)
    same(losses.dpo_nll(CHOSEN, REJECTED, alpha=0.0), DPO)
    equal = [x._replace(length=torch.full((N,), 5)) for x in (CHOSEN, REJECTED)]
    same(losses.sigmoid_norm(*equal, beta=0.5), DPO)


def test_small_powers_are_as_exact_in_float32_as_in_float64() -> None:
    def rounded(item: LogProbs) -> LogProbs:
        return LogProbs(item.policy.float(), item.base.float(), item.length)

    def exact(item: LogProbs) -> LogProbs:
        return LogProbs(item.policy.double(), item.base.double(), item.length)

    near_one = {"divergence": "alpha_divergence", "alpha": 1 + 1e-6}
    for function, params in ((losses.alphapo, {"alpha": 1e-6}), (losses.f_dpo, near_one)):
        sides = [rounded(CHOSEN), rounded(REJECTED)]
        expected = function(*map(exact, sides), **params)
        same(function(*sides, **params).double(), expected, 1e-5)


def test_forward_kl_is_the_alpha_divergence_at_zero() -> None:
    left = losses.f_dpo(CHOSEN, REJECTED, divergence="forward_kl")
    same(left, losses.f_dpo(CHOSEN, REJECTED, divergence="alpha_divergence", alpha=0.0))


def test_the_mixed_reference_is_a_harmonic_mean_of_both() -> None:
    second = [drawn(70, low=-9, high=0), drawn(71, low=-9, high=0)]
    same(losses.mrpo(CHOSEN, REJECTED, *second, clip=0.0), DPO)
    base = [CHOSEN.base, REJECTED.base]
    own = [(x[0] - x[1]).abs() for x in (base, second)]
    a = own[1] / (own[0] + own[1] + 1e-6)
    half = [(x + y).abs() / 2 for x, y in zip(base, second, strict=True)]
    mixed = []
    for k in range(2):
        reach = 0.3 * half[k] / (half[0] + half[1])
        near = torch.maximum(torch.minimum(second[k], base[k] * (1 - reach)), base[k] * (1 + reach))
        mean = 1 / (a / base[k].exp() + (1 - a) / near.exp())
        assert (mean >= torch.minimum(base[k], near).exp() - 1e-12).all()
        assert (mean <= torch.maximum(base[k], near).exp() + 1e-12).all()
        mixed.append(mean.log())
    expected = losses.sigmoid(0.1 * (CHOSEN.policy - mixed[0]), 0.1 * (REJECTED.policy - mixed[1]))
    same(losses.mrpo(CHOSEN, REJECTED, *second, clip=0.3), expected, 1e-10)


def test_reference_free_losses() -> None:
    same(
        losses.cpo(CHOSEN, REJECTED, alpha=0.0),
        losses.policy_loss("sigmoid", beta=0.1)(*UNIFORM),
    )
    same(
        losses.cpo(CHOSEN, REJECTED, alpha=0.3),
        losses.cpo(CHOSEN, REJECTED, alpha=0.0) + 0.3 * losses.sft(CHOSEN, REJECTED),
    )
    equal = [x._replace(length=torch.full((N,), 5)) for x in (CHOSEN, REJECTED)]
    same(losses.simpo(*equal, beta=0.5, gamma=0.0), losses.cpo(*equal, beta=0.1, alpha=0.0))
    steep = losses.simpo(CHOSEN, REJECTED, beta=1e6, gamma=0.5e6) / 1e6
    same(steep, losses.repo(CHOSEN, REJECTED, gamma=0.5), 1e-6)
    flat = losses.alphapo(CHOSEN, REJECTED, alpha=1e-7)
    same(flat, losses.simpo(CHOSEN, REJECTED), 1e-5)
    same(
        losses.slic(CHOSEN, REJECTED, nll_weight=0.0),
        losses.hinge(CHOSEN.policy, REJECTED.policy),
    )
    same(
        losses.tpo_triple(CHOSEN, REJECTED, CHOSEN, beta=0.1, alpha=1.0),
        losses.cpo(CHOSEN, REJECTED),
    )
    same(
        losses.tpo_triple(CHOSEN, REJECTED, GOLD, link="ipo", alpha=0.0),
        losses.ipo(CHOSEN.mean, REJECTED.mean, beta=0.2),
    )
    same(losses.tpo_l(CHOSEN, REJECTED, GOLD, beta=2.0, alpha=0.0), losses.simpo(CHOSEN, REJECTED))
    same(losses.orpo(CHOSEN, REJECTED, beta=0.0), losses.sft(CHOSEN, REJECTED))


def test_orpo_compares_odds() -> None:
    p = [torch.exp(x.mean) for x in (CHOSEN, REJECTED)]
    odds = [x / (1 - x) for x in p]
    expected = -torch.log(p[0]) - 0.2 * torch.log(odds[0] / (odds[0] + odds[1]))
    same(losses.orpo(CHOSEN, REJECTED, beta=0.2), expected, 1e-9)


def test_log1mexp_is_accurate_at_both_ends() -> None:
    x = torch.tensor([-1e-6, -1e-3, -0.7, -5.0, -40.0], dtype=torch.float64)
    expected = [math.log(-math.expm1(v)) for v in x[:3]] + [math.log1p(-math.exp(v)) for v in x[3:]]
    assert losses.log1mexp(x).tolist() == pytest.approx(expected, rel=1e-14)


# --- ties ----------------------------------------------------------------------------------------


@given(d=st.floats(-40, 40), alpha=st.floats(1e-3, 5), nu=st.floats(1e-3, 50))
def test_three_outcomes_have_probabilities_that_sum_to_one(
    d: float, alpha: float, nu: float
) -> None:
    w = torch.tensor([d], dtype=torch.float64)
    for function, params in ((losses.rao_kupper, {"alpha": alpha}), (losses.davidson, {"nu": nu})):
        total = sum(torch.exp(-function(w, 0 * w, y, **params)) for y in (0.0, 0.5, 1.0))
        assert total.item() == pytest.approx(1, abs=1e-12)


def test_ties_are_even_and_flat_at_equal_scores() -> None:
    for function in (losses.rao_kupper, losses.davidson):
        same(function(W, L, 0.5), function(L, W, 0.5))
        same(function(W, L, 1.0), function(L, W, 0.0))
        leaf = L.clone().requires_grad_()
        grad = torch.autograd.grad(function(leaf, L, 0.5).sum(), leaf)[0]
        same(grad, ZEROS)
        mixed = torch.where(P < 0.3, 0.0, torch.where(P < 0.6, 0.5, 1.0)).to(P.dtype)
        apart = sum((mixed == y) * function(W, L, y) for y in (0.0, 0.5, 1.0))
        same(function(W, L, mixed), apart)


def test_tie_models_agree_where_they_should() -> None:
    for alpha in (0.1, 0.5, 2.0):
        at_zero = losses.rao_kupper(ZEROS, ZEROS, 0.5, alpha=alpha)
        same(at_zero, -torch.log(torch.tanh(alpha / 2 * ONES)))
        same(at_zero, losses.davidson(ZEROS, ZEROS, 0.5, nu=math.expm1(alpha)))
    same(losses.rao_kupper(W, L, alpha=0.0), losses.sigmoid(W, L))
    same(losses.davidson(W, L, nu=0.0), losses.sigmoid(W, L))


# --- single items --------------------------------------------------------------------------------


def test_pointwise_losses() -> None:
    good = P > 0.5
    value = losses.kto(1e3 * W, good, 0.1, desirable_weight=2.0)
    assert ((value >= 0) & (value <= torch.where(good, 2.0, 1.0))).all()
    same(losses.kto(W, good, 0.0), losses.apo_zero_unpaired(W, good))
    baseline = losses.kto_baseline(W)
    same(losses.diffusion_kto(0.1 * W, good, 0.1 * baseline), losses.kto(W, good, baseline))
    averse = losses.diffusion_kto(W, good, 0.0, utility="loss_averse")
    same(averse, 1 + losses.point_bce(W, good))
    assert losses.kto_baseline(-ONES) == 0
    likelihood = losses.pmpo(W, good, alpha=1.0, beta=0.0)
    same(likelihood.mean(), -W[good].mean())
    both = losses.pmpo(W, good, P, alpha=0.4, beta=0.3).mean()
    same(both, -0.4 * W[good].mean() + 0.6 * W[~good].mean() + 0.3 * P.mean())
    same(losses.ulma(CHOSEN, torch.ones(N, dtype=torch.bool)), losses.sft(CHOSEN, REJECTED))
    nothing = torch.zeros(N, dtype=torch.bool)
    same(losses.ulma(CHOSEN, nothing), losses.point_bce(0.1 * CHOSEN.ratio, nothing))
    same(losses.ulma(CHOSEN, nothing, GAP), (GAP - 0.1 * CHOSEN.ratio) ** 2)
