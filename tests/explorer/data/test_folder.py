"""Folders of images: both layouts, and each way in which one can be wrong."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from explorer.data import decode
from explorer.data.decode import read_images
from explorer.data.folder import find_images
from explorer.data.load import load_data
from explorer.errors import DataError, StudyFileError
from explorer.settings import DataSettings


def save(path: Path, value: int | tuple[int, ...] = 0, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> Path:
    """An image of one colour; `size` is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)
    return path


def both_parts(folder: Path, train: int = 6, test: int = 4) -> Path:
    """train/ and test/ of two classes: image i is grey value i, those of dogs start at 100, test images at 50."""
    for part, count, start in (("train", train, 0), ("test", test, 50)):
        for name, more in (("dog", 100), ("cat", 0)):
            for index in range(count):
                value = start + more + index
                save(folder / part / name / f"{index}.png", (value, value, value))
    return folder


def settings(folder: Path, **changes: Any) -> DataSettings:
    options: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3, "calibration": 2, "relevance": 2, **changes}
    return DataSettings(source="folder", path=str(folder), **options)


def values(images: NDArray[np.float32]) -> list[int]:
    """The grey value of each image, of pixels in 0..255."""
    return [round(float(image[0, 0, 0])) for image in images]


def test_labels_are_the_class_names_in_order(tmp_path: Path) -> None:
    data = load_data(settings(both_parts(tmp_path)))
    assert (data.num_classes, data.class_names, data.input_shapes) == (2, ("cat", "dog"), ((3, 4, 6),))
    assert data.train.images.dtype == np.float32
    assert sorted(values(data.train.images)) == [*range(6), *range(100, 106)]
    for images in (data.train, data.search, data.held_out):
        assert [int(value >= 100) for value in values(images.images)] == images.targets.tolist()


def test_test_images_are_halved_where_nothing_is_said(tmp_path: Path) -> None:
    folder = both_parts(tmp_path)
    data = load_data(settings(folder))
    assert [len(data.search), len(data.held_out)] == [4, 4]
    found = [*values(data.search.images), *values(data.held_out.images)]
    assert sorted(found) == [*range(50, 54), *range(150, 154)]
    for changes, expected in (
        ({"search": 5}, [5, 3]),
        ({"held_out": 1}, [7, 1]),
        ({"search": 2, "held_out": 3}, [2, 3]),
    ):
        data = load_data(settings(folder, **changes))
        assert [len(data.search), len(data.held_out)] == expected


def test_without_parts_a_share_of_each_class_is_for_testing(tmp_path: Path) -> None:
    for name, count, start in (("b", 20, 100), ("a", 10, 0), ("c", 2, 200)):
        for index in range(count):
            value = start + index
            save(tmp_path / name / f"{value}.png", (value, value, value))
    data = load_data(settings(tmp_path, test_share=0.3))
    train, test = data.train.targets, np.concatenate((data.search.targets, data.held_out.targets))
    assert (np.bincount(train).tolist(), np.bincount(test).tolist()) == ([7, 14, 1], [3, 6, 1])
    every = values(np.concatenate((data.train.images, data.search.images, data.held_out.images)))
    assert sorted(every) == [*range(10), *range(100, 120), 200, 201]
    assert load_data(settings(tmp_path, test_share=0.3)).train.digest() == data.train.digest()
    other = load_data(settings(tmp_path, test_share=0.3, split_seed=1))
    assert set(values(other.train.images)) != set(values(data.train.images))
    assert len(find_images(tmp_path, None, 0).test) == 2 + 4 + 1


def test_a_class_keeps_its_split_when_another_one_comes(tmp_path: Path) -> None:
    for name in ("b", "c"):
        for index in range(10):
            save(tmp_path / name / f"{index}.png", index)
    before = set(find_images(tmp_path, 0.3, 0).test.paths)
    save(tmp_path / "a" / "0.png")
    save(tmp_path / "a" / "1.png")
    assert before < set(find_images(tmp_path, 0.3, 0).test.paths)


def test_what_is_hidden_or_beside_both_parts_is_not_looked_at(tmp_path: Path) -> None:
    both_parts(tmp_path)
    for name in ("README.md", "train/.DS_Store", "train/cat/.hidden.png", "train/cat/Thumbs.db", "test/desktop.ini"):
        (tmp_path / name).write_text("no image")
    (tmp_path / "train" / ".git").mkdir()
    assert len(load_data(settings(tmp_path)).train) == 12


def test_links_to_images_and_classes_are_followed(tmp_path: Path) -> None:
    both_parts(tmp_path / "photos")
    save(tmp_path / "elsewhere" / "7.png", (7, 7, 7))
    (tmp_path / "photos" / "train" / "cat" / "link.png").symlink_to(tmp_path / "elsewhere" / "7.png")
    for part in ("train", "test"):
        (tmp_path / "photos" / part / "eel").symlink_to(tmp_path / "elsewhere")
    data = load_data(settings(tmp_path / "photos"))
    assert data.class_names == ("cat", "dog", "eel")
    assert values(data.train.images).count(7) == 2


def test_pixels_are_scaled_and_kept_in_their_places(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    images = read_images([tmp_path / "a.png"] * 2, None)
    assert images.shape == (2, 3, 4, 6)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images[1], pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(read_images([tmp_path / "a.png"], (3, 4, 6)), images[:1])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize(("shape", "expected"), [((3, 4, 6), 3), ((1, 4, 6), 1), (None, 3)])
def test_every_mode_becomes_rgb_or_grey(
    mode: str, shape: tuple[int, int, int] | None, expected: int, tmp_path: Path
) -> None:
    image = Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode)
    image.save(tmp_path / "a.tif")
    images = read_images([tmp_path / "a.tif"], shape)
    assert images.shape == (1, expected, 4, 6)
    assert (images == 1).all()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".tif", ".tiff", ".webp", ".PNG"])
def test_usual_formats_are_read(suffix: str, tmp_path: Path) -> None:
    images = read_images([save(tmp_path / f"a{suffix}", (250, 250, 250), (16, 8))], None)
    assert images.shape == (1, 3, 8, 16)
    np.testing.assert_allclose(images, 250 / 255, atol=3 / 255)


def test_images_are_resized_to_the_shape_of_the_network(tmp_path: Path) -> None:
    left_white = np.zeros((8, 16, 3), np.uint8)
    left_white[:, :8] = 255
    Image.fromarray(left_white).save(tmp_path / "a.png")
    images = read_images([tmp_path / "a.png", save(tmp_path / "b.png", (255, 255, 255), (3, 5))], (3, 4, 8))
    assert images.shape == (2, 3, 4, 8)
    assert (images[0, :, :, :3] == 1).all()
    assert (images[0, :, :, 5:] == 0).all()
    assert (images[1] == 1).all()


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(tmp_path / "a.png", transparency=b"\x80\x40")
    assert (read_images([tmp_path / "a.png"], None) == 1).all()


def test_normalisation_defaults_to_that_of_torchvision(tmp_path: Path) -> None:
    folder = both_parts(tmp_path)
    data = load_data(settings(folder, mean=None, std=None))
    value = float(data.train.images.min(axis=0)[0, 0, 0]) * 0.229 + 0.485
    assert value == pytest.approx(0, abs=1e-6)
    grey = load_data(settings(folder, mean=None, std=None), (1, 4, 6))
    assert grey.input_shapes == ((1, 4, 6),)
    assert float(grey.train.images.min()) == -1.0


def spoilt(change: Callable[[Path], object]) -> Callable[[Path], Path]:
    """Both parts, with something changed."""

    def build(folder: Path) -> Path:
        change(both_parts(folder))
        return folder

    return build


def empty(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def without(folder: Path, *names: str) -> None:
    """Hide these folders."""
    for name in names:
        (folder / name).rename(folder / f".{name.replace('/', '-')}")


def cut(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:3000])


def bomb(path: Path) -> None:
    """A PNG that says to be 30,000 x 30,000 pixels large."""
    data = save(path).read_bytes()
    header = b"IHDR" + (30_000).to_bytes(4, "big") * 2 + data[24:29]
    crc = zlib.crc32(header).to_bytes(4, "big")
    path.write_bytes(data[:12] + header + crc + data[33:])


WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no folder": (lambda folder: folder / "nowhere", r"nowhere: no such folder; set data\.path to a folder of images"),
    "a file": (lambda folder: save(folder / "a.png"), r"a\.png: no such folder; set data\.path"),
    "nothing": (empty, r"expected one folder of images for each of at least two classes, received nothing"),
    "one class": (
        spoilt(lambda folder: without(folder, "train/cat", "test/cat")),
        r"train: expected one folder .* at least two classes, received only class 'dog'",
    ),
    "one part": (
        spoilt(lambda folder: (folder / "test").rename(folder / "val")),
        r"train without test; name the other part's folder .*test$",
    ),
    "class without test": (
        spoilt(lambda folder: without(folder, "test/cat")),
        r"test: no folder for class 'cat'; train and test need the same classes",
    ),
    "class without training": (
        spoilt(lambda folder: save(folder / "test" / "eel" / "0.png")),
        r"train: no folder for class 'eel'; train and test need the same classes",
    ),
    "empty class": (
        spoilt(lambda folder: (folder / "train" / "eel").mkdir()),
        r"train/eel: no images; add some, or remove the folder of this class",
    ),
    "image beside classes": (
        spoilt(lambda folder: save(folder / "train" / "0.png")),
        r"train/0\.png: not a folder; images belong into a folder with the name of their class",
    ),
    "no image": (
        spoilt(lambda folder: (folder / "train" / "cat" / "notes.txt").write_text("cats")),
        r"train/cat/notes\.txt: not an image by its name \(those end on \.png, .*\); convert it, or take it away",
    ),
    "folder in a class": (
        spoilt(lambda folder: save(folder / "train" / "cat" / "more" / "0.png")),
        r"train/cat/more: a folder within that of a class; put its images into .*train/cat",
    ),
    "link in a circle": (
        spoilt(lambda folder: (folder / "train" / "cat" / "a.png").symlink_to(folder / "train" / "cat" / "a.png")),
        r"train/cat/a\.png: a link to nowhere or in a circle; remove it",
    ),
    "link to its own folder": (
        spoilt(lambda folder: (folder / "train" / "cat" / "self").symlink_to(folder / "train" / "cat")),
        r"train/cat/self: a folder within that of a class",
    ),
    "link of a class to all": (
        spoilt(lambda folder: (folder / "train" / "all").symlink_to(folder / "train")),
        r"train/all/all: a folder within that of a class|train/all/cat: a folder within that of a class",
    ),
    "link to nowhere": (
        spoilt(lambda folder: (folder / "train" / "gone").symlink_to(folder / "no such folder")),
        r"train/gone: a link to nowhere",
    ),
    "text in an image": (
        spoilt(lambda folder: (folder / "train" / "cat" / "0.png").write_text("no pixels")),
        r"train/cat/0\.png: cannot be read as an image \(cannot identify image file\); write it again, or remove it",
    ),
    "empty image": (
        spoilt(lambda folder: (folder / "test" / "dog" / "1.png").write_bytes(b"")),
        r"test/dog/1\.png: cannot be read as an image",
    ),
    "cut image": (
        spoilt(lambda folder: cut(folder / "train" / "dog" / "3.png")),
        r"train/dog/3\.png: cannot be read as an image \(.+\); write it again",
    ),
    "cut JPEG": (
        spoilt(lambda folder: cut(folder / "train" / "dog" / "9.jpg")),
        r"train/dog/9\.jpg: cannot be read as an image \(.+\); write it again",
    ),
    "PostScript": (
        spoilt(lambda folder: (folder / "train" / "dog" / "9.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%EOF\n")),
        r"train/dog/9\.png: cannot be read as an image",
    ),
    "enormous image": (
        spoilt(lambda folder: bomb(folder / "train" / "cat" / "2.png")),
        r"train/cat/2\.png: far too large for an image of a data set; make it smaller",
    ),
    "16 bits": (
        spoilt(lambda folder: save(folder / "train" / "cat" / "2.png", 70, mode="I;16")),
        r"train/cat/2\.png: pixels of more than 8 bits \(mode I;16\); convert it to 8 bits",
    ),
    "another size": (
        spoilt(lambda folder: save(folder / "train" / "cat" / "2.png", size=(4, 6))),
        r"\.png: \d x \d pixels, but .*\.png has \d x \d; bring all images to one size, or set model\.input_shape",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_folder_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    build, expected = WRONG[name]
    folder = build(tmp_path / "photos")
    with pytest.raises(DataError, match=expected) as caught:
        load_data(settings(folder))
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


def test_a_class_of_one_image_cannot_be_divided(tmp_path: Path) -> None:
    for index in range(3):
        save(tmp_path / "a" / f"{index}.png")
    save(tmp_path / "b" / "0.png")
    with pytest.raises(DataError, match="b: 1 image; a class needs one for training and one for testing at least"):
        find_images(tmp_path, None, 0)


@pytest.mark.parametrize(
    ("changes", "shape", "expected"),
    [
        ({"train": 13}, None, r"data\.train: expected at most the 12 images of its training part in .*, received 13"),
        ({"search": 5, "held_out": 4}, None, r"expected at most the 8 images of its test part in .*, received 5 \+ 4"),
        ({"search": 8}, None, r"expected at least one image in each, received 8 \+ 0 of 8 test images; add images"),
        ({"held_out": 9}, None, r"expected at least one image in each, received 0 \+ 9 of 8 test images"),
        ({"calibration": 13}, None, r"data\.calibration: expected at most the 12 training images, received 13"),
        ({"mean": (0.5,), "std": (0.5,)}, None, r"data\.mean: expected one value for each of the 3 channels"),
        ({"test_share": 0.3}, None, r"data\.test_share: .*test holds the test images; remove the key"),
        ({}, (4, 4, 6), r"model\.input_shape: images of a folder have 1 or 3 channels, received 4"),
    ],
)
def test_settings_that_do_not_fit_the_folder_are_refused(
    changes: dict[str, Any], shape: tuple[int, int, int] | None, expected: str, tmp_path: Path
) -> None:
    folder = both_parts(tmp_path)
    with pytest.raises(DataError, match=expected):
        load_data(settings(folder, **changes), shape)


def test_more_images_than_memory_is_taken_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = both_parts(tmp_path)
    monkeypatch.setattr(decode, "MEMORY_LIMIT", 12 * 3 * 4 * 6 * 4 - 1)
    assert len(load_data(settings(folder, train=3)).train) == 3
    expected = r"data\.path: 20 images of 3 x 4 x 6 take 0\.0 GiB, expected at most 0\.0 on this machine; take fewer "
    with pytest.raises(DataError, match=expected):
        load_data(settings(folder))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"source": "folder"}, r'data\.path: missing; source "folder" needs the path of a folder of images'),
        ({"source": "digits", "test_share": 0.3}, r'data\.test_share: only source "folder" takes it; remove it'),
        (
            {"source": "folder", "path": "a", "test_share": 1.0},
            r"data\.test_share: expected a number above 0 and of at",
        ),
    ],
)
def test_keys_that_do_not_fit_the_source_are_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(StudyFileError, match=expected):
        DataSettings(**options)
