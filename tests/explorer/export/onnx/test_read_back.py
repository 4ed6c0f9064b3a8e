"""Exported files read back as networks: the layers, widths and tensors that the search had costed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import hwmodels
from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, LayerChoice, uniform
from explorer.compress.plan import plan
from explorer.evaluate.hardware import list_activation_tensors, list_layer_jobs
from explorer.export.onnx.qdq import export_onnx
from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.models.reference import REFERENCE_NETWORKS
from hwmodels import NETWORKS, PRODUCT_KINDS, LayerShape, layer_arrays, read_onnx, read_onnx_jobs
from hwmodels.workload.widths import note_widths

IMAGES = {"lenet5_digits": (1, 8, 8), "option_a": (3, 8, 8), "projection": (3, 8, 8), "mixed": (3, 8, 8)}


def mixed_widths(graph: ModelGraph) -> Candidate:
    """A candidate of many widths, with filters pruned."""
    choices = tuple(
        LayerChoice(
            layer=name,
            weight_bits=(3, 8, 5, 4, 6)[index % 5],
            activation_bits=(8, 5, 3, 6)[index % 4],
            weight_density=1.0,
            codebook_size=None,
        )
        for index, name in enumerate(graph.layer_names)
    )
    return Candidate(layers=choices, filter_keep_ratio=tuple((group.name, 0.7) for group in graph.prunable))


def products(layers: tuple[LayerShape, ...]) -> list[tuple[int, ...]]:
    """What each layer with products computes."""
    return [
        (layer.m, layer.k, layer.n, layer.groups, layer.inputs, layer.outputs)
        for layer in layers
        if layer.kind in PRODUCT_KINDS
    ]


@pytest.mark.parametrize("name", IMAGES)
def test_an_exported_candidate_has_the_shapes_and_widths_of_its_plan(
    name: str, context: Callable[[str], CompressionContext], tmp_path: Path
) -> None:
    base = context(name)
    candidate = mixed_widths(base.graph)
    planned = plan(base.graph, candidate)
    export_onnx(apply(base, candidate), IMAGES[name], tmp_path / "model.onnx")
    read = read_onnx_jobs(tmp_path / "model.onnx")
    jobs = [job for job in read.jobs if job.shape.kind in PRODUCT_KINDS]
    costed = [job for job in list_layer_jobs(base.graph, planned) if job.shape.kind in PRODUCT_KINDS]
    assert products(read.network.layers) == products(tuple(job.shape for job in costed))
    for job, other in zip(jobs, costed, strict=True):
        assert (job.weight_bits, job.input_bits) == (other.weight_bits, other.input_bits), other.shape.name
        assert job.memory_input_bits == other.memory_input_bits, other.shape.name
        assert job.output_bits == other.output_bits, other.shape.name
        assert job.density <= other.density, "rounding to codes may add zeros"
    assert note_widths([job.shape.name for job in read.jobs], layer_arrays(read.jobs), read.network.tensors) == []
    assert read.states_widths


def test_weights_of_two_bits_are_read_behind_their_cast(
    context: Callable[[str], CompressionContext], tmp_path: Path
) -> None:
    base = context("mixed")
    export_onnx(apply(base, uniform(base.graph, 2, 8)), IMAGES["mixed"], tmp_path / "model.onnx")
    jobs = read_onnx_jobs(tmp_path / "model.onnx").jobs
    assert {job.weight_bits for job in jobs if job.shape.kind in PRODUCT_KINDS} == {2}


@pytest.mark.parametrize("name", IMAGES)
def test_an_exported_candidate_has_the_tensors_of_its_plan(
    name: str, context: Callable[[str], CompressionContext], tmp_path: Path
) -> None:
    base = context(name)
    candidate = mixed_widths(base.graph)
    export_onnx(apply(base, candidate), IMAGES[name], tmp_path / "model.onnx")
    tensors = read_onnx(tmp_path / "model.onnx").tensors
    costed = list_activation_tensors(base.graph, plan(base.graph, candidate))
    assert [(tensor.elements, tensor.bits) for tensor in tensors] == [(t.elements, t.bits) for t in costed]
    read, planned = hwmodels.peak_activation_bytes(tensors), hwmodels.peak_activation_bytes(costed)
    if any(entry.scale_of != entry.name for entry in base.graph.activations):
        assert read >= planned  # a file says not when parts are put together: with the layer that reads the whole
    else:
        assert read == planned


@pytest.mark.parametrize(
    ("model", "name", "image"),
    [("resnet20", "resnet20", (3, 32, 32)), ("resnet8", "mlperf_tiny_resnet8", (3, 32, 32))],
)
def test_an_exported_network_is_the_published_one(
    model: str, name: str, image: tuple[int, ...], tmp_path: Path
) -> None:
    canonical = canonicalise(REFERENCE_NETWORKS[model](10).eval(), torch.zeros(2, *image))
    export_onnx(canonical, image, tmp_path / "model.onnx")
    read, published = read_onnx(tmp_path / "model.onnx"), NETWORKS[name]()
    assert sorted(products(read.layers)) == sorted(products(published.layers))
    assert (read.macs, read.weights) == (published.macs, published.weights)
    adds = [layer.vector_operations for layer in read.layers if layer.kind == "add"]
    assert adds == [layer.vector_operations for layer in published.layers if layer.kind == "add"]
    widened = [tensor.elements * tensor.bits // 32 for tensor in read.tensors]
    assert max(widened) == max(tensor.elements for tensor in published.tensors)
