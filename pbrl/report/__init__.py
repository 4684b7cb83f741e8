"""Tables, figures and one HTML page of a results folder; reads only `pbrl.store`."""

from collections.abc import Sequence
from pathlib import Path


def table(
    root: Path | str,
    *,
    format: str = "md",
    strict: bool = False,
    regrets: Sequence[str] | None = None,
) -> str:
    """All numbers of a results folder as text: md, csv, latex or json.

    With `strict`, raises StoreError when a cell is missing, failed or unfinished, or when cells
    were computed by different versions of the code; otherwise the table names them. `regrets` are
    names of `bandits.regret`; average and weak when not given.
    """
    from pbrl.report.study import read
    from pbrl.report.tables import table_text

    return table_text(read(root), format=format, strict=strict, regrets=regrets)


def plot(root: Path | str, *, regrets: Sequence[str] | None = None) -> list[Path]:
    """Write every figure the folder has data for to `root/figures`, as PNG and PDF."""
    from pbrl.report.figures import draw_all
    from pbrl.report.study import read

    return draw_all(read(root), Path(root) / "figures", regrets=regrets)


def html(
    root: Path | str,
    figures: Sequence[Path] | None = None,
    *,
    regrets: Sequence[str] | None = None,
) -> Path:
    """Write `root/report.html`: one page with the figures inside and no link to anything.

    `figures` are the files `plot` just wrote; they are drawn when not given.
    """
    from pbrl.report.page import write
    from pbrl.report.study import read

    if figures is None:
        figures = plot(root, regrets=regrets)
    return write(read(root), Path(root), figures, regrets=regrets)
