"""Integer deployment of a compressed network: an ONNX file of integers, and a program with its weights to implement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from explorer.arrays import Float32Array
from explorer.compress.apply import CompressionContext
from explorer.errors import ExportError
from explorer.export.formats import Deployment, Exported
from explorer.export.integer.onnx import export_integer_onnx
from explorer.export.onnx.qdq import export_onnx
from explorer.export.record import describe_artefact, describe_layers
from explorer.export.staging import staged, write_description
from explorer.export.verify import compare_outputs, open_session, run_onnx, run_torch
from explorer.graph.inputs import Inputs, take
from explorer.integer.interpret import run_program
from explorer.integer.lower import lower_program
from explorer.integer.program import IntegerProgram
from explorer.npz import read_npz

NETWORK, PROGRAM, WEIGHTS, SUMMARY = "integer.onnx", "program.json", "weights.npz", "summary.json"
EXACT_IMAGES = 32
"""Images on which the ONNX file must give the very integers of the program (assumed: enough for every operation)."""


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    ours = (folder / PROGRAM).is_file()
    return {
        folder / NETWORK: b"explorer",
        folder / PROGRAM: b'"schema_version"',
        folder / SUMMARY: b'"float32_bytes"',
        folder / WEIGHTS: b"PK" if ours else None,
    }


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write an ONNX file of integers, and the program with its weights, to `folder`; see `Format.write`."""
    if len(deployment.targets) == 0:
        raise ExportError(f"verify: no images to run {NETWORK} on; give at least one")
    program = lower_program(deployment.model, deployment.context.graph.input_shapes)
    with staged(folder, (NETWORK, WEIGHTS, PROGRAM, SUMMARY)) as staging:
        exported = _write_network(deployment, program, staging, folder)
        write_description(
            staging / SUMMARY, _describe(deployment, exported) | describe_artefact(deployment, exported, staging)
        )
    return exported


def _write_network(deployment: Deployment, program: IntegerProgram, staging: Path, folder: Path) -> Exported:
    context, images, point, score = deployment.context, deployment.images, deployment.point, deployment.score
    float32_bytes = _float32_bytes(context, staging)
    layers = describe_layers(deployment.model, context.graph, point.evaluation.candidate)
    network_bytes = export_integer_onnx(program, staging / NETWORK, layers)
    program_bytes = write_program(program, staging)
    _check_equal(program, staging / NETWORK, take(images, slice(EXACT_IMAGES)))
    expected = run_torch(deployment.model, images)
    received = run_onnx(staging / NETWORK, images) * program.output_scale
    verification = compare_outputs(NETWORK, received, expected, deployment.targets, score)
    assert verification.scores is not None
    mean, simulated = verification.scores
    return Exported(
        point=point.name,
        files=tuple(folder / name for name in (NETWORK, PROGRAM, WEIGHTS, SUMMARY)),
        float32_bytes=float32_bytes,
        network_bytes=network_bytes,
        score=mean,
        verification=verification,
        lines=(
            f"{point.name}, {score.tell(mean)} on {mean.num_images} held-out images with integers only "
            f"({simulated.value:.2%} in the search's simulation)",
            f"{folder / NETWORK}: {float32_bytes:,} bytes in float32, {network_bytes:,} exported; "
            f"{verification.summary()}",
            f"{folder / PROGRAM} and {WEIGHTS}: {program_bytes:,} bytes",
        ),
        details={
            "program_bytes": program_bytes,
            f"simulated_{score.name}": {"value": simulated.value, "standard_error": simulated.standard_error},
        },
    )


def _describe(deployment: Deployment, exported: Exported) -> dict[str, Any]:
    score, verification = exported.score, exported.verification
    return {
        "name": exported.point,
        "float32_bytes": exported.float32_bytes,
        "onnx_bytes": exported.network_bytes,
        **exported.details,
        deployment.score.name: {"value": score.value, "standard_error": score.standard_error},
        "images": verification.num_images,
        "agreement": verification.agreement,
        "images_with_equal_integers": min(EXACT_IMAGES, verification.num_images),
        "study": deployment.study,
        "candidate": deployment.point.evaluation.candidate.to_json(),
    }


def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
    """Write the ONNX file of integers; see `Format.try_out`."""
    export_integer_onnx(lower_program(model, context.graph.input_shapes), folder / NETWORK)
    return folder / NETWORK


def run_files(folder: Path, images: Inputs) -> Float32Array:
    """Return the logits of what was written; see `Format.run_files`."""
    integers = run_onnx(folder / NETWORK, images)
    scale = open_session(folder / NETWORK).get_modelmeta().custom_metadata_map.get("logits_scale")
    if scale is None:
        raise ExportError(f"{folder / NETWORK}: does not say what its integers stand for; export it once more")
    return (integers * float(scale)).astype(np.float32)


def _float32_bytes(context: CompressionContext, folder: Path) -> int:
    """Return bytes of the float network as an ONNX file, or of its parameters where it has integers alone as a form."""
    try:
        return export_onnx(context.reference, context.graph.input_shapes, folder / "float32.onnx").total
    except ExportError:
        return 4 * sum(parameter.numel() for parameter in context.reference.parameters())


def write_program(program: IntegerProgram, folder: Path) -> int:
    """Write program.json and weights.npz, without pickle, to an existing folder; returns their bytes."""
    text = json.dumps(program.to_json(), indent=1, allow_nan=False)
    (folder / PROGRAM).write_text(text + "\n", encoding="utf-8")
    np.savez_compressed(folder / WEIGHTS, allow_pickle=False, **program.arrays)
    return sum((folder / name).stat().st_size for name in (PROGRAM, WEIGHTS))


def read_program(folder: Path) -> IntegerProgram:
    """Return the program that `write_program` left in a folder.

    Raises:
        ExportError: Where it cannot be read.
    """
    try:
        data = json.loads((folder / PROGRAM).read_text(encoding="utf-8"))
        return IntegerProgram.from_json(data, read_npz(folder / WEIGHTS))
    except ExportError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ExportError(
            f"{folder}: holds no integer program ({type(error).__name__}: {error}); write one with: "
            f"explorer export RUN --format integer --to {folder}"
        ) from error


def _check_equal(program: IntegerProgram, network: Path, images: tuple[torch.Tensor, ...]) -> None:
    """Raise ExportError where onnxruntime gives any other integer than the program."""
    arrays = tuple(tensor.cpu().float().numpy() for tensor in images)
    expected, received = run_program(program, arrays), run_onnx(network, images)
    if not np.array_equal(expected, received):
        lost = int((expected != received).reshape(len(expected), -1).any(1).sum())
        raise ExportError(
            f"verify: {network.name} gives other integers than the program on {lost} of {len(expected)} images; "
            "please report this"
        )
