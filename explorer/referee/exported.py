"""Compare an exported TensorFlow Lite file with what Vela makes of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from explorer.errors import ExportError
from explorer.referee.comparison import Figures, VelaComparison, compare
from explorer.referee.vela import CompilerEndedError, compile_network, describe_configuration
from hwmodels import Accelerator, ActivationTensor, LayerJob, evaluate, read_jobs

NETWORK, SUMMARY = "model.tflite", "summary.json"
"""As the format tflite calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostedFile:
    """A file, the layers that it was costed as, on which device, and the layer of each of its tensors.

    `agreement` is the share of `num_images` whose predictions were the integer program's when it was exported;
    `packs_int4` says that weights of up to 4 bits are stored two to a byte.
    """

    path: Path
    name: str
    device: str
    num_images: int
    agreement: float
    packs_int4: bool
    jobs: tuple[LayerJob, ...]
    tensors: tuple[ActivationTensor, ...]
    layer_of: Mapping[str, str]


def read_costed(exported: Path) -> CostedFile:
    """Read what `explorer export --format tflite` wrote: its folder, or the file in it.

    Raises:
        ExportError: Where there is no such file, or its summary is missing, damaged, or of another file.
    """
    path = exported / NETWORK if exported.is_dir() else exported
    again = f"write it with: explorer export RUN --format tflite --to {path.parent}"
    if not path.is_file():
        raise ExportError(f"{path}: there is no such file, which the format tflite writes; {again}")
    summary = path.with_name(SUMMARY)
    try:
        data = json.loads(summary.read_text(encoding="utf-8"))
        costed = data["costed"]
        jobs, tensors = read_jobs(json.dumps(costed))
        found = CostedFile(
            path=path,
            name=str(data["name"]),
            device=str(costed["device"]),
            num_images=int(data["images"]),
            agreement=float(data["agreement"]),
            packs_int4=bool(data["packed_int4"]),
            jobs=jobs,
            tensors=tensors,
            layer_of={str(tensor): str(layer) for tensor, layer in costed["layer_of"].items()},
        )
        content = costed["sha256"]
    except FileNotFoundError:
        raise ExportError(f"{summary}: is missing beside {path.name}: it says how that was costed; {again}") from None
    except (OSError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ExportError(
            f"{summary}: does not say how {path.name} was costed ({type(error).__name__}: {error}); {again}"
        ) from error
    if hashlib.sha256(path.read_bytes()).hexdigest() != content:
        raise ExportError(f"{path}: is not the file that {summary.name} beside it is of; {again}")
    return found


def verify_compiled(costed: CostedFile, accelerator: Accelerator) -> VelaComparison:
    """Return what our profile and Vela say of a file.

    Raises:
        ExportError: Where Vela is missing, has no such device, or refuses the file.
    """
    describe_configuration(accelerator)  # what is missing is no fault of the file
    try:
        compiled = compile_network(costed.path, accelerator)
    except CompilerEndedError:
        raise
    except ExportError as error:
        if not costed.packs_int4:
            raise
        raise ExportError(f"{error}; it takes no weights packed to 4 bits: export without --int4") from error
    cost = evaluate(costed.jobs, accelerator, costed.tensors)
    return compare(cost, Figures.by_model(cost, accelerator), compiled, costed.layer_of)
