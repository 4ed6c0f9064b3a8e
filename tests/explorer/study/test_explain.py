"""The relevance of a study's network, and the images and filters whose pixels are looked at."""

from __future__ import annotations

import runpy
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from explorer.errors import RelevanceError
from explorer.study.explain import Explained, Wanted, explain
from explorer.study.study_file import Study, load_study

TINY = Path(__file__).parents[2] / "tiny_study"


def quiet(stage: str, done: int, total: int) -> None:
    """Show nothing."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny study, and one for what is kept."""
    root = tmp_path_factory.mktemp("explain")
    shutil.copytree(TINY, root / "tiny", ignore=shutil.ignore_patterns("__pycache__"))
    runpy.run_path(str(TINY / "shapes.py"))["write"](root / "tiny" / "images.npz")
    (root / "run").mkdir()
    return root


@pytest.fixture(scope="module")
def study(root: Path) -> Study:
    return load_study(root / "tiny")


@pytest.fixture(scope="module")
def found(study: Study, root: Path) -> Explained:
    """What is shown of three images where nothing is named."""
    return explain(study, Wanted(count=3), root / "run", quiet)


@pytest.fixture(scope="module")
def as_stored(root: Path) -> NDArray[np.uint8]:
    """The training images in 0..255, before normalisation."""
    with np.load(root / "tiny" / "images.npz") as archive:
        stored: NDArray[np.uint8] = np.rint(255 * np.clip(archive["x_train"][:, 0], 0, 1)).astype(np.uint8)
    return stored


def test_images_are_of_different_classes_first(found: Explained) -> None:
    assert Counter(image.label for image in found.images[:2]) == {0: 1, 1: 1}
    assert len(found.images) == 3
    assert all(image.explained == found.relevance.explained[image.index] for image in found.images)


def test_filters_are_the_most_relevant_of_all_layers_but_the_last(found: Explained) -> None:
    assert [layer for layer, _ in found.filters] == ["0", "3"]
    for layer, index in found.filters:
        assert index == int(found.relevance.layer(layer).filter_scores.argmax())


def test_maps_add_up_to_the_table_of_the_relevance(found: Explained) -> None:
    for image in found.images:
        table = [found.relevance.layer(layer).contributions[image.index, index] for layer, index in found.filters]
        assert image.maps.sum((1, 2)) == pytest.approx(table, rel=1e-3, abs=1e-4)
        last = found.relevance.layers[-1].contributions[image.index, image.explained]
        assert image.whole.sum() == pytest.approx(last, rel=1e-3)


@pytest.mark.parametrize("normalisation", [None, (0.3, 0.7)])
def test_images_look_as_they_were_before_normalisation(
    study: Study, tmp_path: Path, as_stored: NDArray[np.uint8], normalisation: tuple[float, float] | None
) -> None:
    if normalisation is not None:
        mean, std = normalisation
        study = replace(study, data=replace(study.data, mean=(mean,), std=(std,)))
    for image in explain(study, Wanted(count=2), tmp_path, quiet).images:
        for shown in (image.pixels, image.reference):
            assert shown.shape == (8, 8, 3)
            assert (shown == shown[..., :1]).all()
            assert (shown[..., 0] == as_stored).all((1, 2)).any()


def test_of_a_class_only_its_images_count(study: Study, found: Explained, root: Path) -> None:
    number = found.relevance.explained[4]
    some = explain(study, Wanted(of_class=number), root / "run", quiet)
    assert some.relevance.samples == found.relevance.explained.count(number)
    assert {image.explained for image in some.images} == {number}
    assert {found.relevance.explained[image.index] for image in some.images} == {number}


def test_scores_do_not_need_what_pixels_need(study: Study, root: Path) -> None:
    """DeepLIFT that does not add up (here: by a tolerance that nothing keeps) leaves the pixels out."""
    other = replace(study, relevance=replace(study.relevance, method="l1", tolerance=1e-30))
    found = explain(other, Wanted(), root / "run", quiet)
    assert (found.images, found.relevance.method) == ((), "l1")
    assert "DeepLIFT is not complete on this network" in found.left_out
    with pytest.raises(RelevanceError, match="not complete"):
        explain(replace(other, relevance=replace(other.relevance, method="deeplift")), Wanted(), root / "run", quiet)


def test_what_is_not_there_is_refused_before_the_training(study: Study, tmp_path: Path) -> None:
    stages: list[str] = []
    for wanted in (Wanted(filters=(("3", 6),)), Wanted(images=(16,)), Wanted(of_class=2)):
        with pytest.raises(RelevanceError, match="expected"):
            explain(study, wanted, tmp_path / "new", lambda stage, *_: stages.append(stage))
    assert set(stages) == {"load data"}
    assert not (tmp_path / "new").exists()
