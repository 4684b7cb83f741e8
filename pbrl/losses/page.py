"""Draws the tables of README.md from the registered losses: python -m pbrl.losses.page"""

import inspect
from pathlib import Path

from .registry import LOSSES

MARK = "<!-- Drawn from the code from here on: python -m pbrl.losses.page -->\n"

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


FILE = Path(__file__).with_name("README.md")


def page() -> str:
    """README.md as it should be: its text up to the mark, then the tables of the code."""
    parts = [FILE.read_text(encoding="utf-8").partition(MARK)[0] + MARK]
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
    FILE.write_text(page(), encoding="utf-8")
