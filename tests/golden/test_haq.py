"""HAQ's published cycles of MobileNetV2 on its bit-serial accelerator (mit-han-lab/haq, MIT licence; batch 16).

The array's size was inferred from every second of the different layer shapes, in their order: 192 x 256 bits, 16
depthwise channels and 256 bits of weights a cycle gave the least mean error in a grid. The other shapes are held out.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from hwmodels import LayerJob, LayerShape, evaluate, layer_arrays, load, with_widths

BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repetitions, first stride (Sandler et al., CVPR 2018, table 2)."""


def _shape(channels: int, filters: int, kernel: int, size: int, stride: int = 1, groups: int = 1) -> LayerShape:
    edge = (size - 1) * stride + kernel
    return LayerShape(
        name="layer",
        kind="conv",
        in_channels=channels,
        out_channels=filters,
        kernel_h=kernel,
        kernel_w=kernel,
        in_h=edge,
        in_w=edge,
        out_h=size,
        out_w=size,
        stride_h=stride,
        stride_w=stride,
        groups=groups,
        batch=16,
    )


def _shapes() -> list[LayerShape]:
    shapes, channels, size = [_shape(3, 32, 3, 112, 2)], 32, 112
    for expansion, filters, repetitions, first in BLOCKS:
        for stride in (first, *(1,) * (repetitions - 1)):
            hidden = channels * expansion
            if expansion > 1:
                shapes.append(_shape(channels, hidden, 1, size))
            size //= stride
            shapes += [_shape(hidden, hidden, 3, size, stride, hidden), _shape(hidden, filters, 1, size)]
            channels = filters
    return [*shapes, _shape(320, 1280, 1, 7), _shape(1280, 1000, 1, 1)]


@pytest.fixture(scope="module")
def ratios() -> npt.NDArray[np.float64]:
    """Modelled over published cycles, layers x weight bits x input bits."""
    folder = Path(os.environ.get("EXPLORER_GOLDEN", Path(__file__).parents[2] / "../shared/golden"))
    if not (folder / "haq_latency.npy").is_file():
        pytest.skip(f"no golden data at {folder / 'haq_latency.npy'}: set EXPLORER_GOLDEN to the folder that holds it")
    published = np.load(folder / "haq_latency.npy")
    layers = layer_arrays([LayerJob(shape=shape) for shape in _shapes()])
    bits = np.arange(1, 9)
    widths = with_widths(layers, weight_bits=bits.reshape(8, 1, 1), input_bits=bits.reshape(1, 8, 1))
    cycles = evaluate(widths, load("haq_bit_serial")).terms.latency.latency_cycles
    modelled = np.moveaxis(np.broadcast_to(cycles, (8, 8, 53)), -1, 0).astype(np.float64)
    found: npt.NDArray[np.float64] = modelled / published
    return found


def test_layers_that_were_not_fitted_are_met(ratios: npt.NDArray[np.float64]) -> None:
    shapes = _shapes()
    held_out = [shapes.index(shape) for shape in [*dict.fromkeys(shapes)][1::2]]
    assert len(held_out) == 15
    assert np.median(abs(ratios[held_out] - 1)) < 0.05
    assert np.mean(abs(ratios[held_out] - 1)) < 0.15


def test_all_layers_and_every_pair_of_widths(ratios: npt.NDArray[np.float64]) -> None:
    assert np.median(abs(ratios - 1)) < 0.06
    # The worst pair has 8-bit weights and 1-bit inputs: weights that are not loaded ahead are not known here.
    assert np.median(abs(ratios - 1), axis=0).argmax() == 7 * 8
    assert np.sort(np.median(abs(ratios - 1), axis=0).ravel())[-8] < 0.15
    assert np.median(abs(ratios - 1), axis=0).max() < 0.25


@pytest.mark.parametrize(("bits", "total"), [(8, 39.6e6), (4, 15.7e6), (2, 7.1e6)])
def test_the_sum_of_the_network(bits: int, total: float) -> None:
    jobs = [LayerJob(shape=shape, weight_bits=bits, input_bits=bits) for shape in _shapes()]
    assert evaluate(jobs, load("haq_bit_serial")).latency_cycles == pytest.approx(total, rel=0.05)
