"""What a device could not do is neither costed as if it could, nor passed over in silence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from explorer.compress.calibrate import calibrate
from explorer.compress.candidate import LayerChoice, uniform
from explorer.compress.plan import plan
from explorer.errors import ModelError
from explorer.evaluate.hardware import list_layer_jobs
from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from hwmodels import evaluate, load

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def traced(model: nn.Module) -> ModelGraph:
    return trace(canonicalise(model, IMAGES), IMAGES)


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5)]


def quantized(graph: ModelGraph) -> dict[str, bool]:
    return {activation.name: activation.quantized for activation in graph.activations}


def test_a_tensor_that_two_layers_read_is_fetched_at_the_width_of_the_wider_one() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.wide, self.narrow = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
            self.head = nn.Sequential(*head(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.relu(self.stem(x))
            y: torch.Tensor = self.head(self.wide(x) + self.narrow(x))
            return y

    graph = traced(Fork())
    layers = (LayerChoice(layer=n, activation_bits=2 if n == "narrow" else 8, weight_bits=8) for n in graph.layer_names)
    candidate = type(uniform(graph))(layers=tuple(layers), filter_keep_ratio=())
    jobs = {job.shape.name: job for job in list_layer_jobs(graph, plan(graph, candidate))}
    assert (jobs["narrow"].input_bits, jobs["narrow"].memory_input_bits) == (2, 8)
    assert (jobs["wide"].input_bits, jobs["wide"].memory_input_bits) == (8, 8)


def test_a_function_whose_weights_depend_on_the_image_is_kept_and_listed() -> None:
    class Dynamic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.kernel = nn.Conv2d(3, 4, 3, padding=1), nn.Parameter(torch.randn(4, 4, 1, 1))
            self.head = nn.Sequential(*head(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.relu(self.stem(x))
            y: torch.Tensor = self.head(F.conv2d(x, self.kernel * x.mean()))
            return y

    graph = traced(Dynamic())
    assert graph.layer_names == ("stem", "head.2")
    (reason,) = [item.reason for item in graph.skipped if item.path == "conv2d"]
    assert "cost is not counted" in reason
    assert not graph.prunable


def test_layers_that_share_weights_are_one_choice_and_stored_once() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1), *head(3))
    model[2].weight = model[0].weight
    graph = traced(model)
    assert graph.layer("2").shares_weights == "0"
    assert [choice.layer for choice in uniform(graph).layers] == ["0", "5"]
    jobs = {job.shape.name: job for job in list_layer_jobs(graph, plan(graph, uniform(graph)))}
    assert [jobs[name].weights_elsewhere for name in ("0", "2", "5")] == [False, True, False]
    both, one = (evaluate(list(chosen), load("bitfusion")) for chosen in ((jobs["0"], jobs["2"]), (jobs["0"],)))
    assert both.weight_bytes == one.weight_bytes
    assert both.dram_bits > one.dram_bits  # they are fetched for each call


def test_only_clipping_may_follow_a_pooling_whose_input_has_no_quantiser() -> None:
    clipped = traced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.ReLU(), *head(4)))
    scaled = traced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU(), *head(4)))
    assert not quantized(clipped)["_0"]
    assert quantized(scaled)["_1"]  # the layer of ones that the norm folds into reads what is pooled


def test_a_tensor_that_two_poolings_read_has_a_quantiser_of_its_own() -> None:
    class Pools(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.small, self.large = nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.MaxPool2d(3)
            self.first, self.second = nn.Conv2d(4, 4, 2), nn.Conv2d(4, 4, 1)
            self.head = nn.Sequential(*head(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            y: torch.Tensor = self.head(self.first(self.small(x)) + self.second(self.large(x)))
            return y

    assert quantized(traced(Pools()))["stem"]


def test_a_batch_norm_that_follows_no_layer_gets_one_or_is_listed() -> None:
    layers = nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.BatchNorm1d(144)
    graph = traced(nn.Sequential(*layers, nn.Linear(144, 5)))
    gain = graph.layer("0_gain")
    assert (gain.depthwise, gain.kernel_size, gain.weights) == (True, (1, 1), 3)
    reasons = {item.path: item.reason for item in graph.skipped}
    assert "runs in float" in reasons["5"]
    assert "0" not in reasons
    assert "3" not in reasons


def test_a_border_of_zeros_is_not_fetched_and_another_one_is_no_padding() -> None:
    class Padded(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.stem, self.conv, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3), nn.Sequential(*head(4))
            self.value = value

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.head(self.conv(F.pad(F.relu(self.stem(x)), (1, 1, 1, 1), value=self.value)))
            return y

    zeros, other = traced(Padded(0.0)), traced(Padded(0.5))
    assert zeros.layer("conv").input_size == (8, 8)
    assert zeros.layer("conv").output_size == (8, 8)
    assert not any("rule" in item.reason for item in zeros.skipped)
    assert any("rule" in item.reason for item in other.skipped)
    assert other.layer("conv").source == "pad"  # stored and quantised as a tensor of its own


@pytest.mark.parametrize(
    ("body", "size"),
    [
        (lambda x: x, (8, 8)),
        (lambda x: F.pad(x, (2, 1, 3, 0)), (8, 8)),
        (lambda x: F.pad(x, (-1, -1, 2, 2)), (8, 6)),
        (lambda x: F.pad(x, (2, 2, 2, 2), mode="reflect"), (8, 8)),
        (lambda x: x[:, :, 1:-1, ::2], (6, 4)),
        (lambda x: F.pad(x, (2, 2, 2, 2))[:, :, 1:-1, :7], (8, 5)),
        (lambda x: F.pad(x[..., :6], (0, 4)), (8, 6)),
        (lambda x: F.pad(x, (1, 1, 1, 1)).flip(1), (8, 8)),
        (lambda x: F.pad(F.relu(F.pad(x, (1, 1, 1, 1))), (1, 1, 1, 1)), (10, 10)),
    ],
)
def test_a_layer_fetches_what_it_reads_but_for_borders(
    body: Callable[[torch.Tensor], torch.Tensor], size: tuple[int, int]
) -> None:
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.conv, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3), nn.Sequential(*head(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.head(self.conv(body(self.stem(x))))
            return y

    graph = traced(Reading())
    assert graph.layer("conv").input_size == size
    assert not any("rule" in item.reason for item in graph.skipped)


def test_activations_that_are_not_finite_are_refused() -> None:
    model = canonicalise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *head(4)), IMAGES)
    graph = trace(model, IMAGES)
    with pytest.raises(ModelError, match="is NaN or infinite on calibration images"):
        calibrate(model, graph, IMAGES * float("inf"))
