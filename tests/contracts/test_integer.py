"""For any candidate the integer program agrees with the simulated network, and its ONNX file equals it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import Phase, given, settings
from onnx import TensorProto, shape_inference
from torch import Tensor

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.export.integer.onnx import build_integer_onnx, export_integer_onnx
from explorer.export.verify import compare_outputs, run_onnx
from explorer.graph.inputs import Inputs, as_tuple
from explorer.integer.interpret import run_program
from explorer.integer.lower import lower_program
from explorer.integer.operations import Conv, Linear, QuantizeInput, Step, list_operands
from explorer.integer.program import IntegerProgram, Integers
from tests.explorer.export.onnx.test_styles import basis_of
from tests.support import styles
from tests.support.integers import exact_codes, program_codes, share_equal, simulated_codes
from tests.support.square import candidates, with_made_up_units
from tests.support.tiers import cases

BASES = ["lenet5_digits", "option_a", "projection", "mixed", "gated"]
STYLES = ["pair", "metadata", "siamese"]
"""Networks with two inputs."""
NETWORKS = [*BASES, *STYLES]


@pytest.fixture
def basis(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> Callable[[str, int], tuple[CompressionContext, Inputs]]:
    """A network, and fresh inputs for it."""

    def find(name: str, count: int) -> tuple[CompressionContext, Inputs]:
        return (
            (basis_of(name), styles.inputs(name, count, 5)) if name in STYLES else (context(name), images(name, count))
        )

    return find


@cases(4, 20)
@pytest.mark.parametrize("name", NETWORKS)
def test_random_candidates_keep_their_predictions(
    name: str, count: int, basis: Callable[[str, int], tuple[CompressionContext, Inputs]], tmp_path: Path
) -> None:
    base, x = basis(name, 100)

    @settings(
        max_examples=count,
        phases=[Phase.generate],  # a smaller failing candidate is not worth the minutes that finding it takes
    )
    @given(candidates(base.graph))
    def agrees(candidate: Candidate) -> None:
        model = apply(with_made_up_units(base), candidate)
        program = lower_program(model, base.graph.input_shapes)
        check_bounds(program)
        received, logits = program_codes(program, x)
        expected, simulated = simulated_codes(model, x)
        for node, step in zip(expected, program.inputs, strict=False):
            assert np.abs(received[node] - expected[node]).max() <= 1, step
        assert share_equal(exact_codes(model, x)[0], received) >= 0.999
        real = logits * program.output_scale
        assert compare_outputs(name, real, simulated.astype(np.float32)).agreement >= 0.99
        export_integer_onnx(program, tmp_path / "integer.onnx")
        assert np.array_equal(run_onnx(tmp_path / "integer.onnx", x), logits)

    agrees()


def check_bounds(program: IntegerProgram) -> None:
    """No sum of codes times weights, in whatever order, leaves 32 bits."""
    for step in program.steps:
        if isinstance(step, Conv | Linear):
            weight, source = program.arrays[step.weight].astype(np.int64), program.tensor(step.input)
            largest = max(abs(source.low - step.zero_point), abs(source.high - step.zero_point))
            bias = np.abs(program.arrays[step.bias].astype(np.int64)) if step.bias else np.zeros(len(weight), np.int64)
            assert (np.abs(weight).reshape(len(weight), -1).sum(1) * largest + bias).max() < 2**31


@pytest.mark.parametrize("name", NETWORKS)
def test_there_are_integers_only_behind_the_input(
    name: str, basis: Callable[[str, int], tuple[CompressionContext, Inputs]]
) -> None:
    """Every step gives integers within its bounds, reads integers alone, and so does every ONNX node."""
    base, x = basis(name, 8)
    program = lower_program(apply(base, uniform(base.graph, 5, 6)), base.graph.input_shapes)
    seen = 0

    def observe(step: Step, values: Integers) -> None:
        nonlocal seen
        tensor, seen = program.tensor(step.output), seen + 1
        assert values.dtype == tensor.type
        assert np.issubdtype(values.dtype, np.integer)
        assert tensor.low <= int(values.min()) <= int(values.max()) <= tensor.high

    run_program(program, tuple(tensor.numpy() for tensor in as_tuple(x)), observe=observe)
    assert seen == len(program.steps) == len(program.tensors)
    floats = [step.input for step in program.steps if isinstance(step, QuantizeInput)]
    assert floats == [entry.name for entry in program.inputs]
    assert not set(floats) & {
        name for step in program.steps if not isinstance(step, QuantizeInput) for name in list_operands(step)
    }
    assert all(np.issubdtype(array.dtype, np.integer) for array in program.arrays.values())
    check_types(build_integer_onnx(program))


def check_types(model: onnx.ModelProto) -> None:
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    integers = {TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL}
    kinds = {entry.name: entry.type.tensor_type.elem_type for entry in (*graph.value_info, *graph.output)}
    kinds |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert graph.node[0].op_type == "QuantizeLinear"
    for node in graph.node:
        assert all(kinds[output] in integers for output in node.output)
        if node.op_type != "QuantizeLinear":
            assert all(kinds[source] in integers for source in node.input if source)
