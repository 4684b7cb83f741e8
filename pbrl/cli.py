"""The command line. Nothing here imports torch unless something is trained or plotted."""

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from pbrl import __version__
from pbrl.errors import CellError, ConfigError, PbrlError, StoreError, did_you_mean

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Benchmarks for learning from preferences.\n\n"
    "Try: pbrl plan quick, pbrl run quick, pbrl plot runs/quick",
)

SuiteArgument = Annotated[str, typer.Argument(help="a YAML file or the name of a shipped suite")]
FolderArgument = Annotated[Path, typer.Argument(help="a results folder")]
OutOption = Annotated[
    Path | None, typer.Option("-o", "--out", help="results folder; default runs/<suite name>")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change the suite, such as steps=5000"),
]
PluginOption = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="FILE", help="import this Python file first; it is code and runs"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="machine-readable output")]

PLURALS = {
    "envs": "env",
    "teachers": "teacher",
    "methods": "method",
    "bandits": "bandit",
    "problems": "problem",
    "losses": "loss",
    "queries": "query",
    "suites": "suite",
}


def main() -> None:
    """Entry point: a user error is one message and exit code 2, a failed cell is exit code 1."""
    try:
        app(prog_name="pbrl")
    except CellError as error:
        _stop(error, 1)
    except PbrlError as error:
        _stop(error, 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _stop(error: Exception, code: int) -> None:
    print(f"pbrl: {error}", file=sys.stderr)
    sys.exit(code)


def _load_plugins(plugins: list[str] | None) -> list[str]:
    from pbrl import registry

    for plugin in plugins or []:
        registry.load_plugin(plugin)
    return [str(Path(p).resolve()) for p in plugins or []]


@app.command("list")
def list_(
    what: Annotated[str | None, typer.Argument(help=" | ".join(PLURALS))] = None,
    as_json: JsonOption = False,
    plugin: PluginOption = None,
) -> None:
    """Names that can stand in a suite, with what each is and its parameters."""
    from pbrl import registry, suite
    from pbrl.errors import PluginError

    _load_plugins(plugin)
    if what is not None and what not in PLURALS:
        raise ConfigError(f"cannot list {what!r}; {did_you_mean(what, PLURALS)}")
    found: dict[str, list[dict[str, Any]]] = {}
    for plural in [what] if what else PLURALS:
        kind = PLURALS[plural]
        if kind == "suite":
            shipped = suite.shipped()
            found[plural] = [
                {"name": n, "summary": suite.read(n).get("description", "")} for n in shipped
            ]
            continue
        found[plural] = []
        for name in registry.names(kind):
            try:
                entry = registry.describe(kind, name)
            except PluginError as error:
                found[plural].append({"name": name, "summary": f"broken: {error}"})
                continue
            parameters = {p.name: p.default for p in entry.parameters.values()}
            found[plural].append(
                {"name": name, "summary": entry.summary, **entry.meta, "parameters": parameters}
            )
    if as_json:
        print(json.dumps(found, indent=1, default=str))
    elif what is None:
        _print_names(found)
    else:
        _print_entries(found[what])


def _print_names(found: dict[str, list[dict[str, Any]]]) -> None:
    import textwrap

    width = min(100, _width())
    for plural, entries in found.items():
        names = ", ".join(str(e["name"]) for e in entries)
        indent = " " * 11
        print(textwrap.fill(names, width, initial_indent=f"{plural:<11}", subsequent_indent=indent))
    print("\nMore about one kind: pbrl list methods")


def _print_entries(entries: list[dict[str, Any]]) -> None:
    import textwrap

    width = min(100, _width())
    for entry in entries:
        extra = " ".join(
            f"[{k}: {v}]" for k, v in entry.items() if k not in ("name", "summary", "parameters")
        )
        print(entry["name"])
        for text in (entry["summary"], extra):
            if text:
                print(textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    "))
        if entry.get("parameters"):
            shown = ", ".join(f"{k}={v!r}" for k, v in entry["parameters"].items())
            shown = shown.replace("'<required>'", "...")
            print(textwrap.fill(shown, width, initial_indent="    ", subsequent_indent="      "))


def _width() -> int:
    return os.get_terminal_size().columns if sys.stdout.isatty() else 100


@app.command()
def plan(
    suite_name: Annotated[str, typer.Argument(metavar="SUITE", help="a YAML file or a shipped suite")],
    out: OutOption = None,
    settings: SetOption = None,
    plugin: PluginOption = None,
    as_json: JsonOption = False,
) -> None:
    """The cells of a suite: done and missing, label budgets, estimated time. Trains nothing."""
    from pbrl import schedule, store, suite

    _load_plugins(plugin)
    content = suite.read(suite_name, settings=tuple(settings or ()))
    configs = suite.cells(content)
    root = out or Path("runs") / content["name"]
    cells = [store.Cell(root, config) for config in configs]
    seconds = store.measured_seconds(root) if root.is_dir() else {}
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for cell in cells:
        config = cell.config
        row = rows.setdefault(_group(config), {"cells": 0, "done": 0, "labels": "", "seconds": 0.0})
        row["cells"] += 1
        done = cell.status() == "done"
        row["done"] += done
        if not done:
            row["seconds"] += _estimate(config, seconds)
        if config["kind"] == "online" and "label_interval" in config["method"]:
            sessions = schedule.sessions_of(config["method"])
            row["labels"] = f"{sum(n for _, n in sessions)} in {len(sessions)}"
    if as_json:
        listing = [{"group": " / ".join(k), **v} for k, v in rows.items()]
        print(json.dumps({"suite": content["name"], "folder": str(root), "groups": listing}, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("kind", "task", "learner", "teacher", "size"):
        table.add_column(title, overflow="fold")
    for title in ("cells", "done", "labels in sessions", "time left"):
        table.add_column(title, justify="right")
    for key, row in rows.items():
        left = "" if row["done"] == row["cells"] else _duration(row["seconds"])
        table.add_row(*key, str(row["cells"]), str(row["done"]), row["labels"], left)
    console = Console(width=max(_width(), 100))
    console.print(table)
    total = sum(r["seconds"] for r in rows.values())
    done = sum(r["done"] for r in rows.values())
    print(
        f"\n{len(cells)} cells, {done} done in {root}; about {_duration(total)} of one core left"
        f" ({'measured here' if seconds else 'rough: no cell has finished in this folder'})"
    )


def _group(config: dict[str, Any]) -> tuple[str, ...]:
    if config["kind"] == "bandit":
        return (
            "bandit",
            config["problem"]["label"],
            config["algorithm"]["label"],
            "",
            f"{config['horizon']:,} duels x {config['repetitions']}",
        )
    teacher = config["teacher"]["label"] if config["teacher"] else "-"
    return (
        config["kind"],
        config["env"]["label"],
        config["method"]["label"],
        teacher,
        f"{config['steps']:,} steps",
    )


ROUGH_SECONDS = {"online": 0.006, "bandit": 1e-6}  # per step and per duel, one 2020s server core


def _estimate(config: dict[str, Any], seconds: dict[str, float]) -> float:
    """Expected seconds of a cell: that of finished cells like it, or a rough rate."""
    size = config["steps"] if config["kind"] == "online" else config["horizon"] * config["repetitions"]
    return size * seconds.get("/".join(_group(config)[:4]), ROUGH_SECONDS[config["kind"]])


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


@app.command()
def run(
    suite_name: Annotated[str, typer.Argument(metavar="SUITE", help="a YAML file or a shipped suite")],
    out: OutOption = None,
    jobs: Annotated[int, typer.Option(min=1, help="cells at once, one thread each")] = 1,
    executor: Annotated[str, typer.Option(help="local, or ray for a cluster")] = "local",
    address: Annotated[str | None, typer.Option(help="Ray cluster address")] = None,
    settings: SetOption = None,
    plugin: PluginOption = None,
) -> None:
    """Run a suite, or the rest of it: finished cells are skipped, a stopped one continues."""
    from pbrl import runner, store, suite

    if executor not in ("local", "ray"):
        raise ConfigError(f"--executor {executor!r}; expected local or ray")
    plugins = _load_plugins(plugin)
    content = suite.read(suite_name, settings=tuple(settings or ()))
    configs = suite.cells(content)
    root = out or Path("runs") / content["name"]
    cells = [store.Cell(root, config) for config in configs]
    store.write_plan(root, cells)
    from pbrl.progress import Progress

    with Progress(cells) as progress:
        summary = runner.run_cells(
            cells,
            root,
            jobs=jobs,
            plugins=plugins,
            executor=executor,
            address=address,
            on_event=progress.event,
        )
    _conclude(summary, root)
