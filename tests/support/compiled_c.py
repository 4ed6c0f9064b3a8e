"""C source compiled with sanitizers and run beside the integer program."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from explorer.export.c import compiled
from explorer.export.c.source import CSource, build_source
from explorer.integer.interpret import run_program
from explorer.integer.program import IntegerProgram

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler `cc`; install gcc or clang")
SANITIZED = ("-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")


def check_equal(program: IntegerProgram, *images: NDArray[np.float32]) -> CSource:
    """The source compiles without a warning, reads and writes nothing beside its arrays, and gives every integer."""
    source = build_source(program)
    with pytest.MonkeyPatch.context() as patch:
        strict = tuple(flag for flag in compiled.FLAGS if flag != "-O3")
        patch.setattr(compiled, "FLAGS", (*strict, *SANITIZED))
        given = compiled.encode_inputs(source.interface, tuple(map(torch.from_numpy, images)))
        with tempfile.TemporaryDirectory() as folder:
            compiled.write_files(source, Path(folder))
            output = compiled.run_source(Path(folder), given)
    assert np.array_equal(source.output.decode(output), run_program(program, images))
    return source
