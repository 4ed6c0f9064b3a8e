"""What images are compared with where the user gives no image: the references by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

REFERENCES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "shuffled": lambda images: images.roll(1, dims=0),
    "zero": lambda images: images.new_zeros(images.shape),
    "mean": lambda images: images.mean(0, keepdim=True).expand_as(images),
}
"""Name to function from an input (N x ...) to a reference for each image; "shuffled" is another image of the sample."""
