"""From the [data] settings to the images of a study."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from explorer.data.draws import permutation
from explorer.data.images import Data, ImageSet, ReadSets
from explorer.dotted import resolve
from explorer.errors import DataError
from explorer.settings import SOURCES, DataSettings


def load_data(
    settings: DataSettings, input_shape: tuple[int, int, int] | None = None, folder: str | Path = "."
) -> Data:
    """Load, check, normalise and split the images; the same settings give the same sets.

    Sets with a published test split, and folders of images, give train from their training images, and search and
    held_out from their test images. Images of a folder are resized to `input_shape`, the network's (C, H, W), where it
    is given.

    Args:
        folder: Where relative paths start.

    Raises:
        DataError: Where the images cannot be read, or are fewer than the settings ask for.
    """
    sets: ReadSets = resolve(SOURCES[settings.source].read)(settings, folder, input_shape)
    train = normalise(sets.train, settings)
    return Data(
        name=":".join(part for part in (settings.source, settings.path, settings.function) if part is not None),
        num_classes=sets.num_classes,
        class_names=sets.class_names,
        train=train,
        search=normalise(sets.search, settings),
        held_out=normalise(sets.held_out, settings),
        calibration=_draw(train, "calibration", settings.calibration, settings.split_seed),
        relevance=_draw(train, "relevance", settings.relevance, settings.split_seed),
        settings=settings,
    )


def normalise(images: ImageSet, settings: DataSettings) -> ImageSet:
    """Return images less the mean of each channel, through its standard deviation; several inputs as they are.

    Raises:
        DataError: The settings are of another number of channels or inputs.
    """
    if len(images.inputs) > 1:
        if settings.mean is not None or settings.std is not None:
            given = len(images.inputs)
            raise DataError(
                f"data.{'std' if settings.mean is None else 'mean'}: expected none for {given} inputs, received one; "
                "normalise them in data.function"
            )
        return images
    channels = images.images.shape[1]
    scale = dict(zip(("mean", "std"), settings.normalisation(channels), strict=True))
    for key, values in scale.items():
        if len(values) != channels:
            raise DataError(
                f"data.{key}: expected one value for each of the {channels} channels, received {len(values)}"
            )
    along = (channels, *(1,) * (images.images.ndim - 2))
    shift, divisor = (np.asarray(scale[key], np.float32).reshape(along) for key in ("mean", "std"))
    normalised = np.subtract(images.images, shift, dtype=np.float32)
    normalised /= divisor
    return ImageSet(inputs=(normalised,), targets=images.targets)


def _draw(train: ImageSet, key: str, count: int, seed: int) -> ImageSet:
    if count > len(train):
        raise DataError(f"data.{key}: expected at most the {len(train)} training images, received {count}")
    return train.take(permutation(len(train), seed, key)[:count])
