"""What a criterion says of an opened network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import pandas as pd

from explorer.errors import RelevanceError
from explorer.progress import Notify
from explorer.relevance.completion import fill_missing
from explorer.relevance.criteria import CRITERIA
from explorer.relevance.sample import Sample, make_sample
from explorer.relevance.scores import LayerRelevance, Relevance
from explorer.relevance.targets import TargetFunction
from explorer.session.display import paragraph, table
from explorer.session.network import Net, refuse_other
from explorer.settings import RelevanceSettings
from explorer.settings.records import read_record
from explorer.study.names import check_names
from explorer.study.network import threads_for
from explorer.study.weights import digest_state


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """The relevance scores of a network's filters, weights and activations, by one criterion.

    `relevance` is what the criterion says; `complete` has what it does not speak of filled in, for a search.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> explorer.relevance(net, "l1").to_frame().columns.tolist()
        ['layer', 'filter', 'score']
    """

    settings: RelevanceSettings
    relevance: Relevance
    complete: Relevance
    sample: Sample
    """What it was computed on."""

    def layer(self, name: str) -> LayerRelevance:
        """Return what is known of a layer: `filter_scores`, `weight_multipliers` and more.

        Raises:
            RelevanceError: For none.
        """
        return self.relevance.layer(name)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each filter: its layer, its index and its score."""
        rows = [
            (entry.layer, index, float(score))
            for entry in self.relevance.layers
            for index, score in enumerate(entry.filter_scores)
        ]
        return pd.DataFrame(rows, columns=["layer", "filter", "score"])

    def __repr__(self) -> str:
        """Return the criterion and on how many images it was computed."""
        return f"relevance by {self.relevance.method} on {self.relevance.samples} images"

    def __deepcopy__(self, memo: object) -> Scores:
        """Return the same: it is a value."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled, since they hold the network that they are of.

        Raises:
            RelevanceError: Always.
        """
        raise RelevanceError("scores: they are not pickled with their network; save scores.to_frame()")

    def _repr_html_(self) -> str:
        rows = [
            (
                entry.layer,
                len(entry.filter_scores),
                int(entry.filter_scores.argmax()),
                float(entry.filter_scores.max()),
                int(entry.filter_scores.argmin()),
                float(entry.filter_scores.min()),
            )
            for entry in self.relevance.layers
        ]
        return paragraph(repr(self)) + table(("layer", "filters", "most relevant", "score", "least", "score"), rows)


def compute_scores(net: Net, entries: Mapping[str, Any], notify: Notify) -> Scores:
    """Return what a criterion says of a network, on its relevance images; `entries` are keys of [relevance].

    Raises:
        StudyFileError: For unknown keys and names.
    """
    refuse_other(net)
    target = entries.get("target", "predicted")
    if callable(target):
        called = getattr(target, "__name__", "")  # of a lambda that is no name
        name = f"{target.__module__}:{called if called.isidentifier() else 'target'}"
        target, entries = TargetFunction(name=name, function=target), {**entries, "target": name}
    settings = read_record(RelevanceSettings, entries, "relevance")
    check_names(settings)
    with threads_for(net.graph):
        sample = _make_sample(net, settings, target)
        criterion = CRITERIA[settings.method]
        found = criterion.compute(sample, lambda done, total: notify("relevance", done, total))
        complete = fill_missing(found, sample, criterion.subjects)
        return Scores(settings=settings, relevance=found, complete=complete, sample=sample)


def _make_sample(net: Net, settings: RelevanceSettings, target: str | TargetFunction) -> Sample:
    return make_sample(
        net.context.model,
        net.graph,
        *net.tensors(net.data.relevance),
        target=target,
        reference=settings.reference,
        aggregation=settings.aggregation,
        tolerance=settings.tolerance,
        seed=net.seed,
    )


def find_scores(net: Net, scores: Scores | str, notify: Notify) -> Scores:
    """Return scores, computed where only the criterion is named."""
    if isinstance(scores, str):
        return compute_scores(net, {"method": scores}, notify)
    if not isinstance(scores, Scores):
        raise RelevanceError(
            f"scores: expected what explorer.relevance gives or a criterion's name, received {type(scores).__name__}"
        )
    of, model = scores.sample.model, net.context.model
    if of is not model and digest_state(of) != digest_state(model):
        raise RelevanceError(
            "scores: they are of another network, or of other weights; explorer.relevance(net) makes them"
        )
    return scores
