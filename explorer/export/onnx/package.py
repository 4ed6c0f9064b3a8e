"""Everything that a chosen candidate is deployed from, in one folder: configuration.json and model.onnx."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnxruntime
from torch import fx

from explorer.compress.activations import input_quantizer
from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate
from explorer.compress.quantize import ActivationQuantizer
from explorer.digests import sha256
from explorer.errors import ExportError
from explorer.evaluate.mean_score import MeanScore
from explorer.export.formats import Deployment, Exported
from explorer.export.handover import README, Checked, Layout, deliver
from explorer.export.onnx.qdq import export_onnx, find_widths
from explorer.export.stored_bytes import StoredBytes
from explorer.export.verify import run_onnx, verify_onnx
from explorer.graph.inputs import take
from explorer.study.record import FrontPoint

SCHEMA_VERSION = 1
"""Version of the layout of configuration.json; a change that readers must know of raises it."""

CONFIGURATION, NETWORK = "configuration.json", "model.onnx"
LAYOUT = Layout(
    title="Compressed network as quantised ONNX (QDQ)",
    files={
        NETWORK: "the network, for any number of images",
    },
    description=CONFIGURATION,
    described="costs and scores of the point, and of each layer kept filters, widths, scales, shared codes",
    use="""
```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(logits,) = session.run(["logits"], {"images": images})  # float32, N x C x H x W
```
""",
    notes="""
`images` are normalised as in the study. Weights are INT8, INT4 or INT2 (opset 25; a Cast to INT8 follows them, which
onnxruntime folds) with a scale for each output channel, biases INT32 on the grid of the sums, activations UINT8,
clipped where they are narrower. On x86 processors without VNNI, onnxruntime saturates sums of 8-bit weights unless the
session option `session.x64quantprecision` is 1.
""",
)


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    own: dict[Path, bytes | None] = {folder / CONFIGURATION: b'"schema_version"', folder / NETWORK: b"explorer"}
    return own | {folder / README: LAYOUT.title.encode()}


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write a quantised ONNX network and its configuration to `folder`, and verify it; see `Format.write`."""
    return deliver(deployment, LAYOUT, lambda staging: _make(deployment, staging), folder)


def _make(deployment: Deployment, folder: Path) -> Checked:
    stored, promoted = _write_network(deployment, folder)
    score, weight_bytes = deployment.score, deployment.point.evaluation.cost.weight_bytes
    verification = verify_onnx(
        folder / NETWORK, deployment.model, deployment.images, targets=deployment.targets, score=score
    )
    return Checked(
        stored=stored,
        verification=verification,
        told=f"{verification.summary()}; packed weights {weight_bytes:,}{promoted}",
        details={"weight_bytes": weight_bytes},
        describe=lambda exported: _describe(deployment, exported, folder / NETWORK),
    )


def _write_network(deployment: Deployment, staging: Path) -> tuple[StoredBytes, str]:
    """Write the network in the narrowest types that onnxruntime runs; returns its bytes, and what it did not run."""
    model, shapes = deployment.model, deployment.context.graph.input_shapes
    wanted = find_widths(model)
    for widths in (widths for widths in ((2, 4, 8), (4, 8), (8,)) if widths[0] >= wanted[0]):
        stored = export_onnx(model, shapes, staging / NETWORK, widths=widths)
        try:
            run_onnx(staging / NETWORK, take(deployment.images, slice(1)), exact=False)
        except ExportError:
            if widths == (8,):
                raise
        else:
            break
    if widths == wanted:
        return stored, ""
    runtime = f"onnxruntime {onnxruntime.__version__}"
    return stored, f"; {runtime} runs no INT{wanted[0]}: weights of {wanted[0]} bits are stored as INT{widths[0]}"


def _describe(deployment: Deployment, exported: Exported, network: Path) -> dict[str, Any]:
    verification, candidate = exported.verification, deployment.point.evaluation.candidate
    return {
        "schema_version": SCHEMA_VERSION,
        "study": deployment.study,
        "device": deployment.device,
        **({} if deployment.finetuning is None else {"finetuning": dict(deployment.finetuning)}),
        **_point(deployment.point, deployment.score.name),
        "network": {
            "file": NETWORK,
            "sha256": sha256(network.read_bytes()),
            "float32_bytes": exported.float32_bytes,
            "onnx_bytes": exported.network_bytes,
            **exported.details,
            deployment.score.name: _described(exported.score),
            "agreement": verification.agreement,
            "ties": verification.ties,
            f"largest_{'logit' if verification.of_classes else 'output'}_difference": verification.largest_difference,
        },
        **describe_network(deployment.model, deployment.context, candidate),
    }


def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
    """Write the compressed network, run it, and write the float one that it is compared with; see `Format.try_out`."""
    export_onnx(model, context.graph.input_shapes, folder / NETWORK)
    run_onnx(folder / NETWORK, take(context.calibration.images, slice(2)))
    export_onnx(context.model, context.graph.input_shapes, folder / "float32.onnx")
    return folder / NETWORK


def describe_network(model: fx.GraphModule, context: CompressionContext, candidate: Candidate) -> dict[str, Any]:
    """Return plain data of every layer and activation quantiser: kept indices, widths, scales, shared codes.

    `kept_filter_indices` and `kept_input_indices` are those of the uncompressed layer. A weight is its code (in
    model.onnx, and one of `codebook_codes` where weights are shared) times the `weight_scales` entry of its filter.
    """
    resolved = context.resolve(candidate)
    kept = resolved.kept
    nodes = {str(node.target): node for node in model.graph.nodes if node.op == "call_module"}
    layers = {}
    for layer in context.graph.layers:
        choice = resolved.choices[layer.name]
        module = model.get_submodule(layer.name)
        codes = module.get_buffer("weight_codes")
        layers[layer.name] = {
            "weight_bits": choice.weight_bits,
            **({} if choice.step is None else {"step": choice.step}),
            "activation_bits": choice.activation_bits,
            "kept_filter_indices": [i for i, identity in enumerate(layer.output_classes) if identity in kept],
            "kept_input_indices": [i for i, identity in enumerate(layer.input_classes) if identity in kept],
            "pattern": choice.pattern,
            "codebook_codes": None if choice.codebook_size is None else sorted(set(codes.flatten().tolist())),
            "weight_scales": module.get_buffer("weight_scale").tolist(),
            "input": _quantizer(input_quantizer(model, nodes[layer.name])),
        }
    quantizers = {
        name: _quantizer(module) for name, module in model.named_modules() if isinstance(module, ActivationQuantizer)
    }
    return {"layers": layers, "activation_quantizers": quantizers}


def _point(point: FrontPoint, score_name: str) -> dict[str, Any]:
    evaluation = point.evaluation
    search = evaluation.score
    return {
        "point": point.name,
        "origin": evaluation.origin,
        "candidate": evaluation.candidate.to_json(),
        "candidate_digest": evaluation.candidate.digest(),
        "cost": asdict(evaluation.cost),
        score_name: {
            "search": None if search is None else _described(search),
            "held_out": _described(point.held_out),
        },
    }


def _described(score: MeanScore) -> dict[str, float]:
    return {
        "value": score.value,
        "standard_error": score.standard_error,
        "images": score.num_images,
    }


def _quantizer(quantizer: ActivationQuantizer) -> dict[str, float]:
    return {"bits": quantizer.bits, "scale": float(quantizer.scale), "zero_point": quantizer.zero_point}
