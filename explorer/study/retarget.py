"""The front of a run on another device, or within other budgets, from the scores that it has: nothing is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from explorer.compress.candidate import Candidate, uniform
from explorer.evaluate.depth_pricing import DepthPricing
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.paired import find_loss_error
from explorer.objectives import LIKENESS_NAME, SCORE
from explorer.settings import BudgetSettings, DeviceSettings
from explorer.study import front
from explorer.study.costing import candidate_cost, float_cost, list_violations, summed_cost
from explorer.study.propose import Proposal, propose
from explorer.study.record import ASSUMED_0, FLOAT, UNIFORM, Baseline, Beacon, Cost, Evaluation, FrontPoint, Outcome
from explorer.study.stored_run import StoredRun
from explorer.study.study_file import Study, load_accelerator
from explorer.study.ties import find_ties
from explorer.study.trials import StoredTrial
from hwmodels import Accelerator

ComputeCost = Callable[[Candidate], Cost]
PROPOSED = 5
"""Candidates that are named for a search that goes on."""
UNKNOWN = MeanScore(value=0.0, num_images=0)
"""Of a network that was never scored."""
OF_ANY_DEVICE = (SCORE.key, "coded_bytes")
"""Keys of the limits that mean the same on another device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retargeted:
    """A run's evaluations and front on another device; held-out scores of no images are not known.

    `entered` are members of the front that were on none before, by their names now, `left` those of the former front
    that are on it no longer, by their names then; None where the run has no front to compare with. `unpriced` counts
    the candidates that were never built and take their weights to be priced.
    """

    outcome: Outcome
    entered: tuple[str, ...] | None
    left: tuple[str, ...] | None
    unpriced: int
    proposals: tuple[Proposal, ...]
    """The candidates that a search would evaluate next, by `propose.RULE`."""


def make_study(study: Study, device: str | None, limits: Mapping[str, float]) -> Study:
    """Return a study on another device, the same by default, within other limits, by the keys of budgets.

    Limits that are not stated stay; on another device only those of the score and of a coded file, since what a network
    takes there in energy, time and memory is another matter.
    """
    kept = dict(study.budgets.limits)
    if device is not None and device != study.device.profile:
        kept = {key: limit for key, limit in kept.items() if key in OF_ANY_DEVICE}
    return replace(
        study,
        device=DeviceSettings(profile=study.device.profile if device is None else device),
        budgets=BudgetSettings(**{**kept, **limits}),
    )


def retarget(run: StoredRun, study: Study, accelerator: Accelerator | None = None, count: int = PROPOSED) -> Retargeted:
    """Return a run's front on the device and within the budgets of `study`, which differs from the run's in these.

    Every cost is computed anew, the very one of a search on that device; scores are those of the run. Of members of the
    front held-out scores are given where the run has them: where a study builds its front with another compensation
    they are of the network as it is built then.

    Raises:
        StudyFileError: The device cannot be loaded.
        LayerError: It cannot run a candidate.
    """
    accelerator = accelerator or load_accelerator(study)
    entropies, held_out = run.entropies_for(accelerator), run.list_scores("held_out")
    prices = DepthPricing(run.graphs.without, accelerator, entropies)
    full = run.list_full_scores()
    found: list[Evaluation] = []

    def price_candidate(candidate: Candidate) -> Cost:
        pricing = prices.without(candidate.removed_blocks)
        return summed_cost(pricing.graph, pricing.price(candidate))

    for trial in run.trials:
        try:
            cost = price_candidate(trial.candidate)
        except LookupError:  # nobody knows its weights, since it was over the former budget
            continue
        score = None if trial.score is None else full.get(trial.candidate.digest(), trial.score)
        found.append(_evaluate(trial, replace(cost, coded_bytes=trial.coded_bytes), score, study))
    members = front.front(found, study.objectives.names)

    def whole_cost(candidate: Candidate) -> Cost:
        own = None if entropies is None else entropies.of_candidate(candidate)
        return candidate_cost(run.graphs.without(candidate.removed_blocks), candidate, accelerator, own)

    points = tuple(
        FrontPoint(
            name=f"p{place:02d}",
            evaluation=replace(item, cost=replace(whole_cost(item.candidate), coded_bytes=item.cost.coded_bytes)),
            held_out=held_out.get(item.candidate.digest(), UNKNOWN),
        )
        for place, item in enumerate(members, start=1)
    )
    held_out_images = run.list_images("held_out")
    known = {
        point.name: held_out_images[own]
        for point in points
        if (own := point.evaluation.candidate.digest()) in held_out_images
    }
    ties = find_ties([point for point in points if point.name in known], study.objectives.names, known)
    errors = _find_loss_errors(run, members)
    points = tuple(
        replace(point, tied_with=ties.get(point.name, ""), loss_error=error)
        for point, error in zip(points, errors, strict=True)
    )
    outcome = Outcome(
        study=study.to_json(),
        device=accelerator.name,
        device_title=accelerator.title,
        objectives=study.objectives.names,
        baselines=_baselines(run, accelerator, whole_cost),
        front=points,
        evaluations=tuple(found),
        skipped=tuple((item.path, item.reason) for item in run.graphs.graph.skipped),
        provenance=_provenance(run, accelerator),
        coverage=None if run.former is None else run.former.coverage,
        refused_exports=() if run.former is None else run.former.refused_exports,
        beacons=_known_beacons(run.former, found),
    )
    places = {trial.number: trial.point for trial in run.trials}
    entered, left = _compare(run.former, points)
    return Retargeted(
        outcome=outcome,
        entered=entered,
        left=left,
        unpriced=len(run.trials) - len(found),
        proposals=propose(
            run.space,
            [(item, places[item.number]) for item in found],
            points,
            study.objectives.names,
            study.budgets,
            price_candidate,
            count,
        ),
    )


def _find_loss_errors(run: StoredRun, members: Sequence[Evaluation]) -> list[float | None]:
    """Return the standard error of each member's loss on the search images, None where not all of them are known."""
    whole = run.list_search_images().get(FLOAT)
    images = [None if whole is None else run.find_search_images(item) for item in members]
    return [None if own is None or whole is None else find_loss_error(whole, own) for own in images]


def _known_beacons(former: Outcome | None, found: Sequence[Evaluation]) -> tuple[Beacon, ...]:
    """Return the beacons of a run, without those whose evaluation a damaged journal has lost since."""
    numbers = {item.number for item in found}
    return () if former is None else tuple(beacon for beacon in former.beacons if beacon.number in numbers)


def _evaluate(trial: StoredTrial, cost: Cost, score: MeanScore | None, study: Study) -> Evaluation:
    return Evaluation(
        number=trial.number,
        origin=trial.origin,
        candidate=trial.candidate,
        cost=cost,
        score=score,
        violations=list_violations(cost, score, study.budgets, study.objectives.names),
        failure=trial.failure,
    )


def _baselines(run: StoredRun, accelerator: Accelerator, whole_cost: ComputeCost) -> tuple[Baseline, ...]:
    """Return the float and the uniform 8-bit network; coded bytes, the same on all devices, are those of the run."""
    graph, former = run.graphs.graph, run.former
    plain = {FLOAT: float_cost(graph, accelerator), UNIFORM: whole_cost(uniform(graph))}
    scores = {
        split: {name: run.list_scores(split).get(name, UNKNOWN) for name in plain} for split in ("search", "held_out")
    }
    if run.study.score.called == LIKENESS_NAME:
        scores = {split: {**own, FLOAT: own[FLOAT].without_error()} for split, own in scores.items()}
    return tuple(
        Baseline(
            name=name,
            cost=replace(cost, coded_bytes=None if former is None else former.baseline(name).cost.coded_bytes),
            search=scores["search"][name],
            held_out=scores["held_out"][name],
            failure="" if former is None else former.baseline(name).failure,
        )
        for name, cost in plain.items()
    )


def _provenance(run: StoredRun, accelerator: Accelerator) -> dict[str, str]:
    former = {} if run.former is None else run.former.provenance
    of_search = {ASSUMED_0, "device digest", "left out", "failed", "search ended"}  # on the former device
    kept = {key: what for key, what in former.items() if key not in of_search}
    return {
        **kept,
        "device digest": accelerator.digest()[:16],
        **({ASSUMED_0: ", ".join(accelerator.unpriced)} if accelerator.unpriced else {}),
        "retargeted": f"from a search on {run.study.device.profile}, whose scores these are",
    }


def _compare(
    former: Outcome | None, points: tuple[FrontPoint, ...]
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Return the names of the members that have entered a front, and of those that have left it."""
    if former is None:
        return None, None
    now, then = (
        {point.evaluation.candidate.digest(): point.name for point in members} for members in (points, former.front)
    )
    entered, left = (
        tuple(name for digest, name in mine.items() if digest not in others)
        for mine, others in ((now, then), (then, now))
    )
    return entered, left
