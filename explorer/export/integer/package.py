"""Integer deployment of a compressed network: an ONNX file of integers, and a program with its weights to implement."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

import explorer
from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.plan import plan
from explorer.errors import ExportError
from explorer.evaluate.hardware import activation_tensors, layer_jobs
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import ACCURACY, score_outputs
from explorer.export.integer.onnx import export_integer_onnx
from explorer.export.onnx.qdq import export_onnx
from explorer.export.verify import Verification, compare_logits, run_onnx, run_torch
from explorer.files import refuse_foreign
from explorer.graph.inputs import Inputs, take
from explorer.integer.interpret import run_program
from explorer.integer.lower import integer_program
from explorer.integer.program import IntegerProgram
from explorer.npz import read_npz
from explorer.progress import Notify
from explorer.study.folder import locked
from explorer.study.network import threads_for
from explorer.study.prepare import open_study
from explorer.study.study_file import Study
from hwmodels import write_jobs

NETWORK, PROGRAM, WEIGHTS, SUMMARY = "integer.onnx", "program.json", "weights.npz", "summary.json"
EXACT_IMAGES = 32
"""Images on which the ONNX file must give the very integers of the program (assumed: enough for every operation)."""


def integer_marks(folder: Path) -> dict[Path, bytes | None]:
    """The files that `export_integer` writes to a folder, and what is in the first bytes of each."""
    ours = (folder / PROGRAM).is_file()
    return {
        folder / NETWORK: b"explorer",
        folder / PROGRAM: b'"schema_version"',
        folder / SUMMARY: b'"float32_bytes"',
        folder / WEIGHTS: b"PK" if ours else None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerReport:
    """What an integer deployment wrote to `folder`, how large it is, and how it compares with the searched network.

    `float32_bytes` is the uncompressed network as an ONNX file (its parameters alone where it has no rule for one of
    its nodes), `onnx_bytes` integer.onnx, `program_bytes` program.json with weights.npz. `verification` compares
    predictions with those of the simulated network; `score` is that of the integers, `simulated` that of the
    simulated network on the same images.
    """

    name: str
    folder: Path
    float32_bytes: int
    onnx_bytes: int
    program_bytes: int
    score: MeanScore
    simulated: MeanScore
    verification: Verification

    def summary(self) -> str:
        """Lines for the terminal: accuracy, files with bytes before and after, agreement of predictions."""
        return (
            f"{self.name}, {self.score.value:.2%} right on {self.score.num_images} held-out images with integers "
            f"only ({self.simulated.value:.2%} in the search's simulation)\n"
            f"{self.folder / NETWORK}: {self.float32_bytes:,} bytes in float32, {self.onnx_bytes:,} exported; "
            f"{self.verification.summary()}\n"
            f"{self.folder / PROGRAM} and {WEIGHTS}: {self.program_bytes:,} bytes"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data of the same."""
        return {
            "name": self.name,
            "float32_bytes": self.float32_bytes,
            "onnx_bytes": self.onnx_bytes,
            "program_bytes": self.program_bytes,
            "accuracy": {"value": self.score.value, "standard_error": self.score.standard_error},
            "simulated_accuracy": {"value": self.simulated.value, "standard_error": self.simulated.standard_error},
            "images": self.verification.num_images,
            "agreement": self.verification.agreement,
            "images_with_equal_integers": min(EXACT_IMAGES, self.verification.num_images),
        }


def export_integer(
    name: str,
    model: fx.GraphModule,
    context: CompressionContext,
    held_out: tuple[Inputs, torch.Tensor],
    folder: Path,
    candidate: Candidate,
    study: str,
) -> IntegerReport:
    """Write integer.onnx, program.json, weights.npz and summary.json to `folder`, and verify them.

    `model` is what `apply(context, candidate)` built; `held_out` are images (a batch of inputs) and labels (N). An
    earlier deployment is replaced only once everything is written and verified. ExportError for a network without an
    integer form, a folder that cannot be written, or predictions that differ.
    """
    images, labels = held_out
    if len(labels) == 0:
        raise ExportError(f"verify: no images to run {NETWORK} on; give at least one")
    program = integer_program(model, context.graph.input_shapes)
    with _staging(folder) as staging:
        float32_bytes = _float32_bytes(context, staging)
        planned = plan(context.graph, candidate)
        layers = write_jobs(layer_jobs(context.graph, planned), activation_tensors(context.graph, planned))
        onnx_bytes = export_integer_onnx(program, staging / NETWORK, layers)
        program_bytes = write_program(program, staging)
        _check_equal(program, staging / NETWORK, take(images, slice(EXACT_IMAGES)))
        expected = run_torch(model, images)
        received = run_onnx(staging / NETWORK, images) * program.output_scale
        verification = compare_logits(NETWORK, received, expected, labels)
        report = IntegerReport(
            name=name,
            folder=folder,
            float32_bytes=float32_bytes,
            onnx_bytes=onnx_bytes,
            program_bytes=program_bytes,
            score=_mean_score(received, labels),
            simulated=_mean_score(expected, labels),
            verification=verification,
        )
        described = {"study": study, "candidate": candidate.to_json(), "software": _software()}
        summary = {**report.to_json(), **described}
        (staging / SUMMARY).write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        _publish(staging, folder)
    return report


def _float32_bytes(context: CompressionContext, folder: Path) -> int:
    """Bytes of the float network as an ONNX file, or of its parameters where it has integers alone as a form."""
    try:
        return export_onnx(context.model, context.graph.input_shapes, folder / "float32.onnx")
    except ExportError:
        return 4 * sum(parameter.numel() for parameter in context.model.parameters())


def _mean_score(outputs: NDArray[np.floating], targets: torch.Tensor) -> MeanScore:
    return MeanScore.of(score_outputs(ACCURACY, torch.from_numpy(outputs), targets.cpu()))


def deploy_uniform(study: Study, run: Path, to: Path, notify: Notify, bits: tuple[int, int] = (8, 8)) -> IntegerReport:
    """Deploy the network of a study with all layers at `bits` (weights, activations), without a search.

    What is trained and measured on the way is kept in folder `run`. Raises a child of ExplorerError.
    """
    if to.exists() and not to.is_dir():
        raise ExportError(f"{to}: is not a folder; choose another one for --to")
    refuse_foreign(integer_marks(to))
    with locked(run):
        prepared = open_study(study, run, notify)
    weight_bits, activation_bits = bits
    notify("export", 0, 1)
    with threads_for(prepared.context.graph):
        candidate = uniform(prepared.context.graph, weight_bits, activation_bits)
        model = apply(prepared.context, candidate)
        report = export_integer(
            f"w{weight_bits}a{activation_bits}",
            model,
            prepared.context,
            prepared.tensors(prepared.data.held_out),
            to,
            candidate,
            study.name,
        )
    notify("export", 1, 1)
    return report


def write_program(program: IntegerProgram, folder: Path) -> int:
    """Write program.json and weights.npz, without pickle, to an existing folder; returns their bytes."""
    text = json.dumps(program.to_json(), indent=1, allow_nan=False)
    (folder / PROGRAM).write_text(text + "\n", encoding="utf-8")
    np.savez_compressed(folder / WEIGHTS, allow_pickle=False, **program.arrays)
    return sum((folder / name).stat().st_size for name in (PROGRAM, WEIGHTS))


def read_program(folder: Path) -> IntegerProgram:
    """The program that `write_program` left in a folder; ExportError where it cannot be read."""
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
    """ExportError where onnxruntime gives any other integer than the program."""
    arrays = tuple(tensor.cpu().float().numpy() for tensor in images)
    expected, received = run_program(program, arrays), run_onnx(network, images)
    if not np.array_equal(expected, received):
        raise ExportError(
            f"verify: {network.name} gives other integers than the program on "
            f"{int((expected != received).any(1).sum())} of {len(expected)} images; please report this"
        )


def _software() -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "onnx", "onnxruntime", "numpy")}
    return {"explorer": explorer.__version__, "python": platform.python_version(), **packages}


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A folder to write to on the disk of `folder`, removed at the end; ExportError where the disk refuses."""
    try:
        home = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        staging = Path(tempfile.mkdtemp(prefix=".export-", dir=home))
        try:
            yield staging
        finally:
            shutil.rmtree(staging)
    except OSError as error:
        raise ExportError(f"export: {folder} cannot be written: {error}; choose another folder") from error


def _publish(staging: Path, folder: Path) -> None:
    """Rename the finished files into the folder, the summary last."""
    folder.mkdir(parents=True, exist_ok=True)
    networks = sorted(path for path in staging.iterdir() if path.name.startswith(NETWORK))
    for staged in (*reversed(networks), *(staging / name for name in (WEIGHTS, PROGRAM, SUMMARY))):
        staged.replace(folder / staged.name)
