"""Fine-tuning: what is trained is what is deployed; what is held stays; it repeats itself and goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext, apply, compressed_copy
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.plan import plan
from explorer.compress.sparsity import mask_weights
from explorer.data.load import load_data
from explorer.errors import CandidateError, DivergedError, ModelError
from explorer.graph.inputs import run
from explorer.graph.modules import layer_module
from explorer.models.load import load_model
from explorer.settings import DataSettings, FineTuningSettings, ModelSettings, QuantizerSettings, TrainingSettings
from explorer.training import finetune as finetuning
from explorer.training.epochs import Recipe
from explorer.training.finetune import choose_layout, finetune
from explorer.training.held_aside import BestState, hold_aside
from explorer.training.train import train_model
from explorer.training.trainable import trainable
from explorer.training.tuned import Tuned, rebuild
from tests.support.scoring import count_correct
from tests.support.square import with_made_up_units
from tests.support.tiers import thinned

Bases = Callable[[str], CompressionContext]
Images = Callable[[str, int], Tensor]
NETWORKS = ["lenet5_digits", "option_a", "projection", "mixed", "gated"]
CHOICES: dict[str, dict[str, Any]] = {
    "bits": {},
    "pruned": {"weight_density": 0.5},
    "shared": {"codebook_size": 5},
    "shared by channel": {"codebook_size": 3, "codebook_granularity": "channel"},
    "pattern": {"pattern": "2:4"},
    "pruned and shared": {"weight_density": 0.4, "codebook_size": 4},
}
SHORT = FineTuningSettings(epochs=2, batch_size=16, optimizer="sgd", learning_rate=0.002, held_aside=0.0)


def candidate(base: CompressionContext, kind: str = "bits", weight_bits: int = 4) -> Candidate:
    return Candidate(
        layers=tuple(
            LayerChoice(layer=name, weight_bits=weight_bits, activation_bits=8, **CHOICES[kind])
            for name in base.graph.weight_owners
        ),
        filter_keep_ratio=tuple((group.name, 0.7) for group in base.graph.prunable),
    )


def labels(count: int) -> Tensor:
    return torch.randint(0, 5, (count,), generator=torch.Generator().manual_seed(3))


def tuned(
    base: CompressionContext, chosen: Candidate, x: Tensor, settings: FineTuningSettings = SHORT, **more: Any
) -> Tuned:
    how = {"seed": 1, **{key: more.pop(key) for key in ("seed", "unfinished") if key in more}}
    return finetune(base, chosen, x, labels(len(x)), Recipe(settings=settings, **how), **more)


def same(first: Tuned, second: Tuned) -> bool:
    return all(
        torch.equal(tensor, getattr(second, part)[name])
        for part in ("state", "scales", "masks", "clusters", "centroids", "ranges")
        for name, tensor in getattr(first, part).items()
    )


def code_modules(model: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if hasattr(module, "weight_codes")}


@thinned("name kind", 2, NETWORKS, CHOICES)
def test_what_is_trained_is_deployed(name: str, kind: str, context: Bases, images: Images) -> None:
    """Apart from activations at a rounding boundary and biases, which are rounded to their grid."""
    base, x = context(name), images(name, 48)
    chosen = candidate(base, kind)
    result = tuned(base, chosen, x)
    for start in (None, result):
        network = trainable(base, chosen, start)
        built = apply(base, chosen) if start is None else rebuild(base, chosen, start)
        with torch.no_grad():
            trained, deployed = network.model.eval()(x), built(x)
        assert (trained - deployed).abs().mean() < 0.01 * trained.std()


@thinned("name kind", 2, NETWORKS, CHOICES)
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("rounding", ["nearest", "adaptive"])
def test_it_begins_with_the_integers_that_are_deployed_untuned(
    name: str, kind: str, rounding: str, granularity: str, context: Bases
) -> None:
    settings = QuantizerSettings(rounding=rounding, rounding_images=16, scale_granularity=granularity)
    base = replace(context(name), quantizer=settings)
    chosen = candidate(base, kind, weight_bits=3 if kind != "shared" else 4)
    network, untuned = trainable(base, chosen), code_modules(compressed_copy(base, chosen))
    for layer, module in untuned.items():
        codes, scale = module.get_buffer("weight_codes"), module.get_buffer("weight_scale")
        deployed = codes * scale.view(-1, *(1,) * (codes.ndim - 1))
        assert torch.equal(layer_module(network.model, layer).weight, deployed), layer
        used = scale[codes.flatten(1).any(1)]
        assert granularity == "channel" or len(set(used.tolist())) <= 1, layer
    norms = {name: tensor for name, tensor in compressed_copy(base, chosen).state_dict().items() if "running" in name}
    assert all(torch.equal(network.model.state_dict()[name], tensor) for name, tensor in norms.items())


def test_float_weights_begin_where_the_float_network_has_them_as_far_as_codes_allow(context: Bases) -> None:
    base = replace(context("option_a"), quantizer=QuantizerSettings(rounding="adaptive"))
    chosen = replace(candidate(base), filter_keep_ratio=())
    network = trainable(base, chosen).collect({})
    inside = 0.0
    for layer, module in code_modules(compressed_copy(base, chosen)).items():
        scale = module.get_buffer("weight_scale").double()
        codes = module.get_buffer("weight_codes").double().flatten(1)
        real = base.model.get_parameter(f"{layer}.weight").double().flatten(1) / scale[:, None]
        begun = network.state[f"{layer}.weight"].double().flatten(1) / scale[:, None]
        near = (real - codes).abs() < 0.44
        torch.testing.assert_close(begun[near], real[near], rtol=0, atol=1e-4)
        assert bool(((begun - codes).abs() < 0.5).all())
        assert bool((((begun - codes) * (real - codes))[~near] >= 0).all())  # on the side of the float weight
        inside += float(near.double().mean()) / len(base.graph.weight_owners)
    assert 0.5 < inside < 0.99


def test_training_that_only_hurts_leaves_what_is_deployed_untuned(context: Bases, images: Images) -> None:
    base, x = context("option_a"), images("option_a", 48)
    chosen = candidate(base, weight_bits=8)
    settings = replace(SHORT, epochs=3, learning_rate=1.0, teacher_weight=1.0, held_aside=0.25)
    result = tuned(base, chosen, x, settings)
    assert result.description["kept_epoch"] == 0
    assert same(result, trainable(base, chosen).collect({}))
    last = tuned(base, chosen, x, replace(settings, held_aside=0.0))
    assert last.description["kept_epoch"] == 3
    assert not same(last, result)


def test_the_best_epoch_on_images_held_aside_is_kept(context: Bases, images: Images) -> None:
    """By the divergence from the float network on them, found from what the training was seen to leave."""
    base, x = context("lenet5_digits"), images("lenet5_digits", 96)
    chosen = candidate(base, weight_bits=3)
    settings = replace(SHORT, epochs=8, learning_rate=0.02, teacher_weight=1.0, temperature=1.0, held_aside=0.25)
    states: list[tuple[float, dict[str, Tensor]]] = []
    whole = BestState.offer

    def watched(self: BestState, epoch: int) -> None:
        whole(self, epoch)
        states.append((self.measure()[0], {k: v.clone() for k, v in self.model.state_dict().items()}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BestState, "offer", watched)
        result = tuned(base, chosen, x, settings)
    kept = result.description["kept_epoch"]
    assert kept == min(range(9), key=lambda epoch: states[epoch][0])
    assert all(torch.equal(result.state[k], v) for k, v in states[kept][1].items() if k in result.state)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        _, aside = hold_aside(96, 0.25, torch.device("cpu"))
    with torch.no_grad():
        wanted = torch.log_softmax(base.model(x[aside]), 1)
        found = torch.log_softmax(rebuild(base, chosen, result)(x[aside]), 1)
    assert float(-(wanted.exp() * found).sum(1).mean()) == pytest.approx(states[kept][0], rel=0.02)


def test_images_are_held_aside_once_each() -> None:
    for count, share, aside in ((100, 0.25, 25), (3, 0.5, 2), (2, 0.5, 1), (1, 0.5, 0), (10, 0.0, 0)):
        seen, held = hold_aside(count, share, torch.device("cpu"))
        assert len(held) == aside
        assert sorted([*seen.tolist(), *held.tolist()]) == list(range(count))


@pytest.mark.parametrize("kind", CHOICES)
def test_the_deployed_network_is_the_planned_one(kind: str, context: Bases, images: Images) -> None:
    base, x = context("option_a"), images("option_a", 32)
    chosen = candidate(base, kind)
    model = rebuild(base, chosen, tuned(base, chosen, x))
    for layer in plan(base.graph, chosen).layers:
        codes = model.get_submodule(layer.name).get_buffer("weight_codes")
        assert codes.numel() == layer.num_weights
        assert int((codes != 0).sum()) <= layer.num_nonzero_weights
        assert codes.abs().max() <= 7
        size = chosen.choice(layer.name).codebook_size
        if size is not None:
            by_channel = chosen.choice(layer.name).codebook_granularity == "channel"
            assert all(len(part.unique()) <= size for part in (codes if by_channel else [codes]))


def test_weights_change_and_masks_and_clusters_are_held(context: Bases, images: Images) -> None:
    base, x = context("option_a"), images("option_a", 32)
    pruned = candidate(base, "pruned")
    first = tuned(base, pruned, x)
    second = tuned(base, pruned, x, start=first, seed=2)
    before = apply(base, replace(pruned, layers=candidate(base).layers))
    for name, module in code_modules(rebuild(base, pruned, second)).items():
        weight = second.state[f"{name}.weight"]
        assert torch.equal(first.masks[name], second.masks[name])
        half = LayerChoice(layer=name, weight_density=0.5)
        assert torch.equal(second.masks[name], mask_weights(first.state[f"{name}.weight"], half))
        assert not weight[~second.masks[name]].any()
        assert not module.get_buffer("weight_codes")[~second.masks[name]].any()
        assert not torch.equal(weight, first.state[f"{name}.weight"])
        assert module.get_buffer("weight_codes").shape == before.get_submodule(name).get_buffer("weight_codes").shape
    shared = candidate(base, "shared")
    third = tuned(base, shared, x, start=first)
    fourth = tuned(base, shared, x, start=third, seed=2)
    assert all(torch.equal(third.clusters[name], fourth.clusters[name]) for name in third.clusters)
    assert any(not torch.equal(third.centroids[name], fourth.centroids[name]) for name in third.centroids)


def test_parameters_that_are_one_stay_one(images: Images) -> None:
    x = images("option_a", 32)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        again = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), again, nn.AvgPool2d(2), again, nn.Flatten(), nn.Linear(64, 5)
        )
    base = CompressionContext.of(model.eval(), x)
    (twice,) = (layer for layer in base.graph.layers if layer.chosen_by != layer.name)
    steps = tuple(LayerChoice(layer=name, step=0.2) for name in base.graph.weight_owners)
    stepped = replace(candidate(base), layers=steps)
    base = with_made_up_units(base)
    settings = replace(SHORT, learning_rate=0.05, learn_scales=True)
    for chosen in (*(candidate(base, kind) for kind in CHOICES), stepped):
        result = tuned(base, chosen, x, settings)
        for key in ("weight", "bias"):
            one, other = (result.state[f"{name}.{key}"] for name in (twice.name, twice.chosen_by))
            assert torch.equal(one, other)
        before, after = apply(base, chosen), rebuild(base, chosen, result)
        codes = [after.get_submodule(name).get_buffer("weight_codes") for name in (twice.name, twice.chosen_by)]
        assert torch.equal(*codes)
        assert not torch.equal(codes[0], before.get_submodule(twice.name).get_buffer("weight_codes"))


def test_training_repeats_itself_for_a_seed(context: Bases, images: Images) -> None:
    base, x = context("option_a"), images("option_a", 40)
    chosen, state = candidate(base), torch.get_rng_state()
    network = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    settings = replace(SHORT, crop_pixels=1, flip=True, shift_pixels=1.0, mixup=0.5)
    first, second = tuned(base, chosen, x, settings), tuned(base, chosen, x, settings)
    assert same(first, second)
    assert not same(first, tuned(base, chosen, x, settings, seed=2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, network[name]) for name, tensor in base.model.state_dict().items())


@pytest.mark.parametrize("teacher", [{"teacher": False}, {"teacher_weight": 0.5}])
def test_mixes_of_one_image_with_itself_teach_the_same(
    teacher: dict[str, Any], context: Bases, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, x = context("option_a"), images("option_a", 32)
    settings = replace(SHORT, **teacher)
    mixed = replace(settings, mixup=1.0)
    assert not same(tuned(base, candidate(base), x, settings), tuned(base, candidate(base), x, mixed))
    monkeypatch.setitem(globals(), "labels", lambda count: torch.full((count,), 2))
    equal = x[:1].expand_as(x).contiguous()
    first, second = (tuned(base, candidate(base), equal, each) for each in (settings, mixed))
    for name, tensor in first.state.items():
        if "running_" in name:  # of images alone, see below
            continue
        torch.testing.assert_close(second.state[name], tensor, rtol=1e-3, atol=1e-5)


def test_norms_do_not_learn_from_mixes(context: Bases, images: Images) -> None:
    base, x = context("option_a"), images("option_a", 32)
    norms = {name for name in base.model.state_dict() if name.endswith(("running_mean", "running_var"))}
    start = trainable(base, candidate(base)).model.state_dict()
    result = tuned(base, candidate(base), x, replace(SHORT, mixup=1.0))
    assert all(torch.equal(result.state[name], start[name]) for name in norms)
    assert not any(torch.equal(tuned(base, candidate(base), x).state[name], start[name]) for name in norms)


@pytest.mark.parametrize(
    "change", [{"optimizer": "adam", "learning_rate": 0.001}, {"batch_norm": "frozen"}, {"held_aside": 0.2}]
)
@pytest.mark.parametrize("kind", ["pruned", "shared"])
def test_an_interrupted_training_goes_on(
    kind: str, change: dict[str, Any], context: Bases, images: Images, tmp_path: Path
) -> None:
    base, x, file = context("option_a"), images("option_a", 40), tmp_path / "state"
    chosen, settings = candidate(base, kind), replace(SHORT, epochs=3, flip=True, **change)

    def interrupt(done: int, batches: int, loss: float) -> None:
        if 3 * done >= 2 * batches:
            raise KeyboardInterrupt

    whole = tuned(base, chosen, x, settings)
    with pytest.raises(KeyboardInterrupt):
        tuned(base, chosen, x, settings, progress=interrupt, unfinished=file)
    assert file.exists()
    common: dict[str, Any] = {"base": base, "chosen": chosen, "x": x, "settings": settings, "unfinished": file}
    for other in ({"seed": 2}, {"settings": replace(settings, epochs=4)}, {"chosen": candidate(base, kind, 5)}):
        with pytest.raises(ModelError, match="belongs to a training of other weights, images or settings"):
            tuned(**{**common, **other})
    shares: list[float] = []
    for begun in (2 / 3, 1):  # once it is over, too, until what came of it is kept
        shares.clear()
        resumed = tuned(base, chosen, x, settings, unfinished=file, progress=lambda n, of, _: shares.append(n / of))
        assert (shares[0], shares[-1]) == (begun, 1)
        assert same(whole, resumed)


def test_a_damaged_state_is_refused(context: Bases, images: Images, tmp_path: Path) -> None:
    base, x, file = context("option_a"), images("option_a", 16), tmp_path / "state"
    file.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="state: not the state of an interrupted training"):
        tuned(base, candidate(base), x, unfinished=file)


def test_a_diverging_training_is_stopped(context: Bases, images: Images) -> None:
    base, x = context("lenet5_digits"), images("lenet5_digits", 32)
    settings = replace(SHORT, learning_rate=100.0, weight_decay=100.0, epochs=8)
    with pytest.raises(
        DivergedError, match=r"finetuning: the loss is (nan|inf) in epoch \d+; lower finetuning\.learning"
    ):
        tuned(base, candidate(base), x, settings)


def test_what_diverged_is_not_gone_on_from(
    context: Bases, images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, x, file = context("lenet5_digits"), images("lenet5_digits", 32), tmp_path / "state"
    kept: list[int] = []

    def fail_later(model: nn.Module, batch: tuple[Tensor, ...]) -> Any:
        kept.append(file.exists())
        return run(model, batch) * (float("nan") if file.exists() else 1.0)

    monkeypatch.setattr(finetuning, "run", fail_later)
    with pytest.raises(DivergedError, match="in epoch 2; lower"):
        tuned(base, candidate(base), x, unfinished=file)
    assert any(kept)
    monkeypatch.undo()
    tuned(base, candidate(base), x, replace(SHORT, learning_rate=0.001), unfinished=file)


def test_scales_and_norms_stay_where_they_are_told_to(context: Bases, images: Images) -> None:
    base, x = context("option_a"), images("option_a", 32)
    chosen = candidate(base)
    start = trainable(base, chosen).collect({})
    held = tuned(base, chosen, x, replace(SHORT, learn_scales=False, batch_norm="frozen"))
    moved = tuned(base, chosen, x)
    for part in ("scales", "ranges"):
        assert all(torch.equal(tensor, getattr(held, part)[name]) for name, tensor in getattr(start, part).items())
        assert any(not torch.equal(tensor, getattr(moved, part)[name]) for name, tensor in getattr(start, part).items())
    for key in ("bn.running_mean", "stage1.bn1.running_var"):
        assert torch.equal(held.state[key], start.state[key])
        assert not torch.equal(moved.state[key], start.state[key])
    assert not torch.equal(held.state["bn.weight"], start.state["bn.weight"])


def test_one_scale_for_a_tensor_stays_one(context: Bases, images: Images) -> None:
    base, x = context("option_a"), images("option_a", 32)
    base = replace(base, quantizer=QuantizerSettings(scale_granularity="tensor"))
    result = tuned(base, candidate(base), x)
    assert all(bool((scale == scale[0]).all()) and len(scale) > 1 for scale in result.scales.values())
    rebuild(base, candidate(base), result)


def test_a_tuned_network_is_kept_in_a_file(context: Bases, images: Images, tmp_path: Path) -> None:
    base, x = context("mixed"), images("mixed", 16)
    chosen = candidate(base, "pruned and shared")
    result = tuned(base, chosen, x)
    result.save(tmp_path / "tuned.pt")
    read = Tuned.load(tmp_path / "tuned.pt")
    assert same(result, read)
    assert (read.candidate, read.description) == (chosen.digest(), result.description)
    assert read.description["epochs"] == 2
    with torch.no_grad():
        assert torch.equal(rebuild(base, chosen, read)(x), rebuild(base, chosen, result)(x))
    (tmp_path / "broken.pt").write_bytes((tmp_path / "tuned.pt").read_bytes()[:-100])
    for name in ("broken.pt", "missing.pt"):
        with pytest.raises(CandidateError, match=rf"{name}: cannot be read as a fine-tuned network"):
            Tuned.load(tmp_path / name)


def test_what_does_not_fit_is_refused(context: Bases, images: Images) -> None:
    base, x = context("option_a"), images("option_a", 16)
    result = tuned(base, candidate(base), x)
    other = candidate(base, weight_bits=5)
    with pytest.raises(CandidateError, match=rf"is that of candidate {candidate(base).digest()}, not of"):
        rebuild(base, other, result)
    fewer = replace(other, filter_keep_ratio=tuple((name, 0.5) for name, _ in other.filter_keep_ratio))
    with pytest.raises(CandidateError, match="does not fit this one"):
        tuned(base, fewer, x, start=result)


def test_fine_tuning_wins_back_accuracy() -> None:
    """LeNet-5 on digits with 2-bit weights and half of the filters: on 800 images that it has not seen."""
    data = load_data(DataSettings(source="digits"))
    training = TrainingSettings(epochs=10)
    model = load_model(ModelSettings(reference="lenet5_digits", training=training), data.input_shapes, data.num_classes)
    train_model(model, data.train.images, data.train.targets, Recipe(settings=training, seed=1))
    x, y = torch.from_numpy(data.train.images), torch.from_numpy(data.train.targets)
    base = CompressionContext.of(model, x[:128])
    chosen = candidate(base, weight_bits=2)
    reports: list[float] = []
    settings = FineTuningSettings(epochs=4, batch_size=32)
    result = finetune(
        base, chosen, x, y, Recipe(settings=settings, seed=1), progress=lambda e, n, loss: reports.append(loss)
    )
    unseen = torch.from_numpy(np.concatenate([data.search.images, data.held_out.images]))
    classes = torch.from_numpy(np.concatenate([data.search.targets, data.held_out.targets]))
    networks = apply(base, chosen), rebuild(base, chosen, result), trainable(base, chosen, result).model
    before, after, trained = (count_correct(network, unseen, classes, 400) for network in networks)
    assert reports[-1] < reports[1]
    assert after > before + 200
    assert after > 680
    assert abs(trained - after) <= 3


def test_a_strided_pointwise_convolution_of_few_channels_trains_in_the_plain_layout() -> None:
    """In channels last, oneDNN (issue 6035) would write past the buffer of its weights' gradient."""

    def layout(*layers: nn.Module) -> torch.memory_format:
        return choose_layout(nn.Sequential(*layers))

    assert layout(nn.Conv2d(4, 8, 3, 2), nn.Conv2d(8, 8, 1), nn.Conv2d(16, 8, 1, 2)) is torch.channels_last
    assert layout(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 32, 1, 2)) is torch.contiguous_format
    assert layout(nn.Conv2d(32, 32, 1, (1, 2), groups=4)) is torch.contiguous_format


def test_coarse_products_train_much_the_same_network(context: Bases, images: Images) -> None:
    """By gradients of 8 significant bits weights, norms and scales move about as they do by those of float32."""
    base, x = context("option_a"), images("option_a", 48)
    chosen = candidate(base, weight_bits=8)
    settings = replace(SHORT, optimizer="sgd", learning_rate=0.001, feature_weight=1.0, held_aside=0.0)
    start = trainable(base, chosen).collect({})
    fine, coarse = (tuned(base, chosen, x, replace(settings, arithmetic=name)) for name in ("float32", "bfloat16"))
    for part in ("state", "scales", "ranges"):
        entries = getattr(start, part).items()
        kept = {name: begun.double() for name, begun in entries if begun.is_floating_point() and "running" not in name}
        moved, also = (
            torch.cat([(getattr(each, part)[name] - begun).flatten() for name, begun in kept.items()])
            for each in (fine, coarse)
        )
        assert 0.0 < float((moved - also).norm() / moved.norm()) < 0.5, part
        assert all(getattr(coarse, part)[name].dtype == begun.dtype for name, begun in entries)
