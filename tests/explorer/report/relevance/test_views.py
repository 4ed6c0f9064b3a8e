"""What is shown of relevance: numbers of layers and filters, figures, the table, the CSV file and the page's data."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from explorer.compress.apply import CompressionContext
from explorer.graph.layers import ModelGraph
from explorer.relevance.aggregation import aggregate
from explorer.relevance.scores import LayerRelevance, Relevance
from explorer.report.relevance.figures import BLANK, draw_classes, draw_filters
from explorer.report.relevance.page import collect_page_data, render_relevance, write_relevance_page
from explorer.report.relevance.tables import COLUMNS, build_layer_table, write_filters_csv
from explorer.report.relevance.views import RelevanceView, build_relevance_view
from explorer.study.explain import Explained, ExplainedImage

CLASSES = (2, 0, 2, 1)
"""What four images are explained as."""


def _relevance(graph: ModelGraph, aggregation: str = "mean_abs") -> Relevance:
    random = np.random.default_rng(3)
    layers = []
    for layer in graph.layers:
        table = random.normal(size=(len(CLASSES), layer.out_channels)).astype(np.float32)
        layers.append(
            LayerRelevance(
                layer=layer.name,
                filter_scores=aggregate(table, abs(table), aggregation),
                weight_multipliers=np.ones(1, np.float32),
                input_multipliers=np.ones(layer.in_channels, np.float32),
                contributions=table,
                magnitudes=abs(table),
            )
        )
    return Relevance(
        method="deeplift",
        reference="shuffled",
        target="predicted",
        aggregation=aggregation,
        samples=len(CLASSES),
        completeness=2.5e-7,
        explained=CLASSES,
        layers=tuple(layers),
    )


def _image(filters: int) -> ExplainedImage:
    """Three rows of two pixels; the last map is empty."""
    maps = np.zeros((filters, 3, 2), np.float32)
    maps[0] = [[0.5, -2.0], [0.0, 0.25], [0.0, 0.0]]
    return ExplainedImage(
        index=7,
        label=2,
        explained=0,
        pixels=np.arange(18, dtype=np.uint8).reshape(3, 2, 3),
        reference=np.zeros((3, 2, 3), np.uint8),
        whole=np.ones((3, 2), np.float32),
        maps=maps,
    )


@pytest.fixture
def explained(context: Callable[[str], CompressionContext]) -> Explained:
    """A residual network with synthetic scores, and one image with two filters."""
    graph = context("option_a").graph
    return Explained(
        title="Study <b>",
        graph=graph,
        relevance=_relevance(graph),
        of_class=None,
        scores_filters=True,
        has_classes=True,
        class_names=("cat", "dog"),
        filters=(("conv", 1), ("stage2.conv1", 0)),
        images=(_image(2),),
        left_out="",
    )


@pytest.fixture
def view(explained: Explained) -> RelevanceView:
    return build_relevance_view(explained)


def test_layers_have_their_share_and_how_it_is_spread(explained: Explained, view: RelevanceView) -> None:
    assert [layer.name for layer in view.layers] == list(explained.graph.layer_names)
    assert sum(layer.share for layer in view.layers) == pytest.approx(1.0)
    for shown, entry in zip(view.layers, explained.relevance.layers, strict=True):
        scores = sorted(entry.filter_scores.tolist(), reverse=True)
        top = -(-len(scores) // 4)
        assert shown.concentration == pytest.approx(sum(scores[:top]) / sum(scores), rel=1e-6)
        assert shown.highest == scores[0]
        assert shown.mean == pytest.approx(sum(scores) / len(scores), rel=1e-6)
        assert [shown.scores[index] for index in shown.ranking] == scores


def test_filters_have_the_group_that_they_are_pruned_with(explained: Explained, view: RelevanceView) -> None:
    groups = {group.name: group for group in explained.graph.groups}
    for shown in view.layers:
        classes = explained.graph.layer(shown.name).output_classes
        assert all(identity in groups[group].classes for identity, group in zip(classes, shown.groups, strict=True))
    together = {layer.groups for layer in view.layers if layer.name in {"conv", "stage1.conv2"}}
    assert len(together) == 1


def test_classes_have_the_images_that_are_explained_as_them(explained: Explained, view: RelevanceView) -> None:
    shown, entry = view.layers[1], explained.relevance.layers[1]
    assert [(part.name, part.num_images) for part in shown.classes] == [("cat", 1), ("dog", 1), ("2", 2)]
    assert shown.classes[1].scores == pytest.approx(abs(entry.contributions[3]).tolist())
    assert shown.classes[2].scores == pytest.approx(abs(entry.contributions[[0, 2]]).mean(0).tolist())


def test_maps_have_their_sum_and_the_size_of_full_colour(view: RelevanceView) -> None:
    (image,) = view.images
    assert (image.index, image.label, image.explained) == (7, "2", "cat")
    whole, first, empty = image.maps
    assert (whole.total, whole.full) == (6.0, 1.0)
    assert first.values == ((0.5, -2.0), (0.0, 0.25), (0.0, 0.0))
    assert first.total == -1.25
    assert 0.5 < first.full < 2.0
    assert (empty.total, empty.full) == (0.0, 0.0)


def test_one_pixel_that_counts_has_full_colour(explained: Explained) -> None:
    """Where almost all are zero, the quantile would be zero, too."""
    maps = np.zeros((2, 20, 20), np.float32)
    maps[0, 3, 4] = -3.0
    image = replace(explained.images[0], whole=maps[0], maps=maps)
    assert build_relevance_view(replace(explained, images=(image,))).images[0].maps[1].full == 3.0


def test_figures_in_both_orders_and_scales(view: RelevanceView) -> None:
    width = max(len(layer.scores) for layer in view.layers)
    by_rank, by_channel = (draw_filters(view, order, "network").data[0] for order in ("score", "channel"))
    assert list(by_rank["y"]) == [layer.name for layer in view.layers]
    assert (by_rank["x0"], by_channel["x0"]) == (1, 0)
    for row, layer in enumerate(view.layers):
        count = len(layer.scores)
        expected = [layer.scores[index] for index in layer.ranking]
        assert by_rank["z"][row][:count] == pytest.approx(expected, rel=1e-3)
        assert by_channel["z"][row][:count] == pytest.approx(layer.scores, rel=1e-3)
        assert list(by_rank["z"][row][count:]) == [None] * (width - count)
        assert (
            f"filter {layer.ranking[0]}<br>score {layer.highest:.4g}, rank 1 of {count}" in by_rank["hovertext"][row][0]
        )
        assert by_channel["hovertext"][row][2].startswith(f"<b>{layer.name}</b> filter 2<br>")
    assert by_rank["zmax"] == pytest.approx(max(layer.highest for layer in view.layers), rel=1e-3)
    over = draw_filters(view, "score", "layer")
    assert [row[0] for row in over.data[0]["z"]] == [1.0] * len(view.layers)
    assert (over.data[0]["zmin"], over.data[0]["zmax"]) == (0.0, 1.0)
    assert over.layout.plot_bgcolor == BLANK
    assert over.layout.yaxis.autorange == "reversed"


def test_colours_diverge_from_zero_where_scores_have_signs(explained: Explained) -> None:
    view = build_relevance_view(replace(explained, relevance=_relevance(explained.graph, "mean")))
    for scale in ("layer", "network"):
        shown = draw_filters(view, "channel", scale).data[0]
        assert shown["zmin"] == -shown["zmax"] < 0.0
        assert min(value for row in shown["z"] for value in row if value is not None) >= shown["zmin"]


def test_the_figure_of_classes(view: RelevanceView) -> None:
    layer = view.layers[3]
    shown = draw_classes(layer).data[0]
    assert list(shown["y"]) == ["cat (1)", "dog (1)", "2 (2)"]
    assert [list(row) for row in shown["z"]] == [pytest.approx(part.scores, rel=1e-3) for part in layer.classes]


def test_a_layer_without_relevance_has_none(explained: Explained) -> None:
    layers = explained.relevance.layers
    silent = replace(layers[0], filter_scores=np.zeros_like(layers[0].filter_scores))
    found = build_relevance_view(
        replace(explained, relevance=replace(explained.relevance, layers=(silent, *layers[1:])))
    )
    assert (found.layers[0].share, found.layers[0].concentration) == (0.0, 0.0)
    assert set(draw_filters(found, "score", "layer").data[0]["z"][0]) <= {0.0, None}


def test_what_could_be_taken_wrongly_is_said(explained: Explained, view: RelevanceView) -> None:
    assert view.notes == ()
    silent = [replace(layer, contributions=layer.contributions[:0]) for layer in explained.relevance.layers]
    other = replace(explained.relevance, method="l1", completeness=None, layers=tuple(silent))
    found = build_relevance_view(replace(explained, relevance=other))
    assert found.notes == (
        "Pixel maps are DeepLIFT's, filter scores are those of l1.",
        "No scores by class: l1 does not score image by image.",
    )
    assert dict(found.facts)["completeness"] == "not asked of this method"
    assert {layer.classes for layer in found.layers} == {()}
    assert collect_page_data(found)["classes_figures"] == []
    without = build_relevance_view(replace(explained, images=(), left_out="there is no rule", scores_filters=False))
    assert without.notes == (
        "deeplift says nothing of filters: every filter's score is 1.",
        "No pixel maps: there is no rule.",
    )


def test_a_single_class_is_named(explained: Explained) -> None:
    of_class = replace(explained, relevance=explained.relevance.of_class(1), of_class=1)
    assert dict(build_relevance_view(of_class).facts)["images"] == "1, explained as dog"


def test_the_table_has_a_row_for_each_layer(view: RelevanceView) -> None:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(build_layer_table(view))
    rows = [line.split() for line in capture.get().splitlines()]
    layer = view.layers[0]
    cells = [
        f"{100 * layer.share:.1f}",
        f"{layer.highest:.4g}",
        f"{layer.mean:.4g}",
        f"{100 * layer.concentration:.0f}",
    ]
    assert ["conv", "4", *cells] in rows
    assert [row[0] for row in rows[-len(view.layers) :]] == [each.name for each in view.layers]


def test_the_file_has_a_row_for_each_filter(view: RelevanceView, tmp_path: Path) -> None:
    write_filters_csv(view, tmp_path / "filters.csv")
    with (tmp_path / "filters.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == sum(len(layer.scores) for layer in view.layers)
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1.0)
    layer = view.layers[2]
    own = [row for row in rows if row["layer"] == layer.name]
    assert [int(row["filter"]) for row in own] == list(range(len(layer.scores)))
    assert [float(row["score"]) for row in own] == pytest.approx(layer.scores, rel=1e-8)
    assert [row["group"] for row in own] == list(layer.groups)


def test_the_page_holds_the_view(view: RelevanceView, tmp_path: Path) -> None:
    data: dict[str, Any] = json.loads(json.dumps(collect_page_data(view)))
    (image,) = data["images"]
    assert list(base64.b64decode(image["pixels"])) == list(range(18))
    assert image["maps"][1]["values"] == [0.5, -2.0, 0.0, 0.25, 0.0, 0.0]
    assert data["filters"] == ["conv, filter 1", "stage2.conv1, filter 0"]
    assert [entry["layer"] for entry in data["classes_figures"]] == [layer.name for layer in view.layers]
    write_relevance_page(view, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page == render_relevance(view)
    assert "<title>Relevance: Study &lt;b&gt;</title>" in page
    assert "Study <b>" not in page
    style = page.partition("</style>")[0]
    assert ".segments label" in style  # of all reports
    assert "#pixels canvas" in style
