"""The main job: from a study to its front, scored once on images that the search never saw."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from explorer.compress.candidate import Candidate, uniform
from explorer.errors import SearchError
from explorer.evaluate.coded_size import CodedSizes
from explorer.evaluate.depth_pricing import DepthPricing
from explorer.evaluate.weight_entropy import WeightEntropies, round_to_nearest
from explorer.objectives import costs_named
from explorer.progress import Notify, Progress, silent
from explorer.search.blocks import measure_depth_losses, measure_divergence
from explorer.search.measured import measure_sensitivity
from explorer.search.problem import Estimates
from explorer.search.seeds import Seed, choose_seeds
from explorer.search.sensitivity import Sensitivity, estimate_sensitivity
from explorer.search.space import SearchSpace, make_search_space
from explorer.settings.paths import expand_variables
from explorer.study.alive import coordinating
from explorer.study.beacons import Tuning, plan_beacons
from explorer.study.built import BuiltNetworks
from explorer.study.costing import cost_excesses, summed_cost
from explorer.study.folder import JOURNAL, locked, refuse_other_study, write_outcome, write_study
from explorer.study.graphs import keep_graphs
from explorer.study.jobs import can_fork, evaluate, started
from explorer.study.kept_losses import keep_losses
from explorer.study.network import threads_for
from explorer.study.opened import open_evaluate
from explorer.study.outcome import score_front, with_end
from explorer.study.point_costs import PointPricing
from explorer.study.prepare import Inspect, PreparedStudy, open_study
from explorer.study.record import Cost, Outcome
from explorer.study.relevance import draw_relevance_sample
from explorer.study.sampling import make_entropies, make_scorer, order_sample
from explorer.study.search import ComputeCost, Search, search
from explorer.study.storage import naming_faults, open_store
from explorer.study.store import Store
from explorer.study.study_file import Study
from explorer.study.trials import TrialResult
from explorer.study.tuned_front import with_tuned
from explorer.threads import single_threaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """With how many processes of this machine a run evaluates candidates, and when it stops although some are left."""

    jobs: int = 1
    """0 leaves them to workers elsewhere."""
    until_s: float = math.inf
    """By `time.monotonic`; what is begun by then is finished, and the front taken of what there is."""

    def is_over(self) -> bool:
        """Return whether it is time to stop."""
        return time.monotonic() >= self.until_s


EFFORT = Effort()


def run(
    study: Study,
    folder: Path,
    notify: Notify = silent,
    inspect: Inspect | None = None,
    effort: Effort = EFFORT,
) -> Outcome:
    """Run the study in `folder`, or go on with it there, and return what it found.

    Everything found on the way is stored at once: after an interruption the same call goes on. The folder is locked
    meanwhile. `inspect` sees the network before it is trained.

    Raises:
        ExplorerError: For what is wrong with the user's input.
    """
    with locked(folder):
        refuse_other_study(folder, study)
        return explore(open_study(study, folder, notify, inspect), folder, notify, effort=effort)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a search starts from instead of seeds of its own, and what is known already.

    `known` are results by the candidate's digest, `images` scores of what is no trial and `sample` the order of the
    images, as a store keeps them.
    """

    seeds: tuple[Seed, ...]
    known: Mapping[str, TrialResult]
    images: Mapping[str, str]
    sample: Mapping[str, Any]


def explore(
    prepared: PreparedStudy,
    folder: Path,
    notify: Notify = silent,
    start: Start | None = None,
    effort: Effort = EFFORT,
) -> Outcome:
    """Search the front of a prepared study in `folder`, which is locked, or go on with it there.

    Candidates are evaluated by one thread each, so that what is found does not depend on how many there are.
    """
    study = prepared.study
    url = expand_variables(study.search.storage, "search.storage")
    if url == "journal" and not effort.jobs:
        raise SearchError("--jobs 0 leaves candidates to workers elsewhere: expected a database as --storage")
    identity = prepared.identity()
    store = open_store(folder, url, study.name, study.objectives.names, identity)
    if store.damage():
        notify(f"{folder / JOURNAL}: {store.damage()}", 1, 1)
    write_study(folder, study)
    with threads_for(prepared.context.graph):
        _keep_graphs(folder, prepared)
        if start is not None:
            store.salvaged = {**start.known, **store.salvaged}
            if start.sample:  # a run that was interrupted before has none
                store.keep_sample(start.sample)
            for key in start.images.keys() - store.image_scores().keys():
                store.remember_score(key, start.images[key])
        built = BuiltNetworks() if effort.jobs == 1 else None  # by this process
        task = make_search(prepared, store, notify, () if start is None else start.seeds, built, folder)
        work = partial(evaluate, task.score_candidate, task.list_entropies)
        anew = partial(open_evaluate, study, folder, identity, store.sample() or {})
        tuning = Tuning.open(prepared, store, create=True) if study.search.beacons else None
        tune, at_once = (work, 0) if tuning is None else (tuning.evaluate, effort.jobs)
        at_once = at_once if can_fork(prepared.torch_device) else min(1, at_once)
        with (
            naming_faults(url),
            single_threaded(True),
            started(work, effort.jobs, prepared.torch_device, anew) as jobs,
            started(tune, at_once, prepared.torch_device) as tuners,
            coordinating(store),
        ):
            search(task, store, lambda done, total: notify("search", done, total), jobs, effort.is_over)
            plan = None if tuning is None else plan_beacons(tuning, task, store)
            if tuning is not None and plan is not None:
                search(plan, tuning.beacons, lambda done, total: notify("beacons", done, total), tuners)
        outcome = score_front(prepared, task, store, notify, None if tuning is None else tuning.beacons, built)
    outcome = with_end(outcome, store, study) if study.search.least_gain else outcome
    write_outcome(folder, outcome)
    return with_tuned(outcome, folder)


def make_space(prepared: PreparedStudy) -> SearchSpace:
    """Return the space of a prepared study."""
    study, graph = prepared.study, prepared.context.graph
    granularity, method = study.sharing.codebook_granularity, study.relevance.method
    return make_search_space(graph, study.space, granularity, method, prepared.depths)


def make_search(
    prepared: PreparedStudy,
    store: Store,
    notify: Notify,
    seeds: tuple[Seed, ...] = (),
    built: BuiltNetworks | None = None,
    folder: Path | None = None,
) -> Search:
    """Return the search of a study, with `seeds` or its own; it keeps networks in `built`, its table in `folder`."""
    study, space = prepared.study, make_space(prepared)
    price_candidate = make_price(prepared, prepared.entropies, prepared.coded)

    @cache
    def table() -> Sensitivity:
        with single_threaded(True):  # the same whenever it is asked for
            found = _table(prepared, space, lambda done, total: notify("sensitivity", done, total))
        return found if folder is None else keep_losses(folder, study.relevance.sensitivity, found)

    if not seeds and store.count(None) < min(study.search.seeds, study.search.trials):
        seeds = _seeds(prepared, space, table(), notify)
    return Search(
        space=space,
        settings=study.search,
        seed=study.seed,
        seeds=seeds,
        objectives=study.objectives.names,
        price_candidate=price_candidate,
        score_candidate=make_scorer(prepared, order_sample(prepared, store), built),
        list_entropies=make_entropies(prepared),
        budgets=study.budgets,
        estimates=_estimates(prepared, space, table),
    )


def _keep_graphs(folder: Path, prepared: PreparedStudy) -> None:
    context = prepared.context.for_search()
    removed = dict.fromkeys(((), *(depth.removed_blocks for depth in prepared.depths)))
    keep_graphs(folder, [context.graph_without(blocks) for blocks in removed], WeightEntropies(context))


def make_price(prepared: PreparedStudy, entropies: WeightEntropies | None, coded: CodedSizes | None) -> ComputeCost:
    """Return the function that prices candidates, with these entropies for the device and for a coded file."""
    prices = DepthPricing(prepared.context.graph_without, prepared.accelerator, entropies)

    def price_candidate(candidate: Candidate) -> Cost:
        pricing = prices.without(candidate.removed_blocks)
        cost = summed_cost(pricing.graph, pricing.price(candidate))
        return cost if coded is None else replace(cost, coded_bytes=coded.estimate(candidate))

    return price_candidate


def _of_options(prepared: PreparedStudy) -> tuple[WeightEntropies | None, CodedSizes | None]:
    """Return what sizes options: by integers rounded to the nearest where those of each would take a solve."""
    if prepared.context.for_search().quantizer.fitting != "static":
        return prepared.entropies, prepared.coded
    nearest = round_to_nearest(prepared.context)
    return (
        None if prepared.entropies is None else WeightEntropies(nearest),
        None if prepared.coded is None else CodedSizes(nearest),
    )


def _estimates(prepared: PreparedStudy, space: SearchSpace, table: Callable[[], Sensitivity]) -> Estimates:
    entropies, coded = _of_options(prepared)
    pricing = PointPricing(
        prepared, space, entropies.of_whole if entropies else None, coded.of_whole if coded else None
    )
    return Estimates(price_points=pricing.price, list_losses=table)


def _table(prepared: PreparedStudy, space: SearchSpace, progress: Progress) -> Sensitivity:
    images, _ = prepared.tensors(prepared.data.relevance)
    context = prepared.context.for_search()
    if prepared.study.relevance.sensitivity == "measured_kl":
        table = measure_sensitivity(context, space, images, progress)
        return replace(table, depths=measure_depth_losses(context, space, images, measure_divergence))
    table = estimate_sensitivity(context, prepared.relevance, space, progress)
    if not space.depths:
        return table
    study, data = prepared.study, prepared.data
    sample = draw_relevance_sample(context.model, context.graph, data.relevance, study, prepared.torch_device)

    def change(found: Tensor, expected: Tensor) -> float:
        return float(((found - expected) * sample.directions).flatten(1).sum(1).square().mean())

    return replace(table, depths=measure_depth_losses(context, space, images, change))


def _seeds(prepared: PreparedStudy, space: SearchSpace, table: Sensitivity, notify: Notify) -> tuple[Seed, ...]:
    costs, of_options = costs_named(prepared.study.objectives.names), _of_options(prepared)
    price_candidate = make_price(prepared, *of_options)
    # Entropies of the weights that are left depend on which filters are.
    together = PointPricing(prepared, space, None, None) if of_options == (None, None) else None

    def values(candidate: Candidate) -> list[float]:
        cost = price_candidate(candidate)
        return [objective.value(cost, 0.0) for objective in costs]

    base = values(uniform(prepared.context.graph))

    def relative(of: Sequence[float]) -> float:
        return sum(value / whole for value, whole in zip(of, base, strict=True)) / len(base)

    def relative_costs(candidates: Sequence[Candidate]) -> list[float]:
        if together is not None:
            return [relative(row) for row in together.price_candidates(candidates).values.tolist()]
        return [relative(values(candidate)) for candidate in candidates]

    def fits(candidates: Sequence[Candidate]) -> list[bool]:
        if together is not None:
            return [bool(kept) for kept in together.price_candidates(candidates).fits]
        costs = [cost_excesses(price_candidate(candidate), prepared.study.budgets) for candidate in candidates]
        return [all(excess <= 0 for _, excess in excesses) for excesses in costs]

    return choose_seeds(
        space,
        table,
        relative_costs,
        prepared.study.search.seeds,
        fits,
        lambda done, total: notify("seeds", done, total),
    )
