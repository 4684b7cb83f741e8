"""Segment scores: one number per segment, higher is better; P(second) = link(s(second) - s(first)).

Every function takes per-step tensors [..., T] with a bool mask [..., T] of the steps that exist
and returns [...]. Leading axes are free, so a batched ensemble passes [members, N, T]. What stands
in a masked step never counts, not even NaN.
"""

import torch
from torch import Tensor


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over the steps that exist.

    Of rewards: the partial return of Christiano et al. 2017 and PEBBLE. Of advantages A*: the
    negated regret of Knox et al. 2024 (arXiv 2206.02231) for any dynamics.
    """
    return values.masked_fill(~mask, 0).sum(-1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the steps that exist; 0 for an empty segment."""
    return masked_sum(values, mask) / mask.sum(-1).clamp(min=1)


def weighted_sum(values: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
    """Sum of w_t r_t over the steps that exist (Preference Transformer; weights as given)."""
    return masked_sum(values * weights, mask)


def discounted_sum(values: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """Sum of gamma^t v_t, t from the segment's start: its first step has weight 1."""
    steps = mask.cumsum(-1) - 1
    return masked_sum(values * _powers(gamma, steps, values), mask)


def myopic_sum(values: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """Sum of gamma^(H-t) v_t, t = 1..H: the last step has weight 1 (B-Pref, myopic teacher)."""
    steps_left = mask.sum(-1, keepdim=True) - mask.cumsum(-1)
    return masked_sum(values * _powers(gamma, steps_left, values), mask)


def _powers(gamma: float, exponents: Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(gamma, dtype=like.dtype, device=like.device) ** exponents.clamp(min=0)


def expected_return_change(
    rewards: Tensor, mask: Tensor, *, value_start: Tensor, value_end: Tensor, gamma: float = 1.0
) -> Tensor:
    """Sum of gamma^t r_t + gamma^L V(s_L) - V(s_0): minus the regret when transitions are certain.

    Value tensors are [...]; `value_end` is 0 where the segment ended in a terminal state. With
    stochastic transitions this adds luck of mean zero: sum A* with `masked_sum` instead
    (Knox et al. 2024). `value_start` = 0 gives the bootstrapped return (arXiv 2410.22690).
    """
    end = value_end * _powers(gamma, mask.sum(-1), rewards)
    return discounted_sum(rewards, mask, gamma) + end - value_start


def implied_return(q: Tensor, next_value: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """Sum of Q(s,a) - gamma V(s') (IPL, Hejna & Sadigh 2023); V(s') is 0 after a terminal step."""
    return masked_sum(q - gamma * next_value, mask)


def policy_score(log_probs: Tensor, mask: Tensor, *, alpha: float, gamma: float = 1.0) -> Tensor:
    """alpha sum of gamma^t log pi(a given s) (CPL, Hejna et al. 2024; its code has gamma = 1)."""
    return alpha * discounted_sum(log_probs, mask, gamma)


def log_ratio_score(
    log_probs: Tensor, reference_log_probs: Tensor, mask: Tensor, *, beta: float
) -> Tensor:
    """beta log pi(y given x) / pi_ref(y given x), summed over tokens or steps (DPO; CPL-KL)."""
    return beta * masked_sum(log_probs - reference_log_probs, mask)


def length_normalized_score(log_probs: Tensor, mask: Tensor, *, beta: float) -> Tensor:
    """beta times the mean log probability of a token (SimPO)."""
    return beta * masked_mean(log_probs, mask)


def log_odds_score(log_probs: Tensor, mask: Tensor) -> Tensor:
    """log p / (1 - p), p = exp(mean log probability of a token) (ORPO); p must be below 1."""
    log_p = masked_mean(log_probs, mask)
    return log_p - torch.log(-torch.expm1(log_p))


def distance_score(
    policy_actions: Tensor, actions: Tensor, mask: Tensor, *, temperature: float
) -> Tensor:
    """Minus the mean Euclidean distance of actions [..., T, A], over 2 T (DPPO, An et al. 2023).

    The 2 is the width of the action range [-1, 1]; DPPO's code uses temperature T = 0.1.
    """
    distance = torch.linalg.vector_norm(policy_actions - actions, dim=-1)
    return -masked_mean(distance, mask) / (2 * temperature)
