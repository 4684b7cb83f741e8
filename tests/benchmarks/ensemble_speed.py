"""What one epoch of reward training costs: against its own matrix products, and member by member.

Reward ensemble of 3 x (3 x 256) on 30 inputs, segments of 50 steps, one thread, user CPU time, best
of several in this process. The loop over members is the usual one: three torch networks, the two
segments of a pair in turn, one Adam over all (as in B-Pref's reward model).

    python tests/benchmarks/ensemble_speed.py
"""

import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from pbrl.rewards.ensemble import RewardEnsemble, RewardNet
from pbrl.rewards.fit import BLOCK
from pbrl.segments import Preferences, Segments

OBS, ACT, WIDTH, MEMBERS, LENGTH = 24, 6, 256, 3, 50


def pairs(n: int) -> Preferences:
    """n labeled pairs of random segments."""
    g = torch.Generator().manual_seed(0)

    def side() -> Segments:
        obs = torch.randn(n, LENGTH, OBS, generator=g)
        steps = torch.ones(n, LENGTH, dtype=torch.bool)
        act = torch.rand(n, LENGTH, ACT, generator=g) * 2 - 1
        return Segments(obs=obs, act=act, next_obs=obs, terminal=~steps, mask=steps)

    found = Preferences(OBS, ACT, length=LENGTH)
    found.add(side(), side(), torch.randint(0, 2, (n,), generator=g).float())
    return found


def batched(data: Preferences, batch_size: int) -> Callable[[], object]:
    """One epoch of the suite's ensemble."""
    g = torch.Generator().manual_seed(0)
    net = RewardNet(OBS, ACT, members=MEMBERS, hidden=WIDTH, layers=3, generator=g)
    ensemble = RewardEnsemble(
        net, generator=g, learning_rate=3e-4, batch_size=batch_size, loss="sigmoid"
    )
    return lambda: ensemble.fit(data, epochs=1)


def member_by_member(data: Preferences, batch_size: int) -> Callable[[], object]:
    """One epoch of three separate networks."""
    widths = [OBS + ACT, WIDTH, WIDTH, WIDTH]
    networks = [
        nn.Sequential(
            *(m for i, o in pairwise(widths)
              for m in (nn.Linear(i, o), nn.LeakyReLU())),
            nn.Linear(WIDTH, 1),
            nn.Tanh(),
        )
        for _ in range(MEMBERS)
    ]  # fmt: skip
    optimizer = torch.optim.Adam([p for n in networks for p in n.parameters()], lr=3e-4)
    first = torch.cat((data.first.obs, data.first.act), dim=-1)
    second = torch.cat((data.second.obs, data.second.act), dim=-1)
    labels = data.labels.long()

    def epoch() -> None:
        orders = [torch.randperm(len(labels)).split(batch_size) for _ in networks]
        for chosen in zip(*orders, strict=True):
            optimizer.zero_grad()
            total = torch.zeros(())
            for network, index in zip(networks, chosen, strict=True):
                returns = [network(side[index]).sum(1) for side in (first, second)]
                value = F.cross_entropy(torch.cat(returns, dim=1), labels[index])
                value.item()  # each member's loss is logged
                total = total + value
            total.backward()
            optimizer.step()

    return epoch


def matrix_products(n: int, batch_size: int) -> Callable[[], object]:
    """Only the products of one epoch: forward, weight gradients, input gradients."""
    sizes = [OBS + ACT, WIDTH, WIDTH, WIDTH, 1]
    rows = min(batch_size * 2 * LENGTH, BLOCK // (2 * LENGTH) * 2 * LENGTH)
    repeats = n * 2 * LENGTH / rows
    shapes = list(pairwise(sizes))
    weights = [torch.randn(MEMBERS, o, i) for i, o in shapes]
    inputs = [torch.randn(MEMBERS, rows, i) for i, _ in shapes]
    gradients = [torch.randn(MEMBERS, rows, o) for _, o in shapes]

    def products() -> None:
        for _ in range(round(repeats)):
            for k, (w, x, g) in enumerate(zip(weights, inputs, gradients, strict=True)):
                torch.bmm(x, w.mT)
                torch.bmm(g.mT, x)
                if k > 0:
                    torch.bmm(g, w)

    return products


def in_turns(functions: list[Callable[[], object]], *, rounds: int) -> list[float]:
    """Best user CPU seconds of each, called in turns so that a busy machine slows all."""
    best = [float("inf")] * len(functions)
    for function in functions:
        function()
    for _ in range(rounds):
        for k, function in enumerate(functions):
            start = time.process_time()
            function()
            best[k] = min(best[k], time.process_time() - start)
    return best


def main() -> None:
    """Print seconds per epoch and the ratios."""
    torch.set_num_threads(1)
    for n, batch_size, rounds in ((500, 128, 4), (50, 5, 20)):
        data = pairs(n)
        ours, loop, products = in_turns(
            [
                batched(data, batch_size),
                member_by_member(data, batch_size),
                matrix_products(n, batch_size),
            ],
            rounds=rounds,
        )
        print(f"{n} labels x {LENGTH} steps, minibatches of {batch_size} pairs, one epoch:")
        print(f"  batched ensemble      {ours:.3f} s")
        print(f"  its matrix products   {products:.3f} s, ratio {ours / products:.2f}")
        print(f"  loop over members     {loop:.3f} s, ratio {ours / loop:.2f}")


if __name__ == "__main__":
    main()
