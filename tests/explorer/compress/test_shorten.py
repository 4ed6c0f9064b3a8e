"""A network without blocks: the same filters go first, its norms give what they gave, and nothing else is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.check import check
from explorer.errors import CandidateError
from explorer.models.resnet import CifarResNet
from explorer.settings import QuantizerSettings
from tests.support.styles import unsettle


@pytest.fixture(scope="module")
def whole() -> CompressionContext:
    """A residual network of three blocks a stage, with batch norms of all kinds."""
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = CifarResNet(3, 10).eval()
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                unsettle(norm)
                norm.weight.data.abs_().add_(0.2)
    return CompressionContext.of(model, torch.randn(24, 3, 16, 16, generator=generator))


def record(context: CompressionContext, kind: type[nn.Module]) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and deviation per channel of what each module of a kind gives on the calibration images."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_: nn.Module, __: object, output: Tensor) -> None:
            found[name] = (output.mean((0, 2, 3)), output.std((0, 2, 3), correction=0))

        return hook

    handles = [
        module.register_forward_hook(keep(name))
        for name, module in context.model.named_modules()
        if isinstance(module, kind)
    ]
    with torch.no_grad():
        context.model(context.calibration.images)
    for handle in handles:
        handle.remove()
    return found


def test_norms_of_the_shortened_network_give_the_means_and_deviations_of_the_whole_one(
    whole: CompressionContext,
) -> None:
    before = {name: tensor.clone() for name, tensor in whole.model.state_dict().items()}
    short = whole.shortened(["layer1.1", "layer2.2"])
    expected, found = record(whole, nn.BatchNorm2d), record(short, nn.BatchNorm2d)
    assert set(expected) - set(found) == {f"layer{block}.bn{i}" for block in ("1.1", "2.2") for i in (1, 2)}
    for name, (mean, deviation) in found.items():
        assert torch.allclose(mean, expected[name][0], atol=1e-3), name
        assert torch.allclose(deviation, expected[name][1], rtol=1e-2), name
    assert all(torch.equal(tensor, before[name]) for name, tensor in whole.model.state_dict().items())


def test_ranges_are_those_of_the_shortened_network_and_wanted_means_those_of_the_whole_one(
    whole: CompressionContext,
) -> None:
    short = whole.shortened(["layer2.1"])
    ahead = [entry.name for entry in short.graph.activations if entry.quantized][:8]
    for name in ahead:
        for bits, (scale, _) in short.calibration.ranges[name].items():
            assert scale == pytest.approx(whole.calibration.ranges[name][bits][0], rel=1e-4)
    assert short.calibration.ranges.keys() < whole.calibration.ranges.keys()
    assert short.calibration.ranges != {name: whole.calibration.ranges[name] for name in short.calibration.ranges}
    assert torch.equal(short.calibration.outputs["linear"], whole.calibration.outputs["linear"])
    assert set(short.calibration.outputs) == set(short.graph.layer_names)


def test_the_same_filters_stay_as_in_the_whole_network(whole: CompressionContext) -> None:
    orders = {"reversed": {name: tuple(reversed(classes)) for name, classes in whole.order.items()}}
    both = replace(whole, orders=orders)
    short = both.shortened(["layer1.0", "layer3.1"])
    assert short.graph.layer_names == tuple(
        name for name in whole.graph.layer_names if not name.startswith(("layer1.0", "layer3.1"))
    )
    for criterion in (None, "reversed"):
        for ratio in (0.3, 0.6):
            kept = []
            for context in (both, short):
                candidate = uniform(context.graph)
                shares = tuple((name, ratio) for name, _ in candidate.filter_keep_ratio)
                wanted = replace(candidate, filter_keep_ratio=shares, filters_by=criterion)
                left = context.resolve(wanted).kept
                kept.append(
                    {
                        layer.name: [place for place, each in enumerate(layer.output_classes) if each in left]
                        for layer in context.graph.layers
                    }
                )
            assert kept[1] == {name: kept[0][name] for name in kept[1]}


def test_each_set_of_blocks_is_shortened_once_and_from_the_whole(whole: CompressionContext) -> None:
    short = whole.shortened(("layer1.1", "layer1.2"))
    assert whole.shortened(["layer1.2", "layer1.1"]) is short
    assert short.shortened(["layer1.2", "layer1.1"]) is short
    assert short.shortened(()) is whole
    assert short.shortened(["layer1.1"]) is whole.shortened(["layer1.1"])
    assert short.whole is whole
    assert replace(whole, order=short.whole.order).shortened(["layer1.1"]) is not whole.shortened(["layer1.1"])


def test_a_candidate_is_built_in_the_network_without_its_blocks(whole: CompressionContext) -> None:
    candidate = uniform(whole.shortened(["layer1.1"]).graph)
    assert candidate.removed_blocks == ("layer1.1",)
    built, again = apply(whole, candidate), apply(whole.shortened(["layer1.1"]), candidate)
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(9))
    assert torch.equal(built(images), again(images))
    assert not any(name.startswith("layer1.1") for name, _ in built.named_modules())


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        (["layer9"], r'removed_blocks: expected a block that can be removed, received "layer9": did you mean'),
        (["nothing"], r"received .nothing.: known are layer1\.0, layer1\.1"),
        (["layer2.0"], r'received "layer2.0": its skip pads or strides, since it does not give the shape'),
        (["layer1.1", "x", "layer3.0"], r'received "x": .*; expected a block .* "layer3.0": its skip pads'),
    ],
)
def test_unknown_and_locked_blocks_are_refused(whole: CompressionContext, blocks: list[str], text: str) -> None:
    with pytest.raises(CandidateError, match=text):
        whole.shortened(blocks)


def test_a_network_without_blocks_says_so(context: Callable[[str], CompressionContext]) -> None:
    with pytest.raises(CandidateError, match=r'received "conv1": it has none'):
        context("lenet5_digits").shortened(["conv1"])


def test_a_candidate_of_another_depth_does_not_fit(whole: CompressionContext) -> None:
    with pytest.raises(CandidateError, match=r'expected \["layer1.1"\], those that this network lacks, received \[\]'):
        check(uniform(whole.graph), whole.shortened(["layer1.1"]).graph)


def test_a_candidate_states_its_blocks_in_alphabetical_order_and_only_where_it_removes_any() -> None:
    plain = Candidate(layers=(), filter_keep_ratio=())
    candidate = Candidate(layers=(), filter_keep_ratio=(), removed_blocks=("b", "a"))
    assert plain.to_json() == {"layers": {}, "filter_keep_ratio": {}}
    assert candidate.to_json() == {"layers": {}, "filter_keep_ratio": {}, "removed_blocks": ["a", "b"]}
    assert Candidate.from_json(candidate.to_json()) == candidate
    assert candidate.digest() == replace(plain, removed_blocks=["a", "b"]).digest() != plain.digest()  # type: ignore[arg-type]


@pytest.mark.parametrize("blocks", ["a", ["a", "a"], [""], [1], 3])
def test_blocks_that_are_no_list_of_names_are_refused(blocks: object) -> None:
    with pytest.raises(CandidateError, match=r"candidate: removed_blocks.*: expected .*name of a block"):
        Candidate(layers=(), filter_keep_ratio=(), removed_blocks=blocks)  # type: ignore[arg-type]


class Chained(nn.Module):
    """A residual block between two convolutions, without batch norms: what the last reads changes without the block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.next, self.fc = nn.Conv2d(4, 5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = (x + self.a(x)).relu()
        return self.fc(self.next(x).relu().mean((2, 3)))  # type: ignore[no-any-return]


def windows(x: np.ndarray) -> np.ndarray:
    """What a 3 x 3 convolution without a border multiplies its filters with, centred: positions x (channels x 9)."""
    places = [
        x[image, :, row : row + 3, column : column + 3].ravel()
        for image in range(len(x))
        for row in range(x.shape[2] - 2)
        for column in range(x.shape[3] - 2)
    ]
    return np.asarray(np.array(places) - np.mean(places, axis=0))


@pytest.mark.parametrize("compensation", ["static", "propagated"])
def test_the_next_layer_makes_good_for_a_removed_block_by_least_squares(compensation: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model, images = Chained().eval(), torch.randn(40, 3, 7, 7)
        for weight in model.parameters():
            weight.data.mul_(3)
    settings = QuantizerSettings(compensation=compensation)
    context = CompressionContext.of(model, images, quantizer=settings)
    with torch.no_grad():
        given = model.stem(images).relu()
        whole = (given + model.a(given)).relu()
    x, y = windows(given.double().numpy()), windows(whole.double().numpy())
    kept = model.next.weight.detach().double().numpy().reshape(5, -1)
    count, size = x.shape
    square, cross = x.T @ x / count, x.T @ y / count
    ridge = (0.01 + size / count) * square.diagonal().mean() * np.eye(size)
    expected = np.linalg.solve(square + ridge, (cross + ridge) @ kept.T).T
    built = apply(context, uniform(context.graph_without(["a"])))
    found = built.get_submodule("next").get_parameter("weight").detach().double().numpy().reshape(5, -1)
    step = np.abs(expected).max(1, keepdims=True) / 127
    assert (np.abs(found - expected) <= 3 * step).all()  # 8 bits, and the inputs of 8 bits
    assert (np.abs(found - kept) > 3 * step).any()
    plain = apply(replace(context, quantizer=QuantizerSettings()), uniform(context.graph_without(["a"])))
    fresh = torch.randn(40, 3, 7, 7, generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        wanted = model(fresh)
        assert (built(fresh) - wanted).square().mean() < 0.9 * (plain(fresh) - wanted).square().mean()
