"""Liveness and the greedy planner, by hand and for any tensors (Hypothesis)."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.errors import LayerError
from hwmodels.storage.arena import ArenaPlan, PlacedTensor, peak_activation_bytes, plan_arena
from hwmodels.workload.activation import ActivationTensor


def tensor(elements: int, first: int, last: int, bits: int = 8) -> ActivationTensor:
    return ActivationTensor(name="t", elements=elements, bits=bits, first_step=first, last_step=last)


def offsets(plan: ArenaPlan) -> list[int]:
    return [placed.offset_bytes for placed in plan.placed]


def test_peak_activation_bytes() -> None:
    assert peak_activation_bytes([]) == 0
    chain = [tensor(100, 0, 0), tensor(300, 0, 1), tensor(50, 1, 2)]
    assert peak_activation_bytes(chain) == 400
    # A residual branch that stays alive adds up, and 4 bits take half (5 elements: 3 whole bytes).
    assert peak_activation_bytes([*chain, tensor(200, 0, 2)]) == 600
    assert peak_activation_bytes([tensor(5, 2, 2, bits=4)]) == 3


def test_no_tensors_take_no_arena() -> None:
    assert plan_arena([]) == ArenaPlan(size_bytes=0, alignment_bytes=16, placed=())


def test_sizes_are_padded_to_the_alignment() -> None:
    tensors = [tensor(17, 0, 1), tensor(5, 0, 1, bits=4)]
    assert plan_arena(tensors) == ArenaPlan(
        size_bytes=48,
        alignment_bytes=16,
        placed=(
            PlacedTensor(tensor=tensors[0], offset_bytes=0, size_bytes=32),
            PlacedTensor(tensor=tensors[1], offset_bytes=32, size_bytes=16),
        ),
    )
    assert plan_arena(tensors, alignment_bytes=1).size_bytes == 17 + 3


def test_tensors_that_are_never_alive_together_share_their_place() -> None:
    plan = plan_arena([tensor(64, 0, 0), tensor(48, 1, 1), tensor(32, 2, 3)])
    assert offsets(plan) == [0, 0, 0]
    assert plan.size_bytes == 64


def test_of_equal_tensors_the_later_is_placed_first() -> None:
    assert offsets(plan_arena([tensor(32, 0, 1), tensor(32, 0, 1), tensor(32, 0, 1)])) == [64, 32, 0]


def test_the_first_gap_that_is_large_enough_is_taken() -> None:
    # Placed in the order 96, 64, 48, 32, 16: the middle of the first three leaves a gap of 64 at step 2.
    tensors = [tensor(96, 0, 2), tensor(64, 0, 1), tensor(48, 0, 2), tensor(32, 2, 2), tensor(16, 1, 2)]
    plan = plan_arena(tensors)
    # The 32 fill the start of that gap; the 16 are alive together with the 64 too, and go behind all.
    assert offsets(plan) == [0, 96, 160, 96, 208]
    assert plan.size_bytes == 224
    # Alive at step 2 alone, they fit into the rest of the gap.
    assert offsets(plan_arena([*tensors[:4], tensor(16, 2, 2)])) == [0, 96, 160, 96, 128]


def test_a_gap_that_is_too_small_is_passed_over() -> None:
    # The start of MobileNet in miniature: 32 bytes fit neither below the 48 that they overlap, nor beside.
    plan = plan_arena([tensor(48, 0, 0), tensor(32, 0, 1), tensor(32, 1, 2), tensor(64, 2, 3)])
    assert offsets(plan) == [0, 96, 64, 0]
    assert plan.size_bytes == 128
    assert peak_activation_bytes([placed.tensor for placed in plan.placed]) == 96


@pytest.mark.parametrize("alignment", [0, -16, 1.5, True])
def test_a_wrong_alignment_is_refused(alignment: int) -> None:
    with pytest.raises(LayerError, match=r"alignment_bytes: expected a whole number from 1 to 2147483647, received"):
        plan_arena([], alignment)


lifetimes = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted)
tensors = st.builds(
    lambda elements, bits, steps: tensor(elements, steps[0], steps[1], bits),
    st.integers(0, 200),
    st.integers(1, 32),
    lifetimes,
)


@given(tensors=st.lists(tensors, max_size=12), alignment=st.sampled_from([1, 4, 16, 24]))
def test_tensors_alive_together_never_overlap(tensors: list[ActivationTensor], alignment: int) -> None:
    plan = plan_arena(tensors, alignment)
    assert [placed.tensor for placed in plan.placed] == tensors
    assert all(placed.offset_bytes % alignment == placed.size_bytes % alignment == 0 for placed in plan.placed)
    for one, other in combinations(plan.placed, 2):
        together = one.tensor.first_step <= other.tensor.last_step and other.tensor.first_step <= one.tensor.last_step
        if together and one.size_bytes and other.size_bytes:
            assert one.end_bytes <= other.offset_bytes or other.end_bytes <= one.offset_bytes


@given(tensors=st.lists(tensors, max_size=12), alignment=st.sampled_from([1, 4, 16, 24]))
def test_an_arena_lies_between_liveness_and_no_sharing_at_all(tensors: list[ActivationTensor], alignment: int) -> None:
    plan = plan_arena(tensors, alignment)
    padded = [tensor(placed.size_bytes, placed.tensor.first_step, placed.tensor.last_step) for placed in plan.placed]
    assert peak_activation_bytes(tensors) <= peak_activation_bytes(padded) <= plan.size_bytes
    assert plan.size_bytes <= sum(placed.size_bytes for placed in plan.placed)
    assert plan_arena(tensors, alignment) == plan
