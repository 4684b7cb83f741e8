"""The house style: one place for colors, line styles, sizes, number formats and saving.

Lines differ in color (Okabe and Ito's palette for color-blind readers, without its yellow), in dash
pattern and in marker, so that a figure also reads in gray. No text is below 8 points at the size
the figure is made for: one panel is one journal column wide.
"""

import io
import multiprocessing
import os
import textwrap
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import NullFormatter

from pbrl.errors import StoreError
from pbrl.store.atomic import explained, make_folder, refuse_link, write_file

PANEL = (3.45, 2.35)  # inches; a common column width
CHARACTERS_PER_INCH = 17  # of 8-point text, for wrapping notes
LEGEND_ENTRY = 0.68  # inches besides the text: the line, and the space to the next column

BLACK, GRAY = "#000000", "#7A7A7A"
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "solid",
    (0, (5, 1.6)),
    (0, (1.4, 1.2)),
    (0, (5, 1.4, 1.2, 1.4)),
    (0, (8, 1.6, 2.6, 1.6)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MAKER = "drawn by pbrl plot"  # in every file, by which those of an earlier call are known

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # right above the panel: searching for room takes a seventh of the time
    "axes.labelsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 3.4,
    "legend.columnspacing": 1.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "xtick.color": "#222222",
    "ytick.color": "#222222",
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.2,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.hspace": 0.06,
    "figure.constrained_layout.wspace": 0.04,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # text stays text, as journals ask
    "text.parse_math": False,  # a dollar sign in a user's label is a dollar sign
}


@dataclass(frozen=True)
class LineStyle:
    """How one label is drawn, the same in every panel of a study."""

    color: str
    dash: str | tuple[int, tuple[float, ...]]
    marker: str
    width: float = 1.5

    @property
    def line(self) -> dict[str, Any]:
        """The same as arguments of matplotlib's `plot`."""
        return {
            "color": self.color,
            "linestyle": self.dash,
            "linewidth": self.width,
            "marker": self.marker,
            "markevery": (0.06, 0.2),
        }


def line_styles(labels: Sequence[str], baselines: Sequence[str] = ()) -> dict[str, LineStyle]:
    """A style of its own per label; `baselines` are black and gray and have no markers."""
    styles = {}
    for i, label in enumerate(dict.fromkeys(baselines)):
        wider, i = divmod(i, 2 * len(DASHES))
        color, dash = (BLACK, GRAY)[i % 2], DASHES[(i + i // 2) % len(DASHES)]
        styles[label] = LineStyle(color, dash, "", 1.5 + 0.5 * wider)
    others = [label for label in dict.fromkeys(labels) if label not in styles]
    for i, label in enumerate(others):
        # Neighbors differ in all three; every combination comes up once before any comes again.
        turn = i // len(COLORS)
        dash = DASHES[(i + turn) % len(DASHES)]
        marker = MARKERS[(i + turn // len(DASHES)) % len(MARKERS)]
        wider = i // (len(COLORS) * len(DASHES) * len(MARKERS))
        styles[label] = LineStyle(COLORS[i % len(COLORS)], dash, marker, 1.5 + 0.5 * wider)
    return styles


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save inside this context; nothing of matplotlib's global state is left changed.

    At its end everything saved is on disk; otherwise the first error is raised.
    """
    with mpl.rc_context():
        mpl.rcdefaults()  # a user's matplotlibrc does not change a published figure
        mpl.rcParams.update(RC)
        try:
            yield
            while _writers:
                _wait()
        finally:
            for _, process, parent in _writers:
                process.kill()
                parent.close()
            _writers.clear()


def grid(
    panels: int, *, columns: int, height: float = PANEL[1], wide: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of `panels` equal axes, filled row by row; unused places stay empty.

    A single panel that is `wide` takes the width of all columns.
    """
    width = PANEL[0] * (columns if wide else min(columns, panels))
    columns = min(columns, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(width, height * rows))
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(panels)]
    return figure, axes


def finish(figure: Figure, axes: Sequence[Axes], notes: Sequence[str]) -> None:
    """Put one legend above all panels and the notes below them, and make room for both."""
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    width = figure.get_figwidth()
    lines = [line for note in notes for line in _wrapped(note, width)]
    legend_lines = 0
    if handles:
        labels = ["\n".join(_wrapped(label, width - 0.7)) for label in handles]
        entry = LEGEND_ENTRY + max(_inches(line) for label in labels for line in label.split("\n"))
        columns = max(1, min(len(labels), int(width / entry)))
        figure.legend(list(handles.values()), labels, loc="outside upper center", ncols=columns)
        tallest = max(1 + label.count("\n") for label in labels)
        legend_lines = -(-len(labels) // columns) * tallest
    if lines:
        figure.supxlabel("\n".join(lines), x=0.012, ha="left", fontsize=8, color="#444444")
    figure.set_figheight(figure.get_figheight() + 0.17 * legend_lines + 0.15 * len(lines))


def _inches(text: str) -> float:
    """Width of a line of 8-point text."""
    return float(TextPath((0, 0), text or " ", size=8).get_extents().width) / 72


def _wrapped(text: str, inches: float) -> list[str]:
    text = text.replace(" %", "\N{NO-BREAK SPACE}%")
    return textwrap.wrap(text, int(inches * CHARACTERS_PER_INCH))


def title(axis: Axes, text: str) -> None:
    """A title over the left edge of a panel, wrapped to its width."""
    axis.set_title("\n".join(_wrapped(text, PANEL[0] - 0.6)))


def logarithmic(axis: Axes) -> None:
    """Both axes logarithmic, with labels such as 0.1, 10 and 1k at the decades only."""
    axis.set_xscale("log")
    axis.set_yscale("log")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(short_number)
        side.set_minor_formatter(NullFormatter())


# --- saving -------------------------------------------------------------------------------------

_writers: deque[tuple[Path, BaseProcess, Connection]] = deque()


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name.png` and `name.pdf` without time stamps: the same data give the same bytes.

    A process of its own, forked here, writes them while the next figure is drawn; as many as there
    are cores write at once. They are there, or their error is raised, when `house_style` ends.
    """
    refuse_link(folder)
    make_folder(folder)
    paths = [folder / f"{name}.png", folder / f"{name}.pdf"]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if cores == 1:
        _write(figure, *paths)
        return paths
    while len(_writers) >= cores:
        _wait()
    theirs, ours = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=_write_and_tell, args=(ours, figure, *paths)
    )
    process.start()
    ours.close()
    _writers.append((paths[0], process, theirs))
    return paths


def _write_and_tell(parent: Connection, figure: Figure, png: Path, pdf: Path) -> None:
    error: BaseException | None = None
    try:
        _write(figure, png, pdf)
    except BaseException as raised:
        error = raised
    parent.send(error)


def _wait() -> None:
    """Until the oldest of the writing processes has ended; raises what it raised."""
    path, process, parent = _writers.popleft()
    with parent:
        try:
            error = parent.recv()
        except EOFError:
            error = StoreError(f"cannot write {path}: its process was killed; is memory short?")
        process.join()
    if error is not None:
        raise error


def _write(figure: Figure, png: Path, pdf: Path) -> None:
    """Both files; not by `savefig`, which would draw each figure once more for its layout."""
    figure.dpi = RC["savefig.dpi"]
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)
    figure.set_layout_engine("none")  # the places just computed hold for both files
    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data, metadata={"Software": MAKER})
    write_file(png, data.getvalue())
    data = io.BytesIO()
    unstamped = {"CreationDate": None, "Producer": None}
    FigureCanvasPdf(figure).print_pdf(data, metadata={"Creator": MAKER, **unstamped})
    write_file(pdf, data.getvalue())


def remove_others(folder: Path, written: Sequence[Path]) -> None:
    """Remove figures of an earlier call, so that old and new ones are never side by side."""
    mark = MAKER.encode()
    with explained(folder):
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            is_figure = path.suffix in (".png", ".pdf") and path.is_file() and not path.is_symlink()
            if is_figure and path not in written and mark in path.read_bytes():
                path.unlink()


def short_number(value: float, _position: object = None) -> str:
    """A tick label such as 500, 20k or 1.5M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
