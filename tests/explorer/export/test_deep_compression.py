"""The steps of Deep Compression, and the table of sizes."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.compress.apply import CompressionContext, apply
from explorer.evaluate.mean_score import MeanScore
from explorer.export.deep_compression import DeepCompressionReport, plan_steps, write_sizes
from explorer.files import refuse_foreign
from explorer.packed.file import pack
from explorer.packed.network import packable
from explorer.settings import DeepCompressionSettings
from explorer.settings.deep_compression import DeepLayer

BasisOf = Callable[[str], CompressionContext]


def test_each_round_keeps_the_same_share_of_the_one_before(context: BasisOf) -> None:
    settings = DeepCompressionSettings(
        kept_convolutions=0.25,
        kept_linear=0.04,
        values_convolutions=16,
        values_linear=8,
        rounds=2,
        round_epochs=3,
        sharing_epochs=5,
        layers=(DeepLayer(layer="conv1", kept=0.64), DeepLayer(layer="fc3", values=4)),
    )
    first, second, last = plan_steps(context("lenet5_digits").graph, settings)
    assert [step.epochs for step in (first, second, last)] == [3, 3, 5]
    kept = [[round(choice.weight_density, 9) for choice in step.candidate.layers] for step in (first, second, last)]
    assert kept == [[0.8, 0.5, 0.2, 0.2, 0.2], [0.64, 0.25, 0.04, 0.04, 0.04], [0.64, 0.25, 0.04, 0.04, 0.04]]
    assert {choice.codebook_size for step in (first, second) for choice in step.candidate.layers} == {None}
    assert [choice.codebook_size for choice in last.candidate.layers] == [16, 16, 8, 8, 4]


def test_a_layer_with_no_more_codes_than_values_shares_nothing(context: BasisOf) -> None:
    graph = context("lenet5_digits").graph
    *_, last = plan_steps(graph, DeepCompressionSettings())
    assert [choice.codebook_size for choice in last.candidate.layers] == [None, None, 32, 32, 32]
    *_, last = plan_steps(graph, DeepCompressionSettings(weight_bits=4, values_convolutions=15, values_linear=14))
    assert [choice.codebook_size for choice in last.candidate.layers] == [None, None, 14, 14, 14]


def test_what_only_scales_channels_stays_whole(context: BasisOf) -> None:
    graph = context("mixed").graph
    gains = {layer.name for layer in graph.layers if layer.weights == layer.out_channels}
    *_, last = plan_steps(graph, DeepCompressionSettings())
    assert {choice.layer for choice in last.candidate.layers if choice.weight_density == 1.0} == gains


@pytest.mark.parametrize("network", ["lenet5_digits", "mixed"])
def test_the_table_of_sizes_adds_up_to_the_file(network: str, context: BasisOf, tmp_path: Path) -> None:
    base = context(network)
    packing = pack(packable(apply(base, plan_steps(base.graph, DeepCompressionSettings())[-1].candidate)))
    parameters = 4 * sum(parameter.numel() for parameter in base.model.parameters())
    accuracy = MeanScore(value=0.5, num_images=100)
    report = DeepCompressionReport(
        file=tmp_path / "network.bin",
        packing=packing,
        float32_bytes=parameters,
        before=accuracy,
        after=accuracy,
        score="accuracy",
    )
    write_sizes(report, tmp_path / "sizes.csv")
    refuse_foreign({tmp_path / "sizes.csv": b"layer,weights,density,"})
    with (tmp_path / "sizes.csv").open(newline="") as file:
        *layers, frame, whole = csv.DictReader(file)
    assert {row["layer"] for row in layers} == {layer.name for layer in base.graph.layers}
    for row in layers:
        parts = ("codebook", "table", "index", "run", "scale", "bias")
        assert int(row["bytes"]) == sum(int(row[f"{part}_bytes"]) for part in parts)
        assert float(row["density"]) <= (0.4 if row["layer"] in ("conv1", "conv2", "fc1") else 1.0)
    assert sum(int(row["bytes"]) for row in (*layers, frame)) == int(whole["bytes"]) == len(packing.data)
    assert int(whole["float32_bytes"]) == parameters
    assert float(whole["ratio"]) == round(parameters / len(packing.data), 1)
    assert f"{len(packing.data):,} bytes with all tables, {whole['ratio']} times smaller" in report.summary()
