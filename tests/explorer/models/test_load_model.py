"""Networks from settings: the user's factory, and everything that can be wrong with it."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from explorer.errors import ModelError
from explorer.models.lenet import LeNet5Digits
from explorer.models.load import load_model
from explorer.settings import ModelSettings, TrainingSettings

MODULE = """
from torch import nn
from {layers} import linear

constant = 3

def build(classes=10, sizes=()):
    assert isinstance(sizes, list) or sizes == ()
    return nn.Sequential(nn.Flatten(), linear(64, classes))

def text():
    return "a network"

def broken():
    raise RuntimeError("no\\nluck")
"""


def write_modules(folder: Path, text: str = MODULE) -> Path:
    """A folder with a module and another that it imports, under names that no other test uses."""
    layers = f"layers_{abs(hash(folder))}"
    (folder / "network.py").write_text(text.replace("{layers}", layers), encoding="utf-8")
    (folder / f"{layers}.py").write_text("from torch.nn import Linear as linear\n", encoding="utf-8")
    return folder


def load_own(factory: str, folder: Path, outputs: int = 10, **arguments: Any) -> nn.Module:
    settings = ModelSettings(factory=factory, arguments=tuple(arguments.items()), training=TrainingSettings())
    return load_model(settings, [(1, 8, 8)], outputs, folder=folder)


def test_a_reference_network_is_ready_to_evaluate() -> None:
    model = load_model(ModelSettings(reference="lenet5_digits", training=TrainingSettings()), [(1, 8, 8)], 10)
    assert isinstance(model, LeNet5Digits)
    assert not model.training


def test_the_seed_fixes_the_weights_and_the_global_state_stays() -> None:
    settings = ModelSettings(reference="lenet5_digits", training=TrainingSettings())
    state = torch.get_rng_state()
    first, second, third = (load_model(settings, [(1, 8, 8)], 10, seed=seed) for seed in (1, 1, 2))
    weights = [model.state_dict()["fc1.weight"] for model in (first, second, third)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_factory_beside_the_study_file_is_called_with_its_arguments(tmp_path: Path) -> None:
    path = list(sys.path)
    model = load_own("network:build", write_modules(tmp_path), 4, classes=4, sizes=(1, 2))
    assert len(list(model.children())) == 2
    assert sys.path == path


def test_two_studies_may_have_modules_of_one_name(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, wide in zip(folders, ("64", "8, 8), nn.Flatten(), linear(64"), strict=True):
        folder.mkdir()
        write_modules(folder, MODULE.replace("linear(64", f"linear({wide}") if wide != "64" else MODULE)
    first = load_own("network:build", folders[0])
    assert len(list(first.children())) == 2
    with pytest.raises(ModelError, match="fails on images"):
        load_own("network:build", folders[1])


def test_a_factory_of_an_installed_package_is_found(tmp_path: Path) -> None:
    model = load_own("explorer.models.lenet:LeNet5Digits", tmp_path, classes=10)
    assert isinstance(model, LeNet5Digits)


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (
            "absent:build",
            r"no module 'absent' beside the study file in .*, and none is installed; put the \.py",
        ),
        (
            "network.inner:build",
            r"no module 'network\.inner' beside|importing module 'network\.inner' raised",
        ),
        ("network:biuld", r"the module has no 'biuld'; it has linear, build, text, broken"),
        ("network:constant", r"expected a function or class, received a int; name a function"),
        ("network:text", r"expected it to return a torch\.nn\.Module, received a str; return the network"),
        ("network:broken", r"raised RuntimeError: no luck \(.*network\.py, line 15\); correct it"),
    ],
)
def test_a_wrong_factory_is_refused_in_one_line(tmp_path: Path, factory: str, expected: str) -> None:
    with pytest.raises(ModelError, match=expected) as caught:
        load_own(factory, write_modules(tmp_path))
    assert str(caught.value).startswith(f"model.factory: {factory!r}")
    assert "\n" not in str(caught.value)


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"raised TypeError: .*unexpected keyword argument 'width'"):
        load_own("network:build", write_modules(tmp_path), width=3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def build(:\n", r"importing module 'network' raised SyntaxError: .*network\.py, line 1"),
        (
            "import absent_package\n",
            "importing module 'network' raised ModuleNotFoundError: .*'absent_package'",
        ),
        ("1 / 0\n", r"importing module 'network' raised ZeroDivisionError: .*network\.py, line 1"),
    ],
)
def test_a_module_that_fails_on_import_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        load_own("network:build", write_modules(tmp_path, text))


def test_a_network_for_other_images_is_refused() -> None:
    settings = ModelSettings(reference="lenet5", training=TrainingSettings())
    with pytest.raises(
        ModelError,
        match=r"model\.reference: 'lenet5' fails on images of 1 x 8 x 8 \(channels x height x width\): RuntimeError",
    ):
        load_model(settings, [(1, 8, 8)], 10)


def test_a_network_with_other_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected logits of shape 2 x 10 .*, received 2 x 4; give the network"):
        load_own("network:build", write_modules(tmp_path), classes=4)


def test_a_network_that_returns_no_tensor_is_refused(tmp_path: Path) -> None:
    text = "from torch import nn\nclass build(nn.Module):\n    def forward(self, x):\n        return (x,)\n"
    with pytest.raises(ModelError, match=r"expected logits of shape 2 x 10 .*, received a tuple"):
        load_own("network:build", write_modules(tmp_path, text))


def test_an_input_shape_that_the_images_do_not_have_is_refused() -> None:
    settings = ModelSettings(reference="lenet5", training=TrainingSettings(), input_shape=(1, 28, 28))
    with pytest.raises(ModelError, match=r"model\.input_shape: expected the images' shape 1 x 8 x 8, received 1 x 28"):
        load_model(settings, [(1, 8, 8)], 10)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (
            "nn.Conv2d(1, 10, 3, padding=1)",
            "received 2 x 10 x 8 x 8; name what scores a map for each image, such as that of a U-Net, in [score]",
        ),
        ("nn.Bilinear(8, 8, 10)", "takes 2 inputs (input1, input2), received 1; give one tensor for each"),
    ],
)
def test_networks_of_other_kinds_are_refused_as_what_they_are(network: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(f"from torch import nn\n\n\ndef build():\n    return {network}\n")
    settings = ModelSettings(factory="other:build", training=TrainingSettings())
    with pytest.raises(ModelError, match=re.escape(reason)):
        load_model(settings, [(1, 8, 8)], 10, folder=tmp_path)
