"""Deployment to the tools that read QONNX: network.onnx, computed by qonnx's own executor and compared."""

from __future__ import annotations

from pathlib import Path

from torch import fx

from explorer.compress.apply import CompressionContext
from explorer.export.formats import Deployment, Exported
from explorer.export.handover import Checked, Layout, deliver, list_common_marks
from explorer.export.onnx.file import count_stored, save_onnx
from explorer.export.onnx.graph import name_layers
from explorer.export.qonnx.clear import clear_borders
from explorer.export.qonnx.dialect import build_qonnx
from explorer.export.qonnx.run import run_qonnx
from explorer.export.stored_bytes import StoredBytes
from explorer.export.verify import compare_outputs, run_torch
from explorer.graph.inputs import Shapes, take

NETWORK = "network.onnx"
LAYOUT = Layout(
    title="Compressed network as QONNX",
    files={NETWORK: "the network, for one image at a time, with the shapes of all tensors"},
    use="""
```python
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

model = ModelWrapper("network.onnx")
logits = execute_onnx(model, {"images": images})["logits"]  # float32, 1 x C x H x W
```
""",
    notes="""
`images` are normalised as in the study. Every grid is a node of the domain `qonnx.custom_op.general`: a Quant of the
exact width in bits, with a scale for each output channel of a weight and one for an activation, or a BipolarQuant where
all codes of a layer are -1 and 1. Weights and biases are stored as float32 numbers that lie on their grids, so that the
file is not small: what a weight takes on the device is the width in its node. Scales of weights that are no powers of
two are moved by at most 8 millionths, so that sums next to the border of two codes round in float32 as in integers. A
zero point other than 0 is added before the rounding, by which an exact half may round otherwise than in the search
where the zero point is odd.
""",
)


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    return {folder / NETWORK: b"explorer", **list_common_marks(folder, LAYOUT)}


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write network.onnx to `folder` and verify it; see `Format.write`."""
    return deliver(deployment, LAYOUT, lambda staging: _make(deployment, staging), folder)


def _make(deployment: Deployment, folder: Path) -> Checked:
    stored = _save(deployment.model, deployment.context.graph.input_shapes, folder / NETWORK)
    expected = run_torch(deployment.model, deployment.images)
    received = run_qonnx(folder / NETWORK, deployment.images)
    verification = compare_outputs(NETWORK, received, expected, deployment.targets, deployment.score)
    weight_bytes = deployment.point.evaluation.cost.weight_bytes
    told = f"{verification.summary()} in qonnx's executor; packed weights {weight_bytes:,}"
    return Checked(stored=stored, verification=verification, told=told, details={"weight_bytes": weight_bytes})


def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
    """Write the network, and run it on two images; see `Format.try_out`."""
    _save(model, context.graph.input_shapes, folder / NETWORK)
    run_qonnx(folder / NETWORK, take(context.calibration.images, slice(2)))
    return folder / NETWORK


def _save(model: fx.GraphModule, shapes: Shapes, path: Path) -> StoredBytes:
    built = build_qonnx(clear_borders(model), shapes)
    return count_stored(built, save_onnx(built, path), name_layers(model))
