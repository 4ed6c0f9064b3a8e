"""One network, searched for several devices: what each chooses, what its choice costs on the others, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import fx

from explorer.compress.candidate import Candidate, uniform
from explorer.compress.shorten import trace_shortened
from explorer.errors import SearchError
from explorer.evaluate.depth_pricing import DepthPricing
from explorer.evaluate.known_entropies import reads_entropies
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.graph.layers import ModelGraph
from explorer.objectives import Objective, costs_named
from explorer.progress import Notify
from explorer.study.costing import candidate_cost, summed_cost
from explorer.study.finetune import reopen
from explorer.study.folder import locked, read_outcome, read_study
from explorer.study.network import open_network
from explorer.study.record import FLOAT, Cost, Evaluation, FrontPoint, Outcome
from explorer.study.study_file import Study, load_accelerator
from hwmodels import Accelerator

UNIFORM = "8-bit weights and activations"
TIE = 0.01
"""Costs that differ by no more than this share are equal for a choice, since no device model is so exact (assumed)."""
MAY_DIFFER = frozenset({"device.profile", "study.seed"})
"""Settings in which runs that are compared may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRun:
    """A finished search for one device."""

    outcome: Outcome
    accelerator: Accelerator
    seed: int
    entropies: WeightEntropies | None = None
    """Those of its candidates' layers, where some device of the comparison reads weights coded by them."""

    @property
    def device(self) -> str:
        """Name of the device."""
        return self.accelerator.name

    @property
    def objective(self) -> Objective:
        """The first cost among the objectives, by which the cheapest network is meant."""
        return costs_named(self.outcome.objectives)[0]

    def entropies_for(self, device: Accelerator) -> WeightEntropies | None:
        """Return the entropies where this device reads weights coded by them."""
        return self.entropies if reads_entropies(device) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRuns:
    """Searches of one network, on the same images and in the same space, for one device or several."""

    graph: ModelGraph
    runs: tuple[DeviceRun, ...]
    model: fx.GraphModule | None = None
    """The network itself, where candidates that lack some of its blocks are to be priced."""

    def graph_without(self, removed: tuple[str, ...]) -> ModelGraph:
        """Return the graph of the network without these blocks."""
        return self.graph if self.model is None else trace_shortened(self.model, self.graph, removed)

    @property
    def accelerators(self) -> tuple[Accelerator, ...]:
        """Each device once, in the order of the runs."""
        return tuple({run.device: run.accelerator for run in self.runs}.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChoice:
    """The cheapest member of a run's front that loses at most `loss` of the float network's search accuracy.

    Of members that cost the same up to TIE, it is the most accurate one.
    """

    run: DeviceRun
    loss: float
    point: FrontPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What a choice made for one device costs on another, relative to the best choice known there, in (0, inf)."""

    choice: DeviceChoice
    device: str
    energy_ratio: float
    latency_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """What one change to the uniform 8-bit network does on a device; all ratios are to that network's cost."""

    device: str
    name: str
    cost: Cost
    energy_ratio: float
    latency_ratio: float
    weight_ratio: float


def read_runs(folders: Sequence[Path], notify: Notify) -> DeviceRuns:
    """Read finished runs and trace their network; its weights are only needed where a device reads them coded.

    Raises:
        SearchError: Where a run is not finished, or differs from the first one in more than device and seed.
    """
    if not folders:
        raise SearchError("no run to compare; name the folders of one run for each device")
    outcomes, studies = [read_outcome(folder) for folder in folders], [read_study(folder) for folder in folders]
    for folder, outcome, study in zip(folders, outcomes, studies, strict=True):
        _refuse_other(folder, (outcome, study), folders[0], (outcomes[0], studies[0]))
    runs = tuple(
        DeviceRun(outcome=outcome, accelerator=_accelerator(folder, outcome, study), seed=study.seed)
        for folder, outcome, study in zip(folders, outcomes, studies, strict=True)
    )
    if any(reads_entropies(run.accelerator) for run in runs):
        runs = tuple(_with_entropies(run, folder, notify) for run, folder in zip(runs, folders, strict=True))
    network = open_network(studies[0], notify)
    return DeviceRuns(graph=network.graph, runs=runs, model=network.canonical)


def choose_networks(runs: Sequence[DeviceRun], losses: Sequence[float]) -> tuple[DeviceChoice, ...]:
    """Return the choice of each run for each allowed loss (a share of the images), where there is one, run by run."""
    found = []
    for run in runs:
        for loss in losses:
            point = _cheapest(run, loss)
            if point is not None:
                found.append(DeviceChoice(run=run, loss=loss, point=point))
    return tuple(found)


def price_transfers(runs: DeviceRuns, chosen: Sequence[DeviceChoice]) -> tuple[Transfer, ...]:
    """Return every choice on every device, relative to the cheapest choice made for that device at the same loss.

    Several runs for one device, with other seeds, show what chance alone does: of these the cheapest has a ratio of
    1, the others one above. A ratio below 1 means that another device's search found what the device's own missed.
    """
    found = []
    for choice in chosen:
        for device in runs.accelerators:
            own = [entry for entry in chosen if entry.run.device == device.name and entry.loss == choice.loss]
            if not own:
                continue
            best = min((_cost(runs, entry, device) for entry in own), key=lambda cost: _value(choice.run, cost))
            cost = _cost(runs, choice, device)
            energy, latency = _ratio(cost.energy_uj, best.energy_uj), _ratio(cost.latency_ms, best.latency_ms)
            found.append(Transfer(choice=choice, device=device.name, energy_ratio=energy, latency_ratio=latency))
    return tuple(found)


def pool_choices(runs: DeviceRuns, loss: float) -> Mapping[str, float]:
    """Return for each device the cheapest of all runs' candidates at a loss, relative to the best of its own runs.

    Accuracy does not depend on the device, so that every candidate scored for one is known for all: 1 where no other
    device's search found anything better, below 1 by what the device's own searches missed.
    """
    found = {}
    for device in runs.accelerators:
        costs: dict[bool, list[float]] = {True: [], False: []}
        for run in runs.runs:
            prices = DepthPricing(runs.graph_without, device, run.entropies_for(device))
            for item in _good_enough(run, loss):
                pricing = prices.without(item.candidate.removed_blocks)
                cost = summed_cost(pricing.graph, pricing.price(item.candidate))
                costs[run.device == device.name].append(_value(run, cost))
        if costs[True]:
            found[device.name] = min(costs[True] + costs[False]) / min(costs[True])
    return found


def find_levers(runs: DeviceRuns) -> tuple[Lever, ...]:
    """Return what narrower weights, narrower activations, and half of all filters save on each device."""
    eight = uniform(runs.graph)
    changed = {
        UNIFORM: eight,
        "4-bit weights": uniform(runs.graph, 4),
        "2-bit weights": uniform(runs.graph, 2),
        "4-bit activations": uniform(runs.graph, 8, 4),
        "4-bit weights and activations": uniform(runs.graph, 4, 4),
        "half of the filters": replace(
            eight, filter_keep_ratio=tuple((group.name, 0.5) for group in runs.graph.prunable)
        ),
    }
    found = []
    for device in runs.accelerators:
        whole = _price(runs, runs.runs[0], eight, device)
        for name, candidate in changed.items():
            cost = _price(runs, runs.runs[0], candidate, device)
            found.append(
                Lever(
                    device=device.name,
                    name=name,
                    cost=cost,
                    energy_ratio=_ratio(cost.energy_uj, whole.energy_uj),
                    latency_ratio=_ratio(cost.latency_ms, whole.latency_ms),
                    weight_ratio=cost.weight_bytes / whole.weight_bytes,
                )
            )
    return tuple(found)


def count_cycles_by_bound(cost: Cost) -> Mapping[str, int]:
    """Return clock cycles of all layers by what their time is that of, one of `hwmodels.BOUNDS`."""
    cycles: Counter[str] = Counter()
    for row in cost.layers:
        if row.latency_cycles:
            cycles[row.bound] += row.latency_cycles
    return dict(cycles)


def _refuse_other(folder: Path, found: tuple[Outcome, Study], first_folder: Path, first: tuple[Outcome, Study]) -> None:
    """Raise SearchError unless two runs scored the same network on the same images in the same space."""
    (outcome, study), (first_outcome, first_study) = found, first
    settings, wanted = study.essentials(), first_study.essentials()
    differ = sorted(key for key in settings.keys() | wanted.keys() if settings.get(key) != wanted.get(key))
    differ = [key for key in differ if key not in MAY_DIFFER]
    if outcome.provenance.get("weights digest") != first_outcome.provenance.get("weights digest"):
        differ.append("the network's weights")
    if differ:
        raise SearchError(
            f"{folder}: cannot be compared with {first_folder}: they differ in {', '.join(differ[:3])}; "
            "only device and seed may differ"
        )


def _accelerator(folder: Path, outcome: Outcome, study: Study) -> Accelerator:
    accelerator = load_accelerator(study)
    known, now = outcome.provenance.get("device digest"), accelerator.digest()[:16]
    if now != known:
        raise SearchError(
            f"{folder}: device {accelerator.name} has other numbers now ({now}, was {known}); "
            "run the study again into another folder"
        )
    return accelerator


def _with_entropies(run: DeviceRun, folder: Path, notify: Notify) -> DeviceRun:
    with locked(folder):
        return replace(run, entropies=WeightEntropies(reopen(run.outcome, folder, notify).context))


def _good_enough(run: DeviceRun, loss: float) -> tuple[Evaluation, ...]:
    least, found = _least_accuracy(run, loss), run.outcome.evaluations
    return tuple(item for item in found if item.feasible and item.score is not None and item.score.value >= least)


def _cheapest(run: DeviceRun, loss: float) -> FrontPoint | None:
    least = _least_accuracy(run, loss)
    members = [point for point in run.outcome.front if _search_accuracy(point) >= least]
    if not members:
        return None
    limit = (1.0 + TIE) * min(_value(run, point.evaluation.cost) for point in members)
    tied = [point for point in members if _value(run, point.evaluation.cost) <= limit]
    return max(tied, key=_search_accuracy)


def _search_accuracy(point: FrontPoint) -> float:
    return point.evaluation.score.value if point.evaluation.score else 0.0


def _least_accuracy(run: DeviceRun, loss: float) -> float:
    """Return the least accuracy, with half an image of room, so that sums of shares do not decide."""
    reference = run.outcome.baseline(FLOAT).search
    return reference.value - loss - 0.5 / reference.num_images


def _cost(runs: DeviceRuns, choice: DeviceChoice, device: Accelerator) -> Cost:
    return _price(runs, choice.run, choice.point.evaluation.candidate, device)


def _price(runs: DeviceRuns, run: DeviceRun, candidate: Candidate, device: Accelerator) -> Cost:
    """Return what a candidate costs on a device, with its filters in the order of a run."""
    entropies = run.entropies_for(device)
    counted = None if entropies is None else entropies.of_candidate(candidate)
    return candidate_cost(runs.graph_without(candidate.removed_blocks), candidate, device, counted)


def _value(run: DeviceRun, cost: Cost) -> float:
    return run.objective.value(cost, 0.0)


def _ratio(value: float | None, whole: float | None) -> float:
    return value / whole if value is not None and whole else float("nan")
