"""What `import explorer` offers: what it gives, and how bad arguments are answered."""

from __future__ import annotations

import inspect
import pickle
import pydoc
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import explorer
import hwmodels
from explorer import api


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(96, 3))


@pytest.fixture(scope="module")
def net(model: nn.Module, images: Tensor) -> explorer.Net:
    return explorer.open(model, images, torch.arange(40) % 3)


def test_the_package_offers_what_the_module_does() -> None:
    assert sorted(explorer.__all__) == sorted(api.__all__)
    assert set(explorer.__all__) <= set(dir(explorer))
    assert not {"Any", "TYPE_CHECKING", "session"} & set(dir(explorer))
    with pytest.raises(AttributeError, match="no attribute 'serch'") as caught:
        explorer.__getattr__("serch")
    assert (caught.value.name, caught.value.obj) == ("serch", explorer)  # what Python suggests a name by


@pytest.mark.parametrize("name", ["compress", "export", "relevance", "search"])
def test_a_package_of_the_same_name_is_the_function_as_well(name: str) -> None:
    room: Any = import_module(f"explorer.{name}")
    function = getattr(api, name)
    assert getattr(explorer, name) is room
    assert inspect.signature(room) == inspect.signature(function)
    shown = pydoc.plain(pydoc.render_doc(room))
    assert f"explorer.{name} - {function.__doc__.splitlines()[0]}" in shown
    assert f"explorer.{name}({next(iter(inspect.signature(function).parameters))}: " in shown


def test_the_model_stays_as_it_is(model: nn.Module, images: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train()
    opened = explorer.open(model, images, torch.arange(40) % 3)
    explorer.finetune(opened, explorer.uniform(opened, weight_bits=2), epochs=1)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(model.eval()(images), opened.context.model(images))


def test_scoring_leaves_each_module_in_its_mode(model: nn.Module, images: Tensor) -> None:
    model.train()
    model[1].eval()  # type: ignore[index]
    before = [module.training for module in model.modules()]
    labels = torch.arange(40) % 3
    explorer.accuracy(model, images, labels)
    with pytest.raises(explorer.ExplorerError):
        explorer.accuracy(model, images[..., :5], labels)
    assert [module.training for module in model.modules()] == before


def test_a_network_is_not_pickled_into_a_file_that_cannot_be_read(net: explorer.Net) -> None:
    with pytest.raises(explorer.ExplorerError, match=r"save the model's state_dict\(\)"):
        pickle.dumps(net)
    with pytest.raises(explorer.ExplorerError, match=r"save scores.to_frame\(\)"):
        pickle.dumps(explorer.relevance(net, "l1"))


def test_the_sets_are_said(net: explorer.Net) -> None:
    assert "images: 24 to train and calibrate, 8 to search, 8 held out; scored by accuracy" in repr(net)


def test_given_sets_are_used(model: nn.Module, images: Tensor) -> None:
    labels = torch.arange(40) % 3
    opened = explorer.open(model, images, labels, search=(images[:3], labels[:3]), held_out=(images[3:9], labels[3:9]))
    assert [len(part) for part in (opened.data.train, opened.data.search, opened.data.held_out)] == [40, 3, 6]


def test_filters_go_in_the_order_of_the_scores(net: explorer.Net) -> None:
    point = explorer.uniform(net).with_filters({"0": 0.25})
    scores = explorer.relevance(net, "l1")
    (first,) = (group for group in net.graph.prunable if group.name == "0")
    best = int(torch.tensor(scores.layer(net.graph.layers[0].name).filter_scores).argmax())
    small = explorer.compress(net, point, scores)
    kept = small.get_parameter(f"{net.graph.layers[0].name}.weight")
    whole = net.context.model.get_parameter(f"{net.graph.layers[0].name}.weight")[best]
    assert len(first.classes) == 4
    assert kept.shape[0] == 1
    assert torch.allclose(kept[0], whole, atol=0.02)


def test_a_network_of_codes_says_what_it_takes(net: explorer.Net) -> None:
    small = explorer.compress(net, explorer.uniform(net, weight_bits=4))
    assert small.size_bytes == sum(-(-layer.num_weights * 4 // 8) for layer in small.plan.layers)
    assert small.size_bytes == (36 * 4 + 216 * 4 + 288 * 4) // 8
    cost = explorer.price(net, small.candidate, hwmodels.load("bitfusion"))
    assert cost == explorer.price(net, small.candidate, "bitfusion")


def test_what_is_relevant_may_be_said_by_a_lambda(net: explorer.Net) -> None:
    def margin(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs[:, 0] - outputs[:, 1]

    named = explorer.relevance(net, "taylor", target=margin).to_frame()
    assert named.equals(
        explorer.relevance(net, "taylor", target=lambda outputs, _: outputs[:, 0] - outputs[:, 1]).to_frame()
    )


def test_a_score_of_ones_own_counts_everywhere(model: nn.Module, images: Tensor) -> None:
    def surely(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.softmax(1).gather(1, targets[:, None])[:, 0]

    opened = explorer.open(model, images, torch.arange(40) % 3, score=surely)
    small = explorer.compress(opened, explorer.uniform(opened))
    held_out = opened.data.held_out.tensors(torch.device("cpu"))
    with torch.no_grad():
        expected = float(surely(small(*held_out[0]), held_out[1]).double().mean())
    assert explorer.score(small).value == pytest.approx(expected)
    assert explorer.score(model, *held_out, function=surely).value == pytest.approx(expected, abs=0.02)
    assert explorer.accuracy(small).value in {count / 8 for count in range(9)}


REFUSALS = {
    "explorer.open('resnet18', x, y)": "expected a torch.nn.Module, received str",
    "explorer.open(model, x, y[:7])": "received 40 images and 7 targets",
    "explorer.open(model, x, y + 1)": r"expected labels in 0\.\.2, .* received 3",
    "explorer.open(model, x[..., :5], y)": "check the model against",
    "explorer.open(model[:3], x, y)": r"logits \(N x classes\).*give score=",
    "explorer.open(model, x, y, score='iou')": "expected a function .* received 'iou'",
    "explorer.open(model, x, y, seed=-1)": r"seed: expected an integer in 0\.\.4294967295, received -1",
    "explorer.open(model, x, y, seed=None)": "seed: expected an integer .* received null",
    "explorer.open(model, x, y, quantizer={})": "quantizer: expected .*QuantizerSettings, received dict",
    "explorer.open(model, x, y, search=(x[..., :5], y))": r"search: expected .* shape \(1, 8, 8\), .* \(1, 8, 5\)",
    "explorer.open(model, x, y, held_out=(x[..., :5], y))": "held_out: expected images of shape",
    "explorer.relevance(model)": "net: expected what explorer.open gives, received Sequential",
    "explorer.uniform(model)": "net: expected what explorer.open gives",
    "explorer.plan(model, point)": "net: expected what explorer.open gives",
    "explorer.price(model, point, 'bitfusion')": "net: expected what explorer.open gives",
    "explorer.compress(model, point)": "net: expected what explorer.open gives",
    "explorer.finetune(model, point)": "net: expected what explorer.open gives",
    "explorer.search(model)": "net: expected what explorer.open gives",
    "explorer.load('nowhere', model)": "net: expected what explorer.open gives",
    "explorer.finetune(net, point, epochs=1, file='.')": "file: expected the name of a file, received the folder",
    "explorer.accuracy(model, x[..., :5], y)": "check the model against",
    "explorer.accuracy(model, x, torch.eye(3)[y])": r"expected a class number .* received float32 of shape \(40, 3\)",
    "explorer.score(model, x[..., :5], y, function=lambda outputs, targets: outputs[:, 0])": "check the model against",
    "explorer.accuracy(point, x, y)": "expected a network, received Candidate",
    "explorer.open(study, x, y)": "a study has images, score and seed of its own",
    "explorer.open(study, seed=3)": "a study has images, score and seed of its own",
    "point.with_choice(explorer.LayerChoice(layer='conv9', weight_bits=4))": "expected one of its layers, .* 'conv9'",
    "point.with_filters(['0'])": "expected shares of filters by group, received list",
    "explorer.search(net, objectives=None)": "objectives: expected a list of names, received None",
    "explorer.price(net, point, 'bitfuson')": "did you mean 'bitfusion'",
    "explorer.price(net, point, 3)": "expected a name, .* received int",
    "explorer.compress(net, 'knee')": "expected what explorer.uniform gives .* received str",
    "explorer.compress(net, point, 3)": "scores: expected .* received int",
    "explorer.relevance(net, 'deplift')": "did you mean 'deeplift'",
    "explorer.relevance(net, 'l1', targt='true')": "did you mean 'target'",
    "point.with_filters(conv9=0.5)": "expected a group of filters that can be removed, received 'conv9'",
    "point.with_filters({'0': 1.5})": "0.*1",
    "explorer.search(net, budgets={'energy': 1.0})": "did you mean 'energy_uj'",
    "explorer.search(net, 3)": "space: expected names with their values, received int",
    "explorer.search(net, {'weight_bit': (4,)})": "did you mean 'weight_bits'",
    "explorer.search(net, budgets=3)": "budgets: expected names with their values, received int",
    "explorer.search(net, objectives='energy')": "objectives: expected a list of names, received 'energy'",
    "explorer.search(net, trails=3)": "did you mean 'trials'",
    "explorer.search(net, objectives=('accuracy', 'enrgy'))": "did you mean 'energy'",
    "explorer.search(net, explorer.Space(weight_bits=(9,)))": "space.weight_bits",
    "explorer.export(explorer.compress(net, point), 'x', 'coreml')": "unknown format 'coreml'; choose one of onnx",
    "explorer.export(explorer.compress(net, point), 'x')": "give device=",
    "explorer.export(model, 'x')": "expected a compressed network .* received Sequential",
    "explorer.finetune(net, point, epochs=0)": "finetuning.epochs",
    "explorer.accuracy(model)": "expected images to score the network on",
    "explorer.load('nowhere')": "no run was made here",
    "explorer.run('nowhere')": "no such file or folder",
}


@pytest.mark.parametrize("call", REFUSALS)
def test_bad_arguments_are_one_clear_line(call: str, net: explorer.Net, model: nn.Module, images: Tensor) -> None:
    names = {"explorer": explorer, "net": net, "model": model, "torch": torch, "x": images, "y": torch.arange(40) % 3}
    with pytest.raises(explorer.ExplorerError, match=REFUSALS[call]) as caught:
        eval(
            call,
            names
            | {
                "point": explorer.uniform(net),
                "study": explorer.load_study("digits"),
            },
        )
    assert "\n" not in str(caught.value)
    assert not Path("x").exists()
