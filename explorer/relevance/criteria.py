"""All criteria by name: what computes each, what it says something of, and where it was published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from explorer.relevance.captum_deeplift import captum_deeplift
from explorer.relevance.deeplift import deeplift
from explorer.relevance.sample import Progress, Sample
from explorer.relevance.scores import Relevance

Subject = Literal["filters", "weights", "inputs"]
"""What a criterion says something of: `filter_scores`, `weight_multipliers` or `input_multipliers`."""

ALL: frozenset[Subject] = frozenset({"filters", "weights", "inputs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A function from a sample to relevance; of what is not in `says`, its record holds ones."""

    compute: Callable[[Sample, Progress | None], Relevance]
    says: frozenset[Subject]
    source: str


CRITERIA: Mapping[str, Criterion] = {
    "deeplift": Criterion(compute=deeplift, says=ALL, source="Shrikumar et al., 2017"),
    "captum_deeplift": Criterion(compute=captum_deeplift, says=ALL, source="Shrikumar et al., 2017; Captum"),
}
"""A new criterion is a file, an entry here, and its name in the settings' RELEVANCE_METHODS."""
