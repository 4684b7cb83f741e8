"""What each loss makes of a population: its minimizer, in closed form, on tabular problems."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pbrl import losses
from pbrl.losses import LogProbs


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def minimize(function: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """The minimizer of a smooth function, by L-BFGS with a line search, in float64."""
    x = start.clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [x],
        max_iter=500,
        tolerance_grad=1e-13,
        tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        solver.zero_grad()
        value = function(x)
        value.backward()
        return value

    solver.step(closure)
    return x.detach()


def optimum(name: str, p: float, **params: float) -> float:
    """The margin u that minimizes p L(u) + (1-p) L(-u) for a pair with P(chosen preferred) = p."""
    zero = torch.zeros(1, dtype=torch.float64)
    label = torch.tensor([p], dtype=torch.float64)
    function = losses.LOSSES[name]
    found = minimize(lambda u: function(u, zero, label, **params).sum(), zero + 0.1)
    return found.item()


@pytest.mark.parametrize("p", [0.6, 0.8, 0.95])
def test_minimizers_for_a_known_preference(p: float) -> None:
    assert optimum("sigmoid", p) == pytest.approx(logit(p), abs=1e-6)
    assert optimum("exp", p) == pytest.approx(logit(p) / 2, abs=1e-6)
    for beta in (0.1, 1.0):
        assert optimum("ipo", p, beta=beta) == pytest.approx((2 * p - 1) / (2 * beta), abs=1e-6)
    for q in (0.25, 0.5, 0.75):
        assert optimum("napo", p, q=q) == pytest.approx(logit(p) / (1 - q), abs=1e-4)
    smoothed = 0.9 * p + 0.1 * (1 - p)
    assert optimum("cdpo", p, eps=0.1) == pytest.approx(logit(smoothed), abs=1e-6)


@pytest.mark.parametrize("name", ["robust", "flip_nll"])
@pytest.mark.parametrize("eps", [0.05, 0.1, 0.3])
def test_noise_losses_recover_the_clean_preference(name: str, eps: float) -> None:
    shown = 0.8 * (1 - eps) + 0.2 * eps
    assert optimum(name, shown, eps=eps) == pytest.approx(logit(0.8), abs=1e-5)


def test_flips_of_one_side_are_undone() -> None:
    zero = torch.zeros(1, dtype=torch.float64)
    shown = torch.tensor([0.8 * (1 - 0.3) + 0.2 * 0.05], dtype=torch.float64)

    def risk(u: Tensor) -> Tensor:
        return losses.nbpo(u, zero, shown, gamma_minus=0.3, gamma_plus=0.05).sum()

    assert minimize(risk, zero + 0.1).item() == pytest.approx(logit(0.8), abs=1e-5)


@pytest.mark.parametrize("name", ["exo_pair", "cdpo"])
def test_both_divergences_stop_at_the_smoothed_label(name: str) -> None:
    assert optimum(name, 1.0, eps=0.1) == pytest.approx(logit(0.9), abs=1e-4)


def test_losses_that_follow_the_majority_only() -> None:
    u = torch.linspace(-6, 6, 2401, dtype=torch.float64)
    p = torch.full_like(u, 0.7)
    hinge = losses.hinge(u, 0 * u, p)
    assert u[hinge.argmin()].item() == pytest.approx(1, abs=1e-9)
    mae = losses.mae(u, 0 * u, p)
    assert mae.argmin().item() == len(u) - 1
    tie = losses.hinge(u, 0 * u, 0.5)
    flat = tie[u.abs() <= 1]
    assert torch.allclose(flat, torch.ones_like(flat))
    assert torch.allclose(losses.mae(u, 0 * u, 0.5), torch.full_like(u, 0.5))


def test_margin_matching_matches_the_margin() -> None:
    zero, gap = torch.zeros(1, dtype=torch.float64), torch.tensor([0.9], dtype=torch.float64)
    found = minimize(lambda u: losses.mmpo(u, zero, gap, gamma=2.2).sum(), zero)
    assert found.item() == pytest.approx(2.2 * 0.9, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_rao_kupper_recovers_the_gap_from_three_frequencies(alpha: float) -> None:
    zero, d = torch.zeros(1, dtype=torch.float64), torch.tensor([0.7], dtype=torch.float64)
    for function, params in (
        (losses.rao_kupper, {"alpha": alpha}),
        (losses.davidson, {"nu": alpha}),
    ):
        share = [torch.exp(-function(d, zero, y, **params)) for y in (0.0, 0.5, 1.0)]

        def risk(u: Tensor, f=function, share=share, params=params) -> Tensor:  # type: ignore[no-untyped-def]
            terms = zip((0.0, 0.5, 1.0), share, strict=True)
            return sum(s * f(u, zero, y, **params) for y, s in terms).sum()

        assert minimize(risk, zero).item() == pytest.approx(0.7, abs=1e-6)


# --- tabular policies over three actions ----------------------------------------------------------

REFERENCE = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()
MU = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
WINS = torch.tensor([[0.5, 0.8, 0.3], [0.2, 0.5, 0.6], [0.7, 0.4, 0.5]], dtype=torch.float64)
LEFT, RIGHT = (x.flatten() for x in torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij"))


def policy_minimizing(risk: Callable[[LogProbs, LogProbs], Tensor], wins: Tensor) -> Tensor:
    """The softmax policy that minimizes Σ μ(i) μ(j) P(i beats j) risk(i, j) over all pairs."""
    weight = MU[LEFT] * MU[RIGHT] * wins[LEFT, RIGHT]

    def objective(logits: Tensor) -> Tensor:
        logp = logits.log_softmax(0)
        sides = [LogProbs(logp[k], REFERENCE[k]) for k in (LEFT, RIGHT)]
        return (weight * risk(*sides)).sum()

    return minimize(objective, REFERENCE).softmax(0)


def test_ipo_gives_the_policy_of_the_identity_objective() -> None:
    tau = 0.4
    found = policy_minimizing(losses.policy_loss("ipo", beta=tau), WINS)
    assert torch.allclose(found, (REFERENCE + WINS @ MU / tau).softmax(0), atol=1e-6)


REWARD = torch.tensor([0.2, -0.4, 1.0], dtype=torch.float64)
BT_WINS = torch.sigmoid(REWARD.unsqueeze(1) - REWARD.unsqueeze(0))


def test_dpo_gives_the_policy_of_the_regularized_reward() -> None:
    found = policy_minimizing(losses.policy_loss("sigmoid", beta=0.5), BT_WINS)
    assert torch.allclose(found, (REFERENCE + REWARD / 0.5).softmax(0), atol=1e-6)


def test_robust_dpo_does_so_from_flipped_labels() -> None:
    flipped = 0.8 * BT_WINS + 0.2 * (1 - BT_WINS)
    found = policy_minimizing(losses.policy_loss("robust", beta=0.5, eps=0.2), flipped)
    assert torch.allclose(found, (REFERENCE + REWARD / 0.5).softmax(0), atol=1e-6)


def test_entropy_controlled_dpo_sharpens() -> None:
    found = policy_minimizing(losses.policy_loss("h_dpo", beta=0.5, alpha=0.8), BT_WINS)
    expected = (REFERENCE / 0.8 + REWARD / (0.8 * 0.5)).softmax(0)
    assert torch.allclose(found, expected, atol=1e-6)


def test_sppo_fits_the_advantage_over_the_policy() -> None:
    wins = torch.tensor([0.6, 0.3], dtype=torch.float64)
    start = torch.zeros(2, dtype=torch.float64)
    found = minimize(lambda x: losses.sppo(x[:1], x[1:], wins[:1], wins[1:], beta=0.5).sum(), start)
    assert torch.allclose(found, (wins - 0.5) / 0.5, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.5, 1.0, -0.5])
def test_itakura_saito_finds_the_entropic_value(alpha: float) -> None:
    outcomes = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    chance = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    start = torch.ones(1, dtype=torch.float64)
    found = minimize(
        lambda v: (chance * losses.itakura_saito(v - outcomes, alpha=alpha)).sum(), start
    )
    expected = -torch.log((chance * torch.exp(-alpha * outcomes)).sum()) / alpha
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)


def test_infonca_and_nca_learn_the_rewards() -> None:
    rewards = torch.tensor([[0.5, -0.2, 1.1]], dtype=torch.float64)
    found = minimize(lambda s: losses.infonca(s, rewards).sum(), torch.zeros_like(rewards))
    assert torch.allclose(found - found[:, :1], rewards - rewards[:, :1], atol=1e-5)
    # NCA fixes the constant as well: e^s = K softmax(rewards).
    found = minimize(lambda s: losses.nca(s, rewards).sum(), torch.zeros_like(rewards))
    assert torch.allclose(found, (3 * rewards.softmax(-1)).log(), atol=1e-5)
