"""Checkpoints: the layouts that are read, and those that are refused."""

import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from explorer.errors import ModelError
from explorer.models import checkpoint
from explorer.models.checkpoint import load_checkpoint
from explorer.models.lenet import LeNet5Digits


def tensors(seed: int = 1) -> dict[str, Tensor]:
    """The state dict of a network with other weights than a new one."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return dict(LeNet5Digits(10).state_dict())


def saved(folder: Path, content: Any) -> Path:
    file = folder / "weights.pt"
    torch.save(content, file)
    return file


def is_loaded(model: nn.Module, expected: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "place", [(), ("state_dict",), ("net",), ("model_ema",), ("any name",), ("state", "of the", "network")]
)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "net.", "module._orig_mod.", "a.b.c."])
def test_a_state_dict_is_found_wherever_it_stands_and_under_any_prefix(
    tmp_path: Path, place: tuple[str, ...], prefix: str
) -> None:
    expected = tensors()
    content: Any = {prefix + name: tensor for name, tensor in expected.items()}
    for key in reversed(place):
        content = {"optimizer": {"state": {0: {"step": torch.ones(1)}}}, key: content, "epoch": 3}
    model = LeNet5Digits(10)
    load_checkpoint(model, saved(tmp_path, content))
    assert is_loaded(model, expected)


@pytest.mark.parametrize("preferred", ["state_dict", "model_state_dict", "model", "net"])
def test_the_network_goes_before_its_moving_average(tmp_path: Path, preferred: str) -> None:
    model = LeNet5Digits(10)
    load_checkpoint(model, saved(tmp_path, {"ema": tensors(2), preferred: tensors(), "best": tensors(3)}))
    assert is_loaded(model, tensors())


class Wrapper(nn.Module):
    """A network whose one part has a name that wrappers use, too."""

    def __init__(self) -> None:
        super().__init__()
        self.module = LeNet5Digits(10)


@pytest.mark.parametrize("wrap", [lambda model: model, nn.DataParallel, AveragedModel])
def test_names_that_fit_as_they_stand_keep_what_wrappers_add(
    tmp_path: Path, wrap: Callable[[nn.Module], nn.Module]
) -> None:
    source, model = Wrapper(), Wrapper()
    load_checkpoint(model, saved(tmp_path, wrap(source).state_dict()))
    assert is_loaded(model, source.state_dict())


def test_a_moving_average_is_read_without_its_count(tmp_path: Path) -> None:
    source, model = AveragedModel(LeNet5Digits(10)), LeNet5Digits(10)
    load_checkpoint(model, saved(tmp_path, source.state_dict()))
    assert is_loaded(model, source.module.state_dict())


@pytest.mark.parametrize("average", ["ema.", "model_ema.module.", "avg.model."])
def test_the_network_goes_before_a_moving_average_in_one_table(tmp_path: Path, average: str) -> None:
    own, averaged = tensors(), {f"{average}{name}": tensor for name, tensor in tensors(2).items()}
    model = LeNet5Digits(10)
    content = {**averaged, **{f"model.{name}": tensor for name, tensor in own.items()}}
    load_checkpoint(model, saved(tmp_path, {"state_dict": content, "epoch": 3}))
    assert is_loaded(model, own)
    del content[f"{average}fc3.bias"]  # such as those of another network, of which this would be a part
    with pytest.raises(ModelError, match="beside those with"):
        load_checkpoint(model, saved(tmp_path, content))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_other_widths_become_those_of_the_network(tmp_path: Path, dtype: torch.dtype) -> None:
    content = {name: tensor.to(dtype) for name, tensor in tensors().items()}
    model = LeNet5Digits(10)
    load_checkpoint(model, saved(tmp_path, content))
    assert is_loaded(model, {name: tensor.float() for name, tensor in content.items()})


def test_the_format_before_torch_1_6_is_read(tmp_path: Path) -> None:
    file = tmp_path / "weights.th"
    torch.save(tensors(), file, _use_new_zipfile_serialization=False)
    load_checkpoint(LeNet5Digits(10), file)


def test_batch_norm_step_counts_may_be_missing(tmp_path: Path) -> None:
    content = {name: tensor for name, tensor in tensors().items() if "num_batches" not in name}
    load_checkpoint(LeNet5Digits(10), saved(tmp_path, content))


def test_a_mask_that_a_network_is_made_with_may_be_infinite(tmp_path: Path) -> None:
    source, model = LeNet5Digits(10), LeNet5Digits(10)
    for network in (source, model):
        network.register_buffer("mask", torch.full((3, 3), float("-inf")).triu(1))
    load_checkpoint(model, saved(tmp_path, source.state_dict()))
    assert is_loaded(model, source.state_dict())
    with pytest.raises(ModelError, match="mask: NaN or infinite values"):
        load_checkpoint(model, saved(tmp_path, source.state_dict() | {"mask": -source.state_dict()["mask"]}))


def nan_in(name: str) -> dict[str, Tensor]:
    content = tensors()
    content[name] = torch.full_like(content[name], float("nan"))
    return content


def quantised(tensor: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(tensor, 0.01, 0, torch.qint8)


def sparse_rows(tensor: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tensor.to_sparse_csr()


LAYOUTS: Mapping[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "codes": (lambda t: (t * 100).round().to(torch.int8), "int8, where the network has float32: codes without"),
    "bytes": (lambda t: (t * 9).to(torch.uint16), "uint16, where the network has float32: codes without"),
    "switches": (lambda t: t > 0, "bool, where the network has float32"),
    "sparse": (Tensor.to_sparse, r"not dense \(sparse_coo\); save tensor\.to_dense"),
    "sparse rows": (sparse_rows, r"not dense \(sparse_csr\); save tensor\.to_dense"),
    "quantised": (quantised, r"quantised \(qint8\); save tensor\.dequantize"),
    "meta": (lambda t: t.to("meta"), r"without values \(on the meta device\)"),
    "complex": (lambda t: t.to(torch.complex64), "complex64, where the network has float32"),
    "8-bit floats": (lambda t: t.to(torch.float8_e4m3fn), "float8_e4m3fn, where the network has float32"),
    "too large": (lambda t: t.double() + 1e300, "values too large for float32, in which they are infinite"),
    "infinite": (lambda t: t / 0, "NaN or infinite values"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_tensors_that_are_not_dense_finite_floats_are_refused_by_name(tmp_path: Path, name: str) -> None:
    change, expected = LAYOUTS[name]
    content = {key: change(tensor) if tensor.ndim == 2 else tensor for key, tensor in tensors().items()}
    with pytest.raises(ModelError, match=rf"^model\.checkpoint: .*: fc1\.weight, fc2\.weight, fc3\.weight: {expected}"):
        load_checkpoint(LeNet5Digits(10), saved(tmp_path, content))


def test_counts_that_are_no_whole_numbers_are_refused(tmp_path: Path) -> None:
    model = nn.Sequential(nn.BatchNorm2d(2))
    content = {**model.state_dict(), "0.num_batches_tracked": torch.tensor(1.5)}
    with pytest.raises(ModelError, match=r"0\.num_batches_tracked: values that int64 cannot hold"):
        load_checkpoint(model, saved(tmp_path, content))


class Stateful(nn.Sequential):
    """A network with a state that is no tensor."""

    extra: object = "new"

    def get_extra_state(self) -> object:
        return self.extra

    def set_extra_state(self, state: object) -> None:
        self.extra = state


def test_a_state_that_is_no_tensor_is_loaded_too(tmp_path: Path) -> None:
    source, model = Stateful(nn.Linear(2, 2)), Stateful(nn.Linear(2, 2))
    source.extra = "old"
    load_checkpoint(model, saved(tmp_path, source.state_dict()))
    assert model.extra == "old"
    assert torch.equal(model.state_dict()["0.weight"], source.state_dict()["0.weight"])
    without = saved(tmp_path, {name: value for name, value in source.state_dict().items() if name != "_extra_state"})
    with pytest.raises(ModelError, match="1 missing: _extra_state"):
        load_checkpoint(model, without)


def test_a_packed_bomb_is_refused_before_it_is_unfolded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MEMORY_LIMIT", 10_000)
    plain, packed = saved(tmp_path, {"weights": torch.zeros(10_000)}), tmp_path / "packed.pt"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(ModelError, match=r"would unfold to 0\.0 GiB, expected at most"):
        load_checkpoint(LeNet5Digits(10), packed)


def test_a_torchscript_program_is_refused_with_what_to_save(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "program.pt")
    with pytest.raises(ModelError, match="holds a TorchScript program, not weights alone; save torch"):
        load_checkpoint(nn.Linear(2, 2), tmp_path / "program.pt")


BAD = {name: tensor for name, tensor in tensors().items() if name != "fc3.bias"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            {name: tensor for name, tensor in tensors().items() if not name.startswith("conv")},
            r"does not fit the network: 4 missing: conv1\.weight, conv1\.bias, conv2\.weight and 1 more; give",
        ),
        ({**tensors(), "extra": torch.zeros(1)}, "does not fit the network: 1 unexpected: extra; give"),
        (
            {**tensors(), "fc3.bias": torch.zeros(7)},
            r"1 of another shape: fc3\.bias \(expected \(10,\), received \(7,\)\)",
        ),
        (nan_in("fc1.weight"), r"fc1\.weight: NaN or infinite values"),
        (
            {"net": {f"module.{name}": tensor for name, tensor in BAD.items()}, "epoch": 3},
            r'network \(under "net", names without "module\."\): 1 missing: fc3\.bias; the file holds net, epoch; give',
        ),
        (
            {f"{part}.{name}": tensor for part in ("teacher", "student") for name, tensor in tensors().items()},
            r"18 beside those with \"teacher\.\": student\.conv1\.weight, ",
        ),
        (
            {f"{part}.{name}": tensor for part in ("model", "net") for name, tensor in tensors().items()},
            r"18 beside those with \"model\.\": net\.conv1\.weight, ",
        ),
        (
            {f"model.{name}": tensor for name, tensor in tensors().items()} | {"criterion.weight": torch.ones(10)},
            r"1 beside those with \"model\.\": criterion\.weight; give",
        ),
        ({"teacher": tensors(), "student": tensors(2)}, "fits the network 2 times, under teacher, student; save"),
        ({**BAD, "fc3.bias": [1.0]}, r"1 of another shape: fc3\.bias \(expected \(10,\), received a list\)"),
        ({**tensors(), "x\n" * 99: torch.zeros(1)}, r'1 unexpected: "x\\nx\\nx.*\.\.\.; give'),
        ({"epoch": 3, "lr": 0.1}, "expected names with tensors, received other things under epoch, lr"),
        ({}, "expected names with tensors, received nothing in it"),
        ([torch.zeros(1)], "expected a state dict .*, received a list"),
        (torch.zeros(1), "expected a state dict .*, received a Tensor"),
        (
            LeNet5Digits(10),
            "refused, because it holds more than tensors, and reading such a file can run code",
        ),
    ],
)
def test_a_wrong_checkpoint_is_refused_in_one_line(tmp_path: Path, content: Any, expected: str) -> None:
    file = saved(tmp_path, content)
    model = LeNet5Digits(10)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ModelError, match=expected) as caught:
        load_checkpoint(model, file)
    assert str(caught.value).startswith(f"model.checkpoint: {file}")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


class Harmful:
    """Would create a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    file, trace = tmp_path / "weights.pt", tmp_path / "trace"
    file.write_bytes(pickle.dumps(Harmful(trace)))
    with pytest.raises(ModelError, match="refused, because it holds more than tensors"):
        load_checkpoint(LeNet5Digits(10), file)
    assert not trace.exists()


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.pt: no such file; correct the path, or give \[model\.training\]"):
        load_checkpoint(LeNet5Digits(10), tmp_path / "absent.pt")


@pytest.mark.parametrize("content", [b"", b"some text"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"not a PyTorch checkpoint; write it with torch\.save"):
        load_checkpoint(LeNet5Digits(10), tmp_path / "weights.pt")


def test_a_cut_checkpoint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.th"
    torch.save(tensors(), file, _use_new_zipfile_serialization=False)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"cannot be read \(.*\); fetch it again"):
        load_checkpoint(LeNet5Digits(10), file)
