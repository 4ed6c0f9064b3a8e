"""Compile the C source with the compiler of this machine, and run it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ExportError
from explorer.export.c.source import CSource
from explorer.export.interface import Interface
from explorer.graph.inputs import Inputs

HEADER, SOURCE, MAIN = "net.h", "net.c", "main.c"
FLAGS = ("-std=c99", "-O3", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")


def write_files(source: CSource, folder: Path) -> None:
    """Write net.h, net.c and main.c to an existing folder."""
    for name, text in ((HEADER, source.header), (SOURCE, source.source), (MAIN, source.main)):
        (folder / name).write_text(text, encoding="ascii")


def encode_inputs(interface: Interface, images: Inputs) -> NDArray[np.uint8]:
    """Return codes (N x bytes), channels last, of inputs (N x ...): all inputs of an image together."""
    return np.concatenate([codes.reshape(len(codes), -1) for codes in interface.encode(images)], axis=1)


def find_compiler() -> str:
    """Return the path of the C compiler `cc`.

    Raises:
        ExportError: Where there is none.
    """
    found = shutil.which("cc")
    if found is None:
        raise ExportError(
            "c: the source is compiled and run before it is handed over, and there is no C compiler `cc` here; install "
            "one (gcc or clang), or choose another --format"
        )
    return found


def run_source(folder: Path, codes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Compile the source in a folder, leaving nothing there, and return what it gives for codes (N x bytes).

    Raises:
        ExportError: Without a compiler, where it warns, or where the program does not end well.
    """
    compiler = find_compiler()
    with tempfile.TemporaryDirectory(prefix="explorer-c-") as home:
        network = Path(home) / "net"
        command = [compiler, *FLAGS, SOURCE, MAIN, "-o", str(network)]
        built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if built.returncode:
            first = next(iter(built.stderr.splitlines()), f"exit code {built.returncode}")
            raise ExportError(f"c: {compiler} refuses the source: {first}; please report this")
        done = subprocess.run([network], input=codes.tobytes(), capture_output=True, check=False)
        if done.returncode:
            raise ExportError(f"c: the compiled network ends with exit code {done.returncode}; please report this")
    return np.frombuffer(done.stdout, dtype=np.int32).reshape(len(codes), -1)
