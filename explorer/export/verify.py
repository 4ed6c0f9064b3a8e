"""Run an exported network in onnxruntime and compare its predictions with the network that was costed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explorer.errors import ExportError
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import ACCURACY, Score, score_outputs
from explorer.export.formats import Deployment
from explorer.export.interface import to_arrays
from explorer.graph.inputs import Inputs, batches, count_images, run, to_device
from explorer.integer.interpret import run_program
from explorer.integer.program import IntegerProgram

MINIMUM_AGREEMENT = 0.99
"""Share of equal predictions below which an export fails (assumed: single codes may round differently)."""

TOLERANCE = 0.01
"""Of outputs that are no classes, as a share of their range, and of their mean score (assumed: see above)."""

TIE = 1e-5
"""Logits closer than this share of an image's largest magnitude are equal but for float32 rounding (assumed)."""


EXACT_SUMS = "session.x64quantprecision"
"""Session option with which onnxruntime does not saturate sums of uint8 times int8 on x86 processors without VNNI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How an ONNX file compares with the torch network on the same images.

    Of a classifier, `agreeing` of `num_images` predictions are equal, and `ties` of these name another class whose
    logit equals the largest within TIE: narrow weights give exact ties, and then the order of a sum decides. Of any
    other network (`of_classes` False), the outputs of an image agree where they differ by at most TOLERANCE of the
    range of all outputs, mean over its outputs. `scores` are those of the file and of the torch network, None without
    targets. `agreeing_by_default` is what a session without EXACT_SUMS gives on this processor, None where it was not
    asked.
    """

    num_images: int
    agreeing: int
    ties: int
    scores: tuple[MeanScore, MeanScore] | None
    largest_difference: float
    of_classes: bool = True
    agreeing_by_default: int | None = None

    @property
    def agreement(self) -> float:
        """Share of the images that agree, in [0, 1]."""
        return self.agreeing / self.num_images

    def summary(self) -> str:
        """Return agreement in words, and what a session needs on a processor like this one."""
        told = f"{self.agreeing} of {self.num_images} predictions agree"
        if not self.of_classes:
            told = f"outputs of {self.agreeing} of {self.num_images} images agree within {TOLERANCE:.0%} of their range"
            told += "" if self.scores is None else f", and so does the score ({self.scores[1].value:.2%} expected)"
        if self.agreeing_by_default is None or self.agreeing_by_default >= self.agreeing:
            return told
        return (
            f"{told}, with the session option {EXACT_SUMS} = 1; without it {self.agreeing_by_default}, since "
            "onnxruntime saturates sums of 8-bit weights on a processor without VNNI, such as this one"
        )


def verify_onnx(
    path: Path,
    model: nn.Module,
    images: Inputs,
    batch: int = 256,
    targets: Tensor | None = None,
    score: Score = ACCURACY,
) -> Verification:
    """Compare predictions, or outputs, on a batch of inputs, `batch` images at a time; `targets` are to score them.

    What is compared are exact sums, as ONNX defines them; how many images agree in a default session is told beside.

    Raises:
        ExportError: When onnxruntime cannot load or run the file, when there are no images, when an output is NaN or
            infinite, when less than MINIMUM_AGREEMENT of the images agree, or the scores differ by more than TOLERANCE.
    """
    if count_images(images) == 0:
        raise ExportError(f"verify: no images to run {path.name} on; give at least one")
    expected = run_torch(model, images, batch)
    exact = compare_outputs(path.name, run_onnx(path, images, batch), expected, targets, score)
    by_default = run_onnx(path, images, batch, exact=False)
    return replace(exact, agreeing_by_default=int(_agree(by_default, expected, exact.of_classes)[0].sum()))


def verify_integers(
    name: str, received: NDArray[Any], program: IntegerProgram, deployment: Deployment, count: int | None = None
) -> Verification:
    """Compare the integers (N x ...) that file `name` gives of a deployment's images with those of its program.

    All must be equal, of the first `count` images where that is given. Their predictions, of all images, are compared
    with those of the network that was searched.

    Raises:
        ExportError: Where one is another, and as `verify_onnx`.
    """
    expected = run_program(program, tuple(array[:count] for array in to_arrays(deployment.images)))
    first = received[: len(expected)]
    if not np.array_equal(first, expected):
        same = int((first == expected).reshape(len(expected), -1).all(1).sum())
        raise ExportError(
            f"verify: {name} gives the integers of the program on {same} of {len(expected)} images alone; please "
            "report this"
        )
    simulated = run_torch(deployment.model, deployment.images)
    return compare_outputs(name, received * program.output_scale, simulated, deployment.targets, deployment.score)


def compare_outputs(
    name: str,
    received: NDArray[np.floating],
    expected: NDArray[np.float32],
    targets: Tensor | None = None,
    score: Score = ACCURACY,
) -> Verification:
    """Compare the outputs (N x ...) of file `name` with the expected ones: by class where `score` is accuracy.

    Raises:
        ExportError: As `verify_onnx`.
    """
    if received.shape != expected.shape or not bool(np.isfinite(received).all()):
        raise ExportError(
            f"verify: the outputs of {name} must be finite and of shape {expected.shape}, received shape "
            f"{received.shape} and {int((~np.isfinite(received)).sum())} values that are not; "
            "check the model's own outputs on these images"
        )
    agreeing, tied = _agree(received, expected, score.of_classes)
    verification = Verification(
        num_images=len(expected),
        agreeing=int(agreeing.sum()),
        ties=int(tied.sum()),
        scores=None if targets is None else (_score(received, targets, score), _score(expected, targets, score)),
        largest_difference=float(np.abs(received - expected).max()),
        of_classes=score.of_classes,
    )
    if verification.agreement < MINIMUM_AGREEMENT:
        same = "predicts the same class" if verification.of_classes else f"gives outputs within {TOLERANCE:.0%}"
        raise ExportError(
            f"verify: {name} {same} on {verification.agreeing} of {len(expected)} images, less than "
            f"{MINIMUM_AGREEMENT:.0%} (largest difference {verification.largest_difference:.3g}); choose another "
            "point, or another --format"
        )
    if verification.scores is not None and not verification.of_classes:
        found, wanted = (each.value for each in verification.scores)
        if abs(found - wanted) > TOLERANCE:
            raise ExportError(
                f"verify: {name} has {score.name} {found:.2%}, the simulated network {wanted:.2%}; choose another "
                "point, or another --format"
            )
    return verification


def _score(outputs: NDArray[np.floating], targets: Tensor, score: Score) -> MeanScore:
    return MeanScore.of(score_outputs(score, torch.from_numpy(outputs.astype(np.float32)), targets.cpu()))


def _agree(
    received: NDArray[np.floating], expected: NDArray[np.float32], of_classes: bool
) -> tuple[NDArray[np.bool], NDArray[np.bool]]:
    """Return for each image whether it agrees, ties included, and whether that is a tie of two classes."""
    if not of_classes:
        away = np.abs(received - expected).reshape(len(expected), -1).mean(1)
        return away <= TOLERANCE * (expected.max() - expected.min()), np.zeros(len(expected), np.bool)
    predictions = received.argmax(1)
    same = predictions == expected.argmax(1)
    chosen = np.take_along_axis(expected, predictions[:, None], axis=1)[:, 0]
    tied = ~same & (expected.max(1) - chosen <= TIE * np.abs(expected).max(1))
    return same | tied, tied


def open_session(path: Path, *, exact: bool = True) -> onnxruntime.InferenceSession:
    """Return a session on the processor: a default one but for sums of 8-bit integers, exact everywhere where `exact`.

    Raises what onnxruntime raises, whose exceptions share no base class of their own.
    """
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(EXACT_SUMS, "1" if exact else "0")
    options.log_severity_level = 4  # fatal: what fails is raised, and the rest is noise
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_onnx(path: Path, images: Inputs, batch: int = 256, *, exact: bool = True) -> NDArray[np.float32]:
    """Return the outputs (N x ...) of an ONNX file for a batch of its inputs.

    Raises:
        ExportError: Where it cannot be run.
    """
    try:
        session = open_session(path, exact=exact)
        names = [entry.name for entry in session.get_inputs()]
        parts = [[tensor.cpu().float().numpy() for tensor in part] for part in batches(images, batch)]
        return np.concatenate([session.run(None, dict(zip(names, part, strict=True)))[0] for part in parts])
    except Exception as error:
        raise ExportError(
            f"verify: onnxruntime {onnxruntime.__version__} cannot run {path.name}: {error}; try a newer onnxruntime"
        ) from error


def run_torch(model: nn.Module, images: Inputs, batch: int = 256) -> NDArray[np.float32]:
    """Return the outputs (N x ...) of a network in evaluation mode."""
    torch_device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    with torch.no_grad():
        parts = [run(model, to_device(part, torch_device)).cpu().numpy() for part in batches(images, batch)]
    return np.concatenate(parts)
