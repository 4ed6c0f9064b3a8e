"""The [quantizer] section: how scales, codes and ranges are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from explorer.settings.records import validate
from explorer.settings.rules import boolean, number, one_of
from explorer.settings.values import COUNT

SCALE_GRANULARITIES = ("channel", "tensor")
ROUNDINGS = ("nearest", "adaptive")
COMPENSATIONS = ("none", "static", "propagated")
RANGES = ("mse", "percentile")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizerSettings:
    """How the numbers of a candidate become integers; the defaults are what a search can afford.

    `scale_granularity`: a scale for each output channel of a weight, or one for the whole "tensor". `rounding`: each
    weight to the "nearest" code, or "adaptive": the codes of a layer together, so that their errors cancel in its
    output (seconds for a small network, for every candidate). `compensation`: whether layers are solved for anew, so
    that their outputs come closest to those of the whole float network although filters, inputs and weights were
    removed: "none"; "static", on what the layers read in the float network, which takes a solve for each layer; or
    "propagated", on what they read in the candidate's own, which takes a pass. Adaptive rounding needs one of the two,
    and takes a pass where "none" is said. Both look at the first `rounding_images` calibration images.
    `front_compensation`: with which of them the networks of the front are built once the search is over; None for the
    same.
    `activation_ranges`: of least squared error ("mse"), or all but the share 1 - `activation_percentile` / 100 of the
    values ("percentile"). `bias_correction` takes the mean shift of the outputs off the bias where no batch norm does
    (Nagel et al., 2019). `recalibration_images`: how many of the calibration images correct batch norms and biases,
    None for all.
    """

    SECTION: ClassVar[str] = "quantizer"
    AFFECTS_RESULTS: ClassVar[bool] = True
    RENAMED: ClassVar[Mapping[str, str]] = {"scales": "scale_granularity"}
    scale_granularity: Annotated[str, one_of(*SCALE_GRANULARITIES)] = "channel"
    rounding: Annotated[str, one_of(*ROUNDINGS)] = "nearest"
    rounding_images: Annotated[int, COUNT] = 256
    compensation: Annotated[str, one_of(*COMPENSATIONS)] = "none"
    front_compensation: Annotated[str | None, one_of(*COMPENSATIONS)] = None
    activation_ranges: Annotated[str, one_of(*RANGES)] = "mse"
    activation_percentile: Annotated[float, number(50, 100)] = 99.99
    bias_correction: Annotated[bool, boolean()] = True
    recalibration_images: Annotated[int | None, COUNT] = None

    def __post_init__(self) -> None:
        validate(self, self.SECTION)

    @property
    def fitting(self) -> str:
        """How layers are solved for: "none", "static" or "propagated", which adaptive rounding is by default."""
        return "propagated" if self.rounding == "adaptive" and self.compensation == "none" else self.compensation
