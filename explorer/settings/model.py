"""The [model] section: which network, with its weights or how to train them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from explorer.errors import StudyFileError
from explorer.settings.records import table, validate
from explorer.settings.rules import arguments, boolean, integer, many, number, one_of, text
from explorer.settings.values import COUNT, FILE, FUNCTION, LEARNING_RATE, WEIGHT_DECAY

LONGEST_SIDE = 65_535
"""Of an image, in pixels, and its most channels: what a JPEG can have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How a network without a checkpoint is trained.

    Images are augmented: moved, turned and zoomed by up to `shift_pixels`, `rotate_degrees` and the share `zoom`,
    and with `flip` mirrored half of the time. `loss` is the user's own function of (outputs, targets), cross entropy of
    class numbers where it is None.
    """

    SECTION: ClassVar[str] = "model.training"
    epochs: Annotated[int, integer(1, 10_000)] = 30
    optimizer: Annotated[str, one_of("adam", "sgd")] = "adam"
    learning_rate: Annotated[float, LEARNING_RATE] = 0.003
    batch_size: Annotated[int, COUNT] = 64
    weight_decay: Annotated[float, WEIGHT_DECAY] = 0.0001
    shift_pixels: Annotated[float, number(0, 64)] = 0.0
    rotate_degrees: Annotated[float, number(0, 180)] = 0.0
    zoom: Annotated[float, number(0, 0.5)] = 0.0
    flip: Annotated[bool, boolean()] = False
    loss: Annotated[str | None, FUNCTION] = None

    def __post_init__(self) -> None:
        validate(self, self.SECTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Which network: a reference network or the user's own factory, with its weights or how to train them.

    `input_shape` is (C, H, W), taken from the data when None. The factory's module is looked for beside the study
    file first.
    """

    SECTION: ClassVar[str] = "model"
    AFFECTS_RESULTS: ClassVar[bool] = True
    reference: Annotated[str | None, text("the name of a reference network")] = None
    factory: Annotated[str | None, FUNCTION] = None
    arguments: Annotated[tuple[tuple[str, Any], ...], arguments()] = ()
    checkpoint: Annotated[str | None, FILE] = None
    input_shape: Annotated[tuple[int, int, int] | None, many(integer(1, LONGEST_SIDE), length=3)] = None
    training: Annotated[TrainingSettings | None, table(TrainingSettings)] = None

    def __post_init__(self) -> None:
        validate(self, self.SECTION)
        problems = []
        if (self.reference is None) == (self.factory is None):
            received = "neither" if self.reference is None else "both"
            problems.append(f"model: expected exactly one of reference and factory, received {received}")
        if self.reference is not None and self.arguments:
            problems.append("model.arguments: only a factory takes arguments; remove them, or name a factory")
        if self.checkpoint is None and self.training is None:
            problems.append("model: the network has no weights; give checkpoint, or how to train in [model.training]")
        if problems:
            raise StudyFileError(tuple(problems))
