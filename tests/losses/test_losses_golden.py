"""Every loss against numbers computed elsewhere: the reference's oracle, and closed forms.

The oracle was written apart from the library, in plain numpy with gradients taken numerically;
`loss_golden.json` holds what it gave.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pbrl import losses
from pbrl.losses import LogProbs

GOLDEN = Path(__file__).with_name("loss_golden.json")

Side = LogProbs


def t(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def by_name(name: str, *data: Any, **params: Any) -> Callable[[Side, Side], Tensor]:
    function = losses.policy_loss(name, **params)
    return lambda w, l: function(w, l, *data)  # noqa: E741


def raw(name: str, *data: Any, scale: float = 0.1, **params: Any) -> Callable[[Side, Side], Tensor]:
    """A loss of scores, the scores being scale · log π without a reference."""
    return lambda w, l: losses.LOSSES[name](  # noqa: E741
        scale * w.policy, scale * l.policy, *data, **params
    )


def kto(side: int) -> Callable[[Side, Side], Tensor]:
    mark = torch.tensor([side == 0])
    return lambda w, l: losses.kto((w, l)[side].ratio, mark, 0.1)  # noqa: E741


GOLD = LogProbs(t(-11.0), None, t(8))
SAFE, UNSAFE = t(1), t(0)
# row of the oracle -> (registered name, the same point computed by the library)
ROWS: dict[str, tuple[str, Callable[[Side, Side], Tensor]]] = {
    "dpo": ("sigmoid", by_name("sigmoid")),
    "cdpo": ("cdpo", by_name("cdpo", eps=0.2)),
    "rdpo": ("robust", by_name("robust", eps=0.2)),
    "hinge": ("hinge", by_name("hinge")),
    "ipo_sum": ("ipo", by_name("ipo", beta=0.1)),
    "ipo_avg": ("ipo", by_name("ipo", beta=0.1, average=True)),
    "exo_pair": ("exo_pair", by_name("exo_pair")),
    "nca_pair": ("nca_pair", by_name("nca_pair")),
    "bco_pair": ("bco_pair", by_name("bco_pair")),
    "bco_pair_shift": ("bco_pair", by_name("bco_pair", delta=0.05)),
    "sppo_hard": ("sppo_hard", by_name("sppo_hard", beta=0.1)),
    "apo_zero": ("apo_zero", by_name("apo_zero")),
    "apo_down": ("apo_down", by_name("apo_down")),
    "discopop": ("discopop", by_name("discopop")),
    "sigmoid_norm (LN-DPO)": ("sigmoid_norm", by_name("sigmoid_norm")),
    "simpo": ("simpo", by_name("simpo")),
    "alphapo": ("alphapo", by_name("alphapo")),
    "repo": ("repo", by_name("repo")),
    "slic": ("slic", by_name("slic")),
    "cpo": ("cpo", by_name("cpo")),
    "orpo": ("orpo", by_name("orpo")),
    "kto_desirable": ("kto", kto(0)),
    "kto_undesirable": ("kto", kto(1)),
    "odpo": ("odpo", by_name("odpo", t(0.9))),
    "mmpo": ("mmpo", by_name("mmpo", t(0.9))),
    "todo_win": ("rao_kupper", by_name("rao_kupper")),
    "todo_tie": ("rao_kupper", by_name("rao_kupper", 0.5)),
    "davidson_win": ("davidson", by_name("davidson")),
    "davidson_tie": ("davidson", by_name("davidson", 0.5)),
    "napo": ("napo", by_name("napo")),
    "mae": ("mae", by_name("mae")),
    "dpo_shift": ("dpo_shift", by_name("dpo_shift", rejected_scale=0.9)),
    "mappo": ("mappo", by_name("mappo", t(0.3))),
    "dpop": ("dpop", by_name("dpop", penalty=5.0)),
    "r_dpo": (
        "r_dpo",
        lambda w, l: losses.policy_loss("r_dpo")(w, l, w.length, l.length),  # noqa: E741
    ),
    "dpo_nll (RPO)": ("dpo_nll", by_name("dpo_nll")),
    "tpo (triple)": ("tpo_triple", by_name("tpo_triple", GOLD)),
    "h_dpo": ("h_dpo", by_name("h_dpo")),
    "fdpo forward_kl": ("f_dpo", by_name("f_dpo", divergence="forward_kl")),
    "fdpo js": ("f_dpo", by_name("f_dpo", divergence="js_divergence")),
    "fdpo alpha": ("f_dpo", by_name("f_dpo", divergence="alpha_divergence")),
    "bfpo both_safe": ("bfpo", by_name("bfpo", SAFE, SAFE)),
    "bfpo w_safe": ("bfpo", by_name("bfpo", SAFE, UNSAFE)),
    "bfpo l_safe": ("bfpo", by_name("bfpo", UNSAFE, SAFE)),
    "bfpo none_safe": ("bfpo", by_name("bfpo", UNSAFE, UNSAFE)),
    "smpo": ("smpo", by_name("smpo", t(0.8))),
    "wpo": ("wpo", by_name("wpo", t(0.3))),
    "egpo_ipo": ("egpo", by_name("egpo", t(0.7), t(0.4))),
    "spo_sequential": ("spo_sequential", by_name("spo_sequential", t(0.8))),
    "tdpo2": ("tdpo2", by_name("tdpo2", t(0.2), t(0.6))),
    "rm_bt_margin": (
        "center_rewards",
        lambda w, l: (  # noqa: E741
            losses.sigmoid(t(1.2), t(0.3), 1.0, 0.2)
            + 0.01 * losses.center_rewards(t(1.2), t(0.3))
            + 0 * (w.policy + l.policy)
        ),
    ),
    "cpl (ref-free, biased)": ("cpl", raw("cpl")),
}


def oracle() -> dict[str, Any]:
    return json.loads(GOLDEN.read_text())


def pair(p: dict[str, float]) -> tuple[Side, Side]:
    chosen = LogProbs(t(p["lw"]).requires_grad_(), t(p["rw"]), t(p["nw"]))
    return chosen, LogProbs(t(p["ll"]).requires_grad_(), t(p["rl"]), t(p["nl"]))


def test_every_row_of_the_oracle_is_covered() -> None:
    assert {row["name"] for row in oracle()["rows"]} == set(ROWS)


@pytest.mark.parametrize("which", ["P1", "P2"])
@pytest.mark.parametrize("row", ROWS)
def test_loss_and_both_gradients_agree_with_the_oracle(row: str, which: str) -> None:
    stored = oracle()
    expected = next(r for r in stored["rows"] if r["name"] == row)[which]
    chosen, rejected = pair(stored["pairs"][which])
    value = ROWS[row][1](chosen, rejected)
    assert value.shape == (1,)
    assert value.item() == pytest.approx(expected["loss"], rel=1e-12, abs=1e-12)
    grads = torch.autograd.grad(value.sum(), (chosen.policy, rejected.policy), allow_unused=True)
    found = [0.0 if g is None else g.item() for g in grads]
    if (row, which) == ("repo", "P2"):
        # The margin is exactly γ there, at the kink: the stored value is the mean of both slopes.
        assert found == [0.0, 0.0]
        return
    # The stored gradients are central differences: their own error is about 1e-8 of the value.
    assert found == pytest.approx([expected["dlogp_w"], expected["dlogp_l"]], rel=1e-7, abs=1e-7)


S, R = t(0.4, -0.1, -0.8), t(2.0, 1.0, 0.0)
BATCH_W = LogProbs(t(-12, -20), t(-12.5, -18))
BATCH_L = LogProbs(t(-13.5, -15), t(-12.75, -16))
RATIO_W, RATIO_L = 0.1 * t(0.5, -2.0), 0.1 * t(-0.75, 1.0)
DELTA = t(-0.5, 0.0, 0.5, 2.0)
DISTANCE = torch.tensor([[0.0, 0.4], [0.4, 0.0]], dtype=torch.float64)
HIDDEN_W = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
HIDDEN_L = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.5]], dtype=torch.float64)
PROBS = t(0.25, 0.5, 0.9)

KWISE: dict[str, Callable[[], Tensor]] = {
    "plackett_luce K=3 (best first)": lambda: losses.plackett_luce(S),
    "infonca (alpha=1)": lambda: losses.infonca(S, R),
    "nca K=3 (alpha=1)": lambda: losses.nca(S, R),
    "mpo set {0} vs {1,2}, no weights": lambda: losses.mpo_set(S, R, alpha=0.0),
    "mpo set, weights exp(abs dev)": lambda: losses.mpo_set(S, R),
    "lambda pairs (gain 2^r-1, D=log2(1+rank))": lambda: losses.lambda_rank(S, R),
    "lipo/pairwise mean": lambda: losses.pairwise_mean(S, R),
    "aot_unpaired batch(P1,P2) beta=.1": lambda: losses.aot_unpaired(BATCH_W, BATCH_L).mean(),
    "aot batch(P1,P2) beta=.1": lambda: losses.aot(BATCH_W, BATCH_L).mean(),
    "relative_po batch(P1,P2) beta=.1 cosdist=.4 tau=.5": lambda: losses.relative_po(
        RATIO_W, RATIO_L, losses.prompt_weights(DISTANCE)
    ).mean(),
    "relative_po diagonal weight .8": lambda: losses.relative_po_diagonal(RATIO_W, RATIO_L).mean(),
    "ipo_sum mean batch(P1,P2) beta=.1": lambda: losses.ipo(BATCH_W.ratio, BATCH_L.ratio).mean(),
    "flip_nll P1 beta=.1 eps=.2": lambda: losses.flip_nll(RATIO_W[0], RATIO_L[0], eps=0.2),
    "micro 2-component: w=(.3,.7), d=(1.25,-.4)": lambda: losses.micro(
        t(1.25, -0.4), t(0, 0), t(0.3, 0.7).log()
    ),
    "ches h_w=[[1,0],[.5,.5]] h_l=[[0,1],[1,1],[0,.5]]": lambda: losses.ches(HIDDEN_W, HIDDEN_L),
    "ches length-normalised, same": lambda: losses.ches(HIDDEN_W, HIDDEN_L, normalized=True),
    "itakura_saito alpha=1, delta=[-.5,0,.5,2]": lambda: losses.itakura_saito(DELTA).mean(),
    "itakura_saito alpha=.1": lambda: losses.itakura_saito(DELTA, alpha=0.1).mean(),
    "gpm score v1=(.6,.8) v2=(0,1)": lambda: losses.gpm_score(t(0.6, 0.8), t(0, 1)),
    "gpm loss tau=.1": lambda: losses.gpm(t(0.6, 0.8), t(0, 1)),
    "bnpo alpha,beta for p=[.25,.5,.9] (ddof=1)": lambda: torch.stack(
        losses.bnpo_parameters(PROBS)
    ),
    "bnpo advantage of r=1 at those p": lambda: losses.bnpo_advantage(
        torch.ones(3, dtype=torch.float64), PROBS, *losses.bnpo_parameters(PROBS)
    ),
}


def test_every_list_and_batch_value_of_the_oracle_is_covered() -> None:
    assert set(oracle()["kwise"]) == set(KWISE)


@pytest.mark.parametrize("quantity", KWISE)
def test_list_batch_and_special_values_agree_with_the_oracle(quantity: str) -> None:
    expected = oracle()["kwise"][quantity]
    assert KWISE[quantity]().tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)
