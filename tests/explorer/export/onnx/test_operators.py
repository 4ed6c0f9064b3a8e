"""Every operation that the exploration handles is written as ONNX; any other one is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from explorer.errors import ExportError
from explorer.export.onnx.qdq import export_onnx
from explorer.export.verify import run_onnx
from explorer.graph.canonical import canonicalise
from explorer.graph.functional import ACTIVATIONS, POOLS

SHAPE = (4, 9, 8)


class Between(nn.Module):
    """A convolution, the operation under test, and a linear layer on its flattened result."""

    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, padding=1)
        self.operation = operation
        with torch.no_grad():
            features = operation(torch.zeros(2, 6, 9, 8)).flatten(1).shape[1]
        self.head = nn.Linear(features, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.flatten(self.operation(self.conv(x)), 1))
        return out


def canonical(operation: Callable[[Tensor], Tensor]) -> fx.GraphModule:
    torch.manual_seed(0)
    return canonicalise(Between(operation).eval(), torch.randn(2, *SHAPE))


def assert_exported(operation: Callable[[Tensor], Tensor], path: Path) -> None:
    model = canonical(operation)
    images = 4 * torch.randn(5, *SHAPE)
    export_onnx(model, SHAPE, path)
    with torch.no_grad():
        np.testing.assert_allclose(run_onnx(path, images), model(images).numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str, tmp_path: Path) -> None:
    assert_exported(ACTIVATIONS[name](), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "module",
    [
        nn.LeakyReLU(0.3),
        nn.ELU(0.7),
        nn.GELU("tanh"),
        nn.Hardtanh(-0.5, 2.0),
        nn.Softplus(beta=2.0),
    ],
    ids=repr,
)
def test_activation_parameters(module: nn.Module, tmp_path: Path) -> None:
    assert_exported(module, tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "module",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.MaxPool2d((3, 2), stride=2, ceil_mode=True),
        nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
        nn.MaxPool2d(2, dilation=2, stride=1),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False, ceil_mode=True),
        nn.AdaptiveAvgPool2d(1),
        nn.AdaptiveAvgPool2d((3, None)),
        nn.AdaptiveMaxPool2d(1),
        nn.AdaptiveMaxPool2d((3, 4)),
    ],
    ids=repr,
)
def test_pool(module: nn.Module, tmp_path: Path) -> None:
    assert_exported(module, tmp_path / "model.onnx")


def test_every_pool_of_the_canonical_form_is_covered() -> None:
    assert set(POOLS) == {"max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"}


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "add a number": lambda x: x + 0.5,
    "number plus": lambda x: 0.5 + x,
    "add method": lambda x: x.add(x),
    "multiply": lambda x: torch.mul(x, x),
    "gate": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "concatenate": lambda x: torch.cat([x, torch.relu(x)], dim=1),
    "concatenate by keyword": lambda x: torch.cat(tensors=[x, x], dim=-1),
    "mean": lambda x: x.mean(dim=[-2, -1]),
    "mean of one axis": lambda x: torch.mean(x, 3),
    "pad": lambda x: F.pad(x, (1, 0, 2, 1)),
    "pad with a value": lambda x: F.pad(x, (1, 1), value=0.25),
    "pad channels": lambda x: F.pad(x, (0, 0, 0, 0, 2, 3), "constant", 0),
    "slice": lambda x: x[:, :, ::2, 1:],
    "slice after an ellipsis": lambda x: x[..., 1:-1],
    "slice to half the size": lambda x: x[:, :, : x.size(2) // 2],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str, tmp_path: Path) -> None:
    assert_exported(FUNCTIONS[name], tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(6, 4, 3, stride=2, padding=(2, 1), groups=2),
        nn.Conv2d(6, 6, (3, 2), padding="same", groups=6, bias=False),
        nn.Conv2d(6, 3, 3, padding="valid", dilation=2),
        nn.BatchNorm2d(6, affine=False),
        nn.Linear(8, 3),
        nn.Linear(8, 3, bias=False),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_layer(module: nn.Module, tmp_path: Path) -> None:
    assert_exported(module, tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (
            torch.sin,
            r"node 'sin' \(sin at test_operators\.py, line \d+\) .* no rule for it; rewrite the model with sums",
        ),
        (nn.Softmax(1), "no rule for modules of type Softmax; replace it"),
        (nn.Softplus(threshold=5), "its threshold is 5; use nn.Softplus with threshold=20"),
        (nn.AvgPool2d(2, divisor_override=3), "overrides the divisor; use divisor_override=None"),
        (nn.AvgPool2d(3, 2, 1, ceil_mode=True), "ceil_mode with counted padding .* count_include_pad=False"),
        (nn.AdaptiveAvgPool2d(4), r"its windows differ in size \(\(9, 8\) to \(4, 4\)\); choose an output"),
        (nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular"), "padding mode is 'circular'; use padding_m"),
        (lambda x: torch.add(x, x, alpha=2), "alpha scales one summand; multiply before adding"),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "does not pad with a constant; use mode='constant'"),
        (lambda x: F.relu(x[:, :, 1]), r"its index is .*; index with slices only"),
        (lambda x: torch.cat([x, x], 0)[: x.size(0)], "acts on the batch axis; act on the other axes only"),
        (
            nn.Sequential(nn.Flatten(1, 2), nn.ReLU()),
            "does not flatten everything behind the batch axis; use nn.Flatten",
        ),
    ],
)
def test_refusal_names_the_node_and_the_remedy(
    operation: Callable[[Tensor], Tensor], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"an earlier export")
    model = canonical(operation)
    with pytest.raises(ExportError, match=message):
        export_onnx(model, SHAPE, path)
    assert path.read_bytes() == b"an earlier export"
    assert list(tmp_path.iterdir()) == [path]
