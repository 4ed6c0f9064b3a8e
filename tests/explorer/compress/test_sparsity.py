"""Masks: N:M patterns against a loop over the rows, their counts, and the largest of a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import LayerChoice, uniform
from explorer.compress.plan import count_kept, plan
from explorer.compress.sparsity import mask_largest, mask_pattern, mask_weights
from explorer.compress.weights import compress_weights
from explorer.settings.pattern import group_count, pattern_count, pattern_density

PATTERNS = st.integers(2, 9).flatmap(lambda of: st.integers(1, of - 1).map(lambda kept: f"{kept}:{of}"))
SHARES = st.one_of(st.floats(0.001, 1.0), st.just(1.0))
quick = settings(max_examples=150)


@st.composite
def weights(draw: st.DrawFn, kernel: bool = True) -> Tensor:
    """A weight of few values, so that ties and zeros are frequent: out x in (x kernel height x width)."""
    shape = [draw(st.integers(1, 5)), draw(st.integers(1, 11))]
    if kernel and draw(st.booleans()):
        shape += [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    size = int(np.prod(shape))
    return torch.tensor(draw(st.lists(st.integers(-3, 3), min_size=size, max_size=size)), dtype=torch.float32).view(
        shape
    )


def rows_of(tensor: Tensor) -> Iterator[list[float]]:
    """The values along the input, for each filter and position of the kernel."""
    for part in tensor.flatten(2).unbind(0) if tensor.ndim > 2 else tensor.unsqueeze(2).unbind(0):
        yield from part.T.tolist()


def kept_of_row(row: list[float], kept: int, of: int) -> list[bool]:
    """One row by hand: of every `of` values the largest `kept`, of a shorter rest as many in proportion."""
    mask = [False] * len(row)
    for start in range(0, len(row), of):
        group = range(start, min(start + of, len(row)))
        count = -(-kept * len(group) // of)
        for index in sorted(group, key=lambda i: (-abs(row[i]), i))[:count]:
            mask[index] = True
    return mask


@quick
@given(weights(), PATTERNS)
def test_a_pattern_keeps_the_largest_of_every_group(weight: Tensor, pattern: str) -> None:
    kept, of = map(int, pattern.split(":"))
    mask = mask_pattern(weight, pattern)
    assert mask.shape == weight.shape
    assert list(rows_of(mask)) == [kept_of_row(row, kept, of) for row in rows_of(weight)]


@quick
@given(weights(), PATTERNS, SHARES)
def test_as_many_weights_stay_as_were_counted(weight: Tensor, pattern: str, share: float) -> None:
    """The pattern first, then magnitude among the rest."""
    allowed = mask_pattern(weight, pattern)
    length = weight.shape[1]
    assert int(allowed.sum()) == pattern_count(pattern, weight.numel() // length, length)
    mask = mask_weights(weight, LayerChoice(layer="a", weight_density=share, pattern=pattern))
    count = int(mask.sum())
    assert count == min(count_kept(share, weight.numel()), int(allowed.sum()))
    assert not (mask & ~allowed).any()
    lost = weight.abs()[allowed & ~mask]
    assert lost.numel() == 0 or float(lost.max()) <= float(weight.abs()[mask].min())


def test_a_mask_keeps_exactly_the_largest_weights() -> None:
    weight = torch.tensor([[3.0, -1.0, 0.0], [-4.0, 1.0, 1.0]])
    masks = {
        ratio: mask_weights(weight, LayerChoice(layer="a", weight_density=ratio)) for ratio in (0.001, 0.34, 0.5, 1.0)
    }
    assert masks[0.34].tolist() == [[True, False, False], [True, False, False]]
    assert masks[0.5].tolist() == [[True, True, False], [True, False, False]]
    assert masks[0.001].sum() == 1
    assert masks[1.0].all()
    assert mask_weights(torch.zeros(10), LayerChoice(layer="a", weight_density=0.3)).sum() == 3


@quick
@given(weights(), SHARES)
def test_the_largest_are_the_first_of_a_stable_sort(weight: Tensor, share: float) -> None:
    values = weight.flatten().tolist()
    count = count_kept(share, len(values))
    first = sorted(range(len(values)), key=lambda index: (-values[index], index))[:count]
    mask = mask_largest(weight, count)
    assert mask.shape == weight.shape
    assert mask.flatten().nonzero().flatten().tolist() == sorted(first)


def test_a_pattern_runs_along_the_input_channels() -> None:
    """Mishra et al., 2021: of four weights of one filter at one position of the kernel, the two largest."""
    weight = torch.zeros(1, 4, 1, 2)
    weight[0, :, 0, 0] = torch.tensor([4.0, 3.0, -2.0, 1.0])
    weight[0, :, 0, 1] = torch.tensor([1.0, -2.0, 3.0, 4.0])
    mask = mask_pattern(weight, "2:4")
    assert mask[0, :, 0, 0].tolist() == [True, True, False, False]
    assert mask[0, :, 0, 1].tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("pattern", "length", "kept"),
    [
        ("2:4", 8, 4),
        ("2:4", 3, 2),
        ("2:4", 5, 3),
        ("2:4", 6, 3),
        ("2:4", 7, 4),
        ("1:4", 1, 1),
        ("1:4", 9, 3),
        ("3:4", 2, 2),
    ],
)
def test_the_rest_of_a_row_is_rounded_up(pattern: str, length: int, kept: int) -> None:
    assert pattern_count(pattern, 1, length) == kept
    assert pattern_count(pattern, 6, length) == 6 * kept


def test_a_filter_of_one_input_channel_loses_nothing() -> None:
    assert mask_pattern(torch.randn(6, 1, 3, 3), "1:4").all()
    assert (group_count("1:4", 1), pattern_density("1:4")) == (1, 0.25)


@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("size", [None, 2])
def test_the_codes_of_a_layer_keep_its_pattern(bits: int, size: int | None) -> None:
    layer = nn.Conv2d(10, 6, 3)
    before = layer.weight.detach().clone()
    compress_weights(layer, LayerChoice(layer="conv", weight_bits=bits, codebook_size=size, pattern="1:4"))
    codes = layer.get_buffer("weight_codes")
    assert not codes[~mask_pattern(before, "1:4")].any()
    assert 0 < torch.count_nonzero(codes) <= pattern_count("1:4", 6 * 9, 10)


@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "mixed"])
def test_a_plan_counts_what_is_built_with_filters_removed(
    name: str, context: Callable[[str], CompressionContext]
) -> None:
    """Eight bits and untrained weights: a weight that stays is hardly ever rounded to zero."""
    base = context(name)
    for pattern, share in (("2:4", 1.0), ("1:4", 0.6), ("3:5", 0.3)):
        start = uniform(base.graph)
        candidate = replace(
            start,
            layers=tuple(replace(choice, pattern=pattern) for choice in start.layers),
            filter_keep_ratio=tuple((group, share) for group, _ in start.filter_keep_ratio),
        )
        built = apply(base, candidate)
        for layer in plan(base.graph, candidate).layers:
            codes = built.get_submodule(layer.name).get_buffer("weight_codes")
            expected = pattern_count(pattern, codes.numel() // codes.shape[1], codes.shape[1])
            assert layer.num_nonzero_weights == expected
            assert 0.9 * expected <= torch.count_nonzero(codes) <= expected
