"""Everything that a chosen candidate is deployed from, in one folder: configuration.json and model.onnx."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import fx

from explorer.compress.activations import input_quantizer
from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate
from explorer.compress.quantize import ActivationQuantizer
from explorer.digests import sha256
from explorer.evaluate.mean_score import MeanScore
from explorer.export.formats import Deployment, Exported
from explorer.export.onnx.qdq import export_onnx
from explorer.export.staging import staged, write_description
from explorer.export.verify import verify_onnx
from explorer.study.record import FrontPoint

SCHEMA_VERSION = 1
"""Version of the layout of configuration.json; a change that readers must know of raises it."""

CONFIGURATION, NETWORK = "configuration.json", "model.onnx"


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    return {folder / CONFIGURATION: b'"schema_version"', folder / NETWORK: b"explorer"}


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write a quantised ONNX network and its configuration to `folder`, and verify it; see `Format.write`."""
    with staged(folder, (NETWORK, CONFIGURATION)) as staging:
        exported = _write_network(deployment, staging, folder)
        write_description(staging / CONFIGURATION, _describe(deployment, exported, staging / NETWORK))
    return exported


def _write_network(deployment: Deployment, staging: Path, folder: Path) -> Exported:
    context, point, score = deployment.context, deployment.point, deployment.score
    float32_bytes = export_onnx(context.reference, context.graph.input_shapes, staging / "float32.onnx").total
    network_bytes = export_onnx(deployment.model, context.graph.input_shapes, staging / NETWORK).total
    verification = verify_onnx(
        staging / NETWORK, deployment.model, deployment.images, targets=deployment.targets, score=score
    )
    assert verification.scores is not None
    mean = verification.scores[0]
    weight_bytes = point.evaluation.cost.weight_bytes
    return Exported(
        point=point.name,
        files=(folder / NETWORK, folder / CONFIGURATION),
        float32_bytes=float32_bytes,
        network_bytes=network_bytes,
        score=mean,
        verification=verification,
        lines=(
            f"{point.name}, {score.tell(mean)} on {mean.num_images} held-out images",
            f"{folder / CONFIGURATION}",
            f"{folder / NETWORK}: {float32_bytes:,} bytes in float32, {network_bytes:,} exported "
            f"({_compare_sizes(float32_bytes, network_bytes)}; packed weights {weight_bytes:,}); "
            f"{verification.summary()}",
        ),
        details={"weight_bytes": weight_bytes},
    )


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
    """Write the compressed network and the float one that it is compared with; see `Format.try_out`."""
    export_onnx(model, context.graph.input_shapes, folder / NETWORK)
    export_onnx(context.model, context.graph.input_shapes, folder / "float32.onnx")
    return folder / NETWORK


def _compare_sizes(before: int, after: int) -> str:
    if before >= after:
        return f"{before / after:.1f}x smaller"
    return f"{after / before:.1f}x larger: the format outweighs the weights"


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
