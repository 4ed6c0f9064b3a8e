"""Chains of moves: what they become, and that channels removed around them leave the right result."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from explorer.compress.prune import remove_filters
from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.graph.modules import SelectChannels
from explorer.graph.trace import trace
from tests.oracles.mask import mask_filters
from tests.support.square import double, random_classes

Move = Callable[[Tensor], Tensor]
EXAMPLE = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
CHANNELS = 8


class Moved(nn.Module):
    """A convolution of eight filters, moves, and layers that fit to what they leave."""

    def __init__(self, moves: list[Move]) -> None:
        super().__init__()
        self.stem, self.moves = nn.Conv2d(3, CHANNELS, 3, padding=1), moves
        with torch.no_grad():
            channels = self.moved(EXAMPLE).shape[1]
        self.conv, self.fc = nn.Conv2d(channels, 4, 1), nn.Linear(4, 5)

    def moved(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        for move in self.moves:
            x = move(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(self.moved(x)).mean((2, 3)))  # type: ignore[no-any-return]


def shuffle(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def halves(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=1)
    return torch.cat((second, first), dim=1)


MOVES: dict[str, Move] = {
    "shuffle": shuffle,
    "module": nn.ChannelShuffle(4),
    "halves": halves,
    "split": lambda x: torch.cat(torch.split(x, x.size(1) // 4, 1)[::-1], 1),
    "half": lambda x: x[:, x.shape[1] // 2 :],
    "every other": lambda x: torch.cat((x[:, ::2], x[:, ::2]), 1),
    "flip": lambda x: x.flip(1),
    "roll": lambda x: torch.roll(x, 1, 1),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "interleave": lambda x: x.repeat_interleave(2, dim=1),
    "narrow": lambda x: torch.cat((x.narrow(1, 0, 4), x.narrow(1, 2, 4)), 1),
    "last": lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2),
    "flat": lambda x: x.flatten(2).view(x.size(0), -1, x.size(2), x.size(3)),
    "axis": lambda x: x.unsqueeze(2).squeeze(2),
    "turned": lambda x: x.transpose(2, 3),
    "cut": lambda x: x[:, :, 1:, :-1],
}
"""What people write; the last two move positions, the others only channels."""


def assert_prunable(network: Moved, seed: int = 0) -> ModelGraph:
    model = canonicalise(network, EXAMPLE)
    graph = trace(model, EXAMPLE)
    images = torch.randn(3, *EXAMPLE.shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    kept = random_classes(graph, random.Random(seed))
    removed, masked = double(model), double(model)
    remove_filters(removed, graph, kept)
    mask_filters(masked, graph, kept)
    with torch.no_grad():
        assert (removed(images) - masked(images)).abs().max() <= 1e-9
    return graph


@pytest.mark.parametrize("name", list(MOVES)[:-2])
def test_channels_are_followed_through_every_move(name: str) -> None:
    graph = assert_prunable(Moved([MOVES[name]]))
    assert "stem" in {group.producers[0] for group in graph.prunable}
    assert not [entry for entry in graph.skipped if "rule" in entry.reason]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(sorted(MOVES)), min_size=2, max_size=5), st.integers(0, 2**16))
def test_removed_channels_leave_the_right_ones_behind_any_chain_of_moves(names: list[str], seed: int) -> None:
    try:
        network = Moved([*(MOVES[name] for name in names), lambda x: torch.cat((x, x), 1)])
    except (RuntimeError, ValueError):
        reject()  # fewer channels or rows are left than the next move needs
    assert_prunable(network, seed)


def test_a_chain_that_ends_where_it_began_is_gone() -> None:
    model = canonicalise(Moved([shuffle, nn.ChannelShuffle(4), MOVES["last"]]), EXAMPLE)
    assert [str(node.target) for node in model.graph.nodes][2:-1] == ["relu", "conv", "mean", "fc"]


def test_a_chain_of_channels_is_one_selection() -> None:
    model = canonicalise(Moved([shuffle, halves, MOVES["flip"], MOVES["half"]]), EXAMPLE)
    selections = [module for module in model.modules() if isinstance(module, SelectChannels)]
    channels = torch.arange(CHANNELS).view(1, -1, 1, 1)
    expected = MOVES["half"](MOVES["flip"](halves(shuffle(channels)))).flatten().tolist()
    # The concatenation within is an operation of its own; what follows it is one selection.
    index = selections[-1].index
    for selection in reversed(selections[:-2]):
        index = selection.index[index]
    assert len(selections) >= 2
    assert len(index) == len(expected) == CHANNELS // 2


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x.transpose(1, 2),
        lambda x: x.reshape(x.size(0), -1, x.size(3), x.size(2)).transpose(2, 3)[:, :, ::1],
        lambda x: x.permute(0, 3, 1, 2),
        lambda x: x.reshape(x.size(0), x.size(1) // 2, x.size(2) * 2, x.size(3)),
    ],
    ids=["rows as channels", "rows and columns mixed", "columns as channels", "channels as rows"],
)
def test_channels_that_mix_with_positions_are_kept_whole(move: Move) -> None:
    graph = assert_prunable(Moved([move]))
    (stem,) = [group for group in graph.groups if group.producers == ("stem",)]
    assert "has no pruning rule" in stem.locked
    assert "test_moves.py, line" in stem.locked
