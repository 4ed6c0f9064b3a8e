"""Weight formats and activation liveness, by hand."""

from __future__ import annotations

import pytest

from hwmodels import ActivationTensor, LayerJob, LayerShape, layer_arrays, peak_activation_bytes
from hwmodels.memory import WEIGHT_FORMATS, bitmap_bytes, codebook_bytes, dense_bytes, stored_weights

SHAPE = LayerShape(name="fc", kind="linear", in_channels=100, out_channels=10)


def test_dense_channels_start_on_whole_bytes() -> None:
    assert int(dense_bytes(9, 16, 3)) == 16 * 4
    assert int(dense_bytes(100, 10, 32)) == 4000


def test_codebook_and_bitmap() -> None:
    assert int(codebook_bytes(1000, 8, 5)) == (1000 * 3 + 5 * 8) // 8
    assert int(codebook_bytes(1000, 8, 1)) == 1
    assert int(bitmap_bytes(1000, 8, 0.25)) == (1000 + 250 * 8) // 8
    # 3 of 10 weights are 3, even where 0.3 * 10 is a little more in floating point.
    assert int(bitmap_bytes(30, 8, 0.1)) == (30 + 3 * 8 + 7) // 8


@pytest.mark.parametrize(
    ("job", "size", "weight_format"),
    [
        (LayerJob(shape=SHAPE, weight_bits=4), 500 + 80, "dense"),
        (LayerJob(shape=SHAPE, weight_bits=8, codebook_size=4), 254 + 80, "codebook"),
        (LayerJob(shape=SHAPE, weight_bits=8, density=0.1), 225 + 80, "bitmap"),
        # Dense beats the bitmap when density > 1 - 1/bits.
        (LayerJob(shape=SHAPE, weight_bits=4, density=0.76), 500 + 80, "dense"),
        (LayerJob(shape=SHAPE, weight_bits=4, density=0.74), 495 + 80, "bitmap"),
        # float32 has no scale.
        (LayerJob(shape=SHAPE, weight_bits=32), 4000 + 40, "dense"),
    ],
)
def test_smallest_format(job: LayerJob, size: int, weight_format: str) -> None:
    stored = stored_weights(layer_arrays([job]))
    assert stored.smallest_bytes.tolist() == [size]
    assert WEIGHT_FORMATS[stored.smallest_format[0]] == weight_format


def test_formats_that_do_not_apply_are_never_read() -> None:
    stored = stored_weights(layer_arrays([LayerJob(shape=SHAPE)]))
    assert stored.smallest_of(["dense"]).tolist() == stored.smallest_of(WEIGHT_FORMATS).tolist() == [1080]


def test_peak_activation_bytes() -> None:
    def tensor(elements: int, bits: int, first: int, last: int) -> ActivationTensor:
        return ActivationTensor(name="t", elements=elements, bits=bits, first_step=first, last_step=last)

    assert peak_activation_bytes([]) == 0
    chain = [tensor(100, 8, 0, 0), tensor(300, 8, 0, 1), tensor(50, 8, 1, 2)]
    assert peak_activation_bytes(chain) == 400
    # A residual branch that stays alive adds up, and 4 bits take half (5 elements: 3 whole bytes).
    assert peak_activation_bytes([*chain, tensor(200, 8, 0, 2)]) == 600
    assert peak_activation_bytes([tensor(5, 4, 2, 2)]) == 3
