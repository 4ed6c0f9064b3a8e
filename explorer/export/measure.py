"""What a handed-over network is, measured from its files alone: score, bytes, cost, and whether it is as promised."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from explorer.data.images import ImageSet
from explorer.errors import DataError, ExportError
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import ACCURACY, LIKENESS, Score, score_outputs
from explorer.evaluate.workload import priced
from explorer.export.artefact import Artefact, open_artefact
from explorer.export.record import DESCRIPTIONS, Record, list_changed, read_record
from explorer.export.scored_images import ScoredImages, read_images
from explorer.export.verified import Kept, Verified
from explorer.progress import Notify, silent
from explorer.study.network import load_score
from hwmodels import Accelerator, HardwareModelError, NetworkCost, evaluate, load, names, read_jobs

AT_ONCE = 1000
"""Images between two reports of how far it is: enough that a process or a compilation for each does not count."""


def verify_artefact(
    path: Path,
    data: str,
    accelerator: Accelerator | None = None,
    *,
    score: Score | None = None,
    num_images: int | None = None,
    notify: Notify = silent,
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
    if num_images is not None and num_images < len(given.images):
        images = given.images.take(slice(num_images))
        given = replace(given, images=images, are_held_out=False, told=f"the first of {given.told}")
    return measure(artefact, record, given, score=score, accelerator=accelerator, notify=notify)


def measure(
    artefact: Artefact,
    record: Record | None,
    given: ScoredImages | None = None,
    *,
    score: Score | None = None,
    accelerator: Accelerator | None = None,
    notify: Notify = silent,
) -> Verified:
    """Score an artefact on the images that are given, and price it: on the record's device where none is given.

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
        if score is None and record is not None and record.score_name not in (ACCURACY.name, LIKENESS.name):
            raise ExportError(
                f"verify: {artefact.network} is scored by {record.score_name}, a function of its study: give the study "
                "file as data, or in Python function="
            )
        found = score_artefact(artefact, given.images, wanted, notify)
        is_comparable = record is not None and wanted.name == record.score_name
        kept = _compare(found, record, given.are_held_out) if record is not None and is_comparable else None
        if score is None and record is not None and record.score_name == LIKENESS.name:
            notes.append(
                f"its export recorded likeness {record.score.value:.2%}, which takes the float network's outputs: here "
                "labels score it"
            )
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
        notes.append(
            f"compared with nothing: what its export recorded is in {' or '.join(DESCRIPTIONS)}, of which none of this "
            "network is beside it; verify the folder that it came in"
        )
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


def score_artefact(artefact: Artefact, images: ImageSet, score: Score, notify: Notify = silent) -> MeanScore:
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
    parts = []
    for start in range(0, len(images), AT_ONCE):
        notify("score", start, len(images))
        part = images.take(slice(start, start + AT_ONCE))
        parts.append(artefact.run(tuple(torch.from_numpy(array) for array in part.inputs)))
    notify("score", len(images), len(images))
    outputs = np.concatenate(parts)
    if score is ACCURACY:
        highest, lowest = int(images.targets.max(initial=0)), int(images.targets.min(initial=0))
        if outputs.ndim != 2 or images.targets.ndim != 1 or images.targets.dtype != np.int64:
            raise DataError(
                f"data: right or wrong takes a label for each image and one output for each class, received targets of "
                f"shape {images.targets.shape} and outputs of {outputs.shape}; give labels, or the study file with its "
                "score function"
            )
        if lowest < 0 or highest >= outputs.shape[1]:
            label = highest if lowest >= 0 else lowest
            raise DataError(f"data: label {label} is out of range; the network has {outputs.shape[1]} outputs")
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


def _tell_shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
