"""Compare what a runtime makes of a file with the integers of the program that it was written from."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explorer.errors import ExportError
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import Score, score_outputs
from explorer.export.interface import Codes, to_arrays
from explorer.export.tflite.network import Network, describe_output
from explorer.export.tflite.run import run_tflite
from explorer.export.verify import Verification, run_torch
from explorer.graph.inputs import Inputs
from explorer.integer.interpret import run_program


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How a file compares with its program: `equal` is the share of equal output integers.

    Of a classifier, `verification.ties` are images on which several classes share the largest code: the first of them
    counts, in the file as in the program. Of another network, an image agrees where all of its integers do.
    `built_in` is the share of predictions that the runtime's built-in kernels, which round twice, have in common;
    of integers where there are no classes.
    `simulated` counts the images whose class in the network that was searched is one with the largest code, None
    without classes.
    """

    verification: Verification
    equal: float
    built_in: float
    simulated: int | None


def compare(network: Network, path: Path, model: nn.Module, images: Inputs, targets: Tensor, score: Score) -> Agreement:
    """Run a file on a batch of inputs, and compare each integer of its output; of its logits if a softmax is behind.

    Args:
        network: What was written to `path`.
        path: The file.
        model: The network that was searched.
        images: What both are run on.
        targets: To score the file.
        score: By which the network is judged.

    Raises:
        ExportError: Where a prediction, or an output of what is no classifier, differs.
    """
    given, of_classes = network.interface.encode(images), score.of_classes
    expected = run_program(network.program, to_arrays(images)).astype(np.int64)
    received, built_in = (_run_logits(network, path, given, kernels) for kernels in ("default", "built-in"))
    agreeing = _find_equal(received, expected, of_classes)
    if network.core is not None:
        agreeing &= _is_largest(network.interface.output.decode(run_tflite(path, given)), expected)
    shared = (received == received.max(1, keepdims=True)).sum(1).reshape(len(received), -1) > 1
    verification = Verification(
        num_images=len(expected),
        agreeing=int(agreeing.sum()),
        ties=int(shared.any(1).sum()) if of_classes else 0,
        scores=(_score(network, received, targets, score), _score(network, expected, targets, score)),
        largest_difference=float(np.abs(received - expected).max()) * network.logits.scale,
        of_classes=of_classes,
    )
    if not agreeing.all():
        raise ExportError(
            f"verify: {path.name} gives the {'classes' if of_classes else 'outputs'} of the integer program on "
            f"{verification.agreeing} of {len(expected)} images alone; choose another point, or another --format"
        )
    return Agreement(
        verification=verification,
        equal=float((received == expected).mean()),
        built_in=float((_find_equal(built_in, expected, True) if of_classes else built_in == expected).mean()),
        simulated=int(_is_largest(received, run_torch(model, images)).sum()) if of_classes else None,
    )


def _run_logits(network: Network, path: Path, given: tuple[Codes, ...], kernels: str) -> NDArray[np.int64]:
    """Return the logits of a file, without the softmax at its end if there is one."""
    if network.core is None:
        return network.interface.output.decode(run_tflite(path, given, kernels))
    with tempfile.TemporaryDirectory() as folder:
        core = Path(folder) / path.name
        core.write_bytes(network.core)
        return describe_output(network.program, network.logits, network.logits.type).decode(
            run_tflite(core, given, kernels)
        )


def _find_equal(received: NDArray[np.int64], expected: NDArray[np.int64], of_classes: bool) -> NDArray[np.bool]:
    """Return for each image whether its class is equal, at each position if it has several; else all integers."""
    if of_classes:
        received, expected = received.argmax(1), expected.argmax(1)
    equal: NDArray[np.bool] = (received == expected).reshape(len(expected), -1).all(1)
    return equal


def _is_largest(codes: NDArray[np.int64], values: NDArray[Any]) -> NDArray[np.bool]:
    """Return for each image whether the class with the largest value has the largest code, or one of several."""
    chosen = np.take_along_axis(codes, values.argmax(1)[:, None], axis=1)
    largest: NDArray[np.bool] = (chosen == codes.max(1, keepdims=True)).reshape(len(values), -1).all(1)
    return largest


def _score(network: Network, logits: NDArray[np.int64], targets: Tensor, score: Score) -> MeanScore:
    values = torch.from_numpy((logits * network.logits.scale).astype(np.float32))
    outputs = values if network.core is None else values.softmax(1)
    return MeanScore.of(score_outputs(score, outputs, targets.cpu()))
