"""The [compute] section: where networks are computed, and how many images at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from explorer.settings.records import validate
from explorer.settings.rules import one_of
from explorer.settings.values import COUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeSettings:
    """The torch device ("auto": CUDA where there is one), and how many images it scores at once."""

    SECTION: ClassVar[str] = "compute"
    AFFECTS_RESULTS: ClassVar[bool] = False
    device: Annotated[str, one_of("cpu", "cuda", "auto")] = "auto"
    batch_size: Annotated[int, COUNT] = 256

    def __post_init__(self) -> None:
        validate(self, self.SECTION)
