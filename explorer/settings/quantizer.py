"""The [quantizer] section: how scales, codes and ranges are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from explorer.errors import StudyFileError
from explorer.settings.records import validate
from explorer.settings.rules import boolean, number, one_of
from explorer.settings.values import COUNT

SCALE_GRANULARITIES = ("channel", "tensor")
ROUNDINGS = ("nearest", "adaptive", "ecq", "ecqx")
COMPENSATIONS = ("none", "merge", "static", "propagated")
RANGES = ("mse", "percentile")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizerSettings:
    """How the numbers of a candidate become integers; the defaults are what a search can afford.

    `scale_granularity`: a scale for each output channel of a weight, or one for the whole "tensor". `rounding`: each
    weight to the "nearest" code, or "adaptive": the codes of a layer together, so that their errors cancel in its
    output (seconds for a small network, for every candidate), "ecq": the code of least squared error in steps and
    `entropy_rate` times the bits that it takes at its layer's entropy, or "ecqx": the same with the cost of 0 times the
    weight's relevance over its layer's mean, |weight times multiplier| by [relevance] (Becking et al., 2022; weights
    that share values take the nearest of them).

    `compensation`: whether layers are made anew, so that their outputs come close to those of the whole float network
    although filters, inputs and weights were removed: "none"; "merge", without images, by adding what filters that go
    give to filters that are made alike (Srinivas and Babu, 2015); "static", solved for on what the layers read in the
    float network, which takes a solve for each layer; or "propagated", on what they read in the candidate's own, which
    takes a pass. Adaptive rounding needs one of the last two, and takes a pass where "none" is said. Both look at the
    first `rounding_images` calibration images. `front_compensation`: with which of them the networks of the front, and
    all that are exported, are built once the search is over; None for the same.

    `power_of_two`: all scales are powers of two, those of weights once batch norms are folded, and zero points are 0
    or in the middle of the codes, so that hardware shifts in place of multiplying. The scales are of least squared
    error. There is no adaptive rounding, propagated compensation or fine-tuning then, which change scales.

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
    entropy_rate: Annotated[float, number(0, 100)] = 0.1
    rounding_images: Annotated[int, COUNT] = 256
    compensation: Annotated[str, one_of(*COMPENSATIONS)] = "none"
    front_compensation: Annotated[str | None, one_of(*COMPENSATIONS)] = None
    power_of_two: Annotated[bool, boolean()] = False
    activation_ranges: Annotated[str, one_of(*RANGES)] = "mse"
    activation_percentile: Annotated[float, number(50, 100)] = 99.99
    bias_correction: Annotated[bool, boolean()] = True
    recalibration_images: Annotated[int | None, COUNT] = None

    def __post_init__(self) -> None:
        validate(self, self.SECTION)
        for key in ("compensation", "front_compensation"):
            if self.rounding == "adaptive" and getattr(self, key) == "merge":
                problem = 'expected no merging with adaptive rounding, which solves for layers, received "merge"'
                raise StudyFileError((f'quantizer.{key}: {problem}; use "static", or another rounding',))
        changes = self.rounding == "adaptive" or "propagated" in (self.compensation, self.front_compensation)
        if self.power_of_two and changes:
            problem = 'expected false with rounding "adaptive" or compensation "propagated", which change scales'
            raise StudyFileError((f"quantizer.power_of_two: {problem}, received true",))

    def check_scales(self, others: Mapping[str, bool]) -> None:
        """Refuse powers of two where one of these keys, of other sections, finds scales otherwise.

        Raises:
            StudyFileError: Names them.
        """
        given = [key for key, is_given in others.items() if is_given]
        if self.power_of_two and given:
            problem = f"expected false with {' and '.join(given)}, by which scales are found otherwise, received true"
            raise StudyFileError((f"quantizer.power_of_two: {problem}",))

    @property
    def fitting(self) -> str:
        """How layers of the networks that are kept are made to fit; "propagated" with adaptive rounding and "none"."""
        chosen = self.front_compensation or self.compensation
        return "propagated" if self.rounding == "adaptive" and chosen == "none" else chosen
