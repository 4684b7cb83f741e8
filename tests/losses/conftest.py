"""One small call of every registered loss, for the laws that hold for all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from pbrl import losses
from pbrl.losses import LogProbs, Tokens
from pbrl.losses.games import Sampled
from pbrl.losses.tokens import Gates

N, T, V, K = 5, 4, 6, 3


@dataclass
class Example:
    """A call as a function of its leaves: what is differentiated, scaled up and poisoned."""

    leaves: list[Tensor]
    call: Callable[..., Tensor]


class Draw:
    """Tensors of one dtype; `size` bounds what is a score or a log-probability."""

    def __init__(self, dtype: torch.dtype, size: float, seed: int) -> None:
        self.dtype, self.size = dtype, size
        self.generator = torch.Generator().manual_seed(seed)

    def unit(self, *shape: int) -> Tensor:
        """Uniform in (0, 1)."""
        drawn = torch.rand(shape or (N,), generator=self.generator, dtype=torch.float64)
        return (0.05 + 0.9 * drawn).to(self.dtype)

    def score(self, *shape: int) -> Tensor:
        """Uniform in (-size, size)."""
        return (self.size * (2 * self.unit(*shape) - 1)).detach()

    def logp(self, *shape: int) -> Tensor:
        """Uniform in (-size, 0)."""
        return -(self.size * self.unit(*shape)).detach()

    def length(self) -> Tensor:
        return torch.randint(1, 9, (N,), generator=self.generator)

    def mark(self, *shape: int) -> Tensor:
        """Both values of a bool tensor, mixed."""
        flat = torch.arange(torch.Size(shape or (N,)).numel()) % 2 == 0
        return flat.view(shape or (N,))

    def side(self) -> tuple[Tensor, Callable[[Tensor], LogProbs]]:
        reference, length = self.logp(), self.length()
        return self.logp(), lambda policy: LogProbs(policy, reference, length)

    def tokens(self) -> tuple[Tensor, Callable[[Tensor], Tokens]]:
        reference = self.logp(N, T)
        mask = torch.arange(T) < torch.randint(1, T + 1, (N, 1), generator=self.generator)
        return self.logp(N, T), lambda policy: Tokens(policy, reference, mask)


@pytest.fixture
def example() -> Callable[..., Example]:
    """The function that makes the example of a loss."""
    return make_example


def make_example(
    name: str, dtype: torch.dtype = torch.float64, size: float = 2.0, seed: int = 0
) -> Example:
    """A loss's own example, else that of its kind; KeyError when the kind has none for all."""
    function = losses.LOSSES[name]
    draw = Draw(dtype, size, seed)
    kind = function.meta["kind"]  # type: ignore[attr-defined]
    special = SPECIAL.get(name)
    if special is not None:
        return special(function, draw)
    return {"pair": _scores, "tie": _scores, "policy": _policy, "list": _list}[kind](function, draw)


def _scores(f: Any, draw: Draw, *data: Any, **params: Any) -> Example:
    return Example([draw.score(), draw.score()], lambda w, l: f(w, l, *data, **params))  # noqa: E741


def _policy(f: Any, draw: Draw, *data: Any, **params: Any) -> Example:
    (w, of_w), (l, of_l) = draw.side(), draw.side()  # noqa: E741
    return Example([w, l], lambda w, l: f(of_w(w), of_l(l), *data, **params))  # noqa: E741


def _list(f: Any, draw: Draw) -> Example:
    rewards = torch.arange(K).to(draw.dtype).expand(N, K)
    if f is losses.LOSSES["plackett_luce"]:
        order = rewards.argsort(-1, descending=True)
        return Example([draw.score(N, K)], lambda s: f(s, order))
    return Example([draw.score(N, K)], lambda s: f(s, rewards))


def _tokens(f: Any, draw: Draw, *data: Any, **params: Any) -> Example:
    (w, of_w), (l, of_l) = draw.tokens(), draw.tokens()  # noqa: E741
    return Example([w, l], lambda w, l: f(of_w(w), of_l(l), *data, **params))  # noqa: E741


def _with(make: Callable[..., Example], data: Callable[[Draw], tuple], **params: Any) -> Callable:
    return lambda f, draw: make(f, draw, *data(draw), **params)


def _point(data: Callable[[Draw], tuple], **params: Any) -> Callable:
    def make(f: Any, draw: Draw) -> Example:
        given = data(draw)
        return Example([draw.score()], lambda s: f(s, draw.mark(), *given, **params))

    return make


def _one(f: Any, draw: Draw) -> Example:
    return Example([draw.score()], lambda x: f(x))


def _gold(f: Any, draw: Draw) -> Example:
    gold, of_gold = draw.side()
    return _policy(f, draw, of_gold(gold))


def _ulma(f: Any, draw: Draw) -> Example:
    w, of_w = draw.side()
    return Example([w], lambda w: f(of_w(w), draw.mark()))


def _embedding(f: Any, draw: Draw) -> Example:
    # The score is a product of embeddings, so its size is that of the root.
    draw.size = draw.size**0.5
    return Example([draw.score(N, 4), draw.score(N, 4)], f)


def _micro(f: Any, draw: Draw) -> Example:
    weight = draw.unit(N, K).log_softmax(-1)
    return Example([draw.score(N, K), draw.score(N, K)], lambda w, l: f(w, l, weight))  # noqa: E741


def _cringe(f: Any, draw: Draw) -> Example:
    tokens = torch.randint(0, V, (N, T), generator=draw.generator)
    mask = torch.ones(N, T, dtype=torch.bool)
    return Example([draw.score(N, T, V)], lambda z: f(z, tokens, mask, draw.mark(), k=1))


def _drpo(f: Any, draw: Draw) -> Example:
    w, of_w = draw.side()
    wins = draw.unit()
    drawn = Sampled(draw.logp(), draw.unit(), draw.score())
    label = draw.mark().to(draw.dtype)
    # With clip 1 the importance weight is the constant 1, so that numeric gradients see no weight.
    return Example([w], lambda w: f(of_w(w), label, wins, drawn, clip=1.0))


def _bnpo(f: Any, draw: Draw) -> Example:
    reward = draw.mark(N, 3).to(draw.dtype)
    return Example([draw.logp(N, 3)], lambda x: f(x, reward))


def _sparse(f: Any, draw: Draw) -> Example:
    gates = [Gates(draw.unit(N, T), draw.unit(N, T), draw.unit(N, T)) for _ in range(2)]
    return _tokens(f, draw, *gates)


SPECIAL: dict[str, Callable[[Any, Draw], Example]] = {
    "odpo": _with(_scores, lambda d: (d.unit(),)),
    "mmpo": _with(_scores, lambda d: (d.unit(),)),
    "mappo": _with(_scores, lambda d: (d.unit(),)),
    "r_dpo": _with(_scores, lambda d: (d.length(), d.length())),
    "spo_sequential": _with(_scores, lambda d: (d.unit(),)),
    "wpo": _with(_scores, lambda d: (d.unit(),)),
    "tdpo1": _with(_scores, lambda d: (d.unit(), d.unit())),
    "tdpo2": _with(_scores, lambda d: (d.unit(), d.unit())),
    "bfpo": _with(_scores, lambda d: (d.mark(), ~d.mark())),
    "egpo": _with(_scores, lambda d: (d.unit(), d.unit())),
    "sppo": _with(_scores, lambda d: (d.unit(), d.unit())),
    "mrpo": _with(_policy, lambda d: (d.logp(), d.logp())),
    "inpo": _with(_policy, lambda d: (d.logp(), d.logp())),
    "onpo": _policy,
    "aot": _policy,
    "aot_unpaired": _policy,
    "tpo_triple": _gold,
    "tpo_l": _gold,
    "kto": _point(lambda d: (0.1,)),
    "apo_zero_unpaired": _point(lambda d: ()),
    "bco": _point(lambda d: (0.1,)),
    "point_bce": _point(lambda d: ()),
    "diffusion_kto": _point(lambda d: (0.1,)),
    # The divergence must move with the scores.
    "pmpo": lambda f, d: Example([d.score()], lambda s: f(s, d.mark(), s.abs())),
    "ulma": _ulma,
    "relative_po": _with(_scores, lambda d: (losses.prompt_weights(d.unit(N, N)),)),
    "relative_po_diagonal": _scores,
    "gpm": _embedding,
    "gpm_regression": _embedding,
    "micro": _micro,
    "ld_dpo": _tokens,
    "bmc": _with(_tokens, lambda d: (d.mark(N, T), d.mark(N, T)), delta=1.0),
    "two_d_dpo": _with(_tokens, lambda d: (d.unit(N, T), d.unit(N, T))),
    "sparse_po": _sparse,
    "cringe": _cringe,
    "pairwise_cringe": _with(_scores, lambda d: (d.unit(),)),
    "gpo": lambda f, d: Example([d.score()], lambda x: f(x, torch.full_like(x, 0.25))),
    "nash_md": lambda f, d: Example(
        [d.logp()], lambda x: f(x, torch.ones_like(x), torch.full_like(x, 0.25))
    ),
    "drpo_doubly": _drpo,
    "bnpo": _bnpo,
    "lsc": lambda f, d: Example([d.score()], lambda x: f(x, 0.5)),
    "itakura_saito": _one,
    "nll": lambda f, d: Example([d.logp()], lambda x: f(LogProbs(x, None, torch.full((N,), 3)))),
    "center_rewards": _scores,
    "l2_rewards": _scores,
    "chi2": _one,
    "behavior_cloning": _one,
    "xpo": _one,
    "kl_k3": _one,
    "anchor_cosine": lambda f, d: Example([d.score(N, 3), d.score(N, 3)], f),
}
