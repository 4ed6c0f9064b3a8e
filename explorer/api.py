"""What somebody with a network and images calls: every function here is `explorer.<name>`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

from explorer.compress import candidate as candidates
from explorer.compress import plan as plans
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.check import check
from explorer.compress.plan import NetworkPlan
from explorer.errors import ExplorerError, ModelError
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import Score, ScoreFunction
from explorer.progress import Notify, silent
from explorer.session.compressed import Compressed, build
from explorer.session.devices import Device, find_device
from explorer.session.export import export
from explorer.session.front import Front, Point
from explorer.session.network import Net, open_network, open_study_network, refuse_other
from explorer.session.points import Chosen, find_candidate, find_entropies, find_net, find_origin
from explorer.session.result import Result
from explorer.session.scores import Scores, compute_scores
from explorer.session.scoring import accuracy, score
from explorer.session.search import load, run, search
from explorer.session.tuning import finetune
from explorer.session.verify import verify
from explorer.settings import LayerSpace, QuantizerSettings
from explorer.settings import SpaceSettings as Space
from explorer.study.costing import candidate_cost
from explorer.study.record import Cost
from explorer.study.study_file import Study, load_study

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
    "verify",
]


def open(  # noqa: PLR0913  (a network, its images, and how they are split and scored)
    model: nn.Module | Study,
    data: Any = None,
    targets: Any = None,
    *,
    search: Any = None,
    held_out: Any = None,
    score: ScoreFunction | Score | Literal["likeness"] | None = None,
    quantizer: QuantizerSettings | None = None,
    seed: int = 0,
    notify: Notify = silent,
) -> Net:
    """Return a trained network ready to be compressed; the model itself stays as it is.

    Those who choose a network (`search`) and who judge it (`held_out`) are images of their own: given in the same
    forms, or a fifth of `data` each, at most 5,000, drawn by `seed`. What is left calibrates, explains and trains;
    `print(net)` says the counts. All images are held in memory, and from then on glibc keeps the memory that this
    process frees (`explorer.allocator`), unless the environment has MALLOC_ settings of its own.

    A study, of `load_study`, is opened with its own network and images.

    Args:
        data: Images (N x ..., arrays or tensors, preprocessed as the model takes them) with `targets` (N), a
            DataLoader, or a Dataset.
        score: A function of (outputs, targets) that gives a number in [0, 1] for each image; right or wrong by the
            largest logit where there is none. "likeness" is that of the classes' probabilities to the float network's,
            which looks at no targets.

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
        if seed or any(given is not None for given in (data, targets, search, held_out, score, quantizer)):
            raise ModelError(
                "model: a study has images, score and seed of its own; change the study, or open its network"
            )
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


def uniform(net: Net, weight_bits: int = 8, activation_bits: int = 8, removed_blocks: Sequence[str] = ()) -> Candidate:
    """Return the point of the design space with the same widths everywhere, nothing pruned or shared.

    `point.with_filters(conv2=0.5)` removes half of a layer's filters, `point.with_choice(choice)` changes a layer;
    `removed_blocks` are names of `net.graph.removable`.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> explorer.uniform(net, weight_bits=4).with_filters({"0": 0.5}).filter_keep_ratio
        (('0', 0.5),)
    """
    refuse_other(net)
    return candidates.uniform(net.context.shortened(removed_blocks).graph, weight_bits, activation_bits)


def price(net: Net, point: Chosen, device: Device) -> Cost:
    """Return what a point costs on a device, layer by layer; nothing is built or run.

    A device that reads weights coded by their entropy, such as "ethos_u55_128", is given that of the integers to which
    they round; adaptive rounding and fine-tuning choose others, which `export` counts.

    Raises:
        ExplorerError: An unknown device, or a point of another network.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> explorer.price(net, explorer.uniform(net, weight_bits=4), "bitfusion").weight_bytes
        852
    """
    refuse_other(net)
    candidate = find_candidate(point)
    graph = net.context.graph_without(candidate.removed_blocks)
    check(candidate, graph)
    accelerator = find_device(device)
    return candidate_cost(graph, candidate, accelerator, find_entropies(net, point, accelerator))


def plan(net: Net, point: Chosen) -> NetworkPlan:
    """Return every shape and width of a point's network, with its `weight_bytes` and `macs`; nothing is built.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> explorer.plan(net, explorer.uniform(net).with_filters({"0": 0.5})).macs
        1368
    """
    refuse_other(net)
    candidate = find_candidate(point)
    graph = net.context.graph_without(candidate.removed_blocks)
    check(candidate, graph)
    return plans.plan(graph, candidate)


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
    return build(find_net(net, point, scores), find_candidate(point), find_origin(point))
