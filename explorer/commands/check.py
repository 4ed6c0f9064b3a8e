"""The command that says before any work what a study explores, what it cannot do, and how long it will take."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from explorer.commands.options import StudyPath
from explorer.commands.progress import ProgressDisplay, duration
from explorer.commands.terminal import command, console, say
from explorer.export.formats import list_installed
from explorer.objectives import CODED_BYTES, Objective, costs

if TYPE_CHECKING:
    from explorer.compress.apply import CompressionContext
    from explorer.compress.candidate import Candidate
    from explorer.graph.layers import Layer, ModelGraph
    from explorer.study.estimate import RunEstimate
    from explorer.study.network import StudyNetwork
    from explorer.study.prepare import Inspect
    from explorer.study.record import Cost
    from explorer.study.study_file import Study
    from hwmodels import Accelerator

NAMED = 2
"""Of layers that are alike so many are named."""
LEAST_ENTROPY = 1e-6
"""In bits a weight, next to nothing; 0 stands for an entropy that is not known."""
SETS = 3
"""Of channels that stay or go together so many sets are named."""
PLACE = re.compile(r" at ([^,:]+), line (\d+)")
"""A line of the user's network, as reasons name it."""


def check(
    study: StudyPath,
) -> None:
    """Say what a study will explore, which exports it will have and how long it takes; nothing is trained or kept."""
    from explorer.study.study_file import load_accelerator, load_study  # noqa: PLC0415

    settings = load_study(study)
    accelerator = load_accelerator(settings)
    with ProgressDisplay(console) as notify:
        notify("start", 0, 1)
        from explorer.export.deploy import find_all_refusals  # noqa: PLC0415
        from explorer.study.estimate import draft, estimate  # noqa: PLC0415  (torch takes seconds to import)
        from explorer.study.network import open_network  # noqa: PLC0415

        notify("start", 1, 1)
        network = open_network(settings, notify)
        notify("measure", 0, 1)
        context = draft(network, settings)
        needed = estimate(network, settings, context, accelerator, settings.results_folder())
        refused = find_all_refusals(context)
        notify("measure", 1, 1)
    for line in _about(network, settings, accelerator):
        say(line)
    console.print(_layer_table(network.graph))
    lines = (
        *_groups(network.graph),
        *_blocks(network.graph),
        *_skipped(network.graph),
        network.coverage.summary(),
        *_exports(refused),
        *_space(context, settings, accelerator),
        _time(needed, settings),
        f"next:   {command('run', study)}",
    )
    for line in lines:
        say(line)


def announced(study: Study, folder: Path, display: ProgressDisplay, jobs: int, minutes: float | None) -> Inspect:
    """Return what tells the same of the network of a run, in short, before it is trained and searched."""

    def inspect(network: StudyNetwork) -> tuple[tuple[str, str], ...]:
        from explorer.export.deploy import find_all_refusals  # noqa: PLC0415
        from explorer.study.estimate import draft, estimate  # noqa: PLC0415
        from explorer.study.study_file import load_accelerator  # noqa: PLC0415

        context = draft(network, study)
        most_s = math.inf if minutes is None else 60.0 * minutes
        needed = estimate(network, study, context, load_accelerator(study), folder).with_jobs(jobs, most_s)
        display.expect(dict(needed.stages))
        refused = find_all_refusals(context, dear=False)
        for line in (network.coverage.summary(), *_exports(refused, dear=False), _time(needed, study)):
            say(line)
        return refused

    return inspect


def _exports(refused: Sequence[tuple[str, str]], *, dear: bool = True) -> list[str]:
    without = {form for form, _ in refused}
    tried = list_installed(dear=dear)
    works = [form for form in tried if form not in without]
    untried = [form for form in list_installed() if form not in tried]
    told = f"; explorer check tries out {' and '.join(untried)}, too" if untried else ""
    return [
        *([f"export: as {' and as '.join(works)}{told}"] if works else []),
        *(f"export as {form} will be refused: {reason}" for form, reason in refused),
    ]


def _about(network: StudyNetwork, study: Study, accelerator: Accelerator) -> list[str]:
    """Return where network, weights, images and costs come from."""
    data, model = network.data, study.model
    shape = " and ".join(" x ".join(map(str, each)) for each in data.input_shapes)
    targets = " x ".join(map(str, data.train.targets.shape[1:])) or "one number"
    scored = f"targets of {targets} each" if data.num_classes is None else f"{data.num_classes} classes"
    weights = f"weights of {model.checkpoint}" if model.checkpoint else f"trained for {_epochs(study)} epochs"
    return [
        f"study {study.name}: {model.reference or model.factory}, {weights}; images of {shape}, {scored}",
        f"images: {len(data.train)} to train, {len(data.search)} to search, {len(data.held_out)} held out; "
        f"device: {accelerator.name}, {accelerator.title}",
    ]


def _epochs(study: Study) -> int:
    return study.model.training.epochs if study.model.training else 0


def _layer_table(graph: ModelGraph) -> Table:
    """Return a row for all layers that are alike, named after the first of them."""
    alike: dict[tuple[object, ...], list[Layer]] = {}
    for layer in graph.layers:
        alike.setdefault((*_shape(layer), _prunable(layer, graph)), []).append(layer)
    table = Table(box=None, pad_edge=False)
    table.add_column("first layer", overflow="fold")
    table.add_column("kind", no_wrap=True)
    for heading in ("alike", "channels", "output", "MACs each", "weights each", "free filters"):
        table.add_column(heading, justify="right", no_wrap=True)
    for layers in alike.values():
        first = layers[0]
        kind, channels, output = _shape(first)
        numbers = (f"{first.macs:,}", f"{first.weights:,}", str(_prunable(first, graph)))
        table.add_row(escape(first.name), kind, str(len(layers)), channels, output, *numbers)
    return table


def _shape(layer: Layer) -> tuple[str, str, str]:
    """Return kind, channels and output size, as texts."""
    window = "x".join(map(str, layer.kernel_size))
    kind = "linear" if layer.kind == "linear" else f"{'depthwise ' if layer.depthwise else ''}conv {window}"
    kind = f"transposed {kind}" if layer.transposed else kind
    kind += f", {layer.groups} groups" if layer.groups > 1 and not layer.depthwise else ""
    kind += ", weights of another" if layer.shares_weights else ""
    return kind, f"{layer.in_channels} > {layer.out_channels}", "x".join(map(str, layer.output_size))


def _prunable(layer: Layer, graph: ModelGraph) -> int:
    """Return output channels that belong to groups which may lose some."""
    return sum(graph.groups[index].size * count for index, count in layer.produces if not graph.groups[index].locked)


def _groups(graph: ModelGraph) -> list[str]:
    """Return how many channels may go, and which layers' go together."""
    free = graph.prunable
    channels = sum(group.size for group in free)
    lines = [f"filters may go from {len(free)} of {len(graph.groups)} channel groups, {channels} channels in all"]
    together: dict[tuple[str, ...], int] = {}
    for group in free:
        if len(group.producers) > 1:
            together[group.producers] = together.get(group.producers, 0) + group.size
    sets = sorted(together.items(), key=lambda item: -len(item[0]))
    lines += [f"stay or go together: {size} channels of {_named(producers)}" for producers, size in sets[:SETS]]
    return [*lines, *([f"stay or go together: {len(sets) - SETS} smaller sets"] if len(sets) > SETS else [])]


def _blocks(graph: ModelGraph) -> list[str]:
    """Return how many blocks may be left out, and why others may not; nothing of a network without any."""
    if not graph.blocks:
        return []
    names = [block.name for block in graph.removable]
    lines = [f"blocks may be left out: {len(names)} of {len(graph.blocks)}{': ' * bool(names)}{_named(names)}"]
    reasons: dict[str, list[str]] = {}
    for block in graph.blocks:
        if block.locked:
            reasons.setdefault(block.locked, []).append(block.name)
    return [*lines, *(f"stay: {_named(each)}: {reason}" for reason, each in reasons.items())]


def _skipped(graph: ModelGraph) -> list[str]:
    """Return a line for each reason why something is left out, with the first that it holds for, and its lines."""
    names: dict[str, list[str]] = {}
    places: dict[str, set[tuple[str, str]]] = {}
    for item in graph.skipped:
        reason = PLACE.sub("", item.reason)
        names.setdefault(reason, []).append(item.path)
        places.setdefault(reason, set()).update(PLACE.findall(item.reason))
    return [f"skipped: {_named(each)}: {reason}{_placed(places[reason])}" for reason, each in names.items()]


def _placed(places: Collection[tuple[str, str]]) -> str:
    """Return the places of the reasons in the user's files, the lines of a file together."""
    lines: dict[str, list[str]] = {}
    for file, line in sorted(places, key=lambda place: (place[0], int(place[1]))):
        lines.setdefault(file, []).append(line)
    listed = [f"{file}, line{'s' * (len(each) > 1)} {', '.join(each)}" for file, each in lines.items()]
    return f" ({'; '.join(listed)})" if listed else ""


def _space(context: CompressionContext, study: Study, accelerator: Accelerator) -> list[str]:
    """Return how large the space is, and whether its costliest limits can be kept at all."""
    from explorer.compress.candidate import uniform  # noqa: PLC0415
    from explorer.evaluate.weight_entropy import WeightEntropies  # noqa: PLC0415
    from explorer.search.axes import STEPS  # noqa: PLC0415
    from explorer.search.space import make_search_space  # noqa: PLC0415
    from explorer.study.costing import candidate_cost  # noqa: PLC0415

    graph, entropies = context.graph, WeightEntropies.of(context, accelerator)
    space = make_search_space(graph, study.space, study.sharing.codebook_granularity, study.relevance.method)
    tried = f"{'at most ' * (study.search.least_gain > 0)}{study.search.trials} are tried"
    lines = [f"space: {space.size:.2g} candidates on {len(space.axes)} axes, of which {tried}"]
    smallest, plain = space.candidate({axis.name: 0 for axis in space.axes}), uniform(graph)
    is_trained, has_steps = study.model.checkpoint is not None, STEPS.values(study.space) != STEPS.unused

    def bounds(point: Candidate, known: bool) -> tuple[Cost, Cost]:
        """Return what it costs at least and at most, by entropies that are not known yet where a device reads these."""
        if entropies is not None and not known:
            lowest = dict.fromkeys(graph.layer_names, LEAST_ENTROPY)
            return candidate_cost(graph, point, accelerator, lowest), candidate_cost(graph, point, accelerator)
        cost = candidate_cost(graph, point, accelerator, None if entropies is None else entropies.of_candidate(point))
        return cost, cost

    eight, least = bounds(plain, is_trained), bounds(smallest, is_trained and not has_steps)
    lines += [
        _budget(objective, limit, eight, least)
        for objective in costs()
        if (limit := study.budgets.limit(objective)) is not None and not math.isnan(objective.value(eight[0], 0.0))
    ]
    limit = study.budgets.coded_bytes
    if limit is not None:
        known = (smallest, plain)[has_steps:] if is_trained else ()
        lines.append(_coded_budget(context, limit, *known))
    return lines


def _budget(objective: Objective, limit: float, eight: tuple[Cost, Cost], least: tuple[Cost, Cost]) -> str:
    """Return how far uniform 8 bits and the smallest candidate, by what each costs at least and at most, are from it.

    Where a device reads weights at their entropy, that is not known of weights that are to be trained, nor at steps,
    which depend on relevance: weights drawn at random have other entropies.
    """
    (below, above), (low, high) = ([objective.value(cost, 0.0) for cost in pair] for pair in (eight, least))
    verdict = "" if low <= limit else ": no candidate keeps it, the front will be empty"
    return (
        f"budget {objective.key}: at most {_amount(limit)}; uniform 8 bits takes {'at most ' * (below < above)}"
        f"{_amount(above)}, the smallest candidate {'at least ' * (low < high)}{_amount(low)}{verdict}"
    )


def _coded_budget(context: CompressionContext, limit: float, *points: Candidate) -> str:
    """Return how far files of uniform 8 bits, the last point, and of the smallest candidate are from a limit.

    What a step takes depends on the relevance of weights, which is not known yet: then there is no smallest candidate.
    Without any point the network is not trained yet: weights drawn at random have other entropies.
    """
    from explorer.evaluate.coded_size import CodedSizes  # noqa: PLC0415
    from explorer.evaluate.weight_entropy import round_to_nearest  # noqa: PLC0415

    start = f"budget {CODED_BYTES}: at most {_amount(limit)}; "
    if not points:
        return f"{start}what files take is known once the network is trained"
    sizes = CodedSizes(round_to_nearest(context))
    *smallest, plain = (sizes.estimate(point) for point in points)
    start += f"uniform 8 bits takes about {_amount(plain)}, "
    if not smallest:
        return f"{start}what steps take is known once relevance is"
    verdict = "" if smallest[0] <= limit else ": hardly any candidate keeps it"
    return f"{start}the smallest candidate about {_amount(smallest[0])}{verdict}"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _time(needed: RunEstimate, study: Study) -> str:
    """Return how long a candidate and the whole run take, about."""
    long = [(name.partition(",")[0], seconds) for name, seconds in needed.stages if seconds >= 1]
    parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in long)
    most = "at most " if study.search.least_gain else ""
    whole = f"{most}about {duration(needed.whole_s)} in all" + (f" ({parts})" if parts else "")
    return f"time: {whole}, {_seconds(needed.candidate_s)} for each of {study.search.trials} candidates"


def _seconds(value: float) -> str:
    return duration(value) if value >= 10 else f"{value:.2g} s"


def _named(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
