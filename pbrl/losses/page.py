"""Draws README.md from the registered losses: python -m pbrl.losses.page > pbrl/losses/README.md"""

import inspect

from .registry import LOSSES

TEXT = """\
# Preference losses

Pure functions of scores, one value per item; the caller reduces. The folder imports torch and
nothing else: copy it. This page is drawn from the code (`python -m pbrl.losses.page`).

    from pbrl import losses

    # learning a reward: label = P(second preferred), 0.5 a tie
    loss = losses.segment_loss("robust", eps=0.1)(score_first, score_second, labels).mean()

    # a policy: sums of log π and log π_ref per item, and lengths
    chosen = losses.LogProbs(policy_logps, reference_logps, lengths)
    loss = losses.policy_loss("simpo", beta=2.0)(chosen, rejected).mean()

    # the function itself
    loss = losses.odpo(score_chosen, score_rejected, gap, alpha=0.5).mean()

Two orders of arguments, never mixed: the functions below take **(chosen, rejected)** with
`label` = P(chosen preferred); only `segment_loss(name)` and `bradley_terry` take
**(first, second, labels)** with labels = P(second preferred). A plain `LOSSES[name]` called as
`f(second, first, labels)` is the same thing.

## The grid

    u = temperature · (chosen - scale · rejected - margin)
    loss = weight · [label · φ(u) + (1 - label) · φ(u')]        u' the same with the items exchanged
    total = mean(loss) + coefficient · mean(regularizer)

An empty cell is the default: link φ = ℓ = -log σ, scale 1, margin 0, temperature 1, label as
given (1), weight 1, no regularizer; score is whatever the caller's model says (a segment's return
or regret, `α Σ log π`, `β log π/π_ref`). ρ = log π/π_ref of an item, n its length, p̄ its mean token
probability. `pair` is any point of the grid by link and numbers.

Evidence: C the formula was read in published code, P in the paper, 2 structure confirmed by a
second source, M from memory and unverified, D derived or elementary. Names are TRL's where TRL has
the loss.

## What a loss needs

| have | use |
|---|---|
| two segment scores, labels | `segment_loss(name)`: kinds *pair* and *tie*; ties are label 0.5 |
| the same with more data per pair | kind *informed*, directly |
| log-probabilities of a policy | `policy_loss(name)`: *policy*, *aot*, and all losses of scores |
| items marked good or bad | kind *point* |
| K ranked or rated items | kind *list* |

Pair losses without `label` in their signature (two-sided ones, `dpo_shift`, `nbpo`) have no ties:
`segment_loss` refuses labels between 0 and 1 for them. IPO and SPPO take plain log-ratios and their
own `beta`; so do `tdpo1`, `tdpo2`, `bfpo`, `egpo`, `kto`: there the score column says ρ.

## Methods that need no function of their own

| method | is |
|---|---|
| DPO, reward models, PEBBLE, IPL | `sigmoid` of β log-ratios, rewards, returns, Σ (Q - γV) |
| OSP, crowd labels, ties as half a win | `sigmoid` with that `label` |
| Beyond the Binary, annotated margins | `sigmoid` with that `margin` |
| DOVE | any loss of log-probabilities, the prompt's tokens counted in their sums |
| online and iterative DPO, Curry-DPO | `sigmoid` on new pairs, or in stages from easy to hard |
| TR-DPO | `sigmoid`, reference ← 0.6 policy + 0.4 reference every 512 steps (TRL) |
| AMPO | `mpo_set` with the chosen subset as `present` |
| Diffusion-DPO, TailorPO | `sigmoid` of β · (error of the reference - own error) |
| BCO's density ratio | `bco` with `weight` p/(1-p) in [0.5, 10] on bad items |
"""

KINDS = {
    "pair": ("Two scores", "`(chosen, rejected[, label])`, any one shape."),
    "tie": ("Three outcomes", "`(chosen, rejected, label)`, label 0, 0.5 or 1."),
    "informed": ("Two scores and more data per pair", "`(chosen, rejected, data...)`, one shape."),
    "policy": ("Log-probabilities of two items", "`(chosen, rejected)`, a `LogProbs` per side."),
    "token": ("Weighted tokens", "A `Tokens` per side, [N, T], or logits [N, T, V]."),
    "point": ("Single items", "`(score, desirable, ...)`, [N]."),
    "list": ("Lists and sets", "`(scores, rewards or order[, present])`, [..., K]."),
    "batch": ("Across a batch", "[N] at once; splitting the batch changes the value."),
    "group": ("Embeddings and groups", "`(chosen, rejected, ...)`, [..., D]."),
    "game": ("Games and values", "Objectives of online learners, each with shapes of its own."),
    "regularizer": ("Regularizers", "Terms to add, one value per item."),
}

COLUMNS = (
    "score", "link", "margin", "scale", "temperature", "label", "weight", "regularizer",
    "default", "trl", "evidence",
)  # fmt: skip


def page() -> str:
    """The whole text of README.md."""
    parts = [TEXT]
    for kind, (title, takes) in KINDS.items():
        named = {n: f for n, f in LOSSES.items() if _meta(n)["kind"] == kind}
        parts.append(f"## {title}\n\nKind *{kind}*. {takes}\n\n{_table(sorted(named))}")
    return "\n".join(parts)


def _table(names: list[str]) -> str:
    columns = [c for c in COLUMNS if any(c in _meta(n) for n in names)]
    rows = [["loss", "from", *columns], ["---"] * (2 + len(columns))]
    for name in names:
        meta = _meta(name)
        source = meta["paper"] + (f" ({meta['aka']})" if "aka" in meta else "")
        rows.append([f"`{name}{_parameters(name)}`", source, *(meta.get(c, "") for c in columns)])
    cells = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in cells)


def _meta(name: str) -> dict[str, str]:
    return LOSSES[name].meta  # type: ignore[attr-defined]


def _parameters(name: str) -> str:
    parameters = inspect.signature(LOSSES[name]).parameters.values()
    given = [f"{p.name}={p.default}" for p in parameters if p.kind is p.KEYWORD_ONLY]
    return f"({', '.join(given)})" if given else ""


if __name__ == "__main__":
    from . import LOSSES as _all_imported  # noqa: F401  the package registers every loss

    print(page(), end="")
