"""Bad input through the real command line: one clear line for each problem, exit code 2, nothing half-written."""

import hashlib
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import fx

from explorer.cli import main
from explorer.integer.builder import refuse

Refused = Callable[..., list[str]]
Arrays = dict[str, NDArray[Any]]


def contents(home: Path) -> dict[str, str]:
    """Digest of every file, and every folder; the lock of a run, which is no result, left out."""
    files = (path for path in home.rglob("*") if path.name not in (".lock", "__pycache__") and path.suffix != ".pyc")
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder" for path in files}


@pytest.fixture
def refused(home: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that must be refused; gives the lines on stderr, each without "error: ".

    `keeps` are patterns of new files that hold finished work.
    """

    def run(*arguments: str, keeps: tuple[str, ...] = ()) -> list[str]:
        before = contents(home)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(list(arguments))
        said = capsys.readouterr()
        assert stopped.value.code == 2
        return checked(said.out, said.err, before, keeps)

    def checked(out: str, err: str, before: Mapping[str, str], keeps: tuple[str, ...]) -> list[str]:
        lines = err.splitlines()
        assert lines
        assert all(line.startswith("error: ") for line in lines), err
        assert "Traceback" not in out + err
        after = contents(home)
        assert {name: after.get(name) for name in before} == before
        new = [Path(name) for name in after.keys() - before.keys()]
        assert [path for path in new if path.is_file() and not any(path.match(kept) for kept in keeps)] == []
        assert bool(new) <= bool(keeps)
        return [line.removeprefix("error: ") for line in lines]

    return run


def one_line(lines: list[str], parts: tuple[str, ...]) -> None:
    """There is one line, and it holds all of these parts."""
    assert len(lines) == 1, lines
    missing = [part for part in parts if part not in lines[0]]
    assert not missing, f"{missing} not in {lines[0]!r}"


def edit(file: Path, old: str, new: str) -> None:
    """Replace what stands once in a file."""
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


STUDY = {
    "misspelt key": ("trials = 6", "trails = 6", ("tiny/study.toml", "search.trails", "did you mean 'trials'?")),
    "misspelt section": ("[search]", "[serach]", ("tiny/study.toml", "serach: unknown section", "'search'?")),
    "key in the wrong section": ("seeds = 3", "seed = 3", ("search.seed: unknown key", "did you mean 'seeds'?")),
    "out of range": ("trials = 6", "trials = 0", ("search.trials: expected an integer in 1..1000000, received 0",)),
    "bits": ("[search]", "[space]\nweight_bits = [0, 8]\n[search]", ("space.weight_bits[0]", "1..8, received 0")),
    "more digits than Python reads": ("trials = 6", f"trials = {'9' * 4301}", ("tiny/study.toml: not valid TOML",)),
    "no number": ("learning_rate = 0.02", "learning_rate = nan", ("learning_rate: expected a number", "received NaN")),
    "wrong type": ("epochs = 6", 'epochs = "six"', ("model.training.epochs", 'an integer in 1..10000, received "six"')),
    "missing key": ('name = "tiny"', "", ("study.name: missing; expected a name of letters",)),
    "no weights": (
        "[model.training]\nepochs = 6\nlearning_rate = 0.02\nbatch_size = 32",
        "",
        ("model: the network has no weights; give checkpoint, or how to train",),
    ),
    "unknown device": ("bitfusion", "bitfusoin", ("device.profile: 'bitfusoin'", "did you mean 'bitfusion'?")),
    "unknown reference": (
        'factory = "network:build"',
        'reference = "resnet200"',
        ("model.reference", "did you mean 'resnet20'?", 'received "resnet200"'),
    ),
    "unknown objective": ('"energy"', '"power"', ("objectives.names[1]", '"energy"', 'received "power"')),
    "TOML": ('name = "tiny"', "name = tiny", ("tiny/study.toml: not valid TOML", "line 2", "correct the file")),
    "data file": ("images.npz", "nothing.npz", ("tiny/nothing.npz: no such file; set data.path",)),
    "variable": ("images.npz", "${NO_SUCH_FOLDER}/a.npz", ("data.path", "NO_SUCH_FOLDER is not set", "export NO_SUCH")),
    "split": ("held_out = 100", "held_out = 101", ("data.search + data.held_out", "at most the 200", "100 + 101")),
    "calibration": ("calibration = 64", "calibration = 301", ("data.calibration", "at most the 300", "received 301")),
    "factory module": ("network:", "notwork:", ("model.factory: 'notwork:build'", "no module 'notwork' beside")),
    "factory name": (":build", ":biuld", ("model.factory: 'network:biuld'", "has no 'biuld'; it has build")),
    "factory argument": (
        "[model.training]",
        "arguments = { widht = 3 }\n[model.training]",
        ("model.factory: 'network:build' raised TypeError", "'widht'", "correct it, or model.arguments"),
    ),
    "image shape": (
        "[model.training]",
        "input_shape = [3, 8, 8]\n[model.training]",
        ("model.input_shape: expected the images' shape 1 x 8 x 8, received 3 x 8 x 8", "remove the key"),
    ),
    "layer": ("[search]", '[space.layers."9"]\nweight_bits = [8]\n[search]', ("space.layers", "9", "it has 0, 3, 7")),
    "CUDA": ('device = "cpu"', 'device = "cuda"', ('compute.device: received "cuda"', 'use "cpu" or "auto"')),
    "normalisation": ("search = 100", "mean = [0.5, 0.5]\nsearch = 100", ("data.mean", "1 channels, received 2")),
}


@pytest.mark.parametrize("name", STUDY)
def test_a_wrong_study(name: str, home: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    old, new, parts = STUDY[name]
    edit(home / "tiny" / "study.toml", old, new)
    one_line(refused("run", "tiny", "--out", "new/run"), parts)


def test_all_problems_of_a_study_are_told_at_once(home: Path, refused: Refused) -> None:
    study = home / "tiny" / "study.toml"
    for old, new in (("trials = 6", "trails = 6"), ("population = 4", "population = 1"), ("[device]", "[devise]")):
        edit(study, old, new)
    edit(study, "epochs = 6", "epochs = -1\nspeed = 3")
    lines = refused("run", "tiny")
    starts = ("model.training.speed", "model.training.epochs", "device.profile", "search.trails", "search.population")
    assert [line.split(":")[0] for line in lines] == ["tiny/study.toml"] * 6
    assert [line.split(": ")[1] for line in lines] == [*starts, "devise"]


def test_a_study_that_is_not_text(home: Path, refused: Refused) -> None:
    (home / "tiny" / "study.toml").write_bytes(b"[study]\nname = '\xff'")
    one_line(refused("run", "tiny"), ("tiny/study.toml: byte 16 is not UTF-8; save the file as UTF-8",))


def test_no_data_folder(home: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPLORER_DATA", raising=False)
    edit(home / "tiny" / "study.toml", 'source = "npz"\npath = "images.npz"', 'source = "cifar10"')
    one_line(refused("run", "tiny"), ('data.path: source "cifar10" needs a file; set EXPLORER_DATA', "cifar10.npz"))


def spoilt(key: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[Arrays], Arrays]:
    """Arrays with one of them changed."""
    return lambda arrays: {**arrays, key: change(arrays[key])}


def with_value(value: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """An array with its last value replaced."""

    def change(array: NDArray[Any]) -> NDArray[Any]:
        changed = array.copy()
        changed.flat[-1] = value
        return changed

    return change


DATA: dict[str, tuple[Callable[[Arrays], Arrays], tuple[str, ...]]] = {
    "key missing": (
        lambda arrays: {"images": arrays["x_train"], **{key: arrays[key] for key in ("x_test", "y_test")}},
        ("x_train, y_train missing; the file holds images, x_test, y_test; rename its arrays",),
    ),
    "pickled": (
        spoilt("y_test", lambda array: array.astype(object)),
        ("y_test holds pickled Python objects, which could run code", "save it as an array of numbers"),
    ),
    "NaN": (
        spoilt("x_train", with_value(np.nan)),
        ("x_train: 1 images hold NaN or infinite values, or values beyond 1e+09; remove or repair",),
    ),
    "label too high": (spoilt("y_test", with_value(10**9)), ("label 1000000000 is out of range", "number the classes")),
    "label negative": (
        spoilt("y_train", with_value(-1)),
        ("y_train: label -1 is negative; number the classes from 0",),
    ),
    "labels of another type": (
        spoilt("y_train", lambda array: array.astype(np.float32)),
        ("y_train: expected integer labels, received float32; number the classes",),
    ),
    "counts": (
        spoilt("y_test", lambda array: array[:-1]),
        ("x_test has 200 images, but y_test has 199 labels; give one label for each image",),
    ),
    "shapes": (
        spoilt("x_test", lambda array: array[..., :7]),
        ("x_train has images of (1, 8, 8) (C, H, W), x_test of (1, 8, 7); bring them to one shape",),
    ),
    "one class more than the network has": (
        spoilt("y_train", with_value(2)),
        ("model.factory: 'network:build': expected logits of shape 2 x 3", "received 2 x 2; give the network one"),
    ),
}


@pytest.mark.parametrize("name", DATA)
def test_wrong_images(name: str, home: Path, refused: Refused) -> None:
    change, parts = DATA[name]
    file = home / "tiny" / "images.npz"
    with np.load(file) as archive:
        arrays = {key: archive[key] for key in archive.files}
    np.savez(file, **change(arrays))  # type: ignore[arg-type]
    one_line(refused("run", "tiny"), parts if name.startswith("one class") else ("tiny/images.npz: ", *parts))


@pytest.mark.parametrize("content", [b"no archive", b"PK\x05\x06" + bytes(10)])
def test_images_in_no_archive(content: bytes, home: Path, refused: Refused) -> None:
    (home / "tiny" / "images.npz").write_bytes(content)
    one_line(refused("run", "tiny"), ("tiny/images.npz: not a .npz archive; write it with numpy.savez",))


def test_images_in_a_truncated_archive(home: Path, refused: Refused) -> None:
    file = home / "tiny" / "images.npz"
    content = file.read_bytes()
    file.write_bytes(content[:1000] + content[2000:])
    one_line(refused("run", "tiny"), ("tiny/images.npz: the archive is damaged", "fetch or write it again"))


def test_images_whose_size_is_forged(home: Path, refused: Refused) -> None:
    file = home / "tiny" / "images.npz"
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content.replace(b"(300, 1, 8, 8)", b"(300, 9, 9, 9)"))
    one_line(refused("run", "tiny"), ("tiny/images.npz: x_train states a shape that its 76800 bytes do not have",))


HEAD = "import torch\nfrom torch import nn\n"
BRANCH = """
class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 2)
    def forward(self, x):
        if x.sum() > 0:
            x = -x
        return self.fc(x.flatten(1))
build = Branch
"""
NETWORKS = {
    "raises": ('def build():\n    raise RuntimeError("no idea")', ("raised RuntimeError: no idea", "line 4")),
    "import fails": ("import no_such_package", ("importing module 'network' raised ModuleNotFoundError", "line 3")),
    "syntax": ("def build(:", ("importing module 'network' raised SyntaxError", "network.py, line 3")),
    "returns no module": ("def build():\n    return 3", ("a torch.nn.Module, received a int; return the network",)),
    "is no function": ("build = 3", ("expected a function or class, received a int; name a function",)),
    "fails on the images": (
        "def build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(65, 2))",
        (
            "fails on images of 1 x 8 x 8 (channels x height x width): RuntimeError",
            "the network must take the images of [data]",
        ),
    ),
    "number of logits": (
        "def build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))",
        ("expected logits of shape 2 x 2 for 2 images and 2 classes, received 2 x 10; give the network one output",),
    ),
    "branch on data": (BRANCH, ("torch.fx cannot trace Branch at ", "network.py:9 (if x.sum() > 0:)", "rewrite that")),
    "no layers": (
        "def build():\n    return nn.Sequential(nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten())",
        ("no convolution (nn.Conv2d) or fully connected layer (nn.Linear)",),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_wrong_network(name: str, home: Path, refused: Refused) -> None:
    source, parts = NETWORKS[name]
    (home / "tiny" / "network.py").write_text(HEAD + source)
    one_line(refused("run", "tiny", "--out", "new"), parts)


def test_a_nonlinearity_that_deeplift_does_not_know(home: Path, refused: Refused) -> None:
    edit(
        home / "tiny" / "network.py",
        "nn.Conv2d(width, 6, 3, padding=1),\n        nn.ReLU()",
        "nn.Conv2d(width, 6, 3, padding=1),\n        nn.Softmin(1)",
    )
    lines = refused("run", "tiny", "--out", "new")
    one_line(lines, ("relevance: ", "no rule for 4 (Softmin)", "replace what is not covered"))


class Exploit:
    """What an attacker puts into a checkpoint."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return exec, ("import pathlib; pathlib.Path('exploited').write_text('')",)


def good_checkpoint(home: Path) -> dict[str, torch.Tensor]:
    """The weights of the finished run."""
    (file,) = (home / "done").glob("weights-*.pt")
    state: dict[str, torch.Tensor] = torch.load(file, weights_only=True)
    return state


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """One name changed."""
    return {"8.bias" if name == "7.bias" else name: tensor for name, tensor in state.items()}


CHECKPOINTS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], tuple[str, ...]]] = {
    "names": (renamed, ("does not fit the network: 1 missing: 7.bias; 1 unexpected: 8.bias", "of this one")),
    "shapes": (
        lambda state: {**state, "7.weight": torch.zeros(3, 24)},
        ("1 of another shape: 7.weight (expected (2, 24), received (3, 24))",),
    ),
    "NaN": (lambda state: {**state, "0.bias": torch.full((4,), torch.nan)}, ("0.bias: NaN or infinite values",)),
    "codes": (
        lambda state: {name: (9 * tensor).to(torch.int8) for name, tensor in state.items()},
        ("0.weight, 0.bias, 3.weight and 3 more: int8, where the network has float32: codes without their scale",),
    ),
    "sparse": (
        lambda state: {**state, "7.weight": state["7.weight"].to_sparse()},
        ("7.weight: not dense (sparse_coo); save tensor.to_dense()",),
    ),
    "code": (lambda state: Exploit(), ("refused, because it holds more than tensors", "torch.save(model.state_dict()")),
    "a list": (lambda state: [1, 2], ("expected a state dict (names with tensors), received a list", "write it with")),
    "nothing": (lambda state: {}, ("received nothing in it; save model.state_dict()",)),
}


@pytest.mark.parametrize("name", [*CHECKPOINTS, "missing", "text", "pickle"])
def test_a_wrong_checkpoint(name: str, home: Path, refused: Refused) -> None:
    edit(home / "tiny" / "study.toml", "[model.training]", 'checkpoint = "own.pt"\n[model.training]')
    file = home / "tiny" / "own.pt"
    parts: tuple[str, ...]
    if name in CHECKPOINTS:
        change, parts = CHECKPOINTS[name]
        torch.save(change(good_checkpoint(home)), file)
    elif name == "pickle":
        file.write_bytes(pickle.dumps(Exploit()))
        parts = ("refused, because it holds more than tensors",)
    elif name == "text":
        file.write_text("weights")
        parts = ("not a PyTorch checkpoint; write it with torch.save(model.state_dict(), path)",)
    else:
        parts = ("no such file; correct the path, or give [model.training] instead",)
    one_line(refused("run", "tiny", "--out", "new"), ("model.checkpoint: ", "tiny/own.pt", *parts))
    assert not (home / "exploited").exists()


COMMANDS = {
    "no such study": (("run", "nowhere"), ("nowhere: no such file or folder; name a study.toml",)),
    "folder without a study": (("run", "done"), ("done: the folder has no study.toml; name a folder with one",)),
    "unknown option": (("run", "tiny", "--trails", "3"), ("No such option: --trails", "--trials", "explorer --help")),
    "unknown command": (("explore",), ("No such command 'explore'", "explorer --help")),
    "missing argument": (("front",), ("Missing argument 'RUN'; see explorer --help",)),
    "missing option": (("export", "done"), ("Missing option '--to'; see explorer --help",)),
    "no number": (("run", "tiny", "--trials", "many"), ("'--trials'", "'many'", "explorer --help")),
    "no trials": (("run", "tiny", "--trials", "0"), ("command line: search.trials", "1..1000000, received 0")),
    "negative seed": (("run", "tiny", "--seed", "-1"), ("command line: study.seed", "0..4294967295, received -1")),
    "device": (("run", "tiny", "--device", "tpu", "--out", "new"), ("device.profile: 'tpu'", "Known devices are")),
    "device file": (("devices", "show", "my.toml"), ("my.toml: the device profile cannot be read", "check the path")),
    "shown device": (("devices", "show", "gemini"), ("unknown device 'gemini'", "Known devices are")),
    "out is a file": (("run", "tiny", "--out", "tiny/images.npz"), ("images.npz: is not a folder; choose another",)),
    "out is in a file": (("run", "tiny", "--out", "tiny/images.npz/a"), ("images.npz/a: is not a folder; choose",)),
    "another study": (
        ("run", "tiny", "--out", "done", "--seed", "3"),
        ("done: holds the results of another study (study.seed was 0, is 3); choose another folder",),
    ),
    "unknown point": (
        ("export", "done", "--to", "new", "--pick", "p99"),
        ("--pick: received 'p99'; choose one of recommended, knee, accurate, cheapest, or a point: p01",),
    ),
    "unknown point to show": (
        ("report", "done", "--pick", "best"),
        ("--pick: received 'best'; choose one of recommended",),
    ),
    "export to a file": (
        ("export", "done", "--to", "tiny/images.npz"),
        ("tiny/images.npz: is not a folder", "choose another one"),
    ),
    "front of nothing": (("front", "tiny"), ("tiny: no run was made here; make one with: explorer run",)),
    "report of nothing": (("report", "nowhere"), ("nowhere: no run was made here; make one with: explorer run",)),
    "retarget of nothing": (("retarget", "tiny", "--device", "mpic"), ("tiny: no run was made here; make one with",)),
    "retarget to nothing": (("retarget", "done", "--device", "tpu"), ("device.profile: 'tpu'", "Known devices are")),
    "limit without a unit": (
        ("retarget", "done", "--budget", "energy<=3"),
        ("--budget 'energy<=3': expected one of pJ, nJ, uJ",),
    ),
    "trials without a folder": (
        ("retarget", "done", "--trials", "5"),
        ("expected --trials with --out, received --trials alone",),
    ),
    "export of nothing": (("export", "nowhere", "--to", "new"), ("nowhere: no run was made here",)),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_command(name: str, refused: Refused) -> None:
    arguments, parts = COMMANDS[name]
    one_line(refused(*arguments), parts)


@pytest.mark.parametrize("content", ["{", "[]", '{"study": {}}', '{"front": 3}', "nothing"])
@pytest.mark.parametrize("command", [("front", "done"), ("report", "done"), ("export", "done", "--to", "new")])
def test_a_corrupt_outcome(content: str, command: tuple[str, ...], home: Path, refused: Refused) -> None:
    (home / "done" / "outcome.json").write_text(content)
    one_line(refused(*command), ("done/outcome.json: cannot be read", "explorer run again on this folder"))


def test_an_outcome_with_values_of_another_type(home: Path, refused: Refused) -> None:
    file = home / "done" / "outcome.json"
    outcome = json.loads(file.read_text())
    outcome["evaluations"][0]["candidate"]["layers"] = {"all": 8}
    file.write_text(json.dumps(outcome))
    one_line(refused("front", "done"), ("done/outcome.json: cannot be read", "explorer run again on this folder"))


def test_an_unfinished_run(home: Path, refused: Refused) -> None:
    (home / "done" / "outcome.json").unlink()
    one_line(refused("report", "done"), ("done: the run is not finished; explorer run again on this folder goes on",))


def test_corrupt_weights(home: Path, refused: Refused) -> None:
    (file,) = (home / "done").glob("weights-*.pt")
    file.write_bytes(file.read_bytes()[:500])
    parts = (f"done/{file.name}: cannot be used: not a PyTorch checkpoint; delete it to train the network again",)
    one_line(refused("run", "tiny", "--out", "done"), parts)


def test_a_corrupt_study_of_a_run(home: Path, refused: Refused) -> None:
    (home / "done" / "study.json").write_text("{")
    parts = ("done/study.json: cannot be read (JSONDecodeError", "explorer run again writes it anew")
    one_line(refused("export", "done", "--to", "new"), parts)


@pytest.mark.parametrize("form", ["onnx", "integer"])
def test_a_network_that_an_export_has_no_rule_for(
    form: str, home: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_rule(*given: object) -> None:
        node = next(entry for entry in given if isinstance(entry, fx.Node) and entry.op == "call_module")
        raise refuse(node, "there is no rule for it", "use another one")

    monkeypatch.setattr("explorer.export.onnx.graph.write_module", no_rule)
    monkeypatch.setattr("explorer.integer.lower._value", no_rule)
    said = refused("export", "done", "--to", "out", "--format", form)
    one_line(said, (": node '", "there is no rule for it; use another one"))


def test_a_network_that_has_changed_since_the_search(home: Path, refused: Refused) -> None:
    (file,) = (home / "done").glob("weights-*.pt")
    state = good_checkpoint(home)
    torch.save({**state, "7.bias": state["7.bias"] + 1}, file)
    parts = ("done: the network has changed since the search (weights digest ", "restore its checkpoint")
    one_line(refused("export", "done", "--to", "new", keeps=("done/relevance-*.npz",)), parts)


@pytest.mark.parametrize("command", [("run", "tiny", "--out", "done"), ("export", "done", "--to", "new")])
def test_a_folder_that_another_run_uses(command: tuple[str, ...], home: Path, refused: Refused) -> None:
    with FileLock(home / "done" / ".lock"):
        one_line(refused(*command), ("done: another run is using this folder; wait for it, or choose another one",))


def test_a_device_file_with_unknown_keys(home: Path, refused: Refused) -> None:
    shipped = (
        Path(sys.modules["explorer"].__file__ or "").parents[1] / "hwmodels" / "device" / "catalogue" / "bitfusion.toml"
    )
    own = home / "own.toml"
    shutil.copy(shipped, own)
    edit(own, "rows = ", "rwos = ")
    lines = refused("run", "tiny", "--device", "own.toml", "--out", "new")
    assert len(lines) == 2
    assert all("device.profile: " in line and "own.toml: " in line for line in lines)
    assert "array.rwos: unknown key; did you mean 'array.rows'?" in lines[0]
    assert "array.rows: missing; add it as" in lines[1]


def test_a_device_file_with_numbers_that_no_device_has(home: Path, refused: Refused) -> None:
    shipped = (
        Path(sys.modules["explorer"].__file__ or "").parents[1] / "hwmodels" / "device" / "catalogue" / "bitfusion.toml"
    )
    own = home / "own.toml"
    shutil.copy(shipped, own)
    edit(own, "clock_hz = { value = 500e6", "clock_hz = { value = 1e-308")
    parts = ("own.toml: device 'bitfusion': array.clock_hz: expected a number from 1000 to 1e+12, received 1e-308",)
    one_line(refused("cost", "lenet5", "--device", "own.toml"), parts)


@pytest.mark.parametrize("command", ["front", "report"])
def test_results_that_were_edited(command: str, home: Path, refused: Refused) -> None:
    file = home / "done" / "outcome.json"
    outcome = json.loads(file.read_text())
    outcome["front"][0]["held_out"]["num_images"] = "many"
    file.write_text(json.dumps(outcome))
    parts = (
        "done/outcome.json: cannot be read",
        "front[0].held_out.num_images: expected an integer",
        'received "many"',
    )
    one_line(refused(command, "done"), parts)


def test_a_report_that_cannot_be_written(home: Path, refused: Refused) -> None:
    (home / "done" / "front.csv").unlink()
    (home / "done" / "front.csv").mkdir()
    one_line(refused("report", "done"), ("front.csv: Is a directory; check that the disk has room",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("run", "nowhere"),
            "error: nowhere: no such file or folder; name a study.toml, a folder that holds one, or digits, "
            "which comes along\n",
        ),
        (("run", "--trials"), "error: Option '--trials' requires an argument; see explorer --help\n"),
        (("front", "tiny"), "error: tiny: no run was made here; make one with: explorer run STUDY --out tiny\n"),
    ],
)
def test_as_a_process(arguments: tuple[str, ...], message: str, home: Path) -> None:
    before = contents(home)
    command = [sys.executable, "-c", "from explorer.cli import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=home, timeout=600, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (2, message, "")
    assert contents(home) == before
