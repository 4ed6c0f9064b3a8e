"""Storage of a compressed network: one file with its weights at their entropy, decoded and compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import fx

from explorer.arrays import Float32Array
from explorer.compress.apply import CompressionContext
from explorer.errors import ExportError
from explorer.evaluate.hardware import count_float_weight_bytes
from explorer.export.formats import Deployment, Exported
from explorer.export.record import describe_artefact
from explorer.export.staging import staged, write_description
from explorer.export.verify import compare_outputs, run_torch
from explorer.graph.inputs import Inputs
from explorer.packed.coded import MAGIC, Coding, write_coded
from explorer.packed.file import read_packed
from explorer.packed.network import decode_like, packable, refuse_different

NETWORK, SUMMARY = "network.bin", "summary.json"


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    return {folder / NETWORK: MAGIC, folder / SUMMARY: b'"coded_bytes"'}


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write network.bin and what it is made of to `folder`, and read it back; see `Format.write`."""
    if len(deployment.targets) == 0:
        raise ExportError(f"verify: no images to run {NETWORK} on; give at least one")
    with staged(folder, (NETWORK, SUMMARY)) as staging:
        coding = write_coded(packable(deployment.model), staging / NETWORK)
        exported = _check(deployment, coding, staging, folder)
        score = exported.score
        write_description(
            staging / SUMMARY,
            {
                "name": exported.point,
                "float32_bytes": exported.float32_bytes,
                "coded_bytes": exported.network_bytes,
                **exported.details,
                deployment.score.name: {"value": score.value, "standard_error": score.standard_error},
                "images": exported.verification.num_images,
                "study": deployment.study,
                "candidate": deployment.point.evaluation.candidate.to_json(),
                **describe_artefact(deployment, exported, staging),
            },
        )
    return exported


def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
    """Write network.bin, all weights 0, which takes no time to code; see `Format.try_out`."""
    network = packable(model)
    layers = tuple(replace(layer, codes=np.zeros_like(layer.codes)) for layer in network.layers)
    write_coded(replace(network, layers=layers), folder / NETWORK)
    return folder / NETWORK


def run_files(folder: Path, images: Inputs) -> Float32Array:
    """Raise ExportError: the file holds the weights of a network, and not what is done with them; see `Format`."""
    raise ExportError(
        f"{folder / NETWORK}: holds weights to store, and no network to run; export the same point in another --format"
    )


def _check(deployment: Deployment, coding: Coding, staging: Path, folder: Path) -> Exported:
    """Return what was written, once what is decoded is the very network."""
    model, point, score = deployment.model, deployment.point, deployment.score
    decoded = decode_like(model, read_packed(staging / NETWORK))
    refuse_different(model, decoded, folder / NETWORK)
    expected, received = run_torch(model, deployment.images), run_torch(decoded, deployment.images)
    verification = compare_outputs(NETWORK, received, expected, deployment.targets, score)
    assert verification.scores is not None
    mean, _ = verification.scores
    if not (received == expected).all():
        raise ExportError(f"{folder / NETWORK}: predicts otherwise than the network that was coded; please report this")
    whole = deployment.context.whole or deployment.context
    float32_bytes, size = count_float_weight_bytes(whole.graph), len(coding.data)
    return Exported(
        point=point.name,
        files=(folder / NETWORK, folder / SUMMARY),
        float32_bytes=float32_bytes,
        network_bytes=size,
        score=mean,
        verification=verification,
        lines=(
            f"{point.name}, {score.tell(mean)} on {mean.num_images} held-out images",
            f"{folder / NETWORK}: {float32_bytes / size:.1f} times smaller than {float32_bytes:,} bytes in float32; "
            f"{coding.summary}",
            "the file was read back: equal integers, and equal outputs on all of these images",
        ),
        details={
            "weight_bits": dict(coding.weight_bits),
            "bias_bits": coding.bias_bits,
            "scale_bits": coding.scale_bits,
        },
    )
