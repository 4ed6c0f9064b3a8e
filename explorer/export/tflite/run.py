"""Run a TensorFlow Lite file of int8 in ai-edge-litert."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from explorer.errors import ExportError
from explorer.export.interface import Codes
from explorer.export.tflite.file import load_litert

STANDARD_ERROR = 2
KERNELS = {"default": "AUTO", "built-in": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}
"""Kernels by a name: those that the runtime takes by itself (XNNPACK), its own, and those for microcontrollers."""


def run_tflite(path: Path, inputs: tuple[Codes, ...], kernels: str = "default") -> Codes:
    """Return what a file gives (N x ..., channels last) for each input (N x ..., channels last), image by image.

    Args:
        kernels: One of KERNELS.

    Raises:
        ExportError: Where the package is missing, or refuses the file.
    """
    litert = load_litert("interpreter")
    try:
        resolver = getattr(litert.OpResolverType, KERNELS[kernels])
        with _without_native_log():
            interpreter = litert.Interpreter(
                model_path=str(path), num_threads=1, experimental_op_resolver_type=resolver
            )
            interpreter.allocate_tensors()
        places = [entry["index"] for entry in interpreter.get_input_details()]
        output = interpreter.get_output_details()[0]["index"]
        parts: list[Codes] = []
        for number in range(len(inputs[0])):
            for place, codes in zip(places, inputs, strict=True):
                interpreter.set_tensor(place, codes[number : number + 1])
            interpreter.invoke()
            parts.append(interpreter.get_tensor(output))
        return np.concatenate(parts)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ExportError(f"verify: ai-edge-litert cannot run {path.name}: {reason}; please report this") from error


@contextmanager
def _without_native_log() -> Iterator[None]:
    """Drop what native code writes to standard error: the runtime announces its delegate there, and has no switch."""
    try:
        kept = os.dup(STANDARD_ERROR)
    except OSError:  # it is closed
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), STANDARD_ERROR)
        yield
    finally:
        os.dup2(kept, STANDARD_ERROR)
        os.close(kept)
