"""Reading image files as one array of pixels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explorer.errors import DataError
from explorer.npz import MEMORY_LIMIT

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""Tried whatever the name says; no others, some of which would start another program."""
MODES = {1: "L", 3: "RGB"}
"""Pillow's mode for so many channels."""
WIDE_MODES = ("I", "F")
"""Of pixels of more than 8 bits, which Pillow would clip to 255."""


def read_images(paths: Sequence[Path], shape: tuple[int, int, int] | None) -> NDArray[np.float32]:
    """Return pixels scaled to 0..1, `n x channels x height x width`, resized to `shape` (C, H, W), else as they are.

    C is 1 (grey) or 3 (RGB, also without `shape`, when all images need one size). Images are resized along each side by
    itself, linearly and with antialiasing (Pillow's BILINEAR). As in torchvision's ImageFolder, transparency and the
    camera's orientation are ignored; of an animation the first frame counts. All take at most MEMORY_LIMIT.

    Raises:
        DataError: Names the file.
    """
    if shape is not None and shape[0] not in MODES:
        raise DataError(f"model.input_shape: images of a folder have 1 or 3 channels, received {shape[0]}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if shape is not None:
            _check_size(len(paths), shape)
        first = _read_image(paths[0], shape)
        _check_size(len(paths), first.shape)
        images = np.empty((len(paths), *first.shape), np.float32)
        for index, path in enumerate(paths):
            pixels = _read_image(path, shape)
            if pixels.shape != first.shape:
                raise DataError(
                    f"{path}: {_size(pixels)} pixels, but {paths[0]} has {_size(first)}; bring all images to one size, "
                    "or set model.input_shape, to which they are resized"
                )
            images[index] = pixels
    images /= np.float32(255)
    return images


def _check_size(count: int, shape: tuple[int, ...]) -> None:
    """Raise DataError where so many images of a shape would take too much memory, before one is made that large."""
    size = count * math.prod(shape) * np.dtype(np.float32).itemsize
    if size > MEMORY_LIMIT:
        raise DataError(
            f"data.path: {count} images of {' x '.join(map(str, shape))} take {size / 2**30:,.1f} GiB, expected at "
            f"most {MEMORY_LIMIT / 2**30:,.1f} on this machine; take fewer (data.train, data.search, data.held_out), "
            "or smaller ones (model.input_shape)"
        )


def _read_image(path: Path, shape: tuple[int, int, int] | None) -> NDArray[np.uint8]:
    """Return the pixels of one image, `channels x height x width`."""
    channels, height, width = shape or (3, 0, 0)
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.mode.startswith(WIDE_MODES):
                raise DataError(f"{path}: pixels of more than 8 bits (mode {image.mode}); convert it to 8 bits")
            converted = image.convert(MODES[channels])
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"{path}: far too large for an image of a data set; make it smaller") from None
    except Exception as error:  # a decoder that is given damaged data raises errors of any kind
        reason = " ".join(str(error).replace(f" {str(path)!r}", "").split()) or type(error).__name__
        raise DataError(f"{path}: cannot be read as an image ({reason}); write it again, or remove it") from None
    if shape is not None and converted.size != (width, height):
        converted = converted.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(converted)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _size(pixels: NDArray[np.uint8]) -> str:
    """Return the width x height."""
    return f"{pixels.shape[2]} x {pixels.shape[1]}"
