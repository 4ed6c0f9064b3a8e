"""Verification counts equal predictions and refuses a file that differs from the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import fx, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.errors import ExportError
from explorer.export.onnx.qdq import export_onnx
from explorer.export.verify import Verification, run_onnx, run_torch, verify_onnx
from explorer.graph.canonical import canonicalise
from tests.support.scoring import right

SHAPE = (1, 4, 4)


def network(seed: int) -> fx.GraphModule:
    torch.manual_seed(seed)
    return canonicalise(nn.Sequential(nn.Flatten(), nn.Linear(16, 10)), torch.randn(2, *SHAPE))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    export_onnx(network(seed=0), SHAPE, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_counts(path: Path) -> None:
    images = torch.randn(10, *SHAPE)
    labels = network(seed=0)(images).argmax(1)
    labels[:3] = (labels[:3] + 1) % 10
    verification = verify_onnx(path, network(seed=0), images, batch=4, targets=labels)
    assert (verification.num_images, verification.agreeing, verification.scores) == (10, 10, (right(7, 10),) * 2)
    assert verification.agreement == 1.0
    assert verification.largest_difference < 1e-5
    assert verify_onnx(path, network(seed=0), images).scores is None


def test_tied_logits_agree(path: Path) -> None:
    model = network(seed=0)
    linear = model.get_submodule("1")
    assert isinstance(linear, nn.Linear)
    linear.weight.data[3:] = linear.weight.data[3]
    linear.bias.data[3:] = linear.bias.data[3] + 100
    linear.bias.data[5] += 1e-5
    export_onnx(model, SHAPE, path)
    linear.bias.data[7] += 2e-5
    verification = verify_onnx(path, model, torch.randn(20, *SHAPE))
    assert verification.agreeing == 20
    assert verification.ties > 0


def test_what_a_session_needs_on_a_processor_without_vnni_is_told() -> None:
    told = Verification(num_images=200, agreeing=200, ties=0, scores=None, largest_difference=0.0)
    assert told.summary() == replace(told, agreeing_by_default=200).summary() == "200 of 200 predictions agree"
    assert (
        replace(told, agreeing_by_default=120)
        .summary()
        .startswith(
            "200 of 200 predictions agree, with the session option session.x64quantprecision = 1; without it 120,"
        )
    )


def test_sums_of_large_codes_are_exact_on_every_processor(tmp_path: Path) -> None:
    """Kernels for processors without VNNI add two products of uint8 and int8 in 16 bits, where these do not fit."""
    images = torch.rand(64, 64, 4, 4) + 3.0
    model = nn.Sequential(nn.Conv2d(64, 10, 3), nn.Flatten(), nn.Linear(40, 5))
    with torch.no_grad():
        model[0].weight.abs_()  # type: ignore[operator]
    base = CompressionContext.of(model.eval(), images)
    built = apply(base, uniform(base.graph))
    export_onnx(built, base.graph.input_shapes, tmp_path / "model.onnx")
    expected = run_torch(built, images)
    received = run_onnx(tmp_path / "model.onnx", images)
    assert np.abs(received - expected).max() <= 0.01 * np.abs(expected).max()


def test_another_network_is_refused(path: Path) -> None:
    with pytest.raises(ExportError, match=r"same class on \d+ of 50 images, less than 99%"):
        verify_onnx(path, network(seed=1), torch.randn(50, *SHAPE))


def test_no_images_are_refused(path: Path) -> None:
    with pytest.raises(ExportError, match=r"no images to run model\.onnx on"):
        verify_onnx(path, network(seed=0), torch.zeros(0, *SHAPE))


def test_logits_that_are_not_finite_are_refused(path: Path) -> None:
    with pytest.raises(ExportError, match=r"must be finite .* 10 values that are not"):
        verify_onnx(path, network(seed=0), torch.full((1, *SHAPE), torch.nan))


def test_unreadable_file_is_refused(path: Path) -> None:
    path.write_bytes(b"no protobuf")
    with pytest.raises(ExportError, match=r"cannot run model\.onnx"):
        verify_onnx(path, network(seed=0), torch.zeros(1, *SHAPE))
