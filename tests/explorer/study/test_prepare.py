"""What a search starts from: made once, kept in the folder, and refused before it is expensive."""

import runpy
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from explorer.errors import ExplorerError, ModelError, SearchError, StudyFileError
from explorer.settings import LayerSpace, SharingSettings
from explorer.study import weights
from explorer.study.prepare import open_study
from explorer.study.study_file import Study, load_study
from explorer.study.weights import digest_state

TINY = Path(__file__).parents[2] / "tiny_study"


def quiet(stage: str, done: int, total: int) -> None:
    """Show nothing."""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """The tiny study, in a folder of its own."""
    shutil.copytree(TINY, tmp_path / "tiny", ignore=shutil.ignore_patterns("__pycache__"))
    runpy.run_path(str(TINY / "shapes.py"))["write"](tmp_path / "tiny" / "images.npz")
    return load_study(tmp_path / "tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run."""
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training fails."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(weights, "train_model", refuse)


def test_all_is_kept_and_found_again(study: Study, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[str] = []
    first = open_study(study, folder, lambda stage, *_: stages.append(stage))
    assert list(dict.fromkeys(stages)) == ["load data", "train, batches", "relevance", "calibrate"]
    assert {path.suffix for path in folder.iterdir()} == {".pt", ".npz"}
    stages.clear()
    again = open_study(study, folder, lambda stage, *_: stages.append(stage))
    assert list(dict.fromkeys(stages)) == ["load data", "calibrate"]
    assert again.identity() == first.identity()
    assert again.context.order == first.context.order
    assert len(list(folder.iterdir())) == 2


def test_training_on_another_seed_is_another_file(study: Study, folder: Path) -> None:
    prepared = [open_study(replace(study, heading=replace(study.heading, seed=seed)), folder, quiet) for seed in (0, 1)]
    assert len(list(folder.glob("weights-*.pt"))) == 2
    assert prepared[0].weights_digest != prepared[1].weights_digest


def test_what_an_error_of_each_weight_counts(study: Study, folder: Path) -> None:
    found = {
        weighting: open_study(replace(study, sharing=SharingSettings(weighting=weighting)), folder, quiet)
        for weighting in ("plain", "relevance", "fisher")
    }
    assert found["plain"].context.importance is None
    for weighting in ("relevance", "fisher"):
        context = found[weighting].context
        assert context.importance is not None
        for layer in context.graph.layers:
            weight = context.model.get_submodule(layer.name).get_parameter("weight")
            assert context.importance[layer.name].shape == weight.shape
            assert context.importance[layer.name].min() >= 0
    multipliers = found["relevance"].relevance.layers[0]
    importance = found["relevance"].context.importance or {}
    assert np.array_equal(importance[multipliers.layer].numpy(), multipliers.weight_multipliers)
    assert len({prepared.study.digest() for prepared in found.values()}) == 3


def test_the_global_random_state_stays(study: Study, folder: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    open_study(study, folder, quiet)
    assert torch.equal(torch.rand(3), expected)


def test_the_identity_names_what_evaluations_depend_on(study: Study, folder: Path) -> None:
    prepared = open_study(study, folder, quiet)
    known = prepared.identity()
    assert known.keys() > {"device", "graph", "weights", "images", "relevance", "study.seed", "search.seeds"}
    uncounted = replace(prepared.context, graph=replace(prepared.context.graph, operations=()))
    assert replace(prepared, context=uncounted).identity()["graph"] != known["graph"]
    data = prepared.data
    fewer = replace(data, search=data.search.take(slice(50)))
    assert replace(prepared, data=fewer).identity()["images"] != known["images"]
    assert replace(prepared, weights_digest="0").identity()["weights"] == "0"
    assert prepared.identity() == known
    other_output = replace(study, output=replace(study.output, folder="elsewhere"))
    assert replace(prepared, study=other_output).identity() == known


def test_tensors_are_the_images(study: Study, folder: Path) -> None:
    prepared = open_study(study, folder, quiet)
    (images,), labels = prepared.tensors(prepared.data.held_out)
    assert np.array_equal(images.numpy(), prepared.data.held_out.images)
    assert np.array_equal(labels.numpy(), prepared.data.held_out.targets)


def test_the_relevance_decides_which_filters_stay(study: Study, folder: Path) -> None:
    prepared = open_study(study, folder, quiet)
    assert {name: sorted(order) for name, order in prepared.context.order.items()} == {
        group.name: sorted(group.classes) for group in prepared.context.graph.prunable
    }


BRANCH = """
from torch import nn
class Branch(nn.Sequential):
    def forward(self, x):
        return super().forward(-x if x.sum() > 0 else x)
def build():
    return Branch(nn.Flatten(), nn.Linear(64, 2))
"""


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("wrong", ["branch", "layer", "device", "cuda"])
def test_what_cannot_be_explored_is_refused_before_training(
    wrong: str, study: Study, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if wrong == "branch":
        (tmp_path / "tiny" / "network.py").write_text(BRANCH)
    layers = (LayerSpace(layer="9", weight_bits=(8,)),)
    changes: dict[str, tuple[Callable[[], Study], type[ExplorerError], str]] = {
        "branch": (lambda: study, ModelError, r"cannot trace Branch at .*network\.py:5"),
        "layer": (
            lambda: replace(study, space=replace(study.space, layers=layers)),
            SearchError,
            "no such layer or group; it has 0, 3, 7",
        ),
        "device": (
            lambda: replace(study, device=replace(study.device, profile="abacus")),
            StudyFileError,
            "device.profile: 'abacus' cannot be used",
        ),
        "cuda": (
            lambda: replace(study, compute=replace(study.compute, device="cuda")),
            StudyFileError,
            'compute.device: received "cuda"',
        ),
    }
    change, error, text = changes[wrong]
    with pytest.raises(error, match=text):
        open_study(change(), folder, quiet)
    assert list(folder.iterdir()) == []


def test_kept_weights_that_do_not_fit_say_what_to_do(study: Study, folder: Path) -> None:
    open_study(study, folder, quiet)
    (kept,) = folder.glob("weights-*.pt")
    torch.save({"0.weight": torch.zeros(1)}, kept)
    with pytest.raises(ModelError, match=rf"^{kept}: cannot be used: does not fit the network: .*delete it to train"):
        open_study(study, folder, quiet)


def test_a_checkpoint_is_not_trained(study: Study, folder: Path, tmp_path: Path, no_training: None) -> None:
    network = runpy.run_path(str(tmp_path / "tiny" / "network.py"))["build"]()
    torch.save(network.state_dict(), tmp_path / "tiny" / "own.pt")
    prepared = open_study(replace(study, model=replace(study.model, checkpoint="own.pt")), folder, quiet)
    assert prepared.weights_digest == digest_state(network)
    assert not list(folder.glob("weights-*"))


def test_the_digest_of_a_state() -> None:
    layer = nn.Linear(2, 2)
    digest = digest_state(layer)
    assert len(digest) == 16
    assert digest == digest_state(layer)
    layer.bias.data[0] += 1
    assert digest_state(layer) != digest
    assert digest_state(nn.Sequential(layer)) != digest_state(layer)


def test_weights_are_found_by_every_study_that_trains_the_same(
    study: Study, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_study(study, folder, quiet)
    other = replace(study, heading=replace(study.heading, name="other"), search=replace(study.search, trials=2))
    (tmp_path / "second").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(weights, "train_model", _refuse)
        assert open_study(other, tmp_path / "second", quiet).weights_digest == first.weights_digest
    (file,) = folder.glob("weights-*.pt")
    assert (tmp_path / "second" / file.name).is_file()  # a folder of results is whole without the cache


def _refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("trained")


@pytest.mark.parametrize("change", ["seed", "epochs", "images", "start"])
def test_weights_of_another_training_are_not_found(
    change: str, study: Study, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_study(study, folder, quiet)
    training = study.model.training
    assert training is not None
    others = {
        "seed": replace(study, heading=replace(study.heading, seed=5)),
        "epochs": replace(study, model=replace(study.model, training=replace(training, epochs=2))),
        "images": replace(study, data=replace(study.data, train=100)),
        "start": study,
    }
    if change == "start":  # the same layers, started otherwise: no setting tells
        network = Path(study.folder) / "network.py"
        network.write_text(network.read_text() + START)
        for name in [name for name in sys.modules if name.startswith("network_")]:
            monkeypatch.delitem(sys.modules, name)
    (tmp_path / "second").mkdir()
    monkeypatch.setattr(weights, "train_model", _refuse)
    with pytest.raises(AssertionError, match="trained"):
        open_study(others[change], tmp_path / "second", quiet)


START = """

_build = build


def build(*arguments, **more):
    model = _build(*arguments, **more)
    for parameter in model.parameters():
        parameter.data.mul_(0.5)
    return model
"""


def test_a_damaged_or_read_only_cache_is_no_error(
    study: Study, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("EXPLORER_CACHE", str(cache))
    first = open_study(study, folder, quiet)
    (shared,) = cache.iterdir()
    shared.write_bytes(b"damaged")
    (tmp_path / "second").mkdir()
    assert open_study(study, tmp_path / "second", quiet).weights_digest == first.weights_digest
    assert shared.read_bytes() != b"damaged"
    monkeypatch.setenv("EXPLORER_CACHE", str(shared / "no_folder"))
    (tmp_path / "third").mkdir()
    assert open_study(study, tmp_path / "third", quiet).weights_digest == first.weights_digest


def test_steps_over_units_that_error_feedback_weighs_are_other_results(study: Study, folder: Path) -> None:
    stepped = replace(study, space=replace(study.space, steps=(0.01, None)))
    fed_back = replace(stepped, quantizer=replace(study.quantizer, rounding="adaptive"))
    plain, weighed = (open_study(each, folder, quiet) for each in (stepped, fed_back))
    assert "step units" not in plain.identity()
    assert weighed.identity()["step units"] == "weighed by error feedback"
    before, after = plain.context.step_units or {}, weighed.context.step_units or {}
    assert all(0 < after[name] < before[name] for name in plain.context.static.solvable)
    no_steps = replace(fed_back, space=study.space)
    assert "step units" not in replace(weighed, study=no_steps).identity()
