"""Values worked out by hand at u = log 3, where σ(u) = 3/4 and both logarithms are exact."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pbrl import losses
from pbrl.losses import LogProbs, Sampled, Tokens

LN3 = math.log(3)
WIN, LOSE = math.log(4 / 3), math.log(4)  # ℓ(u) and ℓ(-u)


def t(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


W, L = t(1 + LN3), t(1.0)
ONE, ZERO = t(LN3), t(0.0)  # s_w = log 3 and s_l = 0, for losses that see zero
# log π_w = -log 3 of length 1 and log π_l = -2 log 3 of length 2; ρ_w = log 3, ρ_l = 0.
CHOSEN, REJECTED = LogProbs(t(-LN3), t(-2 * LN3), t(1)), LogProbs(t(-2 * LN3), t(-2 * LN3), t(2))


def tokens(policy: tuple[float, ...], reference: tuple[float, ...], count: int = 2) -> Tokens:
    """One item of two places, of which the first `count` are its own."""
    return Tokens(t(*policy)[None], t(*reference)[None], torch.arange(2)[None] < count)


def two(*values: float) -> Tensor:
    return t(*values)[None]


ALL, NO, FIRST = (torch.tensor([m]) for m in ((True, True), (False, False), (True, False)))
RARE = -math.log(2)  # log of 1/2: 1/π = 2
LONG, SHORT = tokens((0, 2 * LN3), (0, 0)), tokens((0, 5), (0, 0), count=1)
SAMPLED = Sampled(t(-1.0), t(0.75), t(-LN3))
# Two prompts of means 1/4 and 3/4: mean 1/2, variance 1/8, a = b = 1/2, so α = β = 7/6.
REWARDS = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 0]], dtype=torch.float64)
PDF = math.gamma(7 / 3) / math.gamma(7 / 6) ** 2 * (3 / 16) ** (1 / 6)

VALUES: list[tuple[str, Callable[[], Tensor], float]] = [
    ("sigmoid", lambda: losses.sigmoid(W, L), WIN),
    ("sigmoid, soft", lambda: losses.sigmoid(W, L, 0.25), 0.25 * WIN + 0.75 * LOSE),
    ("sigmoid, margin", lambda: losses.sigmoid(W, L, 1.0, LN3), math.log(2)),
    ("cdpo", lambda: losses.cdpo(W, L, eps=0.25), 0.75 * WIN + 0.25 * LOSE),
    ("robust", lambda: losses.robust(W, L, eps=0.25), 1.5 * WIN - 0.5 * LOSE),
    ("flip_nll", lambda: losses.flip_nll(W, L, eps=0.25), -math.log(5 / 8)),
    ("nbpo", lambda: losses.nbpo(W, L, gamma_minus=0.2, gamma_plus=0.4), -math.log(0.7)),
    ("hinge", lambda: losses.hinge(W, L, margin=2.0), 2 - LN3),
    ("ipo", lambda: losses.ipo(W, L, beta=0.5), (LN3 - 1) ** 2),
    ("exo_pair", lambda: losses.exo_pair(W, L, eps=0.25), 0.0),
    (
        "exo_pair, other eps",
        lambda: losses.exo_pair(W, L, eps=0.4),
        0.75 * math.log(0.75 / 0.6) + 0.25 * math.log(0.25 / 0.4),
    ),
    ("discopop", lambda: losses.discopop(W, L, tau=0.5), 0.1 * WIN + 0.9 / 3),
    ("napo", lambda: losses.napo(W, L, q=0.5), 2 - math.sqrt(3)),
    ("mae", lambda: losses.mae(W, L), 0.25),
    ("exp", lambda: losses.exp(W, L), 1 / 3),
    ("smpo", lambda: losses.smpo(W, L, t(0.0)), LOSE),
    ("cpl", lambda: losses.cpl(t(LN3), t(2 * LN3), rejected_scale=0.5), math.log(2)),
    ("dppo", lambda: losses.dppo(t(-0.1), t(-0.1 * (1 + LN3)), temperature=0.1), WIN),
    ("dpo_shift", lambda: losses.dpo_shift(t(2 * LN3), t(2 * LN3), rejected_scale=0.5), WIN),
    ("pair", lambda: losses.pair(W, L, link="exponential", temperature=2.0, weight=3.0), 1 / 3),
    ("odpo", lambda: losses.odpo(W, L, t(3.0)), math.log(2)),
    ("mmpo", lambda: losses.mmpo(W, L, t(LN3), gamma=1.0), 0.75 * WIN + 0.25 * LOSE),
    ("mappo", lambda: losses.mappo(t(2 * LN3), t(2 * LN3), t(0.5)), WIN),
    ("r_dpo", lambda: losses.r_dpo(L, L, t(3), t(1), alpha=LN3 / 2), WIN),
    ("spo_sequential", lambda: losses.spo_sequential(W, L, t(2 * LN3)), math.log(2)),
    ("wpo", lambda: losses.wpo(W, L, t(0.5)), WIN / 2),
    ("tdpo1", lambda: losses.tdpo1(W, L, t(0.5), t(0.5), beta=1.0), WIN),
    ("tdpo2", lambda: losses.tdpo2(L, L, t(2 * LN3), t(0.0), beta=1.0), WIN),
    ("bfpo", lambda: losses.bfpo(W, L, t(1), t(0), beta=1.0), (LN3 - 1) ** 2),
    ("egpo", lambda: losses.egpo(W, L, t(0.75), t(0.25), beta=0.5), (LN3 - 1) ** 2),
    ("nca_pair", lambda: losses.nca_pair(ONE, ZERO), WIN + LOSE / 2 + math.log(2) / 2),
    ("bco_pair", lambda: losses.bco_pair(ONE, ZERO), WIN + math.log(2)),
    ("sppo_hard", lambda: losses.sppo_hard(ONE, ZERO, beta=0.5), (LN3 - 1) ** 2 + 1),
    ("sppo", lambda: losses.sppo(ONE, ZERO, t(0.75), t(0.5), beta=0.25), (LN3 - 1) ** 2),
    ("apo_zero", lambda: losses.apo_zero(ONE, ZERO), 0.25 + 0.5),
    ("apo_down", lambda: losses.apo_down(ONE, ZERO), 0.75 + 0.25),
    ("dpop", lambda: losses.dpop(-ONE, -ONE, penalty=1.0), LOSE),
    ("rao_kupper, win", lambda: losses.rao_kupper(W, L, alpha=LN3), math.log(2)),
    ("rao_kupper, loss", lambda: losses.rao_kupper(W, L, 0.0, alpha=LN3), math.log(10)),
    ("rao_kupper, tie", lambda: losses.rao_kupper(W, L, 0.5, alpha=LN3), math.log(20 / 8)),
    ("davidson, win", lambda: losses.davidson(t(2 * LN3), t(0.0), nu=2.0), math.log(16 / 9)),
    ("davidson, tie", lambda: losses.davidson(t(2 * LN3), t(0.0), 0.5, nu=2.0), math.log(8 / 3)),
    ("sigmoid_norm", lambda: losses.sigmoid_norm(CHOSEN, REJECTED, beta=1.0), WIN),
    ("h_dpo", lambda: losses.h_dpo(CHOSEN, REJECTED, beta=2.0, alpha=0.5), WIN),
    ("f_dpo, forward", lambda: losses.f_dpo(CHOSEN, REJECTED, beta=1.5 * LN3), WIN),
    (
        "f_dpo, js",
        lambda: losses.f_dpo(CHOSEN, REJECTED, beta=1.0, divergence="js_divergence"),
        math.log(5 / 3),
    ),
    (
        "f_dpo, alpha",
        lambda: losses.f_dpo(
            CHOSEN, REJECTED, beta=LN3 / 2, divergence="alpha_divergence", alpha=2.0
        ),
        WIN,
    ),
    ("simpo", lambda: losses.simpo(CHOSEN, REJECTED, beta=2.0, gamma=-LN3), WIN),
    ("repo", lambda: losses.repo(CHOSEN, REJECTED, gamma=0.5), 0.5),
    ("alphapo", lambda: losses.alphapo(CHOSEN, REJECTED, gamma=-LN3), WIN),
    ("sft", lambda: losses.sft(CHOSEN, REJECTED), LN3),
    ("dpo_nll", lambda: losses.dpo_nll(CHOSEN, REJECTED, beta=1.0, alpha=0.5), WIN + LN3 / 2),
    ("cpo", lambda: losses.cpo(CHOSEN, REJECTED, beta=1.0, alpha=2.0), WIN + 2 * LN3),
    ("slic", lambda: losses.slic(CHOSEN, REJECTED, delta=2.0), 2 - LN3 + 0.1 * LN3),
    ("orpo", lambda: losses.orpo(CHOSEN, REJECTED, beta=0.5), LN3 + math.log(2) / 2),
    (
        "tpo_triple",
        lambda: losses.tpo_triple(CHOSEN, REJECTED, REJECTED, beta=1.0, alpha=2.0),
        WIN + 2 * LN3,
    ),
    ("tpo_l", lambda: losses.tpo_l(CHOSEN, REJECTED, CHOSEN, gamma=0.0), math.log(2) + 0.9 * LN3),
    ("kto", lambda: losses.kto(ONE, torch.tensor([True]), 0.0, beta=1.0), 0.25),
    ("kto, bad", lambda: losses.kto(2 * ONE, torch.tensor([False]), LN3, beta=1.0), 0.75),
    ("bco", lambda: losses.bco(2 * ONE, torch.tensor([False]), LN3, 0.5), LOSE / 2),
    ("point_bce", lambda: losses.point_bce(ONE, torch.tensor([True])), WIN),
    (
        "diffusion_kto",
        lambda: losses.diffusion_kto(
            ONE, torch.tensor([True]), 0.0, 1.0, t(0.5), utility="risk_seeking"
        ),
        1.5 - LOSE,
    ),
    ("plackett_luce", lambda: losses.plackett_luce(t(LN3, 0, 0)), math.log(5 / 3) + math.log(2)),
    ("infonca", lambda: losses.infonca(t(LN3, 0), t(LN3, 0)), 0.75 * WIN + 0.25 * LOSE),
    ("mpo_set", lambda: losses.mpo_set(t(LN3, 0, 0), t(2, 2, 0), alpha=0.0), math.log(5 / 4)),
    ("pairwise_mean", lambda: losses.pairwise_mean(t(LN3, 0), t(0, 1)), LOSE),
    ("micro", lambda: losses.micro(t(LN3, 0), t(0, LN3), t(0.5, 0.5).log()), math.log(2)),
    ("gpm", lambda: losses.gpm(t(LN3, 1), t(0, 1), tau=1.0), WIN),
    ("gpm_regression", lambda: losses.gpm_regression(t(3, 1), t(1, 1), tau=1.0), 32.0),
    ("onpo", lambda: losses.onpo(CHOSEN, REJECTED, eta=2.0), (LN3 - 1) ** 2),
    ("gpo", lambda: losses.gpo(ONE, t(0.5), beta=0.5), (LN3 - 1) ** 2),
    ("nash_md", lambda: losses.nash_md(ONE, t(2), t(1), beta=0.5), LN3 / 2),
    ("lsc", lambda: losses.lsc(ONE, 0.0), -WIN),
    ("itakura_saito", lambda: losses.itakura_saito(ONE), 2 - LN3),
    ("kl_k3", lambda: losses.kl_k3(-ONE), 2 - LN3),
    ("center_rewards", lambda: losses.center_rewards(t(1), t(2)), 9.0),
    ("l2_rewards", lambda: losses.l2_rewards(t(1), t(2)), 5.0),
    ("nll", lambda: losses.nll(REJECTED), LN3),
    ("chi2", lambda: losses.chi2(t(-3)), 9.0),
    ("behavior_cloning", lambda: losses.behavior_cloning(t(-2)), 2.0),
    ("xpo", lambda: losses.xpo(t(-2)), -2.0),
    (
        "inpo",
        lambda: losses.inpo(CHOSEN, REJECTED, t(-1), t(-3), eta=2.0, tau=1.0),
        (LN3 - 1.25) ** 2,
    ),
    ("ulma", lambda: losses.ulma(REJECTED, NO[:, 0], beta=1.0, log_z=LN3), LOSE),
    (
        "ulma, rated",
        lambda: losses.ulma(CHOSEN, NO[:, 0], t(3), beta=2.0, log_z=-LN3),
        (3 - LN3) ** 2,
    ),
    ("ld_dpo", lambda: losses.ld_dpo(LONG, SHORT, beta=1.0, alpha=0.5), WIN),
    (
        "bmc, cut by delta",
        lambda: losses.bmc(
            tokens((RARE, 0), (RARE - LN3 / 2, -7)), SHORT, FIRST, NO, beta=1.0, delta=1.0
        ),
        math.log1p(math.exp(-LN3 - 7)),
    ),
    (
        "bmc, not cut",
        lambda: losses.bmc(
            tokens((RARE, 0), (RARE - LN3 / 3, 0)), SHORT, FIRST, NO, beta=1.0, delta=5.0
        ),
        WIN,
    ),
    (
        "two_d_dpo",
        lambda: losses.two_d_dpo(
            tokens((LN3 / 2, 7), (0, 0)), tokens((1, 0), (0, 0)), two(2, 0), two(0, 3), beta=1.0
        ),
        WIN,
    ),
    (
        "bnpo",
        lambda: losses.bnpo(torch.full((2, 4), -2.0, dtype=torch.float64), REWARDS)[0, :1],
        0.75 / PDF * 2,
    ),
    (
        "drpo_doubly",
        lambda: losses.drpo_doubly(CHOSEN, t(1), t(0.25), SAMPLED, clip=10.0, beta=0.5),
        0.5 * (2 - LN3) + 3 * 0.75 * LN3 + 0.25,
    ),
    (
        "drpo_doubly, clipped",
        lambda: losses.drpo_doubly(CHOSEN, t(1), t(0.25), SAMPLED, clip=2.0, beta=0.5),
        0.5 * (2 - LN3) + 2 * 0.75 * LN3 + 0.25,
    ),
    ("anchor_cosine", lambda: losses.anchor_cosine(t(3, 4), t(4, 3)), 1 - 24 / 25),
]


@pytest.mark.parametrize(
    ("function", "expected"), [v[1:] for v in VALUES], ids=[v[0] for v in VALUES]
)
def test_value_worked_out_by_hand(function: Callable[[], Tensor], expected: float) -> None:
    assert function().item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_diagnostics() -> None:
    first, second = t(1, 1, 1, 1), t(2, 0, 1, 5)
    assert losses.accuracy(first, second, t(1, 1, 0, 0.5)).item() == pytest.approx(0.5)
    skipped = t(1, 1, 0, float("nan"))
    assert losses.accuracy(first, second, skipped).item() == pytest.approx(0.5)
    assert losses.displacement(t(-1, -2), t(-2, -1)).item() == 0.5


WINS = t(0.3)
STOPPED: dict[str, Callable[[Tensor], Tensor]] = {
    "tdpo2": lambda x: losses.tdpo2(W, L, x, WINS),
    "wpo": lambda x: losses.wpo(W, L, x),
    "wpo_weight": lambda x: losses.wpo_weight(x[None], x[None], ALL[:, :1]),
    "kto_baseline": lambda x: losses.kto_baseline(x),
    "pairwise_cringe": lambda x: losses.pairwise_cringe(W, L, x),
    "nash_md": lambda x: losses.nash_md(W, x, WINS),
    "drpo_doubly, estimate": lambda x: losses.drpo_doubly(CHOSEN, WINS, x, SAMPLED),
    "drpo_doubly, sampled": lambda x: losses.drpo_doubly(
        CHOSEN, WINS, WINS, SAMPLED._replace(win_probability=x)
    ),
    "drpo_doubly, weight": lambda x: losses.drpo_doubly(
        CHOSEN._replace(reference=x), WINS, WINS, SAMPLED
    ),
}


@pytest.mark.parametrize("name", STOPPED)
def test_what_counts_as_a_constant_gets_no_gradient(name: str) -> None:
    assert not STOPPED[name](t(0.4).requires_grad_()).requires_grad


def test_bmc_takes_its_token_weights_as_constants() -> None:
    policy = t(RARE, RARE).requires_grad_()
    chosen = Tokens(policy[None], policy.detach()[None] - two(LN3 / 3, 0), ALL)
    value = losses.bmc(chosen, SHORT._replace(policy=two(0, 0)), FIRST, NO, beta=1.0, delta=5.0)
    assert torch.autograd.grad(value.sum(), policy)[0].tolist() == pytest.approx([-0.75, -0.25])


def test_drpo_differentiates_its_divergence_from_the_reference_to_the_policy() -> None:
    # d/dρ of e^-ρ + ρ - 1 is 1 - π_ref/π, here 1 - 3.
    ratio = t(-LN3).requires_grad_()
    value = losses.drpo_doubly(CHOSEN, WINS, WINS, SAMPLED._replace(log_ratio=ratio), beta=0.5)
    assert torch.autograd.grad(value.sum(), ratio)[0].item() == pytest.approx(-1)


def test_cringe_draws_its_rival_in_proportion_to_the_softmax() -> None:
    n = 4000
    logits = t(LN3, 0, -9, 0).expand(n, 1, 4)
    value = losses.cringe(
        logits, torch.full((n, 1), 3), torch.ones(n, 1), torch.zeros(n, dtype=torch.bool), k=2,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    strong = torch.isclose(value, t(WIN))
    assert torch.isclose(value[~strong], t(math.log(2))).all()
    assert strong.double().mean().item() == pytest.approx(0.75, abs=0.03)
