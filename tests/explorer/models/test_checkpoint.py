"""Checkpoints: the layouts that are read, and those that are refused."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from explorer.errors import ModelError
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


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_state_dict_is_found_under_its_wrapper_and_prefix(tmp_path: Path, wrapper: str | None, prefix: str) -> None:
    expected = tensors()
    content: Any = {prefix + name: tensor for name, tensor in expected.items()}
    model = LeNet5Digits(10)
    load_checkpoint(model, saved(tmp_path, {wrapper: content, "epoch": 3} if wrapper else content))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_the_format_before_torch_1_6_is_read(tmp_path: Path) -> None:
    file = tmp_path / "weights.th"
    torch.save(tensors(), file, _use_new_zipfile_serialization=False)
    load_checkpoint(LeNet5Digits(10), file)


def test_batch_norm_step_counts_may_be_missing(tmp_path: Path) -> None:
    content = {name: tensor for name, tensor in tensors().items() if "num_batches" not in name}
    load_checkpoint(LeNet5Digits(10), saved(tmp_path, content))


def nan_in(name: str) -> dict[str, Tensor]:
    content = tensors()
    content[name] = torch.full_like(content[name], float("nan"))
    return content


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
        (nan_in("fc1.weight"), r"NaN or infinite values in fc1\.weight"),
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
