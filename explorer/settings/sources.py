"""Where images can come from: the one table of sources, each with what a study may leave out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, of pixels scaled to 0..1."""

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""ImageNet's statistics, which torchvision's networks and published CIFAR-10 checkpoints of ResNets expect."""
GIVEN = "given"
"""The source of images that no file names, since they were given in Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source of images.

    Attributes:
        read: "module:function", called with the settings, the study's folder and the network's input shape or None;
            returns a `ReadSets`.
        splits: Images in train (None: all), search and held_out (None: half of the test images each).
        normalisation: By the number of channels; plain where there is none.
        optional_splits: Whether search and held_out may be left out.
        needs: Keys of [data] that must be given.
        takes: Keys of [data] that may be given and that not every source takes.
    """

    read: str
    splits: tuple[int | None, int | None, int | None] = (None, None, None)
    optional_splits: bool = True
    normalisation: Mapping[int, Normalisation] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    takes: tuple[str, ...] = ()

    def normalise(self, channels: int) -> Normalisation:
        """Return mean and standard deviation of so many channels."""
        return self.normalisation.get(channels, ((0.0,) * channels, (1.0,) * channels))


SOURCES: Mapping[str, Source] = {
    "digits": Source(
        read="explorer.data.digits:read_digits", splits=(997, 400, 400), normalisation={1: ((0.0,), (1.0,))}
    ),
    "mnist": Source(
        read="explorer.data.archive:read_published",
        splits=(None, 5000, 5000),
        normalisation={1: ((0.1307,), (0.3081,))},
        takes=("path",),
    ),
    "cifar10": Source(
        read="explorer.data.archive:read_published",
        splits=(None, 5000, 5000),
        normalisation={3: _IMAGENET},
        takes=("path",),
    ),
    "npz": Source(
        read="explorer.data.archive:read_published", optional_splits=False, needs={"path": "the path of a .npz file"}
    ),
    "folder": Source(
        read="explorer.data.folder:read_folder",
        normalisation={1: ((0.5,), (0.5,)), 3: _IMAGENET},  # of grey images to -1..1: assumed
        needs={"path": "the path of a folder of images"},
        takes=("test_share",),
    ),
    "function": Source(
        read="explorer.data.function:read_function",
        needs={"function": '"module:function", which returns the images'},
    ),
    GIVEN: Source(read="explorer.data.given:refuse_given"),
}
