"""Streams of a layer's weights: what is coded comes back, and sizes are those of the cost model's formats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from explorer.errors import ExportError
from explorer.packed import weight_streams
from explorer.packed.weight_streams import STREAMS, WeightStreams, decode_weights, encode_weights
from hwmodels import RUN_BITS, codebook_huffman_bytes, mean_code_bits, measure_relative_index_bytes

Codes = weight_streams.Codes

shapes = arrays.array_shapes(min_dims=2, max_dims=4, max_side=6)
layers = st.one_of(
    arrays.arrays(np.int8, shapes, elements=st.integers(-127, 127)),
    arrays.arrays(np.int8, shapes, elements=st.sampled_from([0, 0, 0, 0, 0, -7, 3])),
    arrays.arrays(np.int8, (3, 400), elements=st.just(0), fill=st.just(0)),
    arrays.arrays(np.int8, (2, 700), elements=st.sampled_from([5, -5]), fill=st.just(0)),
)


def again(coded: WeightStreams, shape: tuple[int, ...]) -> Codes:
    return decode_weights(coded.layout, {name: getattr(coded, name) for name in STREAMS}, shape)


@given(codes=layers)
def test_what_is_coded_comes_back(codes: Codes) -> None:
    assert np.array_equal(again(encode_weights(codes), codes.shape), codes)


@given(codes=layers, run_bits=st.integers(0, 8), own=st.booleans())
def test_every_layout_comes_back_and_has_the_size_that_it_was_chosen_by(codes: Codes, run_bits: int, own: bool) -> None:
    rows = codes.reshape(len(codes), -1).astype(np.int64)
    coded = weight_streams._streams(rows, run_bits, own)
    assert np.array_equal(again(coded, codes.shape), codes)
    bits = weight_streams._size_bits(rows, run_bits, own)
    assert bits <= 8 * coded.size_bytes <= bits + 3 * 7
    assert 8 * encode_weights(codes).size_bytes <= bits + 3 * 7


def pruned(share: float, size: int = 9) -> Codes:
    draw = np.random.default_rng(1)
    codes = draw.integers(1, size, (60, 500)) * (draw.random((60, 500)) < share)
    return codes.astype(np.int8)


@pytest.mark.parametrize("run_bits", RUN_BITS)
def test_there_are_as_many_entries_as_in_the_cost_model(run_bits: int) -> None:
    codes = pruned(0.05)
    entries = weight_streams._entries(codes.astype(np.int64), run_bits)
    runs = np.diff(np.flatnonzero(codes), prepend=-1) - 1
    assert len(entries.codes) == np.count_nonzero(codes) + int((runs >> run_bits).sum())
    assert entries.runs.max() < 2**run_bits


def test_coded_runs_take_less_than_runs_and_values_of_fixed_width() -> None:
    """The cost model's relative index stores values of all bits and runs of one width, without codebook or code."""
    coded = encode_weights(pruned(0.05))
    assert coded.layout["run_bits"] > 1
    assert coded.size_bytes < measure_relative_index_bytes(pruned(0.05) != 0, 4)
    assert coded.size_bytes < measure_relative_index_bytes(pruned(0.05) != 0, 8) * 0.7


def test_a_dense_layer_takes_what_the_cost_model_says_but_for_the_tables() -> None:
    codes = pruned(1.0)
    coded, counts = encode_weights(codes), np.bincount(codes.ravel())[1:]
    assert coded.layout["run_bits"] == 0
    formula = int(codebook_huffman_bytes(codes.size, 8, len(counts), mean_code_bits(counts)))
    # The model's table takes a byte for each code length, the file half of one; the file counts each codebook's values.
    assert coded.size_bytes == formula - len(counts) + len(counts) // 2 + 1


def test_channels_with_few_values_each_have_codebooks_of_their_own() -> None:
    draw = np.random.default_rng(2)
    books = np.stack([draw.choice(np.arange(-127, 128), 4, replace=False) for _ in range(16)])
    codes = np.take_along_axis(books, draw.integers(0, 4, (16, 600)), axis=1).astype(np.int8)
    coded = encode_weights(codes)
    assert coded.layout["own_codebooks"]
    assert len(coded.codebooks) == 16 * 5
    assert len(coded.indices) <= 16 * 600 * 2 // 8
    assert np.array_equal(again(coded, codes.shape), codes)


def test_codes_that_no_layer_has_are_refused() -> None:
    with pytest.raises(ValueError, match=r"weight codes must lie in -127\.\.127, received 128"):
        encode_weights(np.full((1, 2), -128, dtype=np.int8))


def spoilt(coded: WeightStreams, change: dict[str, object]) -> WeightStreams:
    streams = {key: value for key, value in change.items() if key in STREAMS}
    layout = {key: value for key, value in change.items() if key not in STREAMS}
    return coded._replace(layout={**coded.layout, **layout}, **streams)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entries": 1}, "the data are damaged"),
        ({"table_sizes": [3, 3]}, "a table of 6 code lengths does not take"),
        ({"codebooks": b""}, "1 codebooks are more than 0 bytes hold"),
        ({"codebooks": b"\x01\x05\x06"}, "1 codebooks take 2 of 3 bytes"),
        ({"codebooks": b"\x01\x05"}, "an index is beyond the end of its codebook"),
        ({"runs": b""}, "data are missing"),
    ],
)
def test_streams_that_do_not_fit_together_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        again(spoilt(encode_weights(pruned(0.05)), change), (60, 500))


def test_entries_beyond_the_end_are_refused() -> None:
    with pytest.raises(ExportError, match="coded weights do not fit into 30 places"):
        again(encode_weights(pruned(0.05)), (3, 10))


def test_a_code_that_no_weight_has_is_refused() -> None:
    streams = encode_weights(np.array([[-127, 5, 5, -127]], dtype=np.int8))
    with pytest.raises(ExportError, match="a weight has the code -128, which no weight has"):
        again(spoilt(streams, {"codebooks": streams.codebooks.replace(b"\x81", b"\x80")}), (1, 4))
