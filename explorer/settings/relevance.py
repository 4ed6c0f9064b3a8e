"""The [relevance] section: which criterion says what matters in a network, and how it looks at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from explorer.settings.records import validate
from explorer.settings.rules import Rule, number, one_of, refused
from explorer.settings.values import FILE

RELEVANCE_METHODS = (
    "deeplift",
    "captum_deeplift",
    "taylor",
    "fisher",
    "obs",
    "hessian_trace",
    "integrated_gradients",
    "conductance",
    "lrp",
    "l1",
    "l2",
    "bn_gamma",
    "similarity",
    "activation_mean",
    "layer_importance",
    "sqnr",
    "random",
)
RELEVANCE_TARGETS = ("predicted", "true", "contrast")
RELEVANCE_AGGREGATIONS = ("mean_abs", "mean_elementwise_abs", "abs_mean", "mean", "rms", "max_abs")
RELEVANCE_SENSITIVITIES = ("perturbation", "measured_kl")
RELEVANCE_REFERENCES = ("shuffled", "zero", "mean")


def _reference() -> Rule:
    names = " or ".join(f'"{name}"' for name in RELEVANCE_REFERENCES)
    expected = f"{names} or the path of a .npy file with one normalised image"

    def read(value: Any, where: str) -> str:
        if value in RELEVANCE_REFERENCES:
            return str(value)
        if isinstance(value, str) and value.endswith(".npy"):
            return str(FILE.read(value, where))
        raise refused(where, expected, value)

    return Rule(expected, read)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelevanceSettings:
    """How the relevance of filters and weights is computed, and how complete it must be.

    `reference` is what images are compared with, `target` which logit is explained, `aggregation` how the scores
    of single images become one. `sensitivity` is what a search's seeds take for the loss by each single choice: its
    "perturbation" weighted by relevance, or the divergence of the outputs that it causes, "measured_kl".
    """

    SECTION: ClassVar[str] = "relevance"
    AFFECTS_RESULTS: ClassVar[bool] = True
    method: Annotated[str, one_of(*RELEVANCE_METHODS)] = "deeplift"
    target: Annotated[str, one_of(*RELEVANCE_TARGETS)] = "predicted"
    tolerance: Annotated[float, number(0, 1e6, above=True)] = 1e-3
    reference: Annotated[str, _reference()] = "shuffled"
    aggregation: Annotated[str, one_of(*RELEVANCE_AGGREGATIONS)] = "mean_abs"
    sensitivity: Annotated[str, one_of(*RELEVANCE_SENSITIVITIES)] = "perturbation"

    def __post_init__(self) -> None:
        validate(self, self.SECTION)
