"""The exported C gives the same integers on an emulated Cortex-M4, in about the memory that it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from examples.cortex_m.emulate import emulate, find_missing
from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.export.c.compiled import encode_inputs, write_files
from explorer.export.c.source import build_source
from explorer.integer.interpret import run_program
from explorer.integer.lower import lower_program

pytestmark = pytest.mark.skipif(bool(find_missing()), reason=f"not installed: {' and '.join(find_missing())}")


@pytest.mark.parametrize("bits", [8, 3])
def test_a_microcontroller_gives_the_integers_of_the_program(
    bits: int, context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor], tmp_path: Path
) -> None:
    base, x = context("mixed"), images("mixed", 4)
    program = lower_program(apply(base, uniform(base.graph, bits)), base.graph.input_shapes)
    source = build_source(program)
    write_files(source, tmp_path)
    found = emulate(tmp_path, encode_inputs(source.interface, x))
    assert np.array_equal(source.output.decode(found.outputs), run_program(program, x.numpy()))
    assert found.memory_bytes == source.arena_bytes
    assert 0 < found.constant_bytes - source.constant_bytes < 200 * len(program.steps)  # structures
    assert 0 < found.code_bytes < 6000
    assert 0 < found.stack_bytes < 512
    macs = sum(layer.macs for layer in base.graph.layers)
    assert macs < found.instructions.min() <= found.instructions.max() < 60 * macs
