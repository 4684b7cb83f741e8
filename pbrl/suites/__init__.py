"""The suites that come with the package."""

from pathlib import Path

import yaml


def shipped() -> dict[str, Path]:
    """Names and files of the suites that come with the package."""
    return {file.stem: file for file in sorted(Path(__file__).parent.glob("*.yaml"))}


def description(name: str) -> str:
    """What a shipped suite says about itself."""
    return yaml.safe_load(shipped()[name].read_text(encoding="utf-8"))["description"]
