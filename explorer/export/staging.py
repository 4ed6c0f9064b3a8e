"""What every export does alike: it writes beside its folder, moves what is finished there, and says who wrote it."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import explorer
from explorer.errors import ExportError

SUMMARY = "summary.json"
"""What most exports say of themselves, as JSON."""


@contextmanager
def staged(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Give a folder to write to on the disk of `folder`, whose files of these names are moved there at the end.

    They come in the order of their names here, each after what belongs to it (`name.data`); nothing is moved where an
    exception ends the writing.

    Raises:
        ExportError: The disk refuses.
    """
    try:
        home = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        staging = Path(tempfile.mkdtemp(prefix=".export-", dir=home))
        try:
            yield staging
            folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                for file in sorted(staging.glob(f"{name}*"), reverse=True):
                    file.replace(folder / file.name)
        finally:
            shutil.rmtree(staging)
    except OSError as error:
        raise ExportError(f"export: {folder} cannot be written: {error}; choose another folder") from error


def write_description(file: Path, description: Mapping[str, Any]) -> None:
    """Write plain data and the software that made them as JSON."""
    packages = {name: version(name) for name in ("torch", "onnx", "onnxruntime", "numpy")}
    software = {"explorer": explorer.__version__, "python": platform.python_version(), **packages}
    text = json.dumps({**description, "software": software}, indent=2, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")
