"""The formats that a compressed network can be exported in, and what an export takes and gives.

Importing the table takes no torch; a format's module is imported when it is first used.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from explorer.errors import ExportError

if TYPE_CHECKING:
    from torch import Tensor, fx

    from explorer.compress.apply import CompressionContext
    from explorer.data.images import Data
    from explorer.evaluate.mean_score import MeanScore
    from explorer.evaluate.score import Score
    from explorer.export.verify import Verification
    from explorer.graph.inputs import Inputs
    from explorer.study.record import FrontPoint


INPUT_TYPES = ("int8", "uint8", "float32")
OUTPUT_TYPES = ("int8", "uint8", "int16", "float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTypes:
    """What a file reads, gives and stores, for the formats that leave it open.

    `inputs` are of INPUT_TYPES, `outputs` of OUTPUT_TYPES; with `pack_int4` weights of at most 4 bits are stored two to
    a byte where the runtime takes them.

    Raises:
        ExportError: For another type.
    """

    inputs: str = "int8"
    outputs: str = "int8"
    pack_int4: bool = False

    def __post_init__(self) -> None:
        for key, known in (("inputs", INPUT_TYPES), ("outputs", OUTPUT_TYPES)):
            if (received := getattr(self, key)) not in known:
                raise ExportError(f"export: {key}: expected one of {', '.join(known)}, received {received!r}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Deployment:
    """A compressed network to be exported, the held-out images that it is checked on, and what its files say of it.

    `model` is what `apply(context, point.evaluation.candidate)` built, or that fine-tuned as `finetuning` says;
    `images` are a batch of inputs, `targets` (N x ...) what `score` takes; `study` and `device` are names.
    """

    point: FrontPoint
    model: fx.GraphModule
    context: CompressionContext
    images: Inputs
    targets: Tensor
    score: Score
    study: str
    device: str
    data: Data | None = None
    """Where the images are of, where they say how they are normalised and what their classes are called."""
    finetuning: Mapping[str, Any] | None = None
    untuned: MeanScore | None = None
    """Of a fine-tuned one, the score on these images before; None where it is not known."""
    types: FileTypes = field(default_factory=FileTypes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote of a point, how large it is, and how it compares with the network that was costed.

    `files` begins with the network. `float32_bytes` is the uncompressed network as an ONNX file (its parameters alone
    where that has no rule for one of its nodes), `network_bytes` the exported one, both with external data. `score`
    is that of the exported network, `verification` compares its predictions with those of the simulated one, or of the
    integer program where the format says so.
    """

    point: str
    files: tuple[Path, ...]
    float32_bytes: int
    network_bytes: int
    score: MeanScore
    verification: Verification
    lines: tuple[str, ...]
    """For the terminal: the point, its files, bytes before and after, the agreement of predictions."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What only this format tells."""

    def summary(self) -> str:
        """Return the lines for the terminal."""
        return "\n".join(self.lines)


class Format(Protocol):
    """What the module of a format has."""

    def list_marks(self, folder: Path) -> dict[Path, bytes | None]:
        """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
        ...

    def write(self, deployment: Deployment, folder: Path) -> Exported:
        """Write the network to a folder and verify it.

        The files of an earlier export are replaced only once everything is written and verified; other files in
        the folder are never touched.

        Raises:
            ExportError: A file cannot be written, or predictions differ; nothing is left behind then.
        """
        ...

    def try_out(self, model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
        """Write the network alone to an empty folder, run it on two images, and return its file.

        Raises:
            ExportError: Where there is no rule for it, or its runtime refuses it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """A format: what it is in a few words, the module that writes it, and a package that not everyone has.

    `network` is what the file with the network is called, `loader` the module whose `load` opens such a file
    (`explorer.export.artefact`), without which nobody but the export itself verifies one. `has_types` says that it
    takes FileTypes other than its own, `is_dear` that trying it out takes seconds, which `explorer check` does and a
    run does not.
    """

    summary: str
    module: str
    network: str = ""
    loader: str = ""
    requires: str | None = None
    has_types: bool = False
    is_dear: bool = False

    @property
    def is_installed(self) -> bool:
        """Whether the package that it takes is there."""
        return self.requires is None or importlib.util.find_spec(self.requires) is not None

    def load(self) -> Format:
        """Return the module."""
        return cast(Format, importlib.import_module(self.module))


FORMATS: Mapping[str, Exporter] = {
    "onnx": Exporter(
        summary="quantised (QDQ)",
        module="explorer.export.onnx.package",
        network="model.onnx",
        loader="explorer.export.onnx.load",
    ),
    "integer": Exporter(
        summary="integers only",
        module="explorer.export.integer.package",
        network="integer.onnx",
        loader="explorer.export.onnx.load",
    ),
    "qonnx": Exporter(
        summary="QONNX, of exact widths",
        module="explorer.export.qonnx.package",
        network="network.onnx",
        loader="explorer.export.qonnx.load",
        requires="qonnx",
    ),
    "pt": Exporter(
        summary="state dict with a module that takes torch alone",
        module="explorer.export.pytorch.package",
        network="network.pt",
        loader="explorer.export.pytorch.load",
    ),
    "pt2": Exporter(
        summary="torch.export program",
        module="explorer.export.torch_export.package",
        network="network.pt2",
        loader="explorer.export.torch_export.load",
        is_dear=True,
    ),
    "coded": Exporter(
        summary="weights at their entropy, to store",
        module="explorer.export.coded",
        network="network.bin",
        loader="explorer.export.stored_weights",
    ),
    "tflite": Exporter(
        summary="int8 for LiteRT",
        module="explorer.export.tflite.package",
        network="model.tflite",
        loader="explorer.export.tflite.load",
        requires="ai_edge_litert",
        has_types=True,
    ),
    "c": Exporter(
        summary="C99 of integers",
        module="explorer.export.c.package",
        network="net.c",
        loader="explorer.export.c.load",
    ),
    "scalesim": Exporter(summary="SCALE-Sim topology", module="explorer.export.scalesim"),
}
"""Name to format, the default first. A new one is its module and an entry here."""
DEFAULT_FORMAT = next(iter(FORMATS))


def list_installed(*, dear: bool = True) -> list[str]:
    """Return the names of the formats whose packages are installed, without `dear` only those quickly tried out."""
    return [name for name, exporter in FORMATS.items() if exporter.is_installed and (dear or not exporter.is_dear)]
