"""What share of a network is counted, against counts by hand."""

import pytest
import torch
from torch import Tensor, nn

from explorer.compress.candidate import uniform
from explorer.evaluate.hardware import cost, count_float_weight_bytes
from explorer.graph.canonical import canonicalise
from explorer.graph.coverage import count_stored_values
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from explorer.study.costing import candidate_cost, float_cost
from explorer.study.coverage import count_multiply_accumulates, measure_coverage
from explorer.study.record import Coverage
from hwmodels import load


class Attention(nn.Module):
    """A patch embedding, a position table, one block of self-attention, and a head: 16 tokens of 8 features."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, 2)
        self.position = nn.Parameter(torch.randn(1, 16, 8))
        self.norm = nn.LayerNorm(8)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        x = x + self.out(torch.softmax(q @ k.transpose(1, 2) / 8**0.5, dim=-1) @ v)
        return self.head(x.mean(1))  # type: ignore[no-any-return]


class Volumes(nn.Module):
    """A 3d and a 1d convolution behind each other, and a covered layer."""

    def __init__(self) -> None:
        super().__init__()
        self.deep, self.flat, self.head = nn.Conv3d(1, 2, 3, padding=1), nn.Conv1d(2, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.deep(x.unsqueeze(1)).flatten(2)
        return self.head(self.flat(x).mean(2))  # type: ignore[no-any-return]


class Scaled(nn.Module):
    """Batch norms before and after a layer, slopes and a constant for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.conv, self.after = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.act, self.head = nn.PReLU(4), nn.Linear(4, 5)
        self.register_buffer("offset", torch.ones(1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.after(self.conv(self.before(x)))) + self.offset
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


def traced(model: nn.Module, shape: tuple[int, ...] = (3, 8, 8)) -> tuple[Coverage, ModelGraph]:
    torch.manual_seed(0)
    example = torch.randn(2, *shape)
    canonical = canonicalise(model.eval(), example)
    graph = trace(canonical, example)
    return measure_coverage(canonical, graph, example), graph


def test_an_attention_network() -> None:
    found, graph = traced(Attention())
    held = 8 * 3 * 4 + 8 + 8 * 5 + 5
    in_float = 16 * 8 + 2 * 8 + 8 * 24 + 24 + 8 * 8 + 8
    layers = 16 * 8 * 12 + 8 * 5
    assert found == Coverage(
        values=held + in_float,
        values_counted=held,
        macs=layers + 16 * 8 * 24 + 2 * 16 * 16 * 8 + 16 * 8 * 8,
        macs_counted=layers,
    )
    assert graph.float_values == in_float


@pytest.mark.parametrize("need_weights", [True, False])
def test_fused_attention_is_counted(need_weights: bool) -> None:
    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=need_weights)[0]  # type: ignore[no-any-return]

    tokens = 7
    expected = tokens * 8 * 24 + 2 * tokens * tokens * 8 + tokens * 8 * 8
    model = torch.fx.symbolic_trace(nn.Sequential(Fused().eval()))
    assert count_multiply_accumulates(model, torch.randn(1, tokens, 8)) == expected


def test_recurrent_layers_are_counted() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = nn.LSTM(6, 5, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.cells(x)[0]  # type: ignore[no-any-return]

    model = torch.fx.symbolic_trace(nn.Sequential(Recurrent().eval()))
    assert count_multiply_accumulates(model, torch.randn(1, 3, 6)) == 3 * (6 + 5) * 4 * 5


def test_other_ranks_stay_in_float_and_count() -> None:
    found, graph = traced(Volumes(), (4, 4, 4))
    in_float = 2 * 27 + 2 + 4 * 2 * 3 + 4
    assert (graph.float_values, found.values) == (in_float, in_float + 4 * 5 + 5)
    assert found.macs == 2 * 27 * 64 + 62 * 4 * 6 + 4 * 5
    assert found.macs_counted == 4 * 5


def test_what_folds_is_no_float_and_what_does_not_is() -> None:
    found, graph = traced(Scaled())
    assert graph.float_values == 4  # the slopes; norms and constants for each channel become layers
    assert found.values - found.values_counted == graph.float_values
    assert found.macs == found.macs_counted


@pytest.mark.parametrize("model", [Attention(), Scaled()])
def test_every_cost_holds_what_stays_in_float(model: nn.Module) -> None:
    _, graph = traced(model)
    device, candidate = load("bitfusion"), uniform(graph)
    priced = candidate_cost(graph, candidate, device)
    assert priced.weight_bytes == cost(graph, candidate, device).weight_bytes + 4 * graph.float_values
    assert any(f"{4 * graph.float_values:,} bytes" in note for note in priced.notes)
    layers = 4 * sum(layer.weights + layer.out_channels for layer in graph.layers)
    assert float_cost(graph, device).weight_bytes == count_float_weight_bytes(graph) == layers + 4 * graph.float_values


def test_tensors_that_several_read_count_once() -> None:
    layer = nn.Conv2d(3, 3, 3, padding=1)
    model = nn.Sequential(layer, nn.ReLU(), layer, nn.Flatten(), nn.Linear(3 * 64, 5))
    found, graph = traced(model)
    assert (found.values, graph.float_values) == (sum(p.numel() for p in model.parameters()), 0)


def test_shares_are_whole_only_where_nothing_is_missing() -> None:
    almost = Coverage(values=100_000, values_counted=99_999, macs=10, macs_counted=10)
    whole = Coverage(values=1, values_counted=1, macs=0, macs_counted=0)
    assert "99.9 % of 100,000 parameters, 100 % of 10 multiply" in almost.summary()
    assert "float" in almost.summary()
    assert "float" not in whole.summary()


def test_counts_of_a_graph_survive_json() -> None:
    _, graph = traced(Attention())
    assert ModelGraph.from_json(graph.to_json()) == graph


def test_integers_are_no_weights() -> None:
    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, 5)
            self.register_buffer("order", torch.tensor([3, 1, 0, 2]))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(x)[:, self.order].mean((2, 3)))  # type: ignore[no-any-return]

    model = Chosen().eval()
    example = torch.randn(2, 3, 8, 8)
    canonical = canonicalise(model, example)
    assert count_stored_values(canonical, trace(canonical, example).layer_names).in_float == 0
