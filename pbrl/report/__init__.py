"""Tables, figures and one HTML page of a results folder; reads only `pbrl.store`."""

from collections.abc import Sequence
from pathlib import Path


def table(
    root: Path | str,
    *,
    format: str = "md",
    strict: bool = False,
    regrets: Sequence[str] | None = None,
    room: int | None = None,
) -> str:
    """All numbers of a results folder as text: md, csv, latex or json.

    With `strict`, raises StoreError when a cell is missing, failed or unfinished, or when cells
    were computed by different versions of the code; otherwise the table names them. `regrets` are
    names of `bandits.regret`; average and weak when not given. With `room`, the columns of a
    terminal, a wide Markdown table stands in parts, one above the other.
    """
    from pbrl.report.study import read
    from pbrl.report.tables import table_text

    return table_text(read(root), format=format, strict=strict, regrets=regrets, room=room)


def plot(
    root: Path | str, out: Path | str | None = None, *, regrets: Sequence[str] | None = None
) -> list[Path]:
    """Write every figure the folder has data for, as PNG and PDF, and one HTML page of it all.

    Figures go to `figures/` and the page, which is last in the returned list and holds the figures
    and no link to anything, to `report.html`, both in `out`, or in the results folder itself.
    Figures of an earlier call that are not written again are removed. Raises StoreError when `out`
    cannot be written to.
    """
    from pbrl.report import page
    from pbrl.report.figures import draw_all
    from pbrl.report.study import read

    study, root, out = read(root), Path(root), Path(out or root)
    figures = draw_all(study, out / "figures", regrets=regrets)
    name = root.resolve().name
    return [*figures, page.write(study, name, out / "report.html", figures, regrets=regrets)]
