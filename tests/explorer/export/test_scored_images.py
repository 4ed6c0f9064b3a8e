"""What --data of explorer verify means: which images these are, how they are normalised, what their labels count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer.data.load import load_data
from explorer.errors import DataError
from explorer.evaluate.mean_score import MeanScore
from explorer.export.record import Record
from explorer.export.scored_images import read_images
from explorer.settings import DataSettings

GREY = (1, 4, 4)


def write_folder(folder: Path, classes: tuple[str, ...], count: int = 5, parts: tuple[str, ...] = ("",)) -> Path:
    """Grey images, each of one value of its own, by class."""
    for part in parts:
        for number, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = np.full((4, 4), 50 * number + index, np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{index}.png")
    return folder


def make_record(settings: DataSettings, classes: tuple[str, ...] = ()) -> Record:
    """What an export of a study with these images records."""
    data = load_data(settings, GREY)
    (mean, std) = settings.normalisation(1)
    split = {key: getattr(settings, key) for key in ("train", "search", "held_out", "split_seed", "test_share")}
    return Record(
        point="p01",
        study="tests",
        device="bitfusion",
        shapes=(GREY,),
        data={"source": settings.source, **split},
        mean=mean,
        std=std,
        classes=classes or data.class_names,
        score_name="accuracy",
        score=MeanScore(value=0.5, num_images=len(data.held_out)),
        images=data.held_out.digest(),
        layers="",
    )


@pytest.fixture
def settings(tmp_path: Path) -> DataSettings:
    folder = write_folder(tmp_path / "photos", ("cat", "dog", "eel"))
    return DataSettings(
        source="folder", path=str(folder), calibration=1, relevance=1, test_share=0.6, mean=(0.2,), std=(0.5,)
    )


def test_the_images_that_were_held_out_are_found_again_among_all(settings: DataSettings) -> None:
    expected = load_data(settings, GREY).held_out
    given = read_images(str(settings.path), make_record(settings), (GREY,))
    assert given.are_held_out
    assert np.array_equal(given.images.images, expected.images)
    assert np.array_equal(given.images.targets, expected.targets)
    assert given.normalised == "pixels in 0..1, less 0.2, through 0.5, as the artefact says"


def test_of_other_images_all_are_scored_normalised_as_the_artefact_says(settings: DataSettings, tmp_path: Path) -> None:
    own = write_folder(tmp_path / "own", ("cat", "dog"), count=3)
    given = read_images(str(own), make_record(settings), (GREY,))
    assert (given.are_held_out, len(given.images), given.told) == (False, 6, "all images of own")
    values = sorted((value / 255 - 0.2) / 0.5 for value in (0, 1, 2, 50, 51, 52))
    assert np.allclose(np.sort(given.images.images[:, 0, 0, 0]), values)


def test_of_a_folder_with_parts_the_test_part_is_scored(settings: DataSettings, tmp_path: Path) -> None:
    own = write_folder(tmp_path / "own", ("cat", "dog"), count=3, parts=("train", "test"))
    given = read_images(str(own), None, (GREY,))
    assert (len(given.images), given.told) == (6, "the images of own/test")


def test_labels_go_by_the_names_of_the_classes_that_the_artefact_has(settings: DataSettings, tmp_path: Path) -> None:
    own = write_folder(tmp_path / "own", ("dog", "eel"), count=2)
    given = read_images(str(own), make_record(settings), (GREY,))
    assert sorted(given.images.targets) == [1, 1, 2, 2]
    other = write_folder(tmp_path / "other", ("dog", "emu"), count=2)
    with pytest.raises(DataError, match=r"other: has a class 'emu', but the network tells cat, dog, eel apart; rename"):
        read_images(str(other), make_record(settings), (GREY,))


def test_a_study_gives_its_held_out_images_and_its_score(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import numpy as np\n"
        "def read():\n"
        "    one = np.arange(32, dtype=np.float32).reshape(2, 1, 4, 4), np.array([0.0, 1.0], np.float32)\n"
        "    return one, one, one\n"
        "def closeness(outputs, targets):\n"
        "    return 1 / (1 + (outputs[:, 0] - targets).square())\n"
        "def build():\n"
        "    from torch import nn\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(16, 1))\n"
    )
    (tmp_path / "study.toml").write_text(
        '[study]\nname = "own"\n[model]\nfactory = "own:build"\n[model.training]\nepochs = 1\n'
        '[data]\nsource = "function"\nfunction = "own:read"\ncalibration = 1\nrelevance = 1\n'
        '[score]\nfunction = "own:closeness"\n[device]\nprofile = "bitfusion"\n'
        '[objectives]\nnames = ["closeness", "energy"]\n'
    )
    for given in (tmp_path, tmp_path / "study.toml"):
        found = read_images(str(given), None, None)
        assert found.study is not None
        assert (len(found.images), found.study.score.called) == (2, "closeness")
        assert found.normalised == "what own:read returns, as they are, as data.source 'function' does"
    with pytest.raises(
        DataError, match=r"data: expected digits, mnist, cifar10, a folder of images, .* received 'own'"
    ):
        read_images("own", None, None)


def test_a_recorded_split_that_the_images_do_not_have_is_no_error(settings: DataSettings, tmp_path: Path) -> None:
    """Another folder of the same kind may have fewer images than were held out."""
    record = make_record(settings)
    few = write_folder(tmp_path / "few", ("cat", "dog"), count=2)
    assert record.data is not None
    found = read_images(str(few), replace(record, data={**record.data, "held_out": 500}), (GREY,))
    assert len(found.images) == 4
