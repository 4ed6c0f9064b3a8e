"""Exported networks predict as the compressed network does, for random candidates and at every width."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, LayerChoice, count_levels, uniform
from explorer.export.bits import pack_bits
from explorer.export.onnx.qdq import export_onnx
from explorer.export.verify import run_onnx, verify_onnx
from tests.support.tiers import cases, thinned

SHAPE = (3, 16, 16)
WIDTHS = range(2, 9)


class MixedNet(nn.Module):
    """Batch norm, depthwise convolution, residual, max pooling, and a batch norm that nothing absorbs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.depth = nn.Conv2d(12, 12, 3, padding="same", groups=12, bias=False)
        self.depth_norm = nn.BatchNorm2d(12)
        self.point = nn.Conv2d(12, 12, 1)
        self.sum_norm = nn.BatchNorm2d(12)
        self.deep = nn.Conv2d(12, 16, 3, stride=2, padding=2, dilation=2)
        self.head = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem_norm(self.stem(x)))
        y = F.relu6(self.depth_norm(self.depth(x)))
        x = self.sum_norm(x + self.point(y))
        x = F.relu(self.deep(F.max_pool2d(x, 2)))
        out: Tensor = self.head(torch.flatten(x, 1))
        return out


class PaddedBlock(nn.Module):
    """A residual block whose shortcut is sliced and padded with zero channels (He et al., 2016, option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.added = (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.added:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added, self.added))
        y += x
        return F.relu(y)


class PaddedNet(nn.Module):
    """A small residual network with option-A shortcuts, average pooling and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(PaddedBlock(8, 8, 1), PaddedBlock(8, 16, 2), PaddedBlock(16, 32, 2))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.norm(self.stem(x))))
        out: Tensor = self.head(F.avg_pool2d(x, x.size()[3]).view(x.size(0), -1))
        return out


def noisy_patterns(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images of ten fixed patterns under noise, and which pattern each shows."""
    patterns = torch.randn(10, *SHAPE, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 10, (count,), generator=generator)
    return patterns[labels] + torch.randn(count, *SHAPE, generator=generator), labels


def trained(model: nn.Module) -> nn.Module:
    """`model` after a few steps on the patterns, so that its logits have margins."""
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(30):
        images, labels = noisy_patterns(32, seed=step)
        optimiser.zero_grad()
        F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model.eval()


@pytest.fixture(scope="module", params=[MixedNet, PaddedNet])
def context(request: pytest.FixtureRequest) -> CompressionContext:
    torch.manual_seed(0)
    images, _ = noisy_patterns(64, seed=1000)
    return CompressionContext.of(trained(request.param()), images)


def assert_same_function(context: CompressionContext, candidate: Candidate, path: Path) -> None:
    model = apply(context, candidate)
    export_onnx(model, SHAPE, path)
    images, _ = noisy_patterns(300, seed=2000)
    assert verify_onnx(path, model, images, batch=128).agreement >= 0.99
    with torch.no_grad():
        expected = model(images).numpy()
    difference = np.abs(run_onnx(path, images) - expected).max(1)
    assert np.median(difference) <= 0.01 * expected.std(), "logits move where no code rounds differently"


@thinned("bits", 3, WIDTHS)
def test_predictions_agree_at_every_width(context: CompressionContext, bits: int, tmp_path: Path) -> None:
    assert_same_function(context, uniform(context.graph, bits, 8), tmp_path / "weights.onnx")
    assert_same_function(context, uniform(context.graph, 8, bits), tmp_path / "activations.onnx")


@cases(3, 20)
def test_predictions_agree_for_random_candidates(context: CompressionContext, count: int, tmp_path: Path) -> None:
    @settings(max_examples=count, phases=[Phase.generate])  # finding a smaller failing candidate would take minutes
    @given(data=st.data())
    def agree(data: st.DataObject) -> None:
        assert_same_function(context, drawn(context, data), tmp_path / "model.onnx")

    agree()


def drawn(context: CompressionContext, data: st.DataObject) -> Candidate:
    share = st.floats(0.3, 1.0)
    choices = []
    for name in context.graph.layer_names:
        bits = data.draw(st.integers(2, 8))
        codebooks = st.none() if bits == 2 else st.none() | st.integers(2, min(16, count_levels(bits) - 1))
        choices.append(
            LayerChoice(
                layer=name,
                weight_bits=bits,
                activation_bits=data.draw(st.integers(2, 8)),
                weight_density=data.draw(share),
                codebook_size=data.draw(codebooks),
            )
        )
    kept = tuple((group.name, data.draw(share)) for group in context.graph.prunable)
    return Candidate(layers=tuple(choices), filter_keep_ratio=kept)


def test_float_network_is_the_same(context: CompressionContext, tmp_path: Path) -> None:
    export_onnx(context.model, SHAPE, tmp_path / "float.onnx")
    images, _ = noisy_patterns(100, seed=3)
    verification = verify_onnx(tmp_path / "float.onnx", context.model, images)
    assert verification.agreeing == 100
    assert verification.largest_difference < 1e-4


def test_weights_are_stored_narrow_and_biases_as_32_bit_sums(context: CompressionContext, tmp_path: Path) -> None:
    stored = {}
    for bits in (2, 4, 8):
        model = apply(context, uniform(context.graph, bits, 8))
        export_onnx(model, SHAPE, tmp_path / "model.onnx")
        initializers = onnx.load(tmp_path / "model.onnx").graph.initializer
        stored[bits] = Counter(item.data_type for item in initializers if item.name.endswith("weight_codes"))
        assert {item.data_type for item in initializers if item.name.endswith("bias_codes")} == {TensorProto.INT32}
    layers = len(context.graph.layers)
    assert stored == {2: {TensorProto.INT2: layers}, 4: {TensorProto.INT4: layers}, 8: {TensorProto.INT8: layers}}


def test_file_holds_the_codes_of_the_network(context: CompressionContext, tmp_path: Path) -> None:
    model = apply(context, uniform(context.graph, 3, 8))
    export_onnx(model, SHAPE, tmp_path / "model.onnx")
    values = {item.name: numpy_helper.to_array(item) for item in onnx.load(tmp_path / "model.onnx").graph.initializer}
    for node in model.graph.nodes:
        if node.target not in context.graph.layer_names:
            continue
        layer = model.get_submodule(node.target)
        assert np.array_equal(
            values[f"{node.name}/weight_codes"].astype(np.int8), layer.get_buffer("weight_codes").numpy()
        )
        assert np.array_equal(values[f"{node.name}/bias_codes"], layer.get_buffer("bias_codes").numpy())


def test_file_shrinks_with_the_weights(context: CompressionContext, tmp_path: Path) -> None:
    sizes = [
        export_onnx(context.model, SHAPE, tmp_path / "float.onnx").total,
        export_onnx(apply(context, uniform(context.graph, 8, 8)), SHAPE, tmp_path / "8.onnx").total,
        export_onnx(apply(context, uniform(context.graph, 4, 8)), SHAPE, tmp_path / "4.onnx").total,
    ]
    assert sizes == [(tmp_path / name).stat().st_size for name in ("float.onnx", "8.onnx", "4.onnx")]
    weights = context.graph.weights
    assert sizes[0] - sizes[1] > weights  # 4 bytes become 1, less what scales and quantisers take
    assert sizes[1] - sizes[2] >= weights // 2 - len(context.graph.layers)


def test_batch_axis_is_dynamic(context: CompressionContext, tmp_path: Path) -> None:
    model = apply(context, uniform(context.graph))
    export_onnx(model, SHAPE, tmp_path / "model.onnx")
    images, _ = noisy_patterns(7, seed=5)
    one_by_one, together = (run_onnx(tmp_path / "model.onnx", images, batch) for batch in (1, 7))
    assert one_by_one.shape == together.shape == (7, 10)
    np.testing.assert_array_equal(one_by_one.argmax(1), together.argmax(1))


def test_int4_packing_puts_the_first_code_into_the_low_half() -> None:
    assert pack_bits(np.array([1, -1, 7], dtype=np.int8), 4).tobytes() == bytes([0xF1, 0x07])
    assert pack_bits(np.array([], dtype=np.int8), 4).tobytes() == b""
