"""What a finished search amounts to: its front, scored once on held-out images, next to the baselines."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version

import explorer
from explorer.compress.apply import apply
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.failures import NUMERICAL, describe_failure
from explorer.evaluate.coded_size import count_coded_bytes
from explorer.evaluate.engine import name_engine
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import LIKENESS
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.progress import Notify
from explorer.search.stop import MEAN_GAINS, add_little
from explorer.settings.sources import GIVEN
from explorer.study import front
from explorer.study.after_tuning import FAILED_BEACONS, Reference, describe_beacons
from explorer.study.beacons import list_beacons
from explorer.study.built import BuiltNetworks
from explorer.study.costing import candidate_cost, float_cost, list_violations
from explorer.study.evaluated import evaluations
from explorer.study.final_scores import Build, FinalScores, compare_members, name_built, score_front_on_all
from explorer.study.prepare import PreparedStudy, digest_images
from explorer.study.record import ASSUMED_0, FLOAT, UNIFORM, Baseline, Cost, Evaluation, FrontPoint, Outcome
from explorer.study.search import Search
from explorer.study.store import Store
from explorer.study.study_file import Study


def score_front(
    prepared: PreparedStudy,
    task: Search,
    store: Store,
    notify: Notify,
    beacons: Store | None = None,
    built: BuiltNetworks | None = None,
) -> Outcome:
    """Take the front of all evaluations and score its members, once each, on the held-out images.

    The held-out scores have no influence on which points are on the front, nor on the search when it is
    continued later. What is in `built` is not built again.
    """
    scorer, damage = FinalScores(prepared, store, built or BuiltNetworks()), store.damage()
    found = score_front_on_all(evaluations(task, store), task, scorer, notify)
    members = front.front(found, task.objectives)
    baselines = _baselines(prepared, scorer)
    points: list[FrontPoint] = []
    lost: list[tuple[int, str]] = []
    for index, member in enumerate(members):
        notify("held-out images", index, len(members))
        try:
            points.append(_front_point(member, prepared, task, scorer))
        except NUMERICAL as error:
            if prepared.context.quantizer.front_compensation is None:
                raise
            lost.append((member.number, describe_failure(error)))
    standing, fallen = _take_front(points, task.objectives)
    standing = compare_members(standing, task.objectives, scorer)
    lost += fallen
    notify("held-out images", max(1, len(members)), max(1, len(members)))
    tuned = () if beacons is None else list_beacons(found, beacons)
    return Outcome(
        study=prepared.study.to_json(),
        device=prepared.accelerator.name,
        device_title=prepared.accelerator.title,
        objectives=task.objectives,
        baselines=baselines,
        front=standing,
        evaluations=found,
        skipped=tuple((item.path, item.reason) for item in prepared.context.graph.skipped),
        provenance=_provenance(prepared, task, found)
        | ({"left out": f"not on the front as it is built: {_describe_lost(lost)}"} if lost else {})
        | ({"beacons": describe_beacons(found, tuned, Reference.of(baselines))} if tuned else {})
        | _tell_failed(beacons)
        | ({"journal": damage} if damage else {}),
        coverage=prepared.coverage,
        refused_exports=prepared.refused_exports,
        beacons=tuned,
    )


def _tell_failed(beacons: Store | None) -> dict[str, str]:
    """Return how many beacons could not be tuned, and why the first; nothing where all were."""
    failed = [] if beacons is None else [trial.failure for trial in beacons.stored() if trial.failure]
    return {FAILED_BEACONS: f"{len(failed)} could not be tuned; the first: {failed[0]}"} if failed else {}


def _take_front(
    built: Sequence[FrontPoint], objectives: Sequence[str]
) -> tuple[tuple[FrontPoint, ...], list[tuple[int, str]]]:
    """Return which members still are on the front with figures as they are built, named anew, and why others are not.

    Built in another form than in the search, one may have passed another, or a limit.
    """
    standing = front.front([point.evaluation for point in built], objectives)
    points = {point.evaluation.number: point for point in built}
    fallen = [
        (
            item.number,
            f"over the limit of {', '.join(key for key, _ in item.violations)}"
            if item.violations
            else "which another is better than or equal to",
        )
        for item in (point.evaluation for point in built)
        if item not in standing
    ]
    named = (replace(points[item.number], name=f"p{place:02d}") for place, item in enumerate(standing, start=1))
    return tuple(named), fallen


def _describe_lost(lost: Sequence[tuple[int, str]]) -> str:
    """Return the numbers of evaluations, each reason said once."""
    numbers: dict[str, list[str]] = {}
    for number, reason in lost:
        numbers.setdefault(reason, []).append(str(number))
    return "; ".join(
        f"evaluation{'s' if len(of) > 1 else ''} {', '.join(of)}, {reason}" for reason, of in numbers.items()
    )


def _front_point(member: Evaluation, prepared: PreparedStudy, task: Search, scorer: FinalScores) -> FrontPoint:
    """Score a member as it is kept, on the search images again where it is built otherwise than the search did."""
    candidate, settings = member.candidate, prepared.context.quantizer
    own, score = name_built(candidate, prepared.context), member.score
    build = scorer.prepare(prepared.context, candidate, partial(apply, prepared.context, candidate))
    anew = settings.front_compensation is not None
    if anew:
        score = scorer.score("search", own, build, finite=True)
    held_out = scorer.score("held_out", own, build, finite=anew)
    assert score is not None
    cost = _built_cost(prepared, candidate, build)
    violations = list_violations(cost, score, task.budgets, task.objectives)
    evaluation = replace(member, cost=cost, score=score, violations=violations)
    return FrontPoint(name="", evaluation=evaluation, held_out=held_out)


def _built_cost(prepared: PreparedStudy, candidate: Candidate, build: Build) -> Cost:
    """Return what a candidate costs with the integers that its network is built with."""
    entropies = None if prepared.entropies is None else WeightEntropies(prepared.context).of_built(candidate)
    graph = prepared.context.graph_without(candidate.removed_blocks)
    cost = candidate_cost(graph, candidate, prepared.accelerator, entropies)
    if prepared.coded is None:
        return cost
    try:
        return replace(cost, coded_bytes=count_coded_bytes(build().model))
    except NUMERICAL:  # it cannot be computed, but costs what it does all the same
        return replace(cost, coded_bytes=prepared.coded.estimate(candidate))


def _baselines(prepared: PreparedStudy, scorer: FinalScores) -> tuple[Baseline, ...]:
    graph = prepared.context.graph
    eight = uniform(graph)
    build = scorer.prepare(prepared.context, eight, partial(apply, prepared.context, eight))
    floating = float_cost(graph, prepared.accelerator)
    if prepared.coded is not None:
        floating = replace(floating, coded_bytes=floating.weight_bytes)
    return (
        _baseline(FLOAT, floating, partial(scorer.run, lambda: prepared.context.model), scorer),
        _baseline(UNIFORM, _built_cost(prepared, eight, build), build, scorer),
    )


def _baseline(name: str, cost: Cost, build: Build, scorer: FinalScores) -> Baseline:
    """Return one that cannot be computed has the reason and scores 0; costs are relative to its own all the same."""
    try:
        finite = name == UNIFORM
        search, held_out = (scorer.score(split, name, build, finite=finite) for split in ("search", "held_out"))
        if name == FLOAT and scorer.prepared.score is LIKENESS:
            search, held_out = search.without_error(), held_out.without_error()
    except NUMERICAL as error:
        data = scorer.prepared.data
        search, held_out = (MeanScore(value=0.0, num_images=len(images)) for images in (data.search, data.held_out))
        return Baseline(name=name, cost=cost, search=search, held_out=held_out, failure=describe_failure(error))
    return Baseline(name=name, cost=cost, search=search, held_out=held_out)


def _provenance(prepared: PreparedStudy, task: Search, found: tuple[Evaluation, ...]) -> dict[str, str]:
    relevance = prepared.relevance
    complete = "" if relevance.completeness is None else f", completeness {relevance.completeness:.1e}"
    failed = [item for item in found if item.failure]
    unscored = sum(item.score is None for item in found) - len(failed)
    missed = sum(not item.feasible for item in found) - unscored - len(failed)
    repeated = len(found) - unscored - len(failed)
    scored = {item.candidate for item in found if item.score is not None}
    return {
        "explorer": explorer.__version__,
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "captum", "optuna", "numpy")},
        "seed": str(prepared.study.seed),
        "study digest": prepared.study.digest(),
        "weights digest": prepared.weights_digest,
        "device digest": prepared.accelerator.digest()[:16],
        **({ASSUMED_0: ", ".join(prepared.accelerator.unpriced)} if prepared.accelerator.unpriced else {}),
        "images": f"{prepared.data.name}: {len(prepared.data.train)} train, {len(prepared.data.search)} search, "
        f"{len(prepared.data.held_out)} held out",
        **({"images digest": digest_images(prepared.data)} if prepared.study.data.source == GIVEN else {}),
        "relevance": f"{relevance.method}, {relevance.samples} images{complete}",
        "design space": f"{task.space.size:.2g} points on {len(task.space.axes)} axes",
        "trials": f"{len(found)}, of which {unscored} were over budget and never built, {missed} not accurate enough; "
        f"{len(scored)} networks scored{', the others being repeats' if repeated > len(scored) else ''}",
        "scored by": name_engine(prepared.torch_device),
        **_tell_compensation(prepared),
        **_entropies_of_what(prepared),
        **({"failed": f"{len(failed)} trials could not be computed; the first: {failed[0].failure}"} if failed else {}),
    }


def _tell_compensation(prepared: PreparedStudy) -> dict[str, str]:
    """Return with which compensation networks were built, where there was any."""
    final, searched = prepared.context.quantizer.fitting, prepared.context.for_search().quantizer.fitting
    if final == searched == "none":
        return {}
    if final == searched:
        return {"compensation": final}
    return {"compensation": f"{searched} in the search; {final} in the front, built and scored anew, and the baselines"}


def _entropies_of_what(prepared: PreparedStudy) -> dict[str, str]:
    """Return whose integers candidates are priced with, where these are not those of the networks that are built."""
    searched, final = prepared.context.for_search().quantizer.fitting, prepared.context.quantizer.fitting
    if prepared.entropies is None or (searched == final != "propagated"):
        return {}
    if searched == "propagated":
        text = "of integers rounded to the nearest during the search; those of the front and the baselines are counted"
        return {"weight entropies": f"{text} in the networks that are built, where integers are chosen in a pass"}
    text = f"of the integers of {searched} compensation during the search; those of the front and the baselines are"
    return {"weight entropies": f"{text} of the networks that are built, with {final}"}


def with_end(outcome: Outcome, store: Store, study: Study) -> Outcome:
    """Return the outcome with why its search ended, where that was before its last trial."""
    least, most, count = study.search.least_gain, study.search.trials, store.count(None)
    gains = [each.expected_gain for each in store.latest(MEAN_GAINS)]
    if not (len(outcome.evaluations) == count < most and add_little(gains, least)):
        return outcome
    ended = (
        f"after {count} of {most} candidates: a further one was expected to add less than {least:.2%} to the "
        "hypervolume of the front (search.least_gain)"
    )
    return replace(outcome, provenance={**outcome.provenance, "search ended": ended})
