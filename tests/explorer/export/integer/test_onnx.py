"""Every operation of an integer program gives the same integers in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.export.integer.onnx import build_integer_onnx, export_integer_onnx
from explorer.export.verify import run_onnx
from explorer.integer.interpret import run_program
from explorer.integer.lower import lower_program
from explorer.integer.operations import OPERATIONS
from explorer.integer.program import IntegerProgram
from tests.support.integers import SHAPE, Around, Operation, around, program_codes

IMAGES = torch.randn(20, *SHAPE, generator=torch.Generator().manual_seed(5))


def _gated(model: Around, x: Tensor) -> Tensor:
    x = F.relu(model.first(x))
    out: Tensor = x * torch.sigmoid(x.mean((2, 3), keepdim=True)) + model.second(F.silu(x))
    return out


def _moved(model: Around, x: Tensor) -> Tensor:
    x = F.max_pool2d(F.silu(model.transposed(F.relu(model.first(x)))), 3, 2, 1)
    return F.pixel_shuffle(torch.cat((x.flip(1), F.pad(x[:, :, 1:, ::2], (2, 2, 1, 0))), 1), 2)


EVERYTHING: dict[str, Operation] = {
    "gate": _gated,
    "moves": _moved,
    "average": lambda m, x: F.avg_pool2d(F.relu6(m.grouped(F.relu(m.first(x)))), 3, 2, 1, True, False),
    "pooled images": lambda m, x: F.max_pool2d(m.second(m.first(F.max_pool2d(x, 2))), 2, 1, 0, 2, True),
}


def program_of(name: str) -> IntegerProgram:
    return lower_program(around(EVERYTHING[name], IMAGES, 6, 7), SHAPE)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", EVERYTHING)
def test_integers_are_equal(name: str, tmp_path: Path) -> None:
    program = program_of(name)
    size = export_integer_onnx(program, tmp_path / "integer.onnx").total
    received = run_onnx(tmp_path / "integer.onnx", IMAGES, batch=7)
    assert received.dtype == np.int32
    assert np.array_equal(received, run_program(program, IMAGES.numpy(), batch=6))
    assert size == (tmp_path / "integer.onnx").stat().st_size


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_every_operation_is_among_them() -> None:
    used = {type(step).__name__ for name in EVERYTHING for step in program_of(name).steps}
    assert used == set(OPERATIONS)


def test_every_value_in_between_is_equal(tmp_path: Path) -> None:
    program = program_of("average")
    model = build_integer_onnx(program)
    tensors, _ = program_codes(program, IMAGES)
    for tensor in program.tensors[:-1]:
        kind = onnx.TensorProto.UINT8 if tensor.type == "uint8" else onnx.TensorProto.INT32
        one = onnx.ModelProto()
        one.CopyFrom(model)
        one.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(tensor.name, kind, ["N", *tensor.shape]))
        onnx.save_model(one, tmp_path / "one.onnx")
        assert np.array_equal(run_onnx(tmp_path / "one.onnx", IMAGES), tensors[tensor.name]), tensor.name


def test_the_scale_of_the_logits_is_kept() -> None:
    program = program_of("average")
    (entry,) = build_integer_onnx(program).metadata_props
    assert (entry.key, float(entry.value)) == ("logits_scale", program.output_scale)
