"""The folder: alone in an empty project, listed without torch, drawn in its page, short."""

import ast
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pbrl import losses, registry
from pbrl.losses.page import COLUMNS, KINDS, page

FOLDER = Path(losses.__file__).parent


def test_the_page_is_what_the_code_says() -> None:
    found = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert found == page(), "run: python -m pbrl.losses.page"


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_every_loss_says_where_it_stands(name: str) -> None:
    function = losses.LOSSES[name]
    meta = function.meta  # type: ignore[attr-defined]
    assert meta["kind"] in KINDS
    assert meta["paper"]
    assert meta["evidence"] in ("C", "P", "2", "M", "D")
    assert set(meta) <= {"kind", "paper", "evidence", "aka", "shape", "beta", *COLUMNS}
    doc = inspect.getdoc(function) or ""
    if meta["evidence"] == "M":
        assert "from memory" in doc
    assert getattr(losses, name) is function


def test_the_static_reader_finds_every_loss() -> None:
    assert set(registry.names("loss")) == set(losses.LOSSES)


def test_a_copy_alone_works_and_imports_torch_only(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "borrowed", ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import sys, torch\n"
        "before = set(sys.modules)\n"
        "import borrowed\n"
        "x = torch.zeros(3)\n"
        "assert abs(float(borrowed.sigmoid(x, x).mean()) - 0.6931472) < 1e-6\n"
        "new = {m.partition('.')[0] for m in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names)))\n"
    )
    # Without site-packages paths of this checkout: only torch's own, from where it is installed.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['borrowed']"


def code_lines(file: Path) -> int:
    """Lines that are neither blank, nor comments, nor docstrings."""
    source = file.read_text(encoding="utf-8")
    docs: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            docs |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(i not in docs and bool(s.strip()) and s.strip()[0] != "#" for i, s in lines)


def test_the_folder_stays_small() -> None:
    assert sum(code_lines(file) for file in FOLDER.glob("*.py")) < 1600


def test_no_loss_needs_scrolling() -> None:
    for function in losses.LOSSES.values():
        assert len(inspect.getsource(inspect.unwrap(function)).splitlines()) <= 50
