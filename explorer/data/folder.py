"""The images of a folder with one folder for each class, with every way in which it can be wrong."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.data.decode import read_images
from explorer.data.draws import permutation
from explorer.data.images import ImageSet, ReadSets
from explorer.data.splits import split_published
from explorer.errors import DataError
from explorer.settings import DataSettings

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
DEBRIS = ("thumbs.db", "desktop.ini", "__macosx")
"""What Windows and macOS leave behind beside hidden files."""
TEST_SHARE = 0.2
"""Of each class's images, where the folder has no test part of its own (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Files:
    """Image files, and the label of each."""

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: NDArray[np.intp]) -> Files:
        """Return the files at these indices, in their order."""
        return Files(paths=tuple(self.paths[index] for index in indices), labels=self.labels[indices])


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolder:
    """The images of a folder: class names in the order of their labels, and the files of both parts."""

    classes: tuple[str, ...]
    train: Files
    test: Files


def read_folder(settings: DataSettings, folder: str | Path, input_shape: tuple[int, int, int] | None) -> ReadSets:
    """Read the images of a folder that are in one of the sets, resized to `input_shape` (C, H, W) where it is given."""
    path = settings.find_file(folder)
    assert path is not None  # the settings demand it
    found = find_images(path, settings.test_share, settings.split_seed)
    parts = {"its training part": len(found.train), "its test part": len(found.test)}
    train, search, held_out = split_published(parts, settings, path)
    chosen = (found.train.take(train), found.test.take(search), found.test.take(held_out))
    images = read_images([file for files in chosen for file in files.paths], input_shape)
    ends = np.cumsum([len(files) for files in chosen])
    sets = [
        ImageSet(inputs=(part,), targets=files.labels)
        for part, files in zip(np.split(images, ends[:-1]), chosen, strict=True)
    ]
    return ReadSets(
        train=sets[0], search=sets[1], held_out=sets[2], num_classes=len(found.classes), class_names=found.classes
    )


def find_images(folder: Path, test_share: float | None, seed: int) -> ImageFolder:
    """Find `train/<class>/*` and `test/<class>/*`, or `<class>/*`, of which a share becomes the test part.

    Labels count the class names in alphabetical order. Without train and test folders, `test_share` (0.2 where it is
    None) of the images of every class, fixed by `seed`, is the test part. Hidden files and what Windows and macOS leave
    behind are skipped; anything else that is not an image is refused, so that none is left out unnoticed. Beside train
    and test folders, other entries are not looked at.

    Raises:
        DataError: Names the file and what to do.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; set data.path to a folder of images")
    parts = [name for name in ("train", "test") if (folder / name).is_dir()]
    if not parts:
        classes = _read_part(folder)
        _at_least_two(folder, classes)
        return _divided(folder, classes, TEST_SHARE if test_share is None else test_share, seed)
    if len(parts) == 1:
        missing = "test" if parts == ["train"] else "train"
        raise DataError(f"{folder}: {parts[0]} without {missing}; name the other part's folder {folder / missing}")
    if test_share is not None:
        raise DataError(f"data.test_share: {folder / 'test'} holds the test images; remove the key")
    train, test = (_read_part(folder / name) for name in ("train", "test"))
    for known, other, place in ((train, test, "test"), (test, train, "train")):
        lacking = sorted(known.keys() - other.keys())
        if lacking:
            raise DataError(
                f"{folder / place}: no folder for class {_named(lacking)}; train and test need the same classes"
            )
    _at_least_two(folder / "train", train)
    return ImageFolder(classes=tuple(train), train=_files(train.values()), test=_files(test.values()))


def _read_part(folder: Path) -> dict[str, list[Path]]:
    """Return the image files of every class, by the name of its folder."""
    classes = {}
    for entry in _entries(folder):
        if not entry.is_dir():
            raise DataError(f"{entry}: not a folder; images belong into a folder with the name of their class")
        classes[entry.name] = _read_class(entry)
    return classes


def _at_least_two(folder: Path, classes: Collection[str]) -> None:
    if len(classes) < 2:
        held = f"only class {_named([*classes])}" if classes else "nothing"
        raise DataError(f"{folder}: expected one folder of images for each of at least two classes, received {held}")


def _read_class(folder: Path) -> list[Path]:
    files = []
    for entry in _entries(folder):
        if entry.is_dir():
            raise DataError(f"{entry}: a folder within that of a class; put its images into {folder}")
        if entry.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"{entry}: not an image by its name (those end on {', '.join(SUFFIXES)}); convert it, or take it away"
            )
        if not entry.is_file():
            raise DataError(f"{entry}: not a file that can be read; take it away")
        files.append(entry)
    if not files:
        raise DataError(f"{folder}: no images; add some, or remove the folder of this class")
    return files


def _entries(folder: Path) -> list[Path]:
    """Return what a folder holds, by name, without what is hidden."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from None
    entries = [folder / name for name in names if not name.startswith(".") and name.lower() not in DEBRIS]
    for entry in entries:
        if entry.is_symlink() and not os.path.exists(entry):  # noqa: PTH110  (Path.exists raises on a loop in 3.11)
            raise DataError(f"{entry}: a link to nowhere or in a circle; remove it")
    return entries


def _divided(folder: Path, classes: dict[str, list[Path]], share: float, seed: int) -> ImageFolder:
    """Take a share of every class for the test part, and leave at least one image in each part."""
    train, test = [], []
    for name, files in classes.items():
        if len(files) < 2:
            raise DataError(f"{folder / name}: 1 image; a class needs one for training and one for testing at least")
        count = min(max(1, round(share * len(files))), len(files) - 1)
        order = permutation(len(files), seed, f"class {name}")
        test.append([files[index] for index in sorted(order[:count])])
        train.append([files[index] for index in sorted(order[count:])])
    return ImageFolder(classes=tuple(classes), train=_files(train), test=_files(test))


def _files(classes: Iterable[list[Path]]) -> Files:
    """Return the files of all classes, in the order of their labels."""
    members = list(classes)
    labels = np.repeat(np.arange(len(members)), [len(files) for files in members])
    return Files(paths=tuple(path for files in members for path in files), labels=labels.astype(np.int64))


def _named(names: Sequence[str]) -> str:
    """Return the first name, and how many more there are."""
    return repr(names[0]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")
