"""Reward from preferences read as comparisons of regret (Knox et al., arXiv 2206.02231, Alg. 1).

The optimal values of every candidate reward are needed, and are had from a bank of policies:
V(s) = max_k w . psi_k(s), psi_k the successor features of policy k (generalized policy
improvement), a soft maximum so that it has a gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from scipy.special import expit, softmax

from envs.tabular import solvers
from envs.tabular.world import Dynamics
from pbrl import registry
from pbrl.errors import CellError
from pbrl.tabular import logistic
from pbrl.tabular.learner import Learned
from pbrl.tabular.partial_return import Prior
from pbrl.tabular.walks import Pairs, Walks

DRAWN = (50.0, -50.0, 1.0, -1.0, -2.0, 0.0, -10.0, 10.0, 5.0)  # weights of the bank's rewards
BATCH = 25


def bank(
    world: Dynamics, size: int, rng: np.random.Generator, drawn: Sequence[float] = DRAWN
) -> np.ndarray:
    """psi [K, S, d] of best policies of rewards whose weights are among `drawn`, each once.

    Until there are `size`, or as many were there before.
    """
    found: dict[bytes, np.ndarray] = {}
    twice = 0
    while len(found) < size and twice < size:
        weights = rng.choice(drawn, (BATCH, world.features.shape[-1]))
        rewards = np.einsum("sad,bd->bsa", world.expected_features, weights)
        policies = solvers.greedy(solvers.optimal(world, rewards)[1])
        for psi in solvers.successor_features(world, policies):
            key = np.round(psi, 6).tobytes()
            twice += key in found
            if len(found) < size:
                found.setdefault(key, psi)
    return np.stack([*found.values()])


@dataclass(frozen=True)
class _Model:
    """Advantages of the reward w, A = phi . w + gamma P V - V, and how they move with w."""

    world: Dynamics
    psi: np.ndarray  # [K, S, d]
    temperature: float

    def values(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """V [S], and its gradient [S, d] = sum_k p_k (1 + (v_k - V) / T) psi_k."""
        each = self.psi @ w  # K, S
        chance = softmax(each / self.temperature, axis=0)
        value = (chance * each).sum(0)
        share = chance * (1 + (each - value) / self.temperature)
        return value, np.einsum("ks,ksd->sd", share, self.psi)

    def advantages(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A [S, A], and the gradient [S, d] of V."""
        value, gradient = self.values(w)
        found = solvers.ahead(self.world, self.world.expected_features @ w, value)
        return (found - value[:, None]) * ~self.world.terminal[:, None], gradient

    def best(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The best policy [S, A] for the reward w, and its successor features [S, d]."""
        _, action_values = solvers.optimal(self.world, self.world.expected_features @ w)
        policy = solvers.greedy(action_values)
        return policy, solvers.successor_features(self.world, policy)

    def pulled(self, force: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """The gradient [d] of sum(force * A) in w, of `force` [S, A]."""
        force = force * ~self.world.terminal[:, None]
        moved = np.einsum("sa,sat->t", force, self.world.transitions) * self.world.gamma
        direct = np.einsum("sa,sad->d", force, self.world.expected_features)
        return direct + (moved - force.sum(1)) @ gradient


@registry.learner("regret")
class Regret:
    """Learns the reward whose optimal advantages explain the preferences; plans for it.

    P(second) = logistic(sum A - sum A), sums discounted as the values are. `bank`: policies whose
    successor features stand for all; `refine` times the best policy of the reward learned so far
    joins them and learning goes on (0 as published). `temperature` of the soft maximum; Adam with
    `lr` for `steps` steps keeps the weights of the lowest loss. `l2` as of the learner
    `partial-return`. `gamma` and `slip` are what the learner believes: another discount than the
    world's, or that an action is a random one so often.
    """

    def __init__(
        self,
        bank: Annotated[int, Ge(1), Le(10_000)] = 100,
        refine: Annotated[int, Ge(0), Le(100)] = 0,
        steps: Annotated[int, Ge(1), Le(10**6)] = 600,
        lr: Annotated[float, Gt(0), Le(1e6)] = 0.5,
        temperature: Annotated[float, Ge(1e-9), Le(1e9)] = 0.001,
        l2: Prior = 1e-4,
        gamma: Annotated[float, Ge(0), Lt(1)] | None = None,
        slip: Annotated[float, Ge(0), Le(1)] = 0.0,
    ) -> None:
        self.bank, self.refine, self.steps, self.lr = bank, refine, steps, lr
        self.temperature, self.l2 = temperature, l2
        self.gamma, self.slip = gamma, slip
        self._model: _Model | None = None

    def prepare(self, world: Dynamics, rng: np.random.Generator) -> None:
        """Make the bank of a world, once for all that is learned in it."""
        believed = self._believed(world)
        self._model = _Model(believed, bank(believed, self.bank, rng), self.temperature)

    def _believed(self, world: Dynamics) -> Dynamics:
        gamma = world.gamma if self.gamma is None else self.gamma
        mixed = world.transitions.mean(1, keepdims=True)
        leads = (1 - self.slip) * world.transitions + self.slip * mixed
        return replace(world, gamma=gamma, transitions=leads)

    def learn(self, world: Dynamics, pairs: Pairs, rng: np.random.Generator) -> Learned:
        if self._model is None:
            raise CellError("prepare(world, rng) comes before learn(...)")
        model = self._model
        data = _Data.of(model.world, pairs)
        d = world.features.shape[-1]
        w = self._fitted(model, data, rng.uniform(-1, 1, d) / np.sqrt(d))
        policy, psi = model.best(w)
        for _ in range(self.refine):
            model = replace(model, psi=np.concatenate([model.psi, psi[None]]))
            w = self._fitted(model, data, w)
            policy, psi = model.best(w)
        found = model.advantages(w)[0]

        def score(walks: Walks) -> np.ndarray:
            return logistic.counts(world, walks, model.world.gamma) @ found.ravel()

        return Learned(policy, score, reward=world.features @ w)

    def _fitted(self, model: _Model, data: "_Data", w: np.ndarray) -> np.ndarray:
        """The weights of the lowest loss on the way of Adam (Kingma & Ba 2015) from `w`."""
        best, lowest = w, np.inf
        mean, square = np.zeros(len(w)), np.zeros(len(w))
        for step in range(1, self.steps + 1):
            advantages, gradient = model.advantages(w)
            loss, force = data.loss(advantages)
            loss += self.l2 / 2 * w @ w
            if loss < lowest:
                best, lowest = w, loss
            slope = (model.pulled(force, gradient) + self.l2 * w) / data.total
            mean = 0.9 * mean + 0.1 * slope
            square = 0.999 * square + 0.001 * slope**2
            unbiased = np.sqrt(square / (1 - 0.999**step)) + 1e-8
            w = w - self.lr * mean / (1 - 0.9**step) / unbiased
        return best


@dataclass(frozen=True)
class _Data:
    """Pairs aggregated: which action each side takes how often, discounted."""

    design: Any  # sparse [kinds, S A]: second minus first
    labels: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, world: Dynamics, pairs: Pairs) -> "_Data":
        index, labels, weight = logistic.aggregated(logistic.kinds(world, pairs), pairs.labels)
        sides = (pairs.second[index], pairs.first[index])
        second, first = (logistic.counts(world, side, world.gamma) for side in sides)
        return cls(second - first, labels, weight)

    @property
    def total(self) -> float:
        return max(1.0, float(self.weight.sum()))

    def loss(self, advantages: np.ndarray) -> tuple[float, np.ndarray]:
        """Cross-entropy summed over the pairs, and its gradient [S, A]."""
        margins = self.design @ advantages.ravel()
        force = self.design.T @ (self.weight * (expit(margins) - self.labels))
        value = float(self.weight @ logistic.cross_entropy(margins, self.labels))
        return value, force.reshape(advantages.shape)
