"""Exporting a compressed network from Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from explorer.errors import ExportError
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import score_images
from explorer.evaluate.weight_entropy import count_entropies
from explorer.export.deploy import find_format
from explorer.export.formats import DEFAULT_FORMAT, Deployment, Exported, FileTypes
from explorer.session.compressed import Compressed, Origin, find_context
from explorer.session.devices import Device, find_device
from explorer.session.front import Point
from explorer.settings import ComputeSettings
from explorer.study.costing import candidate_cost
from explorer.study.network import threads_for
from explorer.study.record import Evaluation, FrontPoint
from hwmodels import Accelerator, load, names


def export(
    model: Compressed | Point,
    folder: str | Path,
    format: str = DEFAULT_FORMAT,
    *,
    device: Device | None = None,
    inputs: str = "int8",
    outputs: str = "int8",
    int4: bool = False,
) -> Exported:
    """Write a compressed network to a folder, run it in onnxruntime on the held-out images, and refuse what differs.

    The configuration states costs on the device of the search, or on the one given here.

    Example:
        >>> import explorer, tempfile, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> small = explorer.compress(net, explorer.uniform(net, weight_bits=4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     explorer.export(small, folder, device="bitfusion").verification.agreement
        1.0

    Args:
        format: "onnx" (a quantised network and configuration.json), "integer", "pt" (a state dict with a module
            that takes torch alone), "pt2" (a torch.export program), "coded" (weights at their entropy, to store),
            "tflite" (takes ai-edge-litert), "qonnx" (exact widths, takes qonnx), "c" (C99, takes a C compiler),
            or "scalesim" (a topology for the simulator).
        inputs: What a "tflite" file reads: "int8", "uint8" or "float32".
        outputs: What it gives: one of these, or "int16", of which classes seldom share the largest logit. "float32" are
            made of these, too, where the network ends with a convolution, a linear layer or a mean.
        int4: Whether it stores weights of at most 4 bits two to a byte.
    """
    built = model.build() if isinstance(model, Point) else model
    types = FileTypes(inputs=inputs, outputs=outputs, pack_int4=int4)
    return _export(built, Path(folder), format, None if device is None else find_device(device), types)


def _export(model: Compressed, folder: Path, form: str, accelerator: Accelerator | None, types: FileTypes) -> Exported:
    """Write a compressed network to a folder, and check it on the held-out images."""
    if not isinstance(model, Compressed):
        raise ExportError(
            f"export: expected a compressed network or a point of a front, received {type(model).__name__}; make one "
            "with explorer.compress"
        )
    exporter = find_format(form, folder, types)
    net, origin = model.net, _origin(model, accelerator)
    images, targets = net.scored(net.data.held_out)
    with threads_for(net.graph):
        return exporter.write(
            Deployment(
                point=origin.point,
                model=model,
                context=find_context(model),
                images=images,
                targets=targets,
                data=net.data,
                score=net.score,
                study=origin.study,
                device=origin.device,
                finetuning=model.finetuning,
                untuned=None if model.origin is None else model.origin.point.held_out,
                types=types,
            ),
            folder,
        )


def _origin(model: Compressed, accelerator: Accelerator | None) -> Origin:
    """Return what the exported file says of where it comes from; its scores are those of this very model."""
    net, known, graph = model.net, model.origin, find_context(model).graph
    if known is not None and accelerator is None and model.finetuning is not None and known.device in names():
        accelerator = load(known.device)  # other integers may cost otherwise
    if known is not None and accelerator is not None:
        cost = candidate_cost(graph, model.candidate, accelerator, count_entropies(model, graph))
        evaluation = replace(known.point.evaluation, cost=cost)
        known = replace(known, point=replace(known.point, evaluation=evaluation), device=accelerator.name)
    if known is not None and model.finetuning is None:
        return known
    scores = score_images(model, *net.scored(net.data.held_out), ComputeSettings().batch_size, net.score)
    if known is not None:
        evaluation = replace(known.point.evaluation, score=None)  # the search scored it before it was tuned
        return replace(known, point=replace(known.point, evaluation=evaluation, held_out=MeanScore.of(scores)))
    if accelerator is None:
        raise ExportError("export: expected a device whose costs the configuration states, received none; give device=")
    cost = candidate_cost(graph, model.candidate, accelerator, count_entropies(model, graph))
    evaluation = Evaluation(number=0, origin="given", candidate=model.candidate, cost=cost, score=None)
    point = FrontPoint(name="given", evaluation=evaluation, held_out=MeanScore.of(scores))
    return Origin(point=point, study=net.name, device=accelerator.name)
