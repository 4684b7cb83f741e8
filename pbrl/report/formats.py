"""A table as Markdown, CSV, LaTeX or JSON."""

import csv
import io
import json
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pbrl.report.scores import Estimate

FEW = "†"  # after an interval of fewer runs than enough
Value = str | int | float | Estimate | None


@dataclass(frozen=True)
class Table:
    """Rows of values under column names; `notes` define the columns."""

    name: str
    title: str
    rows: list[dict[str, Value]]
    notes: list[str] = field(default_factory=list)

    @cached_property
    def columns(self) -> list[str]:
        """Columns that some row has a value for, in order of first appearance."""
        named = dict.fromkeys(key for row in self.rows for key in row)
        return [key for key in named if any(row.get(key) is not None for row in self.rows)]


def shown(value: Value, column: str = "") -> str:
    """A value as people read it: about four digits, interval in brackets, nothing for None."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Estimate):
        if value.low is None or value.high is None:
            return _number(value.point)
        digits = _digits(max(abs(value.point), value.high - value.low))
        while digits < 15 and _fixed(value.low, digits) == _fixed(value.high, digits):
            digits += 1  # a narrow interval is not shown as none
        texts = [_fixed(x, digits) for x in (value.point, value.low, value.high)]
        return f"{texts[0]} [{texts[1]}, {texts[2]}]" + (FEW if value.few else "")
    if isinstance(value, int):
        return f"{value:,}"
    if column == "duels/s":
        return f"{value / 1e6:.3g} M" if value >= 1e6 else f"{value / 1e3:.3g} k"
    return _number(value)


def _number(value: float) -> str:
    return _fixed(value, _digits(value))


def _fixed(value: float, digits: int) -> str:
    """So many decimals, and no minus before a zero."""
    text = f"{value:,.{digits}f}"
    return text if text.strip("-0.") else text.lstrip("-")


def _digits(size: float) -> int:
    """Decimals that leave four digits, at most three decimals."""
    return next(
        decimals for decimals in range(4) if abs(size) >= 10 ** (3 - decimals) or decimals == 3
    )


def markdown(tables: Sequence[Table], room: int | None = None) -> str:
    """Tables and their notes; one wider than `room` columns in parts that repeat its first ones."""
    parts = []
    for one in tables:
        cells = [[_plain_markdown(shown(row.get(c), c)) for c in one.columns] for row in one.rows]
        rows = [one.columns, *cells]
        widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
        right = [is_number(one, column) for column in one.columns]
        keys = _keys(one)
        groups = [[*range(len(widths))]] if room is None else _groups(widths, keys, room)
        lines = [f"## {one.title}"]
        for group in groups:
            wide, numeric = [widths[i] for i in group], [right[i] for i in group]
            head, *body = [_padded([row[i] for i in group], wide, numeric) for row in rows]
            rule = "|".join("-" * (w + 1) + "-:"[r] for w, r in zip(wide, numeric, strict=True))
            lines += ["", head, f"|{rule}|", *body]
        notes = [f"- {_plain_markdown(note)}" for note in one.notes]
        if room is not None:
            notes = [textwrap.fill(note, room, subsequent_indent="  ") for note in notes]
        parts.append("\n".join([*lines, "", *notes]).rstrip())
    return "\n\n".join(parts) + "\n" if parts else "No cell in this folder.\n"


def _keys(one: Table) -> int:
    """How many columns on the left say what a row is: texts, and counts that tell rows apart."""
    numeric = [is_number(one, column) for column in one.columns]
    texts = numeric.index(True) if True in numeric else len(numeric)
    for number in range(texts, len(numeric) + 1):
        columns = one.columns[:number]
        if any(isinstance(row.get(c), float | Estimate) for row in one.rows for c in columns):
            break
        if len({tuple(row.get(c) for c in columns) for row in one.rows}) == len(one.rows):
            return number
    return texts


def _groups(widths: Sequence[int], first: int, room: int) -> list[list[int]]:
    """Columns that fit side by side, each time after the `first` ones."""
    keys = [*range(first)]
    groups = [keys]
    for column in range(first, len(widths)):
        wanted = [*groups[-1], column]
        fits = sum(widths[i] + 3 for i in wanted) + 1 <= room
        if fits or groups[-1] == keys:
            groups[-1] = wanted
        else:
            groups.append([*keys, column])
    return groups


# Of brackets and underscores only those that begin something, for text that stays readable.
MARKUP = re.compile(r"[\\|<*`$~]|&(?=#?\w+;)|!?\[(?=[^\]]*\][(\[])|(?<![^\W_])_|_(?![^\W_])")


def _plain_markdown(text: str) -> str:
    """Text that Markdown shows as it is written: no cell ends in it, no markup begins."""
    return MARKUP.sub(r"\\\g<0>", text)


def _padded(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    texts = [t.rjust(w) if r else t.ljust(w) for t, w, r in zip(row, widths, right, strict=True)]
    return "| " + " | ".join(texts) + " |"


def is_number(one: Table, column: str) -> bool:
    return not any(isinstance(row.get(column), str) for row in one.rows)


def _csv(tables: Sequence[Table]) -> str:
    """One flat table: column `table` tells which, an interval has two columns of its own."""
    rows: list[dict[str, Any]] = []
    for one in tables:
        for row in one.rows:
            flat: dict[str, Any] = {"table": one.name}
            for column in one.columns:
                flat |= _flat(column, row.get(column))
            rows.append(flat)
    text = io.StringIO()
    columns = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(column: str, value: Value) -> dict[str, Any]:
    if not isinstance(value, Estimate):
        return {column: value}
    return {column: value.point, f"{column} low": value.low, f"{column} high": value.high}


def _json(tables: Sequence[Table]) -> str:
    def plain(value: Value) -> Any:
        if isinstance(value, Estimate):
            return {"point": value.point, "low": value.low, "high": value.high}
        return value

    content = {
        one.name: {
            "rows": [{c: plain(row.get(c)) for c in one.columns} for row in one.rows],
            "notes": one.notes,
        }
        for one in tables
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": "$<$", ">": "$>$", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "\N{NO-BREAK SPACE}": "~", "·": r"$\cdot$", FEW: r"$\dagger$",
}  # fmt: skip


def _latex(tables: Sequence[Table]) -> str:
    """A `table` environment each, for the packages booktabs; notes below the rules."""
    parts = ["% needs \\usepackage{booktabs}"]
    for one in tables:
        align = "".join("r" if is_number(one, column) else "l" for column in one.columns)
        body = [
            " & ".join(_tex(shown(row.get(c), c)) for c in one.columns) + r" \\" for row in one.rows
        ]
        head = " & ".join(_tex(column) for column in one.columns) + r" \\"
        notes = [f"\\par\\footnotesize {_tex(note)}" for note in one.notes]
        parts.append("\n".join([
            r"\begin{table}", r"\centering", f"\\caption{{{_tex(one.title)}}}",
            f"\\begin{{tabular}}{{{align}}}", r"\toprule", head, r"\midrule", *body,
            r"\bottomrule", r"\end{tabular}", *notes, r"\end{table}",
        ]))  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _tex(text: str) -> str:
    """Text that LaTeX sets as it is written; a bracket at its start is no argument of a row end."""
    escaped = "".join(LATEX.get(character, character) for character in text)
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped[:1] in ("[", "*") else escaped


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "md": markdown,
    "csv": _csv,
    "latex": _latex,
    "json": _json,
}
