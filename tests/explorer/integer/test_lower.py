"""The integer program computes what the compressed network computes, with integers, and refuses what it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.compress.quantize import ActivationQuantizer
from explorer.errors import ExportError, ModelError
from explorer.integer.builder import ProgramBuilder
from explorer.integer.interpret import perform, run_program
from explorer.integer.lower import lower_program
from explorer.integer.operations import Conv, LookUp, Requantize, Threshold
from explorer.integer.program import Input, IntegerProgram
from explorer.integer.requantize import requantize
from explorer.integer.values import LARGEST_SHIFT, ScaledTensor, find_fixed_point, make_scalar, make_sum
from explorer.models.checkpoint import load_checkpoint
from explorer.models.reference import REFERENCE_NETWORKS
from tests.support import styles
from tests.support.integers import (
    SHAPE,
    Around,
    Operation,
    around,
    compressed,
    exact_codes,
    program_codes,
    share_equal,
    simulated_codes,
)

NETWORKS = ["lenet5_digits", "option_a", "projection", "mixed", "gated"]
IMAGES = torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(3))


def test_multiplier_and_shift_are_the_factor() -> None:
    """31 bits of every factor from 2^-15 to 2^30, whatever the others are; smaller ones to 2^-47 of a step."""
    factors = np.geomspace(2.0**-40, 2.0**30, 200) * np.where(np.arange(200) % 2, 1, -1)
    (multipliers,), offset, shift = find_fixed_point([factors], make_scalar(3.0), make_scalar(255.0))
    assert np.abs(multipliers).max() < 2**31
    assert 0 < shift.min() <= shift.max() <= LARGEST_SHIFT
    error = np.abs(multipliers / 2.0**shift - factors)
    assert (error <= np.maximum(np.abs(factors) * 2.0**-30, 2.0**-47)).all()
    assert (offset == 3.5 * 2.0**shift).all()


def test_a_shift_rounds_halves_up_and_floors_negative_sums() -> None:
    builder = ProgramBuilder((Input(name="images", shape=(1,)),))
    builder.add(_sums(), (9,), -4, 4)
    value = make_sum(ScaledTensor(tensor="sums", zero_point=0, gain=make_scalar(0.5)), shape=(9,))
    requantize(builder, "codes", value, (1.0, 0), (make_scalar(-9.0), make_scalar(9.0)))
    sums = np.arange(-4, 5, dtype=np.int32)[None]
    received = perform(builder.steps[-1], {"sums": sums, **builder.arrays})
    assert received.tolist() == [[-2, -1, -1, 0, 0, 1, 1, 2, 2]]


def _sums() -> Conv:
    return Conv(
        input="x",
        output="sums",
        weight="w",
        bias=None,
        zero_point=0,
        stride=(1, 1),
        padding=(0, 0, 0, 0),
        dilation=(1, 1),
        groups=1,
    )


def test_a_linear_layer_by_hand() -> None:
    """Exact rational arithmetic on the integers of a compressed network gives the codes and the logits."""
    torch.manual_seed(0)
    images = torch.randn(40, 1, 2, 3)
    model = compressed(nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), images, 5, 6)
    tensors, logits = program_codes(lower_program(model, (1, 2, 3)), images)
    first, second = (module for module in model.modules() if isinstance(module, nn.Linear))
    grids = [module for module in model.modules() if isinstance(module, ActivationQuantizer)]
    codes = [tensors[name] for name in simulated_codes(model, images)[0]]
    hidden, exact = [], []
    for image in codes[0].reshape(40, 6).tolist():
        scale_in, scale_out = (Fraction(float(grid.scale)) for grid in grids)
        values = [max(Fraction(0), value) / scale_out for value in _linear(first, image, grids[0].zero_point, scale_in)]
        hidden.append([min(63, int(value + grids[1].zero_point + Fraction(1, 2))) for value in values])
        exact.append([float(value) for value in _linear(second, hidden[-1], grids[1].zero_point, scale_out)])
    assert hidden == codes[1].tolist()
    program = lower_program(model, (1, 2, 3))
    assert np.abs(logits * program.output_scale - exact).max() <= 2.0**-28 * np.abs(exact).max()


def _linear(layer: nn.Linear, codes: list[int], zero_point: int, scale: Fraction) -> list[Fraction]:
    rows, scales, biases = (layer.get_buffer(key).tolist() for key in ("weight_codes", "weight_scale", "bias_codes"))
    return [
        (sum(w * (q - zero_point) for w, q in zip(row, codes, strict=True)) + bias) * scale * Fraction(own)
        for row, own, bias in zip(rows, scales, biases, strict=True)
    ]


@pytest.mark.parametrize("bits", [(8, 8), (4, 5), (2, 2)])
@pytest.mark.parametrize("name", NETWORKS)
def test_codes_are_those_of_the_simulated_network(
    name: str, bits: tuple[int, int], context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> None:
    base, x = context(name), images(name, 128)
    model = apply(base, uniform(base.graph, *bits))
    received, logits = program_codes(lower_program(model, base.graph.input_shapes), x)
    expected, simulated = simulated_codes(model, x)
    assert share_equal(expected, received) >= 0.999
    for codes in list(expected)[:3]:
        assert np.abs(received[codes] - expected[codes]).max() <= 1
    assert (logits.argmax(1) == simulated.argmax(1)).mean() >= 0.99
    exact, _ = exact_codes(model, x)
    assert share_equal(exact, received) >= 0.9999, "more than float32's own rounding differs"


OPERATIONS: dict[str, Operation] = {
    "silu of sums": lambda m, x: F.silu(m.second(F.silu(m.first(x)))),
    "gelu before a max pooling": lambda m, x: F.max_pool2d(F.gelu(m.first(x)), 3, 2, 1),
    "silu behind a max pooling": lambda m, x: F.silu(F.max_pool2d(m.first(x), 2)),
    "tanh behind a max pooling": lambda m, x: torch.tanh(F.max_pool2d(m.first(x), 2, ceil_mode=True)),
    "leaky relu": lambda m, x: F.leaky_relu(m.first(x), 0.1),
    "one minus a sigmoid": lambda m, x: 1 - torch.sigmoid(m.first(x)),
    "half of codes": lambda m, x: m.second(0.5 * F.relu(m.first(x)) + 0.1),
    "batch norm behind relu": lambda m, x: m.norm(F.relu(m.first(x))),
    "batch norm, then max pooling": lambda m, x: F.max_pool2d(m.norm(F.relu(m.first(x))), 2),
    "batch norm behind an addition": lambda m, x: torch.sigmoid(m.norm(_plus_second(m, F.relu(m.first(x))))),
    "batch norm behind a flatten": lambda m, x: m.norm1(F.max_pool2d(F.relu(m.first(x)), 2).flatten(1)),
    "difference": lambda m, x: _plus_second(m, F.relu(m.first(x))) - m.first(x),
    "square": lambda m, x: _square(m.first(x)),
    "grouped and strided": lambda m, x: F.relu6(m.grouped(F.relu(m.first(x)))),
    "transposed": lambda m, x: F.relu(m.transposed(F.relu(m.first(x)))),
    "pixel shuffle": lambda m, x: F.pixel_shuffle(F.relu(m.first(x)), 2),
    "upsampling": lambda m, x: m.second(F.interpolate(F.relu(m.first(x)), scale_factor=2)),
    "channel shuffle": lambda m, x: m.second(
        F.relu(m.first(x)).view(x.size(0), 2, 4, 8, 8).transpose(1, 2).reshape(x.size(0), 8, 8, 8)
    ),
    "halves of channels": lambda m, x: _halves(m, F.relu(m.first(x))),
    "concatenated with its relu": lambda m, x: _with_relu(m.first(x)),
    "unequal counts": lambda m, x: F.avg_pool2d(F.relu(m.first(x)), 3, 2, 1, True, False),
    "counted padding": lambda m, x: F.avg_pool2d(F.relu(m.first(x)), 3, 2, 1, True),
    "slice and border": lambda m, x: F.pad(F.relu(m.first(x))[:, :, 1:, ::2], (1, 0, 0, 2)),
    "mean of one axis": lambda m, x: F.relu(m.first(x)).mean(3),
    "max pooling of the images": lambda m, x: m.first(F.max_pool2d(x, 2)),
}


def _plus_second(model: Around, x: Tensor) -> Tensor:
    out: Tensor = x + model.second(x)
    return out


def _bypassed(model: Around, x: Tensor) -> Tensor:
    out: Tensor = x + model.second(F.silu(x))
    return out


def _halves(model: Around, x: Tensor) -> Tensor:
    return torch.cat((x.chunk(2, 1)[1], model.second(x).chunk(2, 1)[0]), 1)


def _with_relu(x: Tensor) -> Tensor:
    return torch.cat([x, F.relu(x)], 1)


def _sum_of_clips(x: Tensor) -> Tensor:
    return F.relu(x) + F.relu6(x)


def _square(x: Tensor) -> Tensor:
    return x * x


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_keep_their_codes(name: str) -> None:
    model = around(OPERATIONS[name], IMAGES)
    received, logits = program_codes(lower_program(model, SHAPE), IMAGES)
    expected, simulated = exact_codes(model, IMAGES)
    assert share_equal(expected, received) >= 0.9999
    assert (logits.argmax(1) == simulated.argmax(1)).mean() >= 0.98


def test_functions_of_codes_are_tables_and_functions_of_sums_steps() -> None:
    model = around(lambda m, x: F.silu(_bypassed(m, F.relu(m.first(x)))), IMAGES, 8, 4)
    program = lower_program(model, SHAPE)
    (table,) = (step for step in program.steps if isinstance(step, LookUp))
    (steps,) = (step for step in program.steps if isinstance(step, Threshold))
    assert program.arrays[table.table].shape == (16,)
    breakpoints = program.arrays[steps.breakpoints]
    assert (len(breakpoints) + 1).bit_count() == 1
    assert len(program.arrays[steps.table]) == len(breakpoints) + 1
    assert (np.diff(breakpoints.astype(np.int64)) >= 0).all()


def test_an_addition_rounds_once() -> None:
    model = around(lambda m, x: F.relu(_plus_second(m, F.relu(m.first(x)))), IMAGES)
    steps = lower_program(model, SHAPE).steps
    (addition,) = (step for step in steps if isinstance(step, Requantize) and len(step.inputs) == 2)
    assert addition.output.startswith("relu")


def test_json_and_arrays_rebuild_the_program(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> None:
    base, x = context("gated"), (images("gated", 4).numpy(),)
    check_json(lower_program(apply(base, uniform(base.graph)), base.graph.input_shapes), x)


def test_json_has_a_list_of_several_inputs() -> None:
    """Readers of files of one input meet another version where there are more of them."""
    x = torch.randn(20, 3, 8, 8), torch.randn(20, 4)
    program = lower_program(compressed(styles.build("metadata"), x), ((3, 8, 8), (4,)))
    data = program.to_json()
    assert (data["schema_version"], data["inputs"][1]) == (2, {"name": "metadata", "shape": (4,)})
    assert "input" not in data
    check_json(program, tuple(tensor.numpy() for tensor in x))


def check_json(program: IntegerProgram, x: tuple[NDArray[np.float32], ...]) -> None:
    data = json.loads(json.dumps(program.to_json(), allow_nan=False))
    rebuilt = IntegerProgram.from_json(data, program.arrays)
    assert (rebuilt.steps, rebuilt.inputs) == (program.steps, program.inputs)
    assert rebuilt.tensors == program.tensors
    assert np.array_equal(run_program(rebuilt, x), run_program(program, x))
    assert set(data["operations"]) == {step["operation"] for step in data["steps"]}
    with pytest.raises(ExportError, match="schema version 7 is not 1 or 2; export the network again"):
        IntegerProgram.from_json({**data, "schema_version": 7}, program.arrays)
    data["steps"][0]["operation"] = "Transform"
    with pytest.raises(ExportError, match=r"unknown operations \['Transform'\]; known are \['Concatenate'"):
        IntegerProgram.from_json(data, program.arrays)


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda m, x: F.softmax(m.first(x), 1), r"node 'softmax' .* no integer form: there is no rule for it; rewrite"),
        (
            lambda m, x: nn.functional.interpolate(m.first(x), scale_factor=2, mode="bilinear"),
            "mode is 'bilinear'; use",
        ),
        (lambda m, x: F.pad(m.first(x), (1, 1), value=0.25), "it pads with 0.25; pad with zeros"),
        (lambda m, x: F.adaptive_max_pool2d(m.first(x), 3), r"windows differ in size; choose .* divides 8 x 8"),
        (lambda m, x: torch.add(m.first(x), m.first(x), alpha=2), "alpha scales one summand; multiply before adding"),
    ],
)
def test_refusal_names_the_node_and_the_remedy(operation: Operation, message: str) -> None:
    model = around(operation, IMAGES)
    with pytest.raises(ExportError, match=message):
        lower_program(model, SHAPE)


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda m, x: m.second(F.silu(m.first(x))), r"node 'second' .* its operand is not quantised; let only layers"),
        (lambda m, x: _sum_of_clips(m.first(x)), r"node 'add' .* a summand is not quantised; add what layers"),
        (lambda m, x: F.avg_pool2d(F.relu(m.first(x)), 2), r"node 'avg_pool.*' .* its operand is not quantised"),
    ],
)
def test_what_a_quantiser_is_missing_from_is_refused(operation: Operation, message: str) -> None:
    model = around(operation, IMAGES)
    for node in model.graph.nodes:
        if node.name.startswith(("relu", "silu")) and node.name.endswith("_quantizer"):
            node.replace_all_uses_with(node.all_input_nodes[0])
    with pytest.raises(ExportError, match=message):
        lower_program(fx.GraphModule(model, model.graph), SHAPE)


def test_a_batch_norm_behind_a_function_is_refused() -> None:
    layers = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.SiLU(), nn.BatchNorm1d(8), nn.Linear(8, 3))
    with pytest.raises(
        ExportError, match=r"follows a function.* put batch norms before activation functions, and these"
    ):
        lower_program(compressed(layers, IMAGES), SHAPE)


def test_a_function_behind_the_logits_is_refused() -> None:
    class Probabilities(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(192, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(self.layer(x.flatten(1)))

    with pytest.raises(ExportError, match="a function follows the last layer; return the logits"):
        lower_program(compressed(Probabilities(), IMAGES), SHAPE)


def test_several_outputs_and_another_number_of_inputs_are_refused() -> None:
    graph = fx.Graph()
    first, second = graph.placeholder("first"), graph.placeholder("second")
    graph.output(graph.call_function(torch.add, (first, second)))
    with pytest.raises(ModelError, match=r"expected shapes of 2 inputs \(first, second\), received 1"):
        lower_program(fx.GraphModule(nn.Module(), graph), SHAPE)
    model = around(lambda m, x: F.relu(m.first(x)), IMAGES)
    (output,) = (node for node in model.graph.nodes if node.op == "output")
    output.args = ((output.args[0], output.args[0]),)
    with pytest.raises(ExportError, match="the network has several outputs; return the logits alone"):
        lower_program(fx.GraphModule(model, model.graph), SHAPE)


def test_filters_of_bias_alone_do_not_coarsen_the_logits() -> None:
    """The sums of such a filter reach 2^30, at a scale of its own."""
    model = around(lambda m, x: F.relu(m.first(x)), IMAGES)
    head = model.get_submodule("head")
    head.get_buffer("weight_codes")[2] = 0
    head.get_buffer("weight_scale")[2] = 1e-9
    head.get_buffer("bias_codes")[2] = 2**30
    program = lower_program(model, SHAPE)
    _, exact = exact_codes(model, IMAGES)
    received = run_program(program, IMAGES.numpy()) * program.output_scale
    assert np.abs(received - exact).max() <= 1e-6 * np.abs(exact).max()


def test_sums_that_overflow_are_refused() -> None:
    """127 * 255 * 70,000 is more than 2^31; half as many inputs are not."""
    for inputs, fits in ((70_000, False), (35_000, True)):
        images = torch.rand(3, inputs, 1, 1) - torch.tensor([0.5, 0.0, 1.0]).view(3, 1, 1, 1)
        model = compressed(nn.Sequential(nn.Flatten(), nn.Linear(inputs, 2)), images)
        layer = next(module for module in model.modules() if isinstance(module, nn.Linear))
        layer.weight_codes.fill_(127)  # type: ignore[operator]
        next(module for module in model.modules() if isinstance(module, ActivationQuantizer)).zero_point = 255
        if fits:
            lower_program(model, (inputs, 1, 1))
            continue
        with pytest.raises(ExportError, match=r"layer '_?1' can sum up to 2,26\d,\d{3},\d{3}, more than 32 bits hold"):
            lower_program(model, (inputs, 1, 1))


@pytest.mark.slow
def test_published_resnet20_keeps_its_predictions(
    checkpoints: Path, cifar10_images: Callable[[str, int], tuple[Tensor, Tensor]]
) -> None:
    (calibration, _), (images, labels) = cifar10_images("train", 64), cifar10_images("test", 60)
    network = REFERENCE_NETWORKS["resnet20"](10)
    load_checkpoint(network, checkpoints / "resnet20-12fca82f.th")
    for weight_bits, activation_bits in ((8, 8), (3, 4)):
        model = compressed(network, calibration, weight_bits, activation_bits)
        received, logits = program_codes(lower_program(model, (3, 32, 32)), images)
        with torch.no_grad():
            simulated = model(images).argmax(1)
        predicted = torch.from_numpy(logits).argmax(1)
        assert (predicted == simulated).float().mean() >= 0.99
        assert abs(int((predicted == labels).sum()) - int((simulated == labels).sum())) <= 1  # of 60
        exact, _ = exact_codes(model, images[:5])
        assert share_equal(exact, {name: codes[:5] for name, codes in received.items()}) == 1.0
