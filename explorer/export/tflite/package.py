"""A compressed network as a TensorFlow Lite file of int8, checked against its integer program on held-out images."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import fx

from explorer.arrays import Float32Array
from explorer.compress.apply import CompressionContext
from explorer.errors import ExportError
from explorer.export.formats import Deployment, Exported
from explorer.export.interface import read_interface
from explorer.export.record import describe_artefact
from explorer.export.staging import staged, write_description
from explorer.export.tflite.costed import describe_costed
from explorer.export.tflite.network import Network, build
from explorer.export.tflite.run import run_tflite
from explorer.export.tflite.verify import Agreement, compare
from explorer.graph.inputs import Inputs, take

NETWORK, SUMMARY = "model.tflite", "summary.json"


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    ours = (folder / SUMMARY).is_file()
    return {folder / SUMMARY: b'"tflite_bytes"', folder / NETWORK: b"TFL3" if ours else None}


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write a TensorFlow Lite file of int8 and a summary to `folder`; see `Format.write`."""
    if len(deployment.targets) == 0:
        raise ExportError(f"verify: no images to run {NETWORK} on; give at least one")
    network = build(deployment.model, deployment.context, types=deployment.types)
    with staged(folder, (NETWORK, SUMMARY)) as staging:
        (staging / NETWORK).write_bytes(network.content)
        exported = _verify(deployment, network, staging / NETWORK, folder)
        described = _describe(deployment, network, exported)
        write_description(staging / SUMMARY, described | describe_artefact(deployment, exported, staging))
    return exported


def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
    """Write the file alone, and run it on two images; see `Format.try_out`."""
    images = take(context.calibration.images, slice(2))
    network = build(model, context, images)
    (folder / NETWORK).write_bytes(network.content)
    run_tflite(folder / NETWORK, network.interface.encode(images))
    return folder / NETWORK


def run_files(folder: Path, images: Inputs) -> Float32Array:
    """Return the outputs of what was written, in LiteRT; see `Format.run_files`."""
    interface = read_interface(folder)
    return interface.decode(run_tflite(folder / NETWORK, interface.encode(images)))


def _verify(deployment: Deployment, network: Network, path: Path, folder: Path) -> Exported:
    point, score = deployment.point, deployment.score
    found = compare(network, path, deployment.model, deployment.images, deployment.targets, score)
    verification = found.verification
    assert verification.scores is not None
    mean, expected = verification.scores
    float32_bytes = 4 * sum(parameter.numel() for parameter in deployment.context.reference.parameters())
    tied = f"; where classes share the largest code, on {verification.ties} of the images, the first counts"
    return Exported(
        point=point.name,
        files=(folder / NETWORK, folder / SUMMARY),
        float32_bytes=float32_bytes,
        network_bytes=path.stat().st_size,
        score=mean,
        verification=verification,
        lines=(
            f"{point.name}, {score.tell(mean)} on {mean.num_images} held-out images in LiteRT "
            f"({expected.value:.2%} of the integer program)",
            f"{folder / NETWORK}: {float32_bytes:,} bytes of parameters in float32, {path.stat().st_size:,} exported; "
            f"{_tell(found)}{tied if verification.ties else ''}",
        ),
        details={
            "equal_output_integers": found.equal,
            "images_with_ties": verification.ties,
            "agreement_with_built_in_kernels": found.built_in,
            **({} if found.simulated is None else {"agreement_with_simulation": found.simulated / mean.num_images}),
        },
    )


def _tell(found: Agreement) -> str:
    verification = found.verification
    told, simulated = "outputs", ""
    if verification.of_classes:
        told, simulated = "predictions", f", {found.simulated} predictions the searched network's"
    if found.built_in < 1:
        same = told if verification.of_classes else "integers"
        simulated += f"; built-in kernels, which round twice, give {found.built_in:.2%} of these {same}"
    return (
        f"{verification.agreeing} of {verification.num_images} {told} and {found.equal:.2%} of all output integers are "
        f"the integer program's{simulated}"
    )


def _describe(deployment: Deployment, network: Network, exported: Exported) -> dict[str, Any]:
    score, verification, interface = exported.score, exported.verification, network.interface.to_json()
    return {
        "name": exported.point,
        "tflite_bytes": exported.network_bytes,
        "float32_parameter_bytes": exported.float32_bytes,
        "inputs": interface["inputs"],
        "output": {
            **interface["output"],
            "softmax": network.core is not None,
            "logits_scale": network.logits.scale,
            "logits_zero_point": network.logits.zero_point,
        },
        "packed_int4": deployment.types.pack_int4,
        deployment.score.name: {"value": score.value, "standard_error": score.standard_error},
        "images": verification.num_images,
        "agreement": verification.agreement,
        **exported.details,
        "ai_edge_litert": version("ai-edge-litert"),
        "study": deployment.study,
        "candidate": deployment.point.evaluation.candidate.to_json(),
        "costed": describe_costed(deployment, network.content),
    }
