"""What an epoch of tuning would make of the candidates that were scored, predicted from the few that were tuned.

Of a network that scores less than the float one, tuning wins back a part: by log-odds of the score, what is left of the
loss is a linear function of the loss before and of the capacity that is gone, which no tuning brings back. Its few
coefficients have a normal prior, and beacons correct them (Bayesian linear regression; Bishop, 2006, section 3.3). The
float network is where all of them are 0.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from explorer.arrays import Float64Array
from explorer.compress.candidate import Candidate
from explorer.errors import SearchError
from explorer.evaluate.mean_score import MeanScore
from explorer.objectives import score_named
from explorer.settings import BudgetSettings
from explorer.study import front
from explorer.study.costing import list_violations
from explorer.study.record import FLOAT, UNIFORM, Baseline, Beacon, Evaluation, FrontPoint, Outcome

PRIOR_MEAN = np.array([0.3, 0.3, 0.1])
PRIOR_SD = np.array([0.15, 0.3, 0.1])
"""Of what is left of a unit of loss, and lost by a unit of log(multiply-accumulates) and of log(bytes of weights)
(assumed, before anything was tuned; by all 30 networks of benchmarks/beacons.py they are .51, .34 and .08)."""
RESIDUAL_SD = 0.15
"""Standard deviation, in log-odds, of what the features cannot say of a network (likewise; .05 there)."""
FAILED_BEACONS = "failed beacons"
"""Under which the provenance says how many could not be tuned."""
LEAST_ODDS = 1e-3
"""Score and loss below which neither counts as less (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The float network, from which features count: its score, its MACs, and the bytes of its weights at 8 bits."""

    score: MeanScore
    macs: int
    weight_bytes: int

    @classmethod
    def of(cls, baselines: Sequence[Baseline]) -> Reference:
        """Return that of a run with the float and the uniform 8-bit network."""
        named = {item.name: item for item in baselines}
        floating, eight = named[FLOAT], named[UNIFORM]
        return cls(score=floating.search, macs=eight.cost.macs, weight_bytes=eight.cost.weight_bytes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gains:
    """The posterior of the coefficients after some beacons: what they are expected to be, and their covariance."""

    reference: Reference
    mean: Float64Array
    covariance: Float64Array

    def predict(self, found: Sequence[Evaluation]) -> tuple[MeanScore, ...]:
        """Return what scored evaluations would score after tuning; sampling errors are those of the prediction."""
        features, errors = _list_features(found, self.reference)
        losses = features @ self.mean
        variances = ((features @ self.covariance) * features).sum(1) + RESIDUAL_SD**2 + (self.mean[0] * errors) ** 2
        values = 1.0 / (1.0 + np.exp(losses - _log_odds(self.reference.score.value)))
        deviations = np.sqrt(variances) * values * (1.0 - values)
        images = self.reference.score.num_images
        return tuple(
            MeanScore(value=value, num_images=images, sampling_error=deviation)
            for value, deviation in zip(values.tolist(), deviations.tolist(), strict=True)
        )


def fit_gains(found: Sequence[Evaluation], after: Sequence[MeanScore], reference: Reference) -> Gains:
    """Return the posterior given evaluations and what they scored after tuning; the prior given none."""
    features, errors = _list_features(found, reference)
    losses = _log_odds(reference.score.value) - np.array([_log_odds(score.value) for score in after])
    noise = RESIDUAL_SD**2 + (PRIOR_MEAN[0] * errors) ** 2 + np.array([_log_odds_error(score) ** 2 for score in after])
    scaled = features / noise[:, None]
    covariance = np.linalg.inv(features.T @ scaled + np.diag(PRIOR_SD**-2.0))
    mean = PRIOR_MEAN + covariance @ scaled.T @ (losses - features @ PRIOR_MEAN)
    return Gains(reference=reference, mean=mean, covariance=covariance)


def _list_features(found: Sequence[Evaluation], reference: Reference) -> tuple[Float64Array, Float64Array]:
    """Return the features of scored evaluations (N x 3), and the standard errors of the first (N)."""
    best = _log_odds(reference.score.value)
    rows = [
        (
            best - _log_odds(item.score.value),
            math.log(reference.macs / max(1, item.cost.macs)),
            math.log(reference.weight_bytes / max(1, item.cost.weight_bytes)),
        )
        for item in found
        if item.score is not None
    ]
    errors = [_log_odds_error(item.score) for item in found if item.score is not None]
    return np.array(rows).reshape(-1, len(PRIOR_MEAN)), np.array(errors)


def _log_odds(score: float) -> float:
    share = min(1.0 - LEAST_ODDS, max(LEAST_ODDS, score))
    return math.log(share / (1.0 - share))


def _log_odds_error(score: MeanScore) -> float:
    """Return the standard error of the log-odds, of what is not known of the score on the search images."""
    share = min(1.0 - LEAST_ODDS, max(LEAST_ODDS, score.value))
    return score.sampling_error / (share * (1.0 - share))


def choose_beacons(
    found: Sequence[Evaluation],
    known: Collection[Candidate],
    count: int,
    reference: Reference,
    budgets: BudgetSettings,
    objectives: Sequence[str],
) -> tuple[Candidate, ...]:
    """Return candidates to tune beside the known ones, so that these are `count`, all of what was evaluated.

    Of the front that there would be after tuning by the prior, each is the one whose features, in units of what they
    are expected to matter, are farthest from those of the float network and of all before.
    """
    prior = fit_gains((), (), reference)
    pool = front.front(tune_all(found, prior, {}, budgets, objectives), objectives)
    items = {item.number: item for item in found}
    left = [items[item.number] for item in pool if item.candidate not in known]
    there = {item.candidate: item for item in found if item.candidate in known and item.score is not None}
    origin = np.zeros((1, len(PRIOR_MEAN)))
    taken = np.concatenate([origin, _list_features([*there.values()], reference)[0] * PRIOR_MEAN])
    places = _list_features(left, reference)[0] * PRIOR_MEAN
    nearest = np.square(places[:, None] - taken).sum(2).min(1)
    chosen: list[Candidate] = []
    while len(chosen) < min(count - len(known), len(left)):
        best = int(nearest.argmax())
        chosen.append(left[best].candidate)
        nearest = np.minimum(nearest, np.square(places - places[best]).sum(1))
    return tuple(chosen)


def find_front_after_tuning(outcome: Outcome) -> tuple[FrontPoint, ...]:
    """Return the front of a run's evaluations by their scores after tuning, members named "t01", "t02", ...

    The score of each one's evaluation is that after tuning: predicted, or that of a beacon. Costs are those before.

    Raises:
        SearchError: Where no candidate was tuned.
    """
    if not outcome.beacons:
        raise SearchError(f"no candidate of this run was tuned; {_tell_why_none(outcome)}, and the same run goes on")
    items = {item.number: item for item in outcome.evaluations}
    tuned = [items[beacon.number] for beacon in outcome.beacons]
    after = [beacon.score for beacon in outcome.beacons]
    gains = fit_gains(tuned, after, Reference.of(outcome.baselines))
    limits = {key: limit for key, limit in outcome.study["budgets"].items() if limit is not None}
    budgets = BudgetSettings.read(limits, score_named(outcome.objectives).name)
    known = {item.candidate: score for item, score in zip(tuned, after, strict=True)}
    members = front.front(tune_all(outcome.evaluations, gains, known, budgets, outcome.objectives), outcome.objectives)
    held_out = MeanScore(value=0.0, num_images=0)
    return tuple(
        FrontPoint(
            name=f"t{place:02d}",
            evaluation=item,
            held_out=held_out,
            untuned=items[item.number].score,
            predicted=item.candidate not in known,
        )
        for place, item in enumerate(members, start=1)
    )


def _tell_why_none(outcome: Outcome) -> str:
    if FAILED_BEACONS in outcome.provenance:
        return f"of its beacons {outcome.provenance[FAILED_BEACONS]}"
    if outcome.study["search"].get("beacons"):
        return "none was expected to keep the budgets then; give it more --trials"
    return "set search.beacons = 6 in its study"


def describe_beacons(found: Sequence[Evaluation], beacons: Sequence[Beacon], reference: Reference) -> str:
    """Return how many candidates were tuned, and how well each is predicted from the others."""
    from scipy import stats  # noqa: PLC0415  (half a second, which a search without beacons does without)

    items = {item.number: item for item in found}
    tuned, after = [items[beacon.number] for beacon in beacons], [beacon.score for beacon in beacons]
    text = f"tuned for an epoch: {len(tuned)} of {len(found)}"
    if len(tuned) <= 2:
        return text
    predicted = [
        fit_gains(tuned[:n] + tuned[n + 1 :], after[:n] + after[n + 1 :], reference).predict([tuned[n]])[0].value
        for n in range(len(tuned))
    ]
    scores = [score.value for score in after]
    error = math.sqrt(sum((one - other) ** 2 for one, other in zip(predicted, scores, strict=True)) / len(scores))
    varied = len(set(predicted)) > 1 and len(set(scores)) > 1
    tau = f"Kendall's tau {stats.kendalltau(predicted, scores).statistic:.2f}" if varied else "all alike"
    return f"{text}; each predicted from the others: {tau}, {100 * error:.1f} points off"


def tune_all(
    found: Sequence[Evaluation],
    gains: Gains,
    known: Mapping[Candidate, MeanScore],
    budgets: BudgetSettings,
    objectives: Sequence[str],
) -> tuple[Evaluation, ...]:
    """Return the scored evaluations as they would be after tuning: with scores that are known, or predicted."""
    scored = [item for item in found if item.score is not None]
    scores = [known.get(item.candidate, each) for item, each in zip(scored, gains.predict(scored), strict=True)]
    return tuple(
        replace(item, score=score, violations=list_violations(item.cost, score, budgets, objectives))
        for item, score in zip(scored, scores, strict=True)
    )
