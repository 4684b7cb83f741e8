"""The command line. Nothing here imports torch unless something is trained or plotted."""

import contextlib
import gc
import importlib.util
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pbrl import terminal
from pbrl.errors import MESSAGE, CellError, ConfigError, PbrlError, count, did_you_mean, shown

if TYPE_CHECKING:
    from pbrl.store import Cell

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Benchmarks for learning from preferences.\n\n"
    "Try: pbrl plan quick, pbrl run quick, pbrl plot runs/quick",
)

SuiteArgument = Annotated[
    str, typer.Argument(metavar="SUITE", help="a YAML file or the name of a shipped suite")
]
FolderArgument = Annotated[Path, typer.Argument(help="a results folder")]
OutOption = Annotated[
    Path | None, typer.Option("-o", "--out", help="results folder; default runs/<suite name>")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="change the suite, such as steps=5000; repeatable"
    ),
]
PluginOption = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin", metavar="FILE", help="import this Python file, which runs; repeatable"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="machine-readable output")]

RegretOption = Annotated[
    list[str] | None,
    typer.Option("--regret", metavar="NAME", help="a regret to show, such as strong or borda"),
]

RETRIES = ("failed", "outdated")

PLURALS = {
    "envs": "env",
    "teachers": "teacher",
    "methods": "method",
    "bandits": "bandit",
    "problems": "problem",
    "worlds": "world",
    "learners": "learner",
    "losses": "loss",
    "queries": "query",
    "suites": "suite",
}


def main() -> None:
    """Entry point: a user error is one message and exit code 2, a failed cell is exit code 1.

    Output that its reader no longer takes (`| head`) ends a command silently; a full disk, with
    exit code 74.
    """
    gc.set_threshold(100_000)  # imports and plans make many objects and hardly any garbage
    terminal.open_streams()
    code: str | int | None = 0
    try:
        app(prog_name="pbrl")
    except CellError as error:
        code = _complain(error, 1)
    except PbrlError as error:
        code = _complain(error, 2)
    except terminal.OutputError as error:
        code = _lost(error)
    except SystemExit as stop:
        code = stop.code
    except OSError as error:
        if error.filename is not None:
            raise  # not of a file already open, such as the output
        code = _lost(terminal.OutputError(error))
    if (lost := terminal.flush()) is not None:
        code = code or _lost(lost)
    sys.exit(code)


def _lost(error: terminal.OutputError) -> int:
    return _complain(error, error.code) if error.code else 0


def _complain(error: Exception, code: int) -> int:
    text = f"pbrl: {shown(error, limit=MESSAGE)}"
    with contextlib.suppress(OSError):
        print(terminal.wrapped(text) if sys.stderr.isatty() else text, file=sys.stderr, flush=True)
    return code


def _load_plugins(plugins: list[str] | None) -> list[str]:
    from pbrl import registry

    for plugin in plugins or []:
        registry.load_plugin(plugin)
    return [str(Path(p).resolve()) for p in plugins or []]


@app.command("list")
def list_(
    what: Annotated[str | None, typer.Argument(help=" | ".join(PLURALS) + " | a name")] = None,
    as_json: JsonOption = False,
    plugin: PluginOption = None,
) -> None:
    """Names that can stand in a suite, with what each is and its parameters."""
    _load_plugins(plugin)
    names = {plural: _names(kind) for plural, kind in PLURALS.items()}
    if what is None and not as_json:  # names alone are shown: what they are is not read
        terminal.print_names({p: [{"name": name} for name in known] for p, known in names.items()})
        return
    if what in PLURALS:
        names = {what: names[what]}
    elif what is not None:
        every = {name for known in names.values() for name in known}
        if what not in every:
            raise ConfigError(f"cannot list {what!r}; {did_you_mean(what, [*PLURALS, *every])}")
        names = {plural: [what] for plural, known in names.items() if what in known}
    found = {
        plural: [_listed(PLURALS[plural], n) for n in known] for plural, known in names.items()
    }
    if as_json:
        terminal.say_json(found)
        return
    for plural, entries in found.items():
        if what not in PLURALS:
            terminal.say(f"--- {PLURALS[plural]}")
        terminal.print_entries(entries, whole=what not in PLURALS)
        if plural == "methods" and entries:
            terminal.say_words(
                "in parentheses: what the papers use (DMC: dm_control, MW: Meta-World); the "
                "defaults are for small tasks"
            )


def _names(kind: str) -> list[str]:
    from pbrl import registry, suites

    return [*suites.shipped()] if kind == "suite" else registry.names(kind)


def _listed(kind: str, name: str) -> dict[str, Any]:
    """What a listing says of a name."""
    from pbrl import registry, suites
    from pbrl.errors import PluginError

    if kind == "suite":
        return {"name": name, "summary": suites.description(name)}
    try:
        entry = registry.describe(kind, name)
    except PluginError as error:
        return {"name": name, "summary": f"broken: {error}"}
    values = entry.parameters.values()
    listed = {"name": name, "summary": entry.summary, "more": entry.more, **entry.meta}
    listed["parameters"] = {p.name: p.default for p in values}
    listed["expected"] = {p.name: p.expected for p in values}
    listed["ranges"] = {p.name: p.range for p in values if p.range}
    if any(p.doc for p in values):
        listed["docs"] = {p.name: p.doc for p in values}
    return listed


@app.command()
def plan(
    suite_name: SuiteArgument,
    out: OutOption = None,
    settings: SetOption = None,
    plugin: PluginOption = None,
    as_json: JsonOption = False,
) -> None:
    """The cells of a suite: done and missing, label budgets, estimated time. Trains nothing."""
    from pbrl import store

    _load_plugins(plugin)
    cells, root, name = _cells(suite_name, out, settings)
    rows = terminal.plan_rows(cells, store.begun(root))
    done = sum(row["done"] for row in rows)
    left = sum(row["seconds_left"] for row in rows)
    notices = [*terminal.plan_notes(rows), *_notices(cells)]
    if as_json:
        total = {"cells": len(cells), "done": done, "seconds_left": left, "notices": notices}
        terminal.say_json({"suite": name, "folder": str(root), **total, "rows": rows})
        return
    terminal.print_plan(rows)
    known = "from the cells done" if done else "a rough guess until a cell is done"
    about = (
        f"about {terminal.duration(left)} of one core left ({known})" if left else "nothing left"
    )
    terminal.say_words(f"\n{count(len(cells), 'cell')}, {done} done in {root}; {about}")
    for notice in notices:
        terminal.say_words(f"note: {notice}")


def _notices(cells: "list[Cell]") -> list[str]:
    """What the cells ask for and this machine does not have, and what is done to thresholds."""
    from pbrl import devices
    from pbrl.suites import fit

    found = [*filter(None, dict.fromkeys(fit.note_on_thresholds(cell.config) for cell in cells))]
    for device in sorted({cell.config["device"] for cell in cells}):
        if why := devices.missing(device):
            found.append(f"device {device}: {why}; --executor ray can run it on nodes that have it")
    gpus = max((cell.config["execution"]["gpus"] for cell in cells), default=0)
    if gpus and devices.missing("cuda"):
        found.append(
            f"gpus: {gpus:g} can be given by --executor ray alone; {devices.missing('cuda')}"
        )
    return found


def _cells(
    suite_name: str, out: Path | None, settings: list[str] | None
) -> "tuple[list[Cell], Path, str]":
    from pbrl import store, suite
    from pbrl.suites import oracles

    content = suite.read(suite_name, settings=tuple(settings or ()))
    try:
        configs = suite.cells(content, folder=suite.find(suite_name).parent)
    except ConfigError as error:
        if settings:  # which may have put there what is wrong
            raise
        raise suite.located(error, suite_name) from None
    root = out or Path("runs") / content["name"]
    resolved = (oracles.resolved(config, root) for config in configs)
    return store.cells_of(root, resolved), root, content["name"]


@app.command()
def run(
    suite_name: SuiteArgument,
    out: OutOption = None,
    jobs: Annotated[int, typer.Option(min=1, help="cells at once, one thread each")] = 1,
    executor: Annotated[str, typer.Option(help="local, or ray for a cluster")] = "local",
    address: Annotated[str | None, typer.Option(help="address of a Ray cluster")] = None,
    settings: SetOption = None,
    plugin: PluginOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="run the cells whose title or id fits, such as '*sac*'"
        ),
    ] = None,
    retry: Annotated[
        list[str] | None,
        typer.Option(help="compute again what failed, or is outdated (done by other code)"),
    ] = None,
) -> None:
    """Run a suite, or the rest of it: finished cells are skipped, a stopped one continues."""
    from pbrl import store
    from pbrl.jobs import oracles
    from pbrl.suites.oracles import stand_in, with_oracles

    if executor not in ("local", "ray"):
        raise ConfigError(f"--executor {executor!r}; expected local or ray")
    if executor == "ray" and importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "--executor ray needs Ray, which is not installed: pip install 'pbrl[ray]'"
        )
    for word in retry or []:
        if word not in RETRIES:
            raise ConfigError(f"--retry {word!r}; expected {' or '.join(RETRIES)}")
    plugins = _load_plugins(plugin)
    planned, root, _ = _cells(suite_name, out, settings)
    cells = with_oracles(_chosen(planned, only), planned)
    if executor == "local":
        from pbrl import devices

        for device in {cell.config["device"] for cell in cells}:
            if why := devices.missing(device):
                raise ConfigError(f"device {device}: {why}; use another, such as --set device=cpu")
    stand_ins = {store.cell_id(stand_in(cell.config)) for cell in planned}
    stand_ins -= {cell.id for cell in planned}
    damaged = store.write_plan(root, planned, plugins, instead_of=sorted(stand_ins))
    for one in damaged:
        terminal.say_words(f"made anew: {one.problem}")
    with terminal.Progress(cells) as progress:
        summary, cells = oracles.run_cells(
            cells,
            root,
            jobs=jobs,
            plugins=plugins,
            retry=retry or (),
            executor=executor,
            address=address,
            on_event=progress.event,
            on_resolved=progress.replace,
        )
    lost = 0 if progress.lost is None else _lost(progress.lost)
    states = Counter(store.look(cell).status for cell in cells)
    terminal.say(f"{root}: " + ", ".join(f"{n} {state}" for state, n in sorted(states.items())))
    others = len(store.read_plan(root).cells) - len(planned)
    if len(planned) > len(cells):
        left_out = count(len(planned) - len(cells), "cell")
        terminal.say(f"--only left out {left_out} of the suite")
    if others > 0:
        terminal.say_words(
            f"the folder also holds {count(others, 'cell')} that this suite does not have"
        )
    if summary.outdated:
        other = sorted({name for names in summary.outdated.values() for name in names})
        terminal.say_words(
            f"{count(len(summary.outdated), 'cell')} computed with another version of "
            f"{', '.join(other)} and kept; --retry outdated computes them again"
        )
    terminal.print_failures(summary.failed, root)
    if summary.failed:
        terminal.say()
    if summary.signal is not None:
        terminal.say("stopped; the same command continues it")
    elif states["done"]:
        terminal.say(f"next: pbrl table {root}; pbrl plot {root}")
    if summary.exit_code or lost:
        sys.exit(summary.exit_code or lost)


@app.command()
def oracle(
    env: Annotated[
        str,
        typer.Argument(metavar="ENV", help="a name, or '{name: walker-walk, action_repeat: 2}'"),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="results folder")] = Path("runs/oracles"),
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="steps, seed, or a setting of the method expert"
        ),
    ] = None,
    plugin: PluginOption = None,
) -> None:
    """Train the expert whose values teachers such as regret consult; the same command continues it.

    A suite builds its own where it needs one; `oracle: FOLDER` in a block takes this one instead.
    """
    from pbrl import store, suite
    from pbrl.jobs import queue
    from pbrl.suites.text import parse

    plugins = _load_plugins(plugin)
    given = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r}; expected KEY=VALUE, such as steps=50000")
        given[key.strip()] = parse(value, f"--set {key}")
    cell = store.Cell(out, suite.oracle_cell(parse(env, "ENV"), given))
    store.write_plan(out, [cell], plugins)
    with terminal.Progress([cell]) as progress:
        summary = queue.run_cells(
            [cell], out, plugins=plugins, retry=["failed"], on_event=progress.event
        )
    terminal.print_failures(summary.failed, out)
    if summary.exit_code:
        sys.exit(summary.exit_code)
    stages = cell.weights()["experts"]
    for level in ("poor", "medium", "good"):
        earned = stages[level]["return"]
        told = "unknown" if earned is None else f"{earned:.4g}"
        terminal.say(f"{level:<8}step {stages[level]['step']:>9,}, training return {told}")
    terminal.say(f"pbrl {cell.whole_manifest()['environment']['pbrl']}, seed {cell.config['seed']}")
    terminal.say_words(f"in a block: oracle: {cell.path.absolute()}")


def _chosen(cells: "list[Cell]", patterns: list[str] | None) -> "list[Cell]":
    """The cells whose title or id fits one of the patterns; all when there are none."""
    from fnmatch import fnmatchcase

    from pbrl.store import title

    if not patterns:
        return cells
    names = [(cell, (title(cell.config), cell.id)) for cell in cells]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for _, both in names for name in both):
            raise ConfigError(
                f"--only {pattern!r} fits no cell; the first is {names[0][1][0]!r} "
                f"({names[0][1][1]}); * stands for any text"
            )
    return [c for c, both in names if any(fnmatchcase(n, p) for n in both for p in patterns)]


@app.command()
def status(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Cells of a results folder: failed (why), running, stopped, missing; done are counted."""
    from pbrl import store

    plan = store.read_plan(folder)
    infos = [*map(store.look, plan.cells), *plan.damaged]
    now = plan.code()
    other = {
        info.id: names
        for info in infos
        if info.status == "done" and (names := store.changed(info.environment, now))
    }
    rows: list[dict[str, Any]] = [
        {
            "cell": info.id,
            "title": store.title(info.config) if info.config else info.id,
            "config": info.config,
            "status": info.status,
            "progress": info.progress,
            "failure": info.failure,
            "problem": info.problem,
            "outdated": other.get(info.id, []),
        }
        for info in infos
    ]
    if as_json:
        terminal.say_json(rows)
        return
    if any(row["status"] != "done" for row in rows):
        terminal.print_status(rows)
        terminal.say()
    states = Counter(terminal.state(row) for row in rows)
    counts = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
    terminal.say(f"{folder}: {counts or 'no cells'}")
    if other:
        names = sorted({name for names in other.values() for name in names})
        terminal.say_words(
            f"{count(len(other), 'cell')} computed with another version of {', '.join(names)}; "
            "pbrl run --retry outdated computes them again"
        )
    for problem in [info.problem for info in infos if info.problem][: terminal.FAILURES]:
        terminal.say_words(f"- {problem}")
    failed = {info.id for info in infos if info.status == "failed"}
    terminal.print_failures([cell for cell in plan.cells if cell.id in failed], folder)


@app.command()
def plot(
    folder: FolderArgument,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="where to write; the results folder itself")
    ] = None,
    regret: RegretOption = None,
) -> None:
    """Return and regret curves, feedback efficiency, performance profiles, and one HTML page."""
    from pbrl import report

    for path in report.plot(folder, out, regrets=regret):
        terminal.say(path)


@app.command()
def table(
    folder: FolderArgument,
    format: Annotated[str, typer.Option(help="md, csv, latex or json")] = "md",
    strict: Annotated[bool, typer.Option(help="fail on missing, failed or mixed cells")] = False,
    regret: RegretOption = None,
) -> None:
    """Final scores with intervals over seeds, one row per task, learner and teacher."""
    from pbrl import report

    room = terminal.width() if format == "md" and sys.stdout.isatty() else None
    text = report.table(folder, format=format, strict=strict, regrets=regret, room=room)
    terminal.say(text, end="")


@app.command()
def likelihood(
    folder: Annotated[Path, typer.Argument(help="answers of people on the delivery grid")],
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="of the experiment; repeatable; default all"),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, max=1000, help="of the cross-validation")] = 10,
    learn: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="also learn, from all and from parts of N answers"),
    ] = None,
) -> None:
    """Which model of a preference explains people's answers: return, regret, bootstrapped, ..."""
    from pbrl.tabular import people

    for number, name in enumerate(condition or people.conditions(folder)):
        answers = people.read(folder, name)
        terminal.say("\n" * bool(number) + people.table(answers, name, folds=folds), end="")
        if learn:
            terminal.say("\n" + people.learning(answers, learn), end="")


@app.command()
def check(
    what: Annotated[str, typer.Argument(metavar="NAME_OR_FILE", help="a name, or a plug-in file")],
    plugin: PluginOption = None,
) -> None:
    """Contract tests of an environment, teacher, method, query, loss, bandit, problem and so on.

    They run in a process of their own; one that hangs is stopped after 1 to 10 minutes, by kind.
    """
    from pbrl import check as contract
    from pbrl.check import limited

    _load_plugins(plugin)
    broken = 0
    for kind, name in contract.targets(what):
        if kind == "method" and sys.stderr.isatty():
            print(f"running and resuming method {name} several times ...", file=sys.stderr)
        violations = limited.violations(kind, name)
        verdict = count(len(violations), "violation") if violations else "ok"
        terminal.say(f"{kind} {name}: {verdict}")
        for violation in violations:
            terminal.say(f"  - {violation}")
        broken += bool(violations)
    if broken:
        sys.exit(1)


@app.command()
def new(
    kind: Annotated[
        str,
        typer.Argument(help="env, teacher, method, query, loss, bandit, problem, world, learner"),
    ],
    name: Annotated[str, typer.Argument(help="what a suite will call it")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="file; default NAME.py, with _ for -")
    ] = None,
) -> None:
    """Write a plug-in to start from: a complete file of its kind that passes `pbrl check`."""
    from pbrl import skeletons

    path = skeletons.write(kind, name, out)
    terminal.say(f"{path}\nnext: pbrl check {path}; pbrl run SUITE --plugin {path}")


@app.command()
def doctor() -> None:
    """Versions, devices, rendering, disk: what to send along with a question."""
    from pbrl import doctor as report_of

    for line in report_of.lines():
        terminal.say(line)
