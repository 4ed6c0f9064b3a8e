"""C source compiled with sanitizers and run beside the integer program."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
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
        output = compiled.run_source(source, compiled.encode_inputs(source, images))
    assert np.array_equal(compiled.decode_outputs(program, source, output), run_program(program, images))
    return source
