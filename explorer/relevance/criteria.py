"""All criteria by name: what computes each, what it says something of, and where it was published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from explorer.dotted import resolve

if TYPE_CHECKING:
    from explorer.progress import Progress
    from explorer.relevance.sample import Sample
    from explorer.relevance.scores import Relevance

Subject = Literal["filters", "weights", "inputs"]
"""What a criterion says something of: `filter_scores`, `weight_multipliers` or `input_multipliers`."""

ALL: frozenset[Subject] = frozenset({"filters", "weights", "inputs"})
FILTERS: frozenset[Subject] = frozenset({"filters"})
FILTERS_AND_WEIGHTS: frozenset[Subject] = frozenset({"filters", "weights"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A function from a sample to relevance, by its dotted path; of what is not in `subjects`, its record holds ones.

    With `is_loss`, a filter's score is itself what a loss grows by; of all others its square is, as with multipliers.
    """

    path: str
    subjects: frozenset[Subject]
    source: str
    is_loss: bool = False
    by_default: bool = True
    """Whether it is compared where no criteria are named."""

    def compute(self, sample: Sample, progress: Progress | None) -> Relevance:
        """Return the relevance of filters, weights and inputs, as far as the criterion says something of them."""
        relevance: Relevance = resolve(self.path)(sample, progress)
        return relevance


CRITERIA: Mapping[str, Criterion] = {
    "deeplift": Criterion(path="explorer.relevance.deeplift:deeplift", subjects=ALL, source="Shrikumar et al., 2017"),
    "captum_deeplift": Criterion(
        path="explorer.relevance.captum_deeplift:captum_deeplift",
        subjects=ALL,
        source="Shrikumar et al., 2017; Captum",
        by_default=False,
    ),
    "taylor": Criterion(path="explorer.relevance.taylor:taylor", subjects=ALL, source="Molchanov et al., 2017"),
    "fisher": Criterion(
        path="explorer.relevance.taylor:fisher",
        subjects=ALL,
        source="LeCun et al., 1990; Theis et al., 2018",
        is_loss=True,
    ),
    "obs": Criterion(
        path="explorer.relevance.obs:obs",
        subjects=FILTERS_AND_WEIGHTS,
        source="Hassibi and Stork, 1993; Dong et al., 2017",
        is_loss=True,
    ),
    "hessian_trace": Criterion(
        path="explorer.relevance.hessian_trace:hessian_trace",
        subjects=FILTERS_AND_WEIGHTS,
        source="Dong et al., 2020; Yu et al., 2022",
        is_loss=True,
    ),
    "integrated_gradients": Criterion(
        path="explorer.relevance.integrated_gradients:integrated_gradients",
        subjects=FILTERS,
        source="Sundararajan et al., 2017",
    ),
    "conductance": Criterion(
        path="explorer.relevance.conductance:conductance",
        subjects=FILTERS,
        source="Dhamdhere et al., 2019",
    ),
    "lrp": Criterion(
        path="explorer.relevance.lrp:lrp",
        subjects=FILTERS,
        source="Bach et al., 2015; Montavon et al., 2017",
    ),
    "l1": Criterion(path="explorer.relevance.magnitude:l1", subjects=FILTERS_AND_WEIGHTS, source="Li et al., 2017"),
    "l2": Criterion(path="explorer.relevance.magnitude:l2", subjects=FILTERS_AND_WEIGHTS, source="He et al., 2018"),
    "bn_gamma": Criterion(path="explorer.relevance.bn_gamma:bn_gamma", subjects=FILTERS, source="Liu et al., 2017"),
    "similarity": Criterion(
        path="explorer.relevance.similarity:similarity",
        subjects=FILTERS,
        source="He et al., 2019",
    ),
    "merging": Criterion(path="explorer.relevance.merging:merging", subjects=FILTERS, source="Srinivas and Babu, 2015"),
    "reconstruction": Criterion(
        path="explorer.relevance.reconstruction:reconstruction",
        subjects=FILTERS,
        source="Hassibi and Stork, 1993; He et al., 2017",
        is_loss=True,
    ),
    "activation_mean": Criterion(
        path="explorer.relevance.activation_mean:activation_mean",
        subjects=FILTERS,
        source="Molchanov et al., 2017",
    ),
    "layer_importance": Criterion(
        path="explorer.relevance.layer_importance:layer_importance",
        subjects=FILTERS_AND_WEIGHTS,
        source="Elkerdawy et al., 2020",
        is_loss=True,
    ),
    "sqnr": Criterion(
        path="explorer.relevance.sqnr:sqnr", subjects=frozenset({"weights", "inputs"}), source="Lin et al., 2016"
    ),
    "random": Criterion(
        path="explorer.relevance.random_scores:random_scores",
        subjects=FILTERS_AND_WEIGHTS,
        source="a control",
    ),
}
"""Name in a study file to criterion. A new one is a file and an entry here."""
