"""Records for images: a set with what a network is to give for each, and the sets of a study."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from explorer.digests import digest
from explorer.settings import DataSettings

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSet:
    """Images, and a target for each.

    `inputs` has one array for each argument of forward(); of a single one N x channels x height x width, in general
    N x .... Targets (N x ...) are class numbers (N, int64), or what else a score function takes: masks, values.
    """

    inputs: tuple[NDArray[np.float32], ...]
    targets: NDArray[Any]
    references: NDArray[np.float32] | None = None
    """The float network's outputs (N x ...), where networks are scored by these and not by the targets."""

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def images(self) -> NDArray[np.float32]:
        """The only input."""
        (images,) = self.inputs
        return images

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of each input of one image."""
        return tuple(array.shape[1:] for array in self.inputs)

    def take(self, indices: NDArray[np.intp] | slice) -> ImageSet:
        """Return the images at these indices, in their order."""
        inputs = tuple(array[indices] for array in self.inputs)
        references = None if self.references is None else self.references[indices]
        return ImageSet(inputs=inputs, targets=self.targets[indices], references=references)

    def tensors(self, torch_device: torch.device) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Return inputs and targets as tensors on the device."""
        import torch  # noqa: PLC0415  (images are read and split without it)

        inputs = tuple(torch.from_numpy(array).to(torch_device) for array in self.inputs)
        return inputs, torch.from_numpy(self.targets).to(torch_device)

    def scored(self, torch_device: torch.device) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Return inputs, and what outputs are scored by: references where there are any, else targets."""
        return (self if self.references is None else replace(self, targets=self.references)).tensors(torch_device)

    def digest(self) -> str:
        """Return a digest of shapes, pixels and targets."""
        labels = self.targets.ndim == 1 and self.targets.dtype == np.int64
        described = "" if labels else f"{self.targets.dtype}{self.targets.shape}"
        shapes = "".join(repr(array.shape) for array in self.inputs)
        return digest(shapes, *self.inputs, described, self.targets)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadSets:
    """What a source gives: three disjoint sets, not normalised yet.

    `num_classes` is None where targets are not class numbers; `class_names` may be empty.
    """

    train: ImageSet
    search: ImageSet
    held_out: ImageSet
    num_classes: int | None
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Data:
    """The images of a study, normalised; the three sets are disjoint, calibration and relevance are of train.

    Where targets are class numbers, they lie in 0..num_classes-1, and a class may have no image; `num_classes` is None
    where they are not. `class_names` has the name of each class, or nothing where they have none.
    """

    name: str
    num_classes: int | None
    train: ImageSet
    search: ImageSet
    held_out: ImageSet
    calibration: ImageSet
    relevance: ImageSet
    class_names: tuple[str, ...] = ()
    settings: DataSettings | None = None
    """What it was read by; None of images that were given in Python."""

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of each input of one image; of a single one (channels, height, width)."""
        return self.train.input_shapes
