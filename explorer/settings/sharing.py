"""The [sharing] section: how the weights of a layer come to share values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from explorer.settings.records import validate
from explorer.settings.rules import one_of, text

GRANULARITIES = ("layer", "channel")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingSettings:
    """What has a codebook, and what a weight's squared error counts when its values are chosen.

    `granularity`: each layer has one codebook, or each output channel one of its own, of the layer's codebook size.
    `weighting`: every weight counts 1 ("plain"), or the multiplier of a criterion, that of the study ("relevance") or a
    named one: with "deeplift" E|G|, the change of the target logit for a unit of the weight, with "fisher" the root
    mean square of the loss's gradient. The relevance |G w| itself is no choice: it gives large weights all centroids,
    and small ones, of which there are most, none.
    """

    SECTION: ClassVar[str] = "sharing"
    AFFECTS_RESULTS: ClassVar[bool] = True
    RENAMED: ClassVar[Mapping[str, str]] = {"scope": "granularity"}
    granularity: Annotated[str, one_of(*GRANULARITIES)] = "layer"
    weighting: Annotated[str, text("the name of a weighting")] = "plain"

    def __post_init__(self) -> None:
        validate(self, self.SECTION)

    @property
    def codebook_granularity(self) -> Literal["layer", "channel"]:
        """`granularity` as a candidate states it."""
        return "channel" if self.granularity == "channel" else "layer"
