"""What somebody with a network and images calls: every function here is `explorer.<name>`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from explorer.compress import candidate as candidates
from explorer.compress import plan as plans
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.plan import NetworkPlan
from explorer.errors import ExplorerError
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import Score, ScoreFunction
from explorer.export.formats import DEFAULT_FORMAT, Exported
from explorer.progress import Notify, silent
from explorer.session.compressed import Compressed, Origin, build, build_tuned, make_recipe
from explorer.session.devices import Device, find_device
from explorer.session.export import export_compressed
from explorer.session.network import Net, open_network, open_study_network
from explorer.session.result import Front, Point, Result
from explorer.session.scores import Scores, compute_scores, find_scores
from explorer.session.scoring import accuracy, score
from explorer.session.search import load, run, search
from explorer.settings import FineTuningSettings, LayerSpace, QuantizerSettings
from explorer.settings import SpaceSettings as Space
from explorer.settings.records import read_record
from explorer.study.costing import candidate_cost
from explorer.study.record import Cost
from explorer.study.study_file import Study, load_study
from explorer.training.loss import LossFunction

__all__ = [
    "Candidate",
    "Compressed",
    "Cost",
    "ExplorerError",
    "Front",
    "LayerChoice",
    "LayerSpace",
    "MeanScore",
    "Net",
    "Point",
    "Result",
    "Score",
    "Scores",
    "Space",
    "Study",
    "accuracy",
    "compress",
    "export",
    "finetune",
    "load",
    "load_study",
    "open",
    "plan",
    "price",
    "relevance",
    "run",
    "score",
    "search",
    "uniform",
]

Chosen = Candidate | Point


def open(  # noqa: PLR0913  (a network, its images, and how they are split and scored)
    model: nn.Module | Study,
    data: Any = None,
    targets: Any = None,
    *,
    search: Any = None,
    held_out: Any = None,
    score: ScoreFunction | Score | None = None,
    quantizer: QuantizerSettings | None = None,
    seed: int = 0,
    notify: Notify = silent,
) -> Net:
    """Return a trained network ready to be compressed; the model itself stays as it is.

    Those who choose a network (`search`) and who judge it (`held_out`) are images of their own: given in the same
    forms, or a fifth of `data` each, at most 5,000, drawn by `seed`. What is left calibrates, explains and trains;
    `print(net)` says the counts. All images are held in memory.

    A study, of `load_study`, is opened with its own network and images.

    Args:
        data: Images (N x ..., arrays or tensors, preprocessed as the model takes them) with `targets` (N), a
            DataLoader, or a Dataset.
        score: A function of (outputs, targets) that gives a number in [0, 1] for each image; right or wrong by the
            largest logit where there is none.

    Raises:
        ExplorerError: The model cannot be traced, or the images are not what it takes.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...                             torch.nn.Linear(288, 10))
        >>> net = explorer.open(model, torch.rand(100, 1, 8, 8), torch.arange(100) % 10)
        >>> len(net.data.train), len(net.data.search), len(net.data.held_out)
        (60, 20, 20)
    """
    if isinstance(model, Study):
        return open_study_network(model, notify)
    return open_network(
        model, data, targets, search=search, held_out=held_out, score=score, quantizer=quantizer, seed=seed
    )


def relevance(net: Net, method: str = "deeplift", *, notify: Notify = silent, **settings: Any) -> Scores:
    """Return what matters in a network by a criterion, on its relevance images.

    `settings` are keys of [relevance] in a study file: `target`, `reference`, `aggregation`, `tolerance`. A `target`
    may be a function of (outputs, targets): the number for each image that relevance is of.

    Raises:
        ExplorerError: An unknown criterion or key, or one that cannot be computed for this network.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> explorer.relevance(net, "l2").layer("0").filter_scores.shape
        (4,)
    """
    return compute_scores(net, {"method": method, **settings}, notify)


def uniform(net: Net, weight_bits: int = 8, activation_bits: int = 8) -> Candidate:
    """Return the point of the design space with the same widths everywhere, nothing pruned or shared.

    `point.with_filters(conv2=0.5)` removes half of a layer's filters, `point.with_choice(choice)` changes a layer.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> explorer.uniform(net, weight_bits=4).with_filters({"0": 0.5}).filter_keep_ratio
        (('0', 0.5),)
    """
    return candidates.uniform(net.graph, weight_bits, activation_bits)


def price(net: Net, point: Chosen, device: Device) -> Cost:
    """Return what a point costs on a device, layer by layer; nothing is built or run.

    Raises:
        ExplorerError: An unknown device, or a point of another network.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> explorer.price(net, explorer.uniform(net, weight_bits=4), "bitfusion").weight_bytes
        852
    """
    candidate = _candidate(point)
    candidates.check(candidate, net.graph)
    return candidate_cost(net.graph, candidate, find_device(device))


def plan(net: Net, point: Chosen) -> NetworkPlan:
    """Return every shape and width of a point's network, with its `weight_bytes` and `macs`; nothing is built.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> explorer.plan(net, explorer.uniform(net).with_filters({"0": 0.5})).macs
        1368
    """
    candidate = _candidate(point)
    candidates.check(candidate, net.graph)
    return plans.plan(net.graph, candidate)


def compress(net: Net, point: Chosen, scores: Scores | str | None = None) -> Compressed:
    """Return the network of a point, an `nn.Module` that computes with the integer codes that are exported.

    Filters are removed in the order of `scores`, what `relevance` gave or the name of a criterion; by magnitude where
    there are none. A point of a front is built as it was searched. `small.plan` has all shapes, `small.size_bytes`
    the packed weights.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> small = explorer.compress(net, explorer.uniform(net, weight_bits=4).with_filters({"0": 0.5}), "l2")
        >>> small(torch.rand(3, 1, 8, 8)).shape, small.size_bytes
        (torch.Size([3, 10]), 369)
    """
    return build(_net_for(net, point, scores), _candidate(point), _origin(point))


def finetune(
    net: Net,
    point: Chosen,
    epochs: int | None = None,
    scores: Scores | str | None = None,
    *,
    loss: LossFunction | None = None,
    start: Compressed | None = None,
    file: str | Path | None = None,
    notify: Notify = silent,
    **settings: Any,
) -> Compressed:
    """Return the network of a point, trained further on the training images with the float network as teacher.

    `settings` are keys of [finetuning] in a study file, such as `learning_rate`. It begins at the float network, or
    at what an earlier `start` of the same filters was tuned to. With a `file` the result is kept there, and found
    there again; an interrupted training goes on after its last full epoch. `loss` is a function of (outputs, targets)
    that gives one number; cross entropy where there is none.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> tuned = explorer.finetune(net, explorer.uniform(net, weight_bits=2), epochs=1)
        >>> tuned.finetuning["epochs"]
        1
    """
    given = settings if epochs is None else {"epochs": epochs, **settings}
    wanted = read_record(FineTuningSettings, given, "finetuning")
    kept = None if file is None else Path(file)
    trained = _net_for(net, point, scores)
    recipe = make_recipe(trained, wanted, loss, kept)
    return build_tuned(trained, _candidate(point), _origin(point), recipe, start, kept, notify)


def export(
    model: Compressed | Point, folder: str | Path, format: str = DEFAULT_FORMAT, *, device: Device | None = None
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
        format: "onnx" (a quantised network and configuration.json) or "integer".
    """
    built = model.build() if isinstance(model, Point) else model
    return export_compressed(built, Path(folder), format, None if device is None else find_device(device))


def _candidate(point: Chosen) -> Candidate:
    if isinstance(point, Point):
        return point.candidate
    if not isinstance(point, Candidate):
        raise ExplorerError(
            f"point: expected what explorer.uniform gives or a point of a front, received {type(point).__name__}"
        )
    return point


def _origin(point: Chosen) -> Origin | None:
    return point.origin if isinstance(point, Point) else None


def _net_for(net: Net, point: Chosen, scores: Scores | str | None) -> Net:
    """Return the network with its filters in the order that the point is to be built by."""
    if scores is not None:
        return net.ordered_by(find_scores(net, scores, silent))
    return point.open_net() if isinstance(point, Point) else net
