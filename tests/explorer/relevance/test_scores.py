"""Relevance records: storage without pickle, digests, and the filter order that follows."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from explorer.compress.apply import CompressionContext
from explorer.errors import RelevanceError
from explorer.graph.layers import ModelGraph
from explorer.relevance.scores import LayerRelevance, Relevance, order_filters, score_classes


def compute_relevance(graph: ModelGraph, seed: int = 0) -> Relevance:
    draw = np.random.default_rng(seed)
    return Relevance(
        method="captum_deeplift",
        reference="zero",
        target="true",
        aggregation="mean_abs",
        samples=4,
        explained=(0, 1, 1, 2),
        completeness=1e-6,
        layers=tuple(
            LayerRelevance(
                layer=layer.name,
                filter_scores=draw.random(layer.out_channels).astype(np.float32),
                weight_multipliers=draw.random((layer.out_channels, 2)).astype(np.float32),
                input_multipliers=draw.random(layer.in_channels).astype(np.float32),
                contributions=draw.normal(size=(4, layer.out_channels)).astype(np.float32),
                magnitudes=draw.random((4, layer.out_channels)).astype(np.float32),
            )
            for layer in graph.layers
        ),
    )


def test_a_file_holds_everything_without_pickle(context: Callable[[str], CompressionContext], tmp_path: Path) -> None:
    relevance = compute_relevance(context("mixed").graph)
    path = tmp_path / "relevance.npz"
    relevance.save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["relevance.npz"]
    again = Relevance.load(path)
    assert again.digest() == relevance.digest()
    for key in ("method", "reference", "target", "aggregation", "samples", "explained", "completeness"):
        assert getattr(again, key) == getattr(relevance, key)
    for one, other in zip(relevance.layers, again.layers, strict=True):
        assert one.layer == other.layer
        for key in ("filter_scores", "weight_multipliers", "input_multipliers", "contributions", "magnitudes"):
            assert np.array_equal(getattr(one, key), getattr(other, key))
    with zipfile.ZipFile(path) as archive:
        headers = [archive.read(name)[:128] for name in archive.namelist()]
    assert not any(b"'|O'" in header for header in headers)


def test_the_digest_follows_every_part(context: Callable[[str], CompressionContext]) -> None:
    graph = context("mixed").graph
    relevance, other_scores = compute_relevance(graph), compute_relevance(graph, seed=1)
    changed = [replace(relevance, samples=13), replace(relevance, target="predicted"), other_scores]
    assert len({item.digest() for item in (relevance, *changed)}) == 4


def test_a_corrupted_file_is_refused(context: Callable[[str], CompressionContext], tmp_path: Path) -> None:
    path = tmp_path / "relevance.npz"
    compute_relevance(context("mixed").graph).save(path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    broken = [b"", b"junk", whole[:-200], whole[:middle], whole[:middle] + bytes(60) + whole[middle + 60 :]]
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(RelevanceError, match=r"relevance\.npz: not a relevance file .*; delete it to compute"):
            Relevance.load(path)


def test_other_npy_and_npz_files_and_pickles_are_refused(tmp_path: Path) -> None:
    array, archive, pickled = tmp_path / "array.npz", tmp_path / "archive.npz", tmp_path / "pickled.npz"
    with array.open("wb") as file:
        np.save(file, np.zeros(3))
    np.savez(archive, description=np.array('{"layers": [], "colour": 1}'))
    np.savez(pickled, description=np.array([{"layers": []}], dtype=object))
    for path in (array, archive, pickled, tmp_path / "missing.npz"):
        with pytest.raises(RelevanceError, match=f"{path.name}: not a relevance file"):
            Relevance.load(path)


def test_the_order_of_filters_is_by_hand(context: Callable[[str], CompressionContext]) -> None:
    """A class counts every filter that it would remove: those of the block's end and of its shortcut."""
    graph = context("projection").graph
    relevance = compute_relevance(graph)
    scores, order = score_classes(graph, relevance), order_filters(graph, relevance)
    both = relevance.layer("b2").filter_scores + relevance.layer("shortcut").filter_scores
    classes = graph.layer("b2").output_classes
    assert [scores[identity] for identity in classes] == pytest.approx(both.tolist())
    assert list(order["b2"]) == [classes[i] for i in np.argsort(-both)]
    assert set(order) == {group.name for group in graph.prunable}
    for group in graph.prunable:
        assert sorted(order[group.name]) == sorted(group.classes)


def test_ties_go_in_channel_order(context: Callable[[str], CompressionContext]) -> None:
    graph = context("projection").graph
    relevance = compute_relevance(graph)
    flat = tuple(replace(entry, filter_scores=np.ones_like(entry.filter_scores)) for entry in relevance.layers)
    order = order_filters(graph, replace(relevance, layers=flat))
    assert all(list(classes) == sorted(classes) for classes in order.values())


def test_an_unknown_layer_is_refused(context: Callable[[str], CompressionContext]) -> None:
    with pytest.raises(RelevanceError, match="nothing is known of layer 'conv9'"):
        compute_relevance(context("mixed").graph).layer("conv9")


def test_scores_of_one_class_are_those_of_its_images(context: Callable[[str], CompressionContext]) -> None:
    relevance = compute_relevance(context("mixed").graph)
    one = relevance.of_class(1)
    assert (one.samples, one.explained) == (2, (1, 1))
    for entry, whole in zip(one.layers, relevance.layers, strict=True):
        assert np.array_equal(entry.contributions, whole.contributions[1:3])
        assert np.array_equal(entry.filter_scores, np.abs(whole.contributions[1:3]).mean(0))
        assert np.array_equal(entry.weight_multipliers, whole.weight_multipliers)
    with pytest.raises(RelevanceError, match="none of the 4 images is explained as class 7"):
        relevance.of_class(7)
