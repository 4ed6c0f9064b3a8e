"""Compile the C source with the compiler of this machine, and run it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ExportError
from explorer.export.c.source import CSource
from explorer.integer.interpret import perform
from explorer.integer.program import IntegerProgram

HEADER, SOURCE, MAIN = "net.h", "net.c", "main.c"
FLAGS = ("-std=c99", "-O3", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")


def write_files(source: CSource, folder: Path) -> None:
    """Write net.h, net.c and main.c to an existing folder."""
    for name, text in ((HEADER, source.header), (SOURCE, source.source), (MAIN, source.main)):
        (folder / name).write_text(text, encoding="ascii")


def encode_inputs(source: CSource, images: Sequence[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Return codes (N x bytes) of inputs (N x ..., float32), channels last, all inputs of an image together."""
    parts = []
    for grid, values in zip(source.inputs, images, strict=True):
        codes = perform(grid.step, {grid.step.input: values})
        parts.append(np.moveaxis(codes, 1, -1).reshape(len(values), -1).astype(np.uint8))
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def decode_outputs(program: IntegerProgram, source: CSource, output: bytes) -> NDArray[np.int32]:
    """Return what `main` wrote as an array of N x ..., channels first."""
    shape, order = source.output.shape, source.output.order
    stored = np.frombuffer(output, dtype=np.int32).reshape(-1, len(order))
    logits = np.empty_like(stored)
    logits[:, order] = stored
    return logits.reshape(-1, *shape)


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


def run_source(source: CSource, codes: NDArray[np.uint8]) -> bytes:
    """Compile the source in a folder that is removed, and return what it writes of codes (N x bytes).

    Raises:
        ExportError: Without a compiler, where it warns, or where the program does not end well.
    """
    compiler = find_compiler()
    with tempfile.TemporaryDirectory(prefix="explorer-c-") as folder:
        home = Path(folder)
        write_files(source, home)
        command = [compiler, *FLAGS, SOURCE, MAIN, "-o", "net"]
        built = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
        if built.returncode:
            first = next(iter(built.stderr.splitlines()), f"exit code {built.returncode}")
            raise ExportError(f"c: {compiler} refuses the source: {first}; please report this")
        done = subprocess.run([home / "net"], input=codes.tobytes(), capture_output=True, check=False)
        if done.returncode:
            raise ExportError(f"c: the compiled network ends with exit code {done.returncode}; please report this")
    return done.stdout
