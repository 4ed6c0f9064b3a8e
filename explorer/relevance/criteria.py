"""All criteria by name: what computes each, what it says something of, and where it was published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from explorer.progress import Progress
from explorer.relevance.activation_mean import activation_mean
from explorer.relevance.bn_gamma import bn_gamma
from explorer.relevance.captum_deeplift import captum_deeplift
from explorer.relevance.conductance import conductance
from explorer.relevance.deeplift import deeplift
from explorer.relevance.hessian_trace import hessian_trace
from explorer.relevance.integrated_gradients import integrated_gradients
from explorer.relevance.layer_importance import layer_importance
from explorer.relevance.lrp import lrp
from explorer.relevance.magnitude import l1, l2
from explorer.relevance.obs import obs
from explorer.relevance.random_scores import random_scores
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance
from explorer.relevance.similarity import similarity
from explorer.relevance.sqnr import sqnr
from explorer.relevance.taylor import fisher, taylor

Subject = Literal["filters", "weights", "inputs"]
"""What a criterion says something of: `filter_scores`, `weight_multipliers` or `input_multipliers`."""

ALL: frozenset[Subject] = frozenset({"filters", "weights", "inputs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A function from a sample to relevance; of what is not in `subjects`, its record holds ones.

    With `is_loss`, a filter's score is itself what a loss grows by; of all others its square is, as with multipliers.
    """

    compute: Callable[[Sample, Progress | None], Relevance]
    subjects: frozenset[Subject]
    source: str
    is_loss: bool = False


CRITERIA: Mapping[str, Criterion] = {
    "deeplift": Criterion(compute=deeplift, subjects=ALL, source="Shrikumar et al., 2017"),
    "captum_deeplift": Criterion(compute=captum_deeplift, subjects=ALL, source="Shrikumar et al., 2017; Captum"),
    "taylor": Criterion(compute=taylor, subjects=ALL, source="Molchanov et al., 2017"),
    "fisher": Criterion(compute=fisher, subjects=ALL, source="LeCun et al., 1990; Theis et al., 2018", is_loss=True),
    "obs": Criterion(
        compute=obs,
        subjects=frozenset({"filters", "weights"}),
        source="Hassibi and Stork, 1993; Dong et al., 2017",
        is_loss=True,
    ),
    "hessian_trace": Criterion(
        compute=hessian_trace,
        subjects=frozenset({"filters", "weights"}),
        source="Dong et al., 2020; Yu et al., 2022",
        is_loss=True,
    ),
    "integrated_gradients": Criterion(
        compute=integrated_gradients, subjects=frozenset({"filters"}), source="Sundararajan et al., 2017"
    ),
    "conductance": Criterion(compute=conductance, subjects=frozenset({"filters"}), source="Dhamdhere et al., 2019"),
    "lrp": Criterion(compute=lrp, subjects=frozenset({"filters"}), source="Bach et al., 2015; Montavon et al., 2017"),
    "l1": Criterion(compute=l1, subjects=frozenset({"filters", "weights"}), source="Li et al., 2017"),
    "l2": Criterion(compute=l2, subjects=frozenset({"filters", "weights"}), source="He et al., 2018"),
    "bn_gamma": Criterion(compute=bn_gamma, subjects=frozenset({"filters"}), source="Liu et al., 2017"),
    "similarity": Criterion(
        compute=similarity, subjects=frozenset({"filters"}), source="He et al., 2019; Srinivas and Babu, 2015"
    ),
    "activation_mean": Criterion(
        compute=activation_mean, subjects=frozenset({"filters"}), source="Molchanov et al., 2017"
    ),
    "layer_importance": Criterion(
        compute=layer_importance,
        subjects=frozenset({"filters", "weights"}),
        source="Elkerdawy et al., 2020",
        is_loss=True,
    ),
    "sqnr": Criterion(compute=sqnr, subjects=frozenset({"weights", "inputs"}), source="Lin et al., 2016"),
    "random": Criterion(compute=random_scores, subjects=frozenset({"filters", "weights"}), source="a control"),
}
"""A new criterion is a file, an entry here, and its name in the settings' RELEVANCE_METHODS."""
