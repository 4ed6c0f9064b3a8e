"""The [deep_compression] section: how far a network is pruned and shared before it is coded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from explorer.errors import StudyFileError
from explorer.settings.records import named_tables, validate
from explorer.settings.rules import integer
from explorer.settings.values import COUNT, SHARE

VALUES = integer(2, 256)
WIDTH = integer(2, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepLayer:
    """What differs for the layer of that name; None is as for all layers of its kind."""

    layer: str
    kept: Annotated[float | None, SHARE] = None
    values: Annotated[int | None, VALUES] = None

    def __post_init__(self) -> None:
        validate(self, f"deep_compression.layers.{self.layer}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepCompressionSettings:
    """Prune, share, code, after Han et al. (ICLR 2016); learning rate and the like are those of [finetuning].

    The share of weights kept falls from 1 over `rounds` rounds, each to the same share of the round before, and each
    fine-tuned for `round_epochs`; then weights come to share values, zero among them, and are fine-tuned for
    `sharing_epochs`. A layer whose width has no more codes than it may have values shares nothing. By default, kept
    shares are those of AlexNet there, and values those of the 8 and 5 bits that lost no accuracy.
    """

    SECTION: ClassVar[str] = "deep_compression"
    AFFECTS_RESULTS: ClassVar[bool] = False
    kept_convolutions: Annotated[float, SHARE] = 0.37
    kept_linear: Annotated[float, SHARE] = 0.1
    values_convolutions: Annotated[int, VALUES] = 256
    values_linear: Annotated[int, VALUES] = 32
    rounds: Annotated[int, integer(1, 100)] = 4
    round_epochs: Annotated[int, COUNT] = 2
    sharing_epochs: Annotated[int, COUNT] = 2
    weight_bits: Annotated[int, WIDTH] = 8
    activation_bits: Annotated[int, WIDTH] = 8
    layers: Annotated[tuple[DeepLayer, ...], named_tables(DeepLayer)] = ()

    def __post_init__(self) -> None:
        validate(self, self.SECTION)

    def refuse_unknown(self, layers: Sequence[str]) -> None:
        """Raise StudyFileError where something is said of a layer that is none of a network's `layers`."""
        unknown = [entry.layer for entry in self.layers if entry.layer not in layers]
        if unknown:
            known = f"the network has no such layer; it has {', '.join(layers)}"
            raise StudyFileError(tuple(f"deep_compression.layers.{name}: {known}" for name in unknown))

    def kept(self, layer: str, convolution: bool) -> float:
        """Return the share of a layer's weights that are left in the end."""
        own = next((entry.kept for entry in self.layers if entry.layer == layer), None)
        return own or (self.kept_convolutions if convolution else self.kept_linear)

    def values(self, layer: str, convolution: bool) -> int:
        """Return how many values a layer's weights share."""
        own = next((entry.values for entry in self.layers if entry.layer == layer), None)
        return own or (self.values_convolutions if convolution else self.values_linear)
