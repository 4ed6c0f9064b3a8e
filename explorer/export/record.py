"""What an artefact says of itself: how its images are made, what it scored, what it was costed as, and its files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import fx

from explorer.compress.candidate import Candidate
from explorer.compress.plan import plan
from explorer.data.images import ImageSet
from explorer.digests import sha256
from explorer.errors import ExportError
from explorer.evaluate.hardware import list_activation_tensors, list_layer_jobs
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.weight_entropy import count_entropies
from explorer.export.formats import Deployment, Exported
from explorer.files import without_controls
from explorer.graph.inputs import as_tuple, several_shapes
from explorer.graph.layers import ModelGraph
from hwmodels import write_jobs

SECTION = "artefact"
"""Key of a format's description under which the record stands."""
DESCRIPTIONS = ("summary.json", "configuration.json")
"""Files that hold a description, beside the network."""
SPLITS = ("source", "train", "search", "held_out", "split_seed", "test_share")
"""Keys of [data] that are recorded: which images were held out, but not where they lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What an export recorded.

    `shapes` are those of each input of one image, channels first. `data` has SPLITS of the study; pixels in 0..1 less
    `mean`, through `std`, of each channel, are what the network takes; these are None where images were given in
    Python, preprocessed already. `images` is the digest of the held-out images that `score`, by `score_name`, is of.
    `layers` is a text of `hwmodels.read_jobs`, `files` the SHA-256 of each file.
    """

    point: str
    study: str
    device: str
    shapes: tuple[tuple[int, ...], ...]
    data: Mapping[str, Any] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    classes: tuple[str, ...]
    score_name: str
    score: MeanScore
    images: str
    layers: str
    files: Mapping[str, str] = field(default_factory=dict)


def describe_artefact(deployment: Deployment, exported: Exported, folder: Path) -> dict[str, Any]:
    """Return the section of a description that is the record of an export whose files lie in `folder`."""
    graph, data = deployment.context.graph, deployment.data
    settings = None if data is None else data.settings
    shapes = several_shapes(graph.input_shapes)
    mean, std = (None, None)
    if settings is not None and len(shapes) == 1:
        mean, std = settings.normalisation(shapes[0][0])
    record = {
        "point": deployment.point.name,
        "study": deployment.study,
        "device": deployment.device,
        "shapes": shapes,
        "data": None if settings is None else {key: getattr(settings, key) for key in SPLITS},
        "mean": mean,
        "std": std,
        "classes": () if data is None else data.class_names,
        "score": {"name": deployment.score.name, **_write_score(exported.score)},
        "images": digest_images(deployment),
        "layers": json.loads(describe_layers(deployment.model, graph, deployment.point.evaluation.candidate)),
        "files": {path.name: sha256(path.read_bytes()) for path in _list_files(exported, folder)},
    }
    return {SECTION: record}


def tell_images(deployment: Deployment) -> str:
    """Return how images are made into what a network takes, and what its outputs stand for, in words."""
    shapes, data = several_shapes(deployment.context.graph.input_shapes), deployment.data
    told = "Images are given as they were in Python, preprocessed as the network was trained."
    if data is not None and data.settings is not None and len(shapes) == 1:
        mean, std = data.settings.normalisation(shapes[0][0])
        function = data.settings.function
        told = "Pixels are scaled to 0..1" if function is None else f"Inputs are what {function} returns"
        if any(mean) or any(value != 1 for value in std):
            told += f", less {tell_numbers(mean)}, through {tell_numbers(std)}"
        told += "."
    if data is not None and data.class_names:
        told += f" The outputs are, in this order: {', '.join(data.class_names)}."
    return without_controls(told)


def tell_numbers(values: Sequence[float]) -> str:
    """Return numbers with commas between."""
    return ", ".join(f"{value:g}" for value in values)


def read_record(network: Path) -> Record | None:
    """Return the record of an exported network from a description beside it; None where none is of this file.

    Raises:
        ExportError: It is damaged.
    """
    content = sha256(network.read_bytes())
    for file in (network.with_name(name) for name in DESCRIPTIONS):
        try:
            described = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            raise ExportError(f"{file}: cannot be read ({error}); export the network again, or take it away") from error
        if isinstance(described, dict) and SECTION in described:
            record = _parse(described[SECTION], file)
            if network.name in record.files or content in record.files.values():
                return record
    return None


def list_changed(network: Path, record: Record) -> tuple[str, ...]:
    """Return the recorded files that are missing beside a network, or are others; it may be called otherwise."""
    own, folder = sha256(network.read_bytes()), network.parent
    return tuple(
        name
        for name, content in record.files.items()
        if content != own and not ((folder / name).is_file() and sha256((folder / name).read_bytes()) == content)
    )


def describe_layers(model: fx.GraphModule, graph: ModelGraph, candidate: Candidate) -> str:
    """Return what a candidate's network, built as `model`, is costed as: a text for `hwmodels.read_jobs`."""
    planned = plan(graph, candidate)
    return write_jobs(
        list_layer_jobs(graph, planned, count_entropies(model, graph)), list_activation_tensors(graph, planned)
    )


def digest_images(deployment: Deployment) -> str:
    """Return the digest of the images that an export is checked on, as `ImageSet.digest` has it."""
    inputs = tuple(tensor.cpu().numpy() for tensor in as_tuple(deployment.images))
    targets = deployment.targets.cpu().numpy() if deployment.data is None else deployment.data.held_out.targets
    return ImageSet(inputs=inputs, targets=targets).digest()


def _list_files(exported: Exported, folder: Path) -> list[Path]:
    """Return what belongs to the network: not its descriptions, which name the files, or are for people."""
    files = [folder / f"{path.name}{end}" for path in exported.files for end in ("", ".data")]
    return [path for path in files if path.is_file() and path.name not in DESCRIPTIONS and path.suffix != ".md"]


def _write_score(score: MeanScore) -> dict[str, Any]:
    return {"value": score.value, "images": score.num_images, "deviation": score.deviation}


def _parse(told: Any, file: Path) -> Record:
    try:
        data, score = told["data"], told["score"]
        return Record(
            point=str(told["point"]),
            study=str(told["study"]),
            device=str(told["device"]),
            shapes=tuple(tuple(int(size) for size in shape) for shape in told["shapes"]),
            data=None if data is None else {key: data[key] for key in SPLITS},
            mean=_read_floats(told["mean"]),
            std=_read_floats(told["std"]),
            classes=tuple(map(str, told["classes"])),
            score_name=str(score["name"]),
            score=MeanScore(value=score["value"], num_images=int(score["images"]), deviation=score["deviation"]),
            images=str(told["images"]),
            layers=json.dumps(told["layers"]),
            files={str(name): str(content) for name, content in told["files"].items()},
        )
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ExportError(
            f"{file}: its {SECTION} is damaged ({type(error).__name__}: {error}); export the network again, or take "
            "the file away"
        ) from error


def _read_floats(values: Any) -> tuple[float, ...] | None:
    return None if values is None else tuple(map(float, values))
