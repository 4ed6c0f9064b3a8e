"""The [finetuning] section: how the weights of a chosen candidate are trained further, and on which images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from explorer.settings.records import validate
from explorer.settings.rules import boolean, integer, number, one_of
from explorer.settings.values import COUNT, FUNCTION, LEARNING_RATE, SHARE, WEIGHT_DECAY


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuningSettings:
    """How a candidate is fine-tuned; images are augmented as in training, and by `crop_pixels`.

    `crop_pixels` moves images by up to so many whole pixels, black coming in. In the share `mixup` of the batches each
    image is a mix with another one, in shares drawn evenly for the batch, and labels count by these shares (Zhang et
    al., 2018); the teacher sees the mix itself (Beyer et al., 2022). With `teacher`, the share `teacher_weight` of the
    loss is the cross-entropy to the float network's class probabilities at `temperature` (Hinton et al., 2015, times
    temperature squared), the rest that to the labels; outputs that are no classes are held to the teacher's by their
    squared difference, relative to its spread. To the teacher's share comes `feature_weight` times how far what layers
    read is from what they read in the teacher. Norms use the statistics of
    each batch and follow them ("batch"), or stay as they are ("frozen"). With `learn_scales` the scales of weights and
    activations are trained, too (Esser et al., 2020). `loss` is the user's own function of (outputs, targets), that of
    [model.training] where it is None. The share `held_aside` of the training images is not trained on: of the network
    at the start and after each epoch, that of least loss on them is kept; with 0 it is the last one. Weights at steps
    are priced by their code length so that they come to take the share `coded_share` of the bytes that they took; their
    learning rate is in each layer in proportion to the square of its step (with adam to the step). With "bfloat16" as
    `arithmetic` layers multiply numbers of 8 significant bits and sum them in float32, in teacher and network alike;
    parameters, losses and what is deployed are float32 as ever.
    """

    SECTION: ClassVar[str] = "finetuning"
    AFFECTS_RESULTS: ClassVar[bool] = False
    epochs: Annotated[int, integer(1, 10_000)] = 5
    optimizer: Annotated[str, one_of("adam", "sgd")] = "adam"
    learning_rate: Annotated[float, LEARNING_RATE] = 0.0005
    batch_size: Annotated[int, COUNT] = 64
    weight_decay: Annotated[float, WEIGHT_DECAY] = 0.0
    shift_pixels: Annotated[float, number(0, 64)] = 0.0
    rotate_degrees: Annotated[float, number(0, 180)] = 0.0
    zoom: Annotated[float, number(0, 0.5)] = 0.0
    crop_pixels: Annotated[int, integer(0, 64)] = 0
    flip: Annotated[bool, boolean()] = False
    mixup: Annotated[float, number(0, 1)] = 0.0
    teacher: Annotated[bool, boolean()] = True
    teacher_weight: Annotated[float, number(0, 1)] = 0.9
    temperature: Annotated[float, number(1e-3, 1e3)] = 4.0
    feature_weight: Annotated[float, number(0, 1e6)] = 10.0
    batch_norm: Annotated[str, one_of("batch", "frozen")] = "batch"
    learn_scales: Annotated[bool, boolean()] = True
    held_aside: Annotated[float, number(0, 0.5)] = 0.05
    coded_share: Annotated[float, SHARE] = 1.0
    loss: Annotated[str | None, FUNCTION] = None
    arithmetic: Annotated[str, one_of("float32", "bfloat16")] = "float32"

    def __post_init__(self) -> None:
        validate(self, self.SECTION)
