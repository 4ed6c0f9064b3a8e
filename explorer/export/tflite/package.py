"""A compressed network as a TensorFlow Lite file of int8, checked against its integer program on held-out images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx

from explorer.compress.apply import CompressionContext
from explorer.errors import ExportError
from explorer.export.formats import Deployment, Exported
from explorer.export.staging import staged, write_description
from explorer.export.tflite.costed import describe_costed
from explorer.export.tflite.file import FileBuilder, Int8Grid
from explorer.export.tflite.grids import find_quantizers, find_shifts, fit_logits
from explorer.export.tflite.run import Int8, run_tflite
from explorer.export.tflite.translate import translate
from explorer.export.tflite.translation import Translation
from explorer.export.verify import Verification, compare_outputs
from explorer.graph.inputs import Inputs, as_tuple, take
from explorer.integer.interpret import perform, run_program
from explorer.integer.lower import lower_program
from explorer.integer.operations import QuantizeInput
from explorer.integer.program import IntegerProgram

NETWORK, SUMMARY = "model.tflite", "summary.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The bytes of a file, the program that it computes, and the grids of its inputs and of its output.

    `shifts` are added to the program's codes of each input.
    """

    content: bytes
    program: IntegerProgram
    shifts: tuple[int, ...]
    inputs: tuple[Int8Grid, ...]
    logits: Int8Grid


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    ours = (folder / SUMMARY).is_file()
    return {folder / SUMMARY: b'"tflite_bytes"', folder / NETWORK: b"TFL3" if ours else None}


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write a TensorFlow Lite file of int8 and a summary to `folder`; see `Format.write`."""
    if len(deployment.targets) == 0:
        raise ExportError(f"verify: no images to run {NETWORK} on; give at least one")
    network = build(deployment.model, deployment.context)
    with staged(folder, (NETWORK, SUMMARY)) as staging:
        (staging / NETWORK).write_bytes(network.content)
        exported = _verify(deployment, network, staging / NETWORK, folder)
        write_description(staging / SUMMARY, _describe(deployment, network, exported))
    return exported


def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
    """Write the file alone, and run it on two images; see `Format.try_out`."""
    images = take(context.calibration.images, slice(2))
    network = build(model, context, images)
    (folder / NETWORK).write_bytes(network.content)
    run_tflite(folder / NETWORK, encode_inputs(network, images))
    return folder / NETWORK


def build(model: fx.GraphModule, context: CompressionContext, images: Inputs | None = None) -> Network:
    """Return the file of what `compress.apply` built; the grid of its logits spans those of the calibration images.

    Args:
        images: To be taken instead of these.

    Raises:
        ExportError: For what has no integer form, or no operator; and without ai-edge-litert.
    """
    file = FileBuilder()
    program = lower_program(model, context.graph.input_shapes)
    grids, shifts = find_quantizers(model, program), find_shifts(program)
    given = _arrays(context.calibration.images if images is None else images)
    logits = fit_logits(run_program(program, given), program.output_scale)
    parts = Translation(program=program, file=file, grids=grids, shifts=shifts, logits=logits)
    content = translate(parts)
    quantizers = {step.input: step.output for step in program.steps if isinstance(step, QuantizeInput)}
    codes = [quantizers[entry.name] for entry in program.inputs]
    return Network(
        content=content,
        program=program,
        shifts=tuple(shifts[name] for name in codes),
        inputs=tuple(parts.grid(name) for name in codes),
        logits=logits,
    )


def encode_inputs(network: Network, images: Inputs) -> tuple[Int8, ...]:
    """Return the codes of each input that the file reads: those of the program, channels last."""
    values = dict(zip((entry.name for entry in network.program.inputs), _arrays(images), strict=True))
    codes = {step.input: perform(step, values) for step in network.program.steps if isinstance(step, QuantizeInput)}
    return tuple(
        np.ascontiguousarray(np.moveaxis(codes[entry.name].astype(np.int16) + shift, 1, -1)).astype(np.int8)
        for entry, shift in zip(network.program.inputs, network.shifts, strict=True)
    )


def decode_logits(network: Network, codes: Int8) -> NDArray[np.float64]:
    """Return what the codes of the output stand for, channels first."""
    grid = network.logits
    values: NDArray[np.float64] = (codes.astype(np.float64) - grid.zero_point) * grid.scale
    return np.moveaxis(values, -1, 1)


def _arrays(images: Inputs) -> tuple[NDArray[np.float32], ...]:
    return tuple(tensor.cpu().float().numpy() for tensor in as_tuple(images))


def _verify(deployment: Deployment, network: Network, path: Path, folder: Path) -> Exported:
    point, score, images = deployment.point, deployment.score, deployment.images
    codes = encode_inputs(network, images)
    expected = run_program(network.program, _arrays(images)).astype(np.float64) * network.program.output_scale
    verification = _compare(decode_logits(network, run_tflite(path, codes)), expected, deployment)
    assert verification.scores is not None
    mean, simulated = verification.scores
    built_in = decode_logits(network, run_tflite(path, codes, kernels="built-in"))
    classes = (built_in.argmax(1) == expected.argmax(1)).reshape(len(expected), -1).all(1)
    float32_bytes = 4 * sum(parameter.numel() for parameter in deployment.context.model.parameters())
    tied = f", {verification.ties} of them as one of several largest int8 logits" if verification.ties else ""
    return Exported(
        point=point.name,
        files=(folder / NETWORK, folder / SUMMARY),
        float32_bytes=float32_bytes,
        network_bytes=path.stat().st_size,
        score=mean,
        verification=verification,
        lines=(
            f"{point.name}, {score.tell(mean)} on {mean.num_images} held-out images in LiteRT "
            f"({simulated.value:.2%} of the integer program)",
            f"{folder / NETWORK}: {float32_bytes:,} bytes of parameters in float32, {path.stat().st_size:,} exported; "
            f"{verification.summary()} with the integer program{tied}",
        ),
        details={
            "ties": verification.ties,
            **({"same_classes_with_built_in_kernels": float(classes.mean())} if verification.of_classes else {}),
        },
    )


def _compare(received: NDArray[np.float64], expected: NDArray[np.float64], deployment: Deployment) -> Verification:
    """Compare the file's logits with the program's; a tie is a class that is not alone with the file's largest logit.

    Raises:
        ExportError: As `compare_outputs`.
    """
    rounded = received.astype(np.float32)  # in the place of what is expected: ties are looked for there
    found = compare_outputs(NETWORK, expected, rounded, deployment.targets, deployment.score)
    return found if found.scores is None else replace(found, scores=(found.scores[1], found.scores[0]))


def _describe(deployment: Deployment, network: Network, exported: Exported) -> dict[str, Any]:
    score, verification = exported.score, exported.verification
    return {
        "name": exported.point,
        "tflite_bytes": exported.network_bytes,
        "float32_parameter_bytes": exported.float32_bytes,
        "inputs": [
            {"name": entry.name, "scale": grid.scale, "zero_point": grid.zero_point}
            for entry, grid in zip(network.program.inputs, network.inputs, strict=True)
        ],
        "output": {"scale": network.logits.scale, "zero_point": network.logits.zero_point},
        deployment.score.name: {"value": score.value, "standard_error": score.standard_error},
        "images": verification.num_images,
        "agreement": verification.agreement,
        **exported.details,
        "ai_edge_litert": version("ai-edge-litert"),
        "study": deployment.study,
        "candidate": deployment.point.evaluation.candidate.to_json(),
        "costed": describe_costed(deployment, network.content),
    }
