"""Integer deployment of a compressed network: an ONNX file of integers, and a program with its weights to implement."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from torch import fx

from explorer.compress.apply import CompressionContext
from explorer.errors import ExportError
from explorer.export.formats import Deployment, Exported
from explorer.export.handover import Checked, Layout, deliver, list_common_marks
from explorer.export.integer.onnx import export_integer_onnx
from explorer.export.record import describe_layers
from explorer.export.verify import run_onnx, verify_integers
from explorer.graph.inputs import take
from explorer.integer.builder import name_layers
from explorer.integer.lower import lower_program
from explorer.integer.program import IntegerProgram
from explorer.npz import read_npz

NETWORK, PROGRAM, WEIGHTS = "integer.onnx", "program.json", "weights.npz"
EXACT_IMAGES = 32
"""Images on which the ONNX file must give the very integers of the program (assumed: enough for every operation)."""
LAYOUT = Layout(
    title="Compressed network of integers",
    files={
        NETWORK: "the network in ONNX operators on integers, for any number of images",
        PROGRAM: "the same as a list of integer operations, each explained, to implement it elsewhere",
        WEIGHTS: "its arrays by name: weights, biases, multipliers, shifts, tables",
    },
    use="""
```python
import onnxruntime

session = onnxruntime.InferenceSession("integer.onnx")
(logits,) = session.run(["logits"], {"images": images})  # float32, N x C x H x W; the logits are int32
```
""",
    notes="""
`images` are normalised as in the study. The class is the position of the largest logit; one step of it stands for
`logits_scale`, in the file's metadata. Floats are read by one QuantizeLinear for each input alone. Weights are stored
as uint8 around 128, a byte each. `numpy.load("weights.npz")` gives the arrays that `program.json` names.
""",
    counted="`integer.onnx`, which is all that is needed to run this one",
)


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    ours = (folder / PROGRAM).is_file()
    return {
        folder / NETWORK: b"explorer",
        folder / PROGRAM: b'"schema_version"',
        folder / WEIGHTS: b"PK" if ours else None,
        **list_common_marks(folder, LAYOUT),
    }


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write an ONNX file of integers, and the program with its weights, to `folder`; see `Format.write`."""
    return deliver(deployment, LAYOUT, lambda staging: _make(deployment, staging), folder)


def _make(deployment: Deployment, folder: Path) -> Checked:
    model, context = deployment.model, deployment.context
    program = lower_program(model, context.graph.input_shapes)
    layers = describe_layers(model, context.graph, deployment.point.evaluation.candidate)
    stored = export_integer_onnx(program, folder / NETWORK, layers, name_layers(model))
    program_bytes = write_program(program, folder)
    received = run_onnx(folder / NETWORK, deployment.images)
    verification = verify_integers(NETWORK, received, program, deployment, EXACT_IMAGES)
    assert verification.scores is not None
    simulated, exact = verification.scores[1], min(EXACT_IMAGES, verification.num_images)
    return Checked(
        stored=stored,
        verification=verification,
        told=f"{verification.summary()} ({simulated.value:.2%} in the search's simulation), all integers of {exact} "
        "images are the integer program's",
        lines=(f"{PROGRAM} and {WEIGHTS}: {program_bytes:,} bytes",),
        details={
            "onnx_bytes": stored.total,
            "program_bytes": program_bytes,
            "images_with_equal_integers": exact,
            f"simulated_{deployment.score.name}": {
                "value": simulated.value,
                "standard_error": simulated.standard_error,
            },
        },
    )


def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
    """Write the ONNX file of integers and run it; see `Format.try_out`."""
    export_integer_onnx(lower_program(model, context.graph.input_shapes), folder / NETWORK)
    run_onnx(folder / NETWORK, take(context.calibration.images, slice(2)))
    return folder / NETWORK


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
