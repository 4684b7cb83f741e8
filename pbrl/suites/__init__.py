"""The suites that come with the package."""

import re
from pathlib import Path


def shipped() -> dict[str, Path]:
    """Names and files of the suites that come with the package."""
    return {file.stem: file for file in sorted(Path(__file__).parent.glob("*.yaml"))}


def description(name: str) -> str:
    """What a shipped suite says about itself; its file is searched, as parsing takes far longer."""
    found = re.search(r"^description: (.*)$", shipped()[name].read_text("utf-8"), re.MULTILINE)
    return found.group(1) if found else ""
