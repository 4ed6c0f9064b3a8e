"""Records for images: a labelled set, and the sets of a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from explorer.digests import digest

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSet:
    """Labelled images: `images` is an `n x channels x height x width` float32 array, `labels` n int64."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.intp] | slice) -> ImageSet:
        """The images at these indices, in their order."""
        return ImageSet(images=self.images[indices], labels=self.labels[indices])

    def tensors(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images and labels as tensors on the device."""
        import torch  # noqa: PLC0415  (images are read and split without it)

        return torch.from_numpy(self.images).to(device), torch.from_numpy(self.labels).to(device)

    def digest(self) -> str:
        """SHA-256 over shape, pixels and labels, first 16 hexadecimal digits."""
        return digest(repr(self.images.shape), self.images, self.labels)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Data:
    """The images of a study, normalised; the three sets are disjoint, calibration and relevance are of train.

    `input_shape` is (channels, height, width); labels lie in 0..classes-1, and a class may have no image.
    `class_names` has the name of each label, or nothing where they have none.
    """

    name: str
    classes: int
    input_shape: tuple[int, int, int]
    train: ImageSet
    search: ImageSet
    held_out: ImageSet
    calibration: ImageSet
    relevance: ImageSet
    class_names: tuple[str, ...] = ()
