"""The [relevance] section: which criterion says what matters in a network, and how it looks at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from explorer.settings.records import validate
from explorer.settings.rules import number, one_of, text
from explorer.settings.values import FILE

SENSITIVITIES = ("perturbation", "measured_kl")


@dataclass(frozen=True, slots=True, kw_only=True)
class RelevanceSettings:
    """How the relevance of filters and weights is computed, and how complete it must be.

    `method` is a name in `explorer.relevance.criteria.CRITERIA`. `reference` is what images are compared with, by its
    name or as a file with one image, `target` which logit is explained, `aggregation` how the scores of single images
    become one. `sensitivity` is what a search's seeds take for the loss by each single choice: its "perturbation"
    weighted by relevance, or the divergence of the outputs that it causes, "measured_kl".
    """

    SECTION: ClassVar[str] = "relevance"
    AFFECTS_RESULTS: ClassVar[bool] = True
    method: Annotated[str, text("the name of a criterion")] = "deeplift"
    target: Annotated[str, text("the name of a target")] = "predicted"
    tolerance: Annotated[float, number(0, 1e6, above=True)] = 1e-3
    reference: Annotated[str, FILE] = "shuffled"
    aggregation: Annotated[str, text("the name of an aggregation")] = "mean_abs"
    sensitivity: Annotated[str, one_of(*SENSITIVITIES)] = "perturbation"

    def __post_init__(self) -> None:
        validate(self, self.SECTION)
