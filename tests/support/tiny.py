"""A study that runs in seconds, and whom its progress is told."""

import runpy
import shutil
from pathlib import Path

TINY = Path(__file__).parents[1] / "tiny_study"


def quiet(stage: str, done: int, total: int) -> None:
    """Show nothing."""


def write_tiny(home: Path, changed: str, instead_of: str = "[search]") -> Path:
    """The study.toml of a copy of the tiny study with a change."""
    shutil.copytree(TINY, home / "tiny")
    runpy.run_path(str(home / "tiny" / "shapes.py"))["write"](home / "tiny" / "images.npz")
    file = home / "tiny" / "study.toml"
    file.write_text(file.read_text().replace(instead_of, changed))
    return file
