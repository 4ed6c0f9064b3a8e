"""A compressed network as C99, compiled here and compared with its integer program on all held-out images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import fx

from explorer.arrays import Float32Array
from explorer.compress.apply import CompressionContext
from explorer.errors import ExportError
from explorer.export.c.compiled import (
    FLAGS,
    HEADER,
    MAIN,
    SOURCE,
    encode_inputs,
    find_compiler,
    run_source,
    write_files,
)
from explorer.export.c.files import MARK
from explorer.export.c.readme import write_readme
from explorer.export.c.source import CSource, build_source
from explorer.export.formats import Deployment, Exported
from explorer.export.interface import read_interface, to_arrays
from explorer.export.record import describe_artefact
from explorer.export.staging import staged, write_description
from explorer.export.verify import compare_outputs, run_torch
from explorer.graph.inputs import Inputs
from explorer.integer.interpret import run_program
from explorer.integer.lower import lower_program
from explorer.integer.program import IntegerProgram

README, SUMMARY = "README.md", "summary.json"
NAMES = (HEADER, SOURCE, MAIN, README, SUMMARY)


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    marks = dict.fromkeys((HEADER, SOURCE, MAIN, README), MARK.encode())
    return {folder / name: mark for name, mark in (*marks.items(), (SUMMARY, b'"constant_bytes"'))}


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write C99, an example and a description to `folder`; see `Format.write`."""
    if len(deployment.targets) == 0:
        raise ExportError(f"verify: no images to run {SOURCE} on; give at least one")
    find_compiler()
    program = lower_program(deployment.model, deployment.context.graph.input_shapes)
    source = build_source(program)
    with staged(folder, NAMES) as staging:
        write_files(source, staging)
        exported = _verify(deployment, program, source, staging, folder)
        (staging / README).write_text(write_readme(source, program, exported), encoding="utf-8")
        described = _describe(deployment, source, exported)
        write_description(staging / SUMMARY, described | describe_artefact(deployment, exported, staging))
    return exported


def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
    """Write the source alone; see `Format.try_out`."""
    find_compiler()
    write_files(build_source(lower_program(model, context.graph.input_shapes)), folder)
    return folder / SOURCE


def run_files(folder: Path, images: Inputs) -> Float32Array:
    """Return the outputs of what was written, compiled here; see `Format.run_files`."""
    interface = read_interface(folder)
    return interface.decode(run_source(folder, encode_inputs(interface, images)))


def _verify(deployment: Deployment, program: IntegerProgram, source: CSource, staging: Path, folder: Path) -> Exported:
    expected = run_program(program, to_arrays(deployment.images))
    received = source.output.decode(run_source(staging, encode_inputs(source.interface, deployment.images)))
    if not np.array_equal(expected, received):
        same = int((expected == received).reshape(len(expected), -1).all(1).sum())
        raise ExportError(
            f"verify: {SOURCE} gives the integers of the program on {same} of {len(expected)} images alone; please "
            "report this"
        )
    simulated, score = run_torch(deployment.model, deployment.images), deployment.score
    verification = compare_outputs(SOURCE, received * program.output_scale, simulated, deployment.targets, score)
    assert verification.scores is not None
    mean, before = verification.scores
    float32_bytes = 4 * sum(parameter.numel() for parameter in deployment.context.reference.parameters())
    return Exported(
        point=deployment.point.name,
        files=tuple(folder / name for name in (SOURCE, HEADER, MAIN, README, SUMMARY)),
        float32_bytes=float32_bytes,
        network_bytes=source.constant_bytes,
        score=mean,
        verification=verification,
        lines=(
            f"{deployment.point.name}, {score.tell(mean)} on {mean.num_images} held-out images, compiled by cc "
            f"({before.value:.2%} in the search's simulation)",
            f"{folder / SOURCE}: {float32_bytes:,} bytes of parameters in float32, {source.constant_bytes:,} of "
            f"constants in C, {source.arena_bytes:,} of memory for activations; all integers of {mean.num_images} "
            f"images are the integer program's; {verification.summary()}",
        ),
        details={
            "constant_bytes": source.constant_bytes,
            "weight_bytes": source.weight_bytes,
            "arena_bytes": source.arena_bytes,
            "images_with_equal_integers": len(expected),
        },
    )


def _describe(deployment: Deployment, source: CSource, exported: Exported) -> dict[str, Any]:
    score, verification = exported.score, exported.verification
    return {
        "name": exported.point,
        "float32_parameter_bytes": exported.float32_bytes,
        **exported.details,
        **source.interface.to_json(),
        "compiled_with": ["cc", *FLAGS],
        deployment.score.name: {"value": score.value, "standard_error": score.standard_error},
        "images": verification.num_images,
        "agreement": verification.agreement,
        "study": deployment.study,
        "candidate": deployment.point.evaluation.candidate.to_json(),
    }
