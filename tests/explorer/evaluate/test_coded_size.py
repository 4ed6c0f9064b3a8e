"""Bytes of a coded file: what is estimated of a candidate is near what its file takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import LayerChoice, uniform
from explorer.evaluate.coded_size import CodedSizes, count_coded_bytes
from explorer.packed.coded import write_coded
from explorer.packed.network import packable
from tests.explorer.search.test_steps import with_units


@pytest.mark.parametrize("network", ["lenet5_digits", "option_a", "mixed"])
@pytest.mark.parametrize("step", [None, 0.02, 0.3])
def test_the_estimate_is_near_the_file(
    network: str, step: float | None, context: Callable[[str], CompressionContext], tmp_path: Path
) -> None:
    base = with_units(context(network))
    plain, least = uniform(base.graph, weight_bits=8), min(dict(base.step_units or {}).values())
    layers = tuple(
        LayerChoice(layer=choice.layer, step=None if step is None else step * least) for choice in plain.layers
    )
    candidate = replace(
        plain, layers=layers, filter_keep_ratio=tuple((name, 0.5) for name, _ in plain.filter_keep_ratio)
    )
    model = apply(base, candidate)
    size = count_coded_bytes(model)
    assert size == len(write_coded(packable(model), tmp_path / "network.bin").data)
    assert size == (tmp_path / "network.bin").stat().st_size
    # Of these networks most of the file is names, scales and biases; on one of 270,000 weights it is 1 % off.
    assert CodedSizes(base).estimate(candidate) == pytest.approx(size, rel=0.25)


def test_coarser_steps_and_fewer_filters_take_less(context: Callable[[str], CompressionContext]) -> None:
    base = with_units(context("lenet5_digits"))
    plain, sizes_of = uniform(base.graph), CodedSizes(base)
    least = min(dict(base.step_units or {}).values())
    sizes = []
    for step in (0.01, 0.1, 1.0):
        layers = tuple(LayerChoice(layer=choice.layer, step=step * least) for choice in plain.layers)
        whole = replace(plain, layers=layers)
        half = replace(whole, filter_keep_ratio=tuple((name, 0.5) for name, _ in plain.filter_keep_ratio))
        sizes.append([sizes_of.estimate(candidate) for candidate in (whole, half)])
    assert [whole for whole, _ in sizes] == sorted((whole for whole, _ in sizes), reverse=True)
    assert all(half < whole for whole, half in sizes)
