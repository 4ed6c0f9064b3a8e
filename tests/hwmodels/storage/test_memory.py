"""Weight formats, by hand, and for arrays that only broadcast against each other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.storage.huffman import huffman_bytes, mean_code_bits
from hwmodels.storage.memory import (
    WEIGHT_FORMATS,
    codebook_bytes,
    codebook_huffman_bytes,
    dense_bytes,
    measure_weights,
)
from hwmodels.workload.layer import LayerJob, LayerShape
from hwmodels.workload.layer_arrays import LayerArrays, layer_arrays, stack

SHAPE = LayerShape(name="fc", kind="linear", in_channels=100, out_channels=10)
LARGE = LayerShape(name="fc", kind="linear", in_channels=1000, out_channels=1000)


def test_dense_channels_start_on_whole_bytes() -> None:
    assert int(dense_bytes(9, 16, 3)) == 16 * 4
    assert int(dense_bytes(100, 10, 32)) == 4000


def test_codebook() -> None:
    assert int(codebook_bytes(1000, 8, 5)) == (1000 * 3 + 5 * 8) // 8
    assert int(codebook_bytes(1000, 8, 1)) == 1
    # A table for each of 10 channels.
    assert int(codebook_bytes(1000, 8, 5, 10)) == (1000 * 3 + 10 * 5 * 8) // 8


def test_codebook_huffman() -> None:
    # 1000 indices of 1.5 bits, and 4 values of 8 bits with a code length of 8 bits each.
    assert int(codebook_huffman_bytes(1000, 8, 4, 1.5)) == (1500 + 4 * 16 + 7) // 8
    # Ten tables of values, one of code lengths.
    assert int(codebook_huffman_bytes(1000, 8, 4, 1.5, 10)) == (1500 + 4 * (10 * 8 + 8) + 7) // 8
    # 0.07 * 100 is a little more than 7 bits.
    assert int(codebook_huffman_bytes(100, 1, 1, 0.07)) == 2


@pytest.mark.parametrize(
    ("job", "size", "weight_format"),
    [
        (LayerJob(shape=SHAPE, weight_bits=4), 500 + 80, "dense"),
        (LayerJob(shape=SHAPE, weight_bits=8, codebook_size=4), 254 + 80, "codebook"),
        (LayerJob(shape=SHAPE, weight_bits=8, codebook_size=4, index_code_bits=1.5), 196 + 80, "codebook_huffman"),
        # A codebook for each of ten channels: 40 values instead of 4.
        (LayerJob(shape=SHAPE, weight_bits=8, codebook_size=4, codebooks=10), 290 + 80, "codebook"),
        # Codes of 1.97 bits save 30 of 2000, but their table takes 32.
        (LayerJob(shape=SHAPE, weight_bits=8, codebook_size=4, index_code_bits=1.97), 254 + 80, "codebook"),
        # Dense beats the bitmap when density > 1 - 1/bits.
        (LayerJob(shape=SHAPE, weight_bits=4, density=0.76), 500 + 80, "dense"),
        (LayerJob(shape=SHAPE, weight_bits=4, density=0.75), 500 + 80, "dense"),
        (LayerJob(shape=SHAPE, weight_bits=4, density=0.74), 495 + 80, "bitmap"),
        # 104 values and fillers with runs of 5 bits; a bitmap takes 225 bytes.
        (LayerJob(shape=SHAPE, weight_bits=8, density=0.1), 169 + 80, "relative_index"),
        # 500 of a million: so long are the runs that fillers outweigh columns of 10 bits and row pointers.
        (LayerJob(shape=LARGE, weight_bits=8, density=0.0005), 1125 + 4004 + 8000, "csr"),
        # float32 has no scale.
        (LayerJob(shape=SHAPE, weight_bits=32), 4000 + 40, "dense"),
        (LayerJob(shape=dataclasses.replace(SHAPE, bias=False)), 1000 + 40, "dense"),
        # Two groups of 3 x 3 x 8 to 16: 32 channels of 72 weights.
        (
            LayerJob(
                shape=LayerShape(
                    name="c", kind="conv", in_channels=16, out_channels=32, kernel_h=3, kernel_w=3, groups=2
                ),
                weight_bits=3,
            ),
            32 * 27 + 32 * 8,
            "dense",
        ),
    ],
)
def test_smallest_format(job: LayerJob, size: int, weight_format: str) -> None:
    stored = measure_weights(layer_arrays([job]))
    assert stored.smallest_bytes.tolist() == [size]
    assert WEIGHT_FORMATS[stored.smallest_format[0]] == weight_format


@pytest.mark.parametrize(
    ("entropy_bits", "coded_bits"),
    # Of 1,000 weights, 1.06 bits for each; of an unknown entropy the width of 4 bits, and one of 0 is known.
    [(2.34, 2481), (4.0, 4240), (None, 4000), (0.0, 0)],
)
def test_coded_weights_take_their_entropy(entropy_bits: float | None, coded_bits: int) -> None:
    job = LayerJob(shape=SHAPE, weight_bits=4, entropy_bits=entropy_bits)
    stored = measure_weights(layer_arrays([job]), ["entropy"])
    size = -(-coded_bits // 8) + 10 * 10 + 16
    assert stored.smallest_bytes.tolist() == stored.find_smallest(["entropy"]).tolist() == [size]
    assert WEIGHT_FORMATS[stored.smallest_format[0]] == "entropy"
    # Software packs no such code: a network has it for a device that decodes it only.
    assert measure_weights(layer_arrays([job])).smallest_bytes.tolist() == [580]


def test_formats_that_do_not_apply_are_never_read() -> None:
    stored = measure_weights(layer_arrays([LayerJob(shape=SHAPE)]))
    assert stored.find_smallest(["dense"]).tolist() == stored.find_smallest(WEIGHT_FORMATS).tolist() == [1080]
    inapplicable = stored.bytes_by_format[1:-1, 0]
    assert np.all(inapplicable > 10**15)
    assert np.all(inapplicable * 8 > 0)


def test_each_layer_has_its_own_formats() -> None:
    plain, shared = LayerJob(shape=SHAPE), LayerJob(shape=SHAPE, codebook_size=16)
    sparse, coded = LayerJob(shape=SHAPE, density=0.5), dataclasses.replace(shared, index_code_bits=2.0)
    sizes = measure_weights(layer_arrays([plain, shared, sparse, coded])).bytes_by_format
    applicable = dict(zip(WEIGHT_FORMATS, (sizes < 10**15).astype(int).tolist(), strict=True))
    assert applicable == {
        "dense": [1, 1, 1, 1],
        "codebook": [0, 1, 0, 1],
        "codebook_huffman": [0, 0, 0, 1],
        "bitmap": [0, 0, 1, 0],
        "relative_index": [0, 0, 1, 0],
        "csr": [0, 0, 1, 0],
        "entropy": [0, 0, 0, 0],
    }


@pytest.mark.parametrize("kind", ["matmul", "pool", "activation"])
def test_a_layer_without_stored_weights_takes_no_bytes(kind: str) -> None:
    shape = LayerShape(name="x", kind=kind, in_channels=16, out_channels=16)  # type: ignore[arg-type]
    weightless = LayerJob(shape=shape, density=0.5, codebook_size=4, index_code_bits=1.5)
    stored = measure_weights(layer_arrays([LayerJob(shape=SHAPE), weightless]))
    assert stored.bytes_by_format[:, 1].tolist() == [0] * len(WEIGHT_FORMATS)
    assert stored.smallest_bytes.tolist() == [1080, 0]
    assert stored.smallest_format.tolist() == [0, 0]


def test_coded_indices_take_what_their_counts_say() -> None:
    counts = [700, 200, 60, 40]
    job = LayerJob(shape=SHAPE, weight_bits=6, codebook_size=4, index_code_bits=mean_code_bits(counts))
    sizes = measure_weights(layer_arrays([job])).find_smallest(["codebook_huffman"])
    assert sizes.tolist() == [huffman_bytes(counts, 6) + 80]


@st.composite
def networks(draw: st.DrawFn) -> list[list[LayerJob]]:
    """Two candidates of one network of three layers."""
    shapes = [
        LayerShape(
            name="c",
            kind="conv",
            in_channels=8,
            out_channels=16,
            kernel_h=3,
            kernel_w=3,
            groups=draw(st.sampled_from([1, 8])),
        ),
        LayerShape(name="a", kind="activation", in_channels=16, out_channels=16),
        LayerShape(name="fc", kind="linear", in_channels=16, out_channels=draw(st.integers(1, 40))),
    ]

    def job(shape: LayerShape) -> LayerJob:
        size = draw(st.none() | st.integers(1, 64))
        return LayerJob(
            shape=shape,
            weight_bits=draw(st.integers(1, 32)),
            density=draw(st.floats(0, 1)),
            codebook_size=size,
            index_code_bits=None if size is None else draw(st.none() | st.floats(0.5, 8)),
            entropy_bits=draw(st.none() | st.floats(0, 8)),
        )

    return [[job(shape) for shape in shapes] for _ in range(2)]


def facts_of_shapes_once(layers: LayerArrays) -> LayerArrays:
    """The same layers, with what depends on shapes alone as `1 x layers`."""
    once = ("k", "n", "groups", "bias", "stores_weights")
    return dataclasses.replace(layers, **{field: getattr(layers, field)[:1] for field in once})


@given(jobs=networks())
def test_candidates_that_broadcast_are_stored_like_each_by_itself(jobs: list[list[LayerJob]]) -> None:
    stored = measure_weights(facts_of_shapes_once(stack(jobs)))
    for index, candidate in enumerate(jobs):
        alone = measure_weights(layer_arrays(candidate))
        assert np.array_equal(stored.bytes_by_format[:, index], alone.bytes_by_format)
        assert np.array_equal(stored.smallest_bytes[index], alone.smallest_bytes)
        assert np.array_equal(stored.smallest_format[index], alone.smallest_format)
    packed = stored.bytes_by_format[:-1]
    assert np.array_equal(stored.smallest_bytes, packed.min(axis=0))
    # The first of equally small formats.
    assert np.array_equal(stored.smallest_format, packed.argmin(axis=0))


def test_sizes_are_of_the_common_shape_whatever_varies() -> None:
    layers = layer_arrays([LayerJob(shape=SHAPE), LayerJob(shape=LARGE)])
    several = dataclasses.replace(layers, input_bits=np.full((5, 1), 4))
    stored = measure_weights(several)
    assert stored.bytes_by_format.shape == (len(WEIGHT_FORMATS), 5, 2)
    assert stored.smallest_bytes.shape == stored.smallest_format.shape == (5, 2)
