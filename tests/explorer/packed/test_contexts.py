"""Kernels coded in contexts come back as they were, in fewer bits where neighbours resemble each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from explorer.errors import ExportError
from explorer.packed.coded import code, find_coefficients, read_layers
from explorer.packed.container import Parts
from explorer.packed.contexts import MOST, NEIGHBOURS, fit_coefficients, has_kernels, transfer_kernels
from explorer.packed.file import unpack
from explorer.packed.range_coding import Prior, Reader, Writer, fit_prior
from explorer.packed.records import PackedLayer, PackedNetwork
from tests.explorer.packed.test_file import assert_equal

KERNELS = st.one_of(st.tuples(*[st.integers(1, 4)] * 4), st.tuples(*[st.integers(1, 4)] * 3)).filter(has_kernels)
FIXED = "d7bd0b000103eea8deed04575d469f8d13e3ed1ff93d67b90848d565"
SHARED = np.array([[2, 3, 1], [2, 3, 2], [0, 1, 0]])


def make_smooth(filters: int, inputs: int, seed: int = 0) -> np.ndarray:
    """Return kernels that are the same but for their size and sign, and noise: int8, filters x inputs x 3 x 3."""
    drawn = np.random.default_rng(seed)
    sizes = drawn.normal(size=(filters, inputs, 1, 1)) * np.linspace(0.2, 2, filters)[:, None, None, None]
    noisy = sizes * SHARED + drawn.normal(scale=0.5, size=(filters, inputs, 3, 3))
    codes: np.ndarray = np.clip(np.round(noisy), -127, 127).astype(np.int8)
    return codes


def count_bits(codes: np.ndarray, coefficients: tuple[int, ...]) -> int:
    """Return the bits of weights in contexts, or without where there are no coefficients."""
    writer = Writer()
    if coefficients:
        transfer_kernels(codes.astype(np.int64), fit_prior(codes), coefficients, writer)
    else:
        writer.bell(codes, fit_prior(codes))
    return writer.num_bits


@given(
    KERNELS.flatmap(lambda shape: arrays.arrays(np.int64, shape, elements=st.integers(-127, 127))),
    st.tuples(*[st.integers(-MOST, MOST)] * len(NEIGHBOURS)),
    st.integers(0, 255),
    st.integers(0, 255),
)
def test_kernels_come_back(codes: np.ndarray, coefficients: tuple[int, ...], spread: int, bend: int) -> None:
    prior = Prior(limit=max(1, int(np.abs(codes).max())), spread=spread, bend=bend)
    writer = Writer()
    assert np.array_equal(transfer_kernels(codes, prior, coefficients, writer), codes)
    read = transfer_kernels(np.zeros_like(codes), prior, coefficients, Reader(writer.data()))
    assert np.array_equal(read, codes)


@given(st.integers(0, 2**32 - 1))
def test_a_layer_is_never_longer_than_without_contexts(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    codes = np.clip(np.round(drawn.laplace(scale=2.0, size=tuple(drawn.integers(1, 9, 4)))), -127, 127).astype(np.int8)
    assert count_bits(codes, find_coefficients(codes)) <= count_bits(codes, ())


def test_kernels_that_resemble_their_neighbours_take_fewer_bits() -> None:
    codes = make_smooth(32, 32)
    coefficients = fit_coefficients(codes)
    assert find_coefficients(codes) == coefficients
    assert count_bits(codes, coefficients) < 0.85 * count_bits(codes, ())
    mixed = np.random.default_rng(1).permutation(codes.ravel()).reshape(codes.shape)
    assert find_coefficients(mixed) == ()


def test_a_layer_without_kernels_has_no_contexts() -> None:
    assert find_coefficients(make_smooth(32, 32)[:, :, :1, :1]) == ()
    assert find_coefficients(np.zeros((4, 4, 3, 3), dtype=np.int8)) == ()


def test_coefficients_are_those_of_the_neighbours() -> None:
    """Of rows that repeat their first weight the left neighbour says all, and the one above where there is none."""
    drawn = np.random.default_rng(0).integers(-9, 10, (40, 40, 3, 1))
    left, above, above_left, _ = fit_coefficients(np.repeat(drawn, 3, axis=3))
    assert (left, above, above_left) == (16, 0, 0)
    left, above, *_ = fit_coefficients(np.repeat(drawn.transpose(0, 1, 3, 2), 3, axis=2))
    assert (left, above) == (0, 16)


def test_the_bytes_of_a_file_stay() -> None:
    """A file of an earlier version, or of another machine, has to be read in the same contexts."""
    codes = np.arange(2 * 3 * 9).reshape(2, 3, 3, 3) * 7919 % 11 - 5
    writer = Writer()
    transfer_kernels(codes, Prior(limit=5, spread=9, bend=77), (9, 7, -4, 1), writer)
    assert writer.data().hex() == FIXED


@pytest.mark.parametrize("coefficients", [[1], [1, 2, 3, 4, 5], [1, 2, 3, MOST + 1]])
def test_contexts_that_a_layer_has_not_are_refused(coefficients: list[int]) -> None:
    header = {"layers": [["a", [2, 2, 3, 3], 0, 32, 3, 8, 8, *coefficients]], "bytes": 0}
    with pytest.raises(ExportError, match="layer 'a' is coded in contexts that it has not"):
        read_layers(header, Parts(b"", 0))
    header = {"layers": [["a", [2, 2], 0, 32, 3, 8, 8, 1, 2, 3, 4]], "bytes": 0}
    with pytest.raises(ExportError, match="layer 'a' is coded in contexts that it has not"):
        read_layers(header, Parts(b"", 0))


def test_a_file_of_smooth_kernels_is_shorter_and_comes_back() -> None:
    layer = PackedLayer(name="a", codes=make_smooth(16, 16), scales=np.ones(16, dtype=np.float32), biases=None)
    network = PackedNetwork(layers=(layer,), quantizers=())
    coding = code(network)
    assert coding.weight_bits["a"] < count_bits(layer.codes, ())
    assert_equal(unpack(coding.data), network)
