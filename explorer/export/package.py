"""Everything that a chosen candidate is deployed from, in one folder: configuration.json and model.onnx."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import fx

import explorer
from explorer.compress.activations import input_quantizer
from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate
from explorer.compress.quantize import ActivationQuantizer
from explorer.digests import sha256
from explorer.errors import ExportError
from explorer.evaluate.mean_score import MeanScore
from explorer.export.onnx.qdq import export_onnx
from explorer.export.verify import Verification, verify_onnx
from explorer.graph.inputs import Inputs
from explorer.study.record import FrontPoint

SCHEMA_VERSION = 1
"""Version of the layout of configuration.json; a change that readers must know of raises it."""

CONFIGURATION, NETWORK = "configuration.json", "model.onnx"


def candidate_marks(folder: Path) -> dict[Path, bytes | None]:
    """The files that `export_candidate` writes to a folder, and what is in the first bytes of each."""
    return {folder / CONFIGURATION: b'"schema_version"', folder / NETWORK: b"explorer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export wrote of the front's `point`, how large it is, and how it compares with what was costed.

    `float32_bytes` is the uncompressed network as an ONNX file, `onnx_bytes` the exported file (both with
    external data), `weight_bytes` the packed weights as the device model costs them.
    """

    point: str
    configuration: Path
    network: Path
    float32_bytes: int
    onnx_bytes: int
    weight_bytes: int
    score: MeanScore
    verification: Verification

    def summary(self) -> str:
        """Lines for the terminal: the point, its files, bytes before and after, and the agreement of predictions."""
        ratio = self.float32_bytes / self.onnx_bytes
        size = (
            f"{ratio:.1f}x smaller" if ratio >= 1.0 else f"{1.0 / ratio:.1f}x larger: the format outweighs the weights"
        )
        return (
            f"{self.point}, {self.score.value:.2%} right on {self.score.num_images} held-out images\n"
            f"{self.configuration}\n"
            f"{self.network}: {self.float32_bytes:,} bytes in float32, {self.onnx_bytes:,} exported "
            f"({size}; packed weights {self.weight_bytes:,}); "
            f"{self.verification.summary()}"
        )


def export_candidate(  # noqa: PLR0913  (what, checked on what, and what its file says of it)
    point: FrontPoint,
    model: fx.GraphModule,
    context: CompressionContext,
    images: Inputs,
    labels: torch.Tensor,
    folder: Path,
    study: str,
    device: str,
    *,
    finetuning: Mapping[str, Any] | None = None,
) -> ExportReport:
    """Write a member of the front to `folder` and verify it on held-out images (a batch of inputs, labels N).

    `model` is what `apply(context, point.evaluation.candidate)` built; `study` and `device` are names; `finetuning`
    says how the model was fine-tuned, where it was. The files of an earlier export are replaced only once everything
    is written and verified; other files in `folder` are never touched. ExportError when a file cannot be written or
    predictions differ; nothing is left behind then.
    """
    try:
        home = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        staging = Path(tempfile.mkdtemp(prefix=".export-", dir=home))
    except OSError as error:
        raise ExportError(f"export: {folder} cannot be written: {error}; choose another folder") from error
    try:
        shapes = context.graph.input_shapes
        float32_bytes = export_onnx(context.model, shapes, staging / "float32.onnx")
        network_bytes = export_onnx(model, shapes, staging / NETWORK)
        verification = verify_onnx(staging / NETWORK, model, images, labels=labels)
        assert verification.num_correct is not None
        report = ExportReport(
            point=point.name,
            configuration=folder / CONFIGURATION,
            network=folder / NETWORK,
            float32_bytes=float32_bytes,
            onnx_bytes=network_bytes,
            weight_bytes=point.evaluation.cost.weight_bytes,
            score=MeanScore(value=verification.num_correct / len(labels), num_images=len(labels)),
            verification=verification,
        )
        configuration = {
            "schema_version": SCHEMA_VERSION,
            "study": study,
            "device": device,
            **({} if finetuning is None else {"finetuning": dict(finetuning)}),
            **_point(point),
            **_export(report, staging / NETWORK),
            **describe_network(model, context, point.evaluation.candidate),
            "software": _software(),
        }
        text = json.dumps(configuration, indent=2, allow_nan=False)
        (staging / CONFIGURATION).write_text(text + "\n", encoding="utf-8")
        _publish(staging, folder)
    except OSError as error:
        raise ExportError(f"export: {folder} cannot be written: {error}; choose another folder") from error
    finally:
        shutil.rmtree(staging)
    return report


def describe_network(model: fx.GraphModule, context: CompressionContext, candidate: Candidate) -> dict[str, Any]:
    """Plain data of every layer and activation quantiser: kept indices, widths, scales, shared codes.

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


def _point(point: FrontPoint) -> dict[str, Any]:
    evaluation = point.evaluation
    search = evaluation.score
    return {
        "point": point.name,
        "origin": evaluation.origin,
        "candidate": evaluation.candidate.to_json(),
        "candidate_digest": evaluation.candidate.digest(),
        "cost": asdict(evaluation.cost),
        "accuracy": {
            "search": None if search is None else _described(search),
            "held_out": _described(point.held_out),
        },
    }


def _export(report: ExportReport, network: Path) -> dict[str, Any]:
    return {
        "network": {
            "file": NETWORK,
            "sha256": sha256(network.read_bytes()),
            "float32_bytes": report.float32_bytes,
            "onnx_bytes": report.onnx_bytes,
            "weight_bytes": report.weight_bytes,
            "accuracy": _described(report.score),
            "agreement": report.verification.agreement,
            "ties": report.verification.ties,
            "largest_logit_difference": report.verification.largest_logit_difference,
        }
    }


def _described(score: MeanScore) -> dict[str, float]:
    return {
        "value": score.value,
        "standard_error": score.standard_error,
        "images": score.num_images,
    }


def _quantizer(quantizer: ActivationQuantizer) -> dict[str, float]:
    return {"bits": quantizer.bits, "scale": float(quantizer.scale), "zero_point": quantizer.zero_point}


def _software() -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "onnx", "onnxruntime", "numpy")}
    return {"explorer": explorer.__version__, "python": platform.python_version(), **packages}


def _publish(staging: Path, folder: Path) -> None:
    """Rename the finished files into the folder; the configuration, which names the network's hash, last."""
    folder.mkdir(parents=True, exist_ok=True)
    networks = sorted(path for path in staging.iterdir() if path.name.startswith(NETWORK))
    for staged in (*reversed(networks), staging / CONFIGURATION):
        staged.replace(folder / staged.name)
