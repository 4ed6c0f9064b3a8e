"""What a handed-over network is, measured from its files alone: score, bytes, cost, and whether it is as promised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from explorer.data.images import ImageSet
from explorer.errors import DataError, ExportError
from explorer.evaluate.mean_score import MeanScore, name_score
from explorer.evaluate.score import ACCURACY, Score, score_outputs
from explorer.evaluate.workload import priced
from explorer.export.artefact import Artefact, Port, open_artefact
from explorer.export.record import Record, list_changed, read_record
from explorer.export.scored_images import ScoredImages, read_images
from explorer.export.verify import TOLERANCE
from explorer.study.network import load_score
from hwmodels import Accelerator, HardwareModelError, NetworkCost, evaluate, load, names, read_jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How a score compares with the recorded one.

    `is_same` says that both are of the same images: then it has to be equal but for TOLERANCE, else no more is known
    than by how many standard errors they differ.
    """

    promised: MeanScore
    is_same: bool
    difference: float
    standard_errors: float

    @property
    def is_broken(self) -> bool:
        """Whether the network scores otherwise than the export said of the same images."""
        return self.is_same and abs(self.difference) > TOLERANCE

    def __str__(self) -> str:
        told = f"{self.promised.value:.2%} of {self.promised.num_images:,} images"
        if not self.is_same:
            return f"{told}, others than these: {self.standard_errors:.1f} standard errors of the difference away"
        if self.difference == 0:
            return f"{told}, these: kept, to the image"
        return f"{told}, these: {'broken' if self.is_broken else 'kept'}, {100 * self.difference:+.2f} points"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Verified:
    """What was found out about an artefact; what could not be is None, and `notes` say why."""

    artefact: Artefact
    record: Record | None
    score_name: str
    score: MeanScore | None = None
    images: str = ""
    normalised: str = ""
    kept: Kept | None = None
    changed: tuple[str, ...] = ()
    """Files that are others than the record's."""
    device: str = ""
    cost: NetworkCost | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_as_promised(self) -> bool:
        """Whether nothing differs from what the export recorded."""
        return not self.changed and not (self.kept is not None and self.kept.is_broken)

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Return what was found as (what, how much)."""
        artefact, score = self.artefact, self.score
        rows = [("network", f"{artefact.network}: {artefact.form}, {artefact.stored.total:,} bytes")]
        if self.record is not None:
            record = self.record
            rows.append(("from", f"point {record.point} of study {record.study}, for {record.device}"))
        if score is not None:
            told = f"{score.value:.2%} ±{score.standard_error:.2%} of {score.num_images:,} images, {self.images}"
            rows.append((name_score(self.score_name), told))
        if self.kept is not None:
            rows.append(("promised", str(self.kept)))
        if self.record is not None:
            files = f"others than were exported: {', '.join(self.changed)}" if self.changed else "as they were exported"
            rows.append(("files", files))
        rows += [("input", str(tensor)) for tensor in artefact.inputs]
        if score is not None:
            rows.append(("reads", self.normalised))
        if artefact.run is not None:
            rows.append(("output", str(artefact.output)))
        if self.record is not None and self.record.classes:
            rows.append(("classes", ", ".join(self.record.classes)))
        if self.cost is not None:
            rows.append((f"on {self.device}", _tell_cost(self.cost)))
        return (*rows, *(("note", note) for note in self.notes))

    def summary(self) -> str:
        """Return the rows as lines."""
        rows = self.rows()
        width = max(len(what) for what, _ in rows)
        return "\n".join(f"{what:{width}}  {told}" for what, told in rows)

    def __repr__(self) -> str:
        """Return the summary."""
        return self.summary()

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        artefact, record, stored = self.artefact, self.record, self.artefact.stored
        score = self.score
        return {
            "network": artefact.network.name,
            "format": artefact.form,
            "score": None if score is None else {"name": self.score_name, **_write(score), "of": self.images},
            "promised": None
            if self.kept is None
            else {**_write(self.kept.promised), "same_images": self.kept.is_same, "difference": self.kept.difference},
            "as_promised": None if record is None else self.is_as_promised,
            "changed_files": list(self.changed),
            "inputs": [_write_tensor(tensor) for tensor in artefact.inputs],
            "output": _write_tensor(artefact.output),
            "normalisation": None if record is None else {"mean": record.mean, "std": record.std},
            "classes": [] if record is None else list(record.classes),
            "bytes": {**stored.by_kind(), "total": stored.total, "weights_by_layer": dict(stored.weights)},
            "device": self.device or None,
            "cost": None if self.cost is None else _write_cost(self.cost),
            "notes": list(self.notes),
        }


def verify_artefact(
    path: Path,
    data: str,
    accelerator: Accelerator | None = None,
    *,
    score: Score | None = None,
    num_images: int | None = None,
) -> Verified:
    """Score and price what an export wrote, from its files alone; `data` as `scored_images.read_images` has it.

    `score` is that of a study where that is what names the images, and accuracy where there is none.

    Raises:
        ExplorerError: For what is wrong with the artefact, the images or the device.
    """
    artefact = open_artefact(path)
    record = read_record(artefact.network)
    shapes = tuple(tensor.shape for tensor in artefact.inputs if tensor.shape is not None)
    given = read_images(data, record, shapes or (None if record is None else record.shapes))
    if score is None and given.study is not None and given.study.score.function is not None:
        score = load_score(given.study)
    return measure(artefact, record, given, score=score, accelerator=accelerator, num_images=num_images)


def measure(
    artefact: Artefact,
    record: Record | None,
    given: ScoredImages | None = None,
    *,
    score: Score | None = None,
    accelerator: Accelerator | None = None,
    num_images: int | None = None,
) -> Verified:
    """Score an artefact on the first images that are given, and price it: on the record's device where none is given.

    Raises:
        ExportError: It cannot be run, or the record names a score whose function is not given.
        DataError: The images are not what it reads.
    """
    notes = list(artefact.notes)
    wanted = score or ACCURACY
    found, kept = None, None
    if given is not None and artefact.run is None:
        notes.append("it holds weights and no network to run: not scored")
    elif given is not None:
        if score is None and record is not None and record.score_name != ACCURACY.name:
            raise ExportError(
                f"verify: {artefact.network} is scored by {record.score_name}, a function of its study: give the study "
                "file as data, or in Python function="
            )
        images = given.images if num_images is None else given.images.take(slice(num_images))
        found = score_artefact(artefact, images, wanted)
        is_whole = given.are_held_out and len(images) == len(given.images)
        kept = None if record is None or wanted.name != record.score_name else _compare(found, record, is_whole)
    cost = None
    if accelerator is None and record is not None and record.device in names():
        accelerator = load(record.device)
    if accelerator is not None:
        try:
            cost = _price(artefact, record, accelerator)
        except HardwareModelError as error:
            notes.append(f"not priced: {error}")
        else:
            if cost is None:
                notes.append("not priced: neither the file nor a description beside it holds the shapes of its layers")
    if record is None:
        notes.append("no description beside it says what it was exported as")
    return Verified(
        artefact=artefact,
        record=record,
        score_name=wanted.name,
        score=found,
        images="" if given is None else given.told,
        normalised="" if given is None else given.normalised,
        kept=kept,
        changed=() if record is None else list_changed(artefact.network, record),
        device="" if accelerator is None else accelerator.name,
        cost=cost,
        notes=tuple(notes),
    )


def score_artefact(artefact: Artefact, images: ImageSet, score: Score) -> MeanScore:
    """Return the score of an artefact that can be run on images that it reads.

    Raises:
        DataError: They have another shape, or labels beyond its outputs.
    """
    for tensor, shape in zip(artefact.inputs, images.input_shapes, strict=False):
        if tensor.shape is not None and tensor.shape != shape:
            raise DataError(
                f"data: expected images of {_tell_shape(tensor.shape)} (channels first), as {artefact.network.name} "
                f"reads, received {_tell_shape(shape)}"
            )
    if artefact.inputs and len(artefact.inputs) != len(images.inputs):
        raise DataError(f"data: expected {len(artefact.inputs)} inputs, received {len(images.inputs)}")
    assert artefact.run is not None
    outputs = artefact.run(tuple(torch.from_numpy(array) for array in images.inputs))
    if score is ACCURACY:
        highest = int(images.targets.max(initial=0))
        if outputs.ndim != 2 or images.targets.ndim != 1 or images.targets.dtype != np.int64:
            raise DataError(
                f"data: right or wrong takes a label for each image and one output for each class, received targets of "
                f"shape {images.targets.shape} and outputs of {outputs.shape}; give the study file, whose score it is"
            )
        if highest >= outputs.shape[1]:
            raise DataError(f"data: label {highest} is out of range; the network has {outputs.shape[1]} outputs")
    return MeanScore.of(score_outputs(score, torch.from_numpy(outputs), torch.from_numpy(images.targets)))


def _compare(found: MeanScore, record: Record, is_same: bool) -> Kept:
    difference = found.value - record.score.value
    error = math.hypot(found.standard_error, record.score.standard_error)
    return Kept(
        promised=record.score,
        is_same=is_same and found.num_images == record.score.num_images,
        difference=0.0 if round(abs(difference), 9) == 0 else difference,
        standard_errors=abs(difference) / error if error else 0.0,
    )


def _price(artefact: Artefact, record: Record | None, accelerator: Accelerator) -> NetworkCost | None:
    """Return the cost of the layers that the file holds, or its description, or that an ONNX graph shows."""
    layers = artefact.layers or ("" if record is None else record.layers)
    if layers:
        jobs, tensors = read_jobs(layers)
        return evaluate(jobs, accelerator, tensors)
    if artefact.network.suffix == ".onnx":
        workload = priced(str(artefact.network), None, 1)
        return evaluate(workload.jobs, accelerator, workload.tensors)
    return None


def _tell_cost(cost: NetworkCost) -> str:
    return (
        f"{cost.energy_pj * 1e-6:.4g} uJ, {cost.latency_ms:.4g} ms, {cost.weight_bytes:,} bytes of weights, "
        f"{cost.macs:,} MACs"
    )


def _write_cost(cost: NetworkCost) -> dict[str, float]:
    return {
        "energy_uj": cost.energy_pj * 1e-6,
        "latency_ms": cost.latency_ms,
        "weight_bytes": cost.weight_bytes,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "macs": cost.macs,
    }


def _write(score: MeanScore) -> dict[str, Any]:
    return {"value": score.value, "standard_error": score.standard_error, "images": score.num_images}


def _write_tensor(tensor: Port) -> Mapping[str, Any]:
    return {"name": tensor.name, "shape": tensor.shape, "type": tensor.type}


def _tell_shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
