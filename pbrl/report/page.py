"""One HTML page of a results folder that needs nothing else: no script, no font, no link."""

import base64
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from pbrl.report import formats, style, tables
from pbrl.report.names import printable
from pbrl.report.study import Study
from pbrl.store.atomic import make_folder, write_file

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff;
       max-width: 94rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin-top: 2.4rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { padding: .28rem .8rem .28rem 0; text-align: left; vertical-align: top }
th { border-bottom: 1.5px solid #444; white-space: nowrap } td { border-bottom: 1px solid #e4e4e4 }
.n { text-align: right } .n, .s { white-space: nowrap }
.notes { color: #555; font-size: .85rem; margin: .6rem 0; max-width: 76rem }
.notes p { margin: .1rem 0 }
.warning { border-left: 4px solid #D55E00; background: #fdf3ec; padding: .5rem .9rem }
figure { margin: 1.2rem 0; overflow-x: auto }
"""

SHORT = 24  # characters of a text that stays on one line
SCREEN_DPI = 130  # 8-point text is then about as large as the page's own
CAPTIONS = {
    "returns": "Return during training",
    "success": "Success rate during training",
    "efficiency": "Feedback efficiency: return against labels answered",
    "profiles": "Performance profiles",
    "tabular": "Near-optimal policies against labels",
    "regret": "{} regret on linear and on logarithmic axes",
}


def write(
    study: Study,
    name: str,
    path: Path,
    figures: Sequence[Path],
    *,
    regrets: Sequence[str] | None,
) -> Path:
    """Write one page to `path` with those of `figures` that are PNG files, and all tables."""
    name, cells = escape(printable(name)), study.finished
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{name}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style></head><body>",
        f"<h1>{name}</h1><p>{cells} finished cells of {cells + len(study.left)}.</p>",
    ]
    if study.problems():
        listed = "".join(f"<p>{escape(text)}</p>" for text in study.problems())
        parts.append(f'<div class="warning">{listed}</div>')
    parts += [_figure(path) for path in figures if path.suffix == ".png"]
    parts += [_table(one) for one in tables.build(study, regrets=regrets)]
    parts.append("</body></html>\n")
    make_folder(path.parent)
    write_file(path, "\n".join(parts).encode())
    return path


def _figure(path: Path) -> str:
    kind, _, which = path.stem.partition("-")
    which = re.sub(r"-[0-9]+$", "", which).replace("_", " ").capitalize()
    caption, png = escape(CAPTIONS[kind].format(which)), path.read_bytes()
    width = int.from_bytes(png[16:20]) * SCREEN_DPI // style.RC["savefig.dpi"]
    data = base64.b64encode(png).decode()
    return (
        f'<h2>{caption}</h2><figure><img alt="{caption}" width="{width}" '
        f'src="data:image/png;base64,{data}"></figure>'
    )


def _table(one: formats.Table) -> str:
    numeric = {column for column in one.columns if formats.is_number(one, column)}

    def cell(tag: str, column: str, text: str) -> str:
        kind = ' class="n"' if column in numeric else ' class="s"' if len(text) <= SHORT else ""
        return f"<{tag}{kind}>{escape(text)}</{tag}>"

    head = "".join(cell("th", column, column) for column in one.columns)
    rows = [
        "<tr>" + "".join(cell("td", c, formats.shown(row.get(c), c)) for c in one.columns) + "</tr>"
        for row in one.rows
    ]
    notes = "".join(f"<p>{escape(note)}</p>" for note in one.notes)
    return (
        f'<h2>{escape(one.title)}</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><div class="notes">{notes}</div>'
    )
