"""`explorer compress`: a user's own network pruned, shared and coded, or deployed with integers, by one command."""

import csv
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from explorer.packed.file import read_packed
from explorer.packed.network import load_packed

SETTINGS = """
[finetuning]
optimizer = "sgd"
learning_rate = 0.002
[deep_compression]
kept_convolutions = 0.5
kept_linear = 0.5
values_convolutions = 16
values_linear = 16
rounds = 2
round_epochs = 2
sharing_epochs = 2
"""


@pytest.fixture
def study(home: Path) -> Path:
    """The tiny study with settings for Deep Compression."""
    file = home / "tiny" / "study.toml"
    file.write_text(file.read_text() + SETTINGS)
    return file


def test_deep_compression(study: Path, home: Path, explorer: Callable[..., Any]) -> None:
    said = explorer("compress", study, "--to", "out")
    assert (said.code, said.err) == (0, "")
    size = (home / "out" / "network.bin").stat().st_size
    assert f"out/network.bin: {size:,} bytes with all tables" in said.out
    assert "right on 200 images that nothing was chosen on" in said.out
    assert "equal integers, and equal predictions on all of these images" in said.out
    readme = (home / "out" / "README.md").read_text()
    assert re.search(rf"\| all bytes \| [\d,]+ \| {size:,} \|", readme)
    assert (
        f"| `network.bin` | the whole network with all tables: weights pruned, shared and Huffman-coded | {size:,} |"
        in readme
    )
    with (home / "out" / "sizes.csv").open(newline="") as file:
        *layers, _, whole = csv.DictReader(file)
    assert int(whole["bytes"]) == size
    assert float(whole["ratio"]) > 2
    assert all(float(row["density"]) <= 0.51 and int(row["clusters"]) <= 16 for row in layers)
    assert [layer.name for layer in read_packed(home / "out" / "network.bin").layers] == [
        row["layer"] for row in layers
    ]
    lost = float(said.out.split(" after, ")[1].split(" points lost")[0])
    assert lost < 10

    before = (home / "out" / "network.bin").read_bytes()
    steps = {file: file.stat().st_mtime_ns for file in (home / "out" / "steps").iterdir() if file.suffix == ".pt"}
    assert len(steps) == 4
    again = explorer("compress", study, "--preset", "deep_compression", "--to", "out")
    assert again.code == 0
    assert (home / "out" / "network.bin").read_bytes() == before
    assert {file: file.stat().st_mtime_ns for file in steps} == steps


@pytest.mark.slow
def test_interrupted_in_a_step(
    study: Path, home: Path, start: Callable[..., Any], explorer: Callable[..., Any]
) -> None:
    study.write_text(study.read_text().replace("round_epochs = 2", "round_epochs = 20"))
    process = start("compress", study, "--to", "out")
    process.wait_for(lambda: list((home / "out" / "steps").glob("step-2-*.unfinished")))
    said = process.stop(signal.SIGINT)
    assert said.code == 130
    assert "interrupted: all finished epochs are kept in out; the same command goes on" in said.err
    assert not (home / "out" / "network.bin").exists()
    for folder in ("out", "whole"):
        assert explorer("compress", study, "--to", folder).code == 0
    assert (home / "out" / "network.bin").read_bytes() == (home / "whole" / "network.bin").read_bytes()
    assert not list((home / "out" / "steps").glob("*.unfinished"))


def test_integer_deployment(study: Path, home: Path, explorer: Callable[..., Any]) -> None:
    said = explorer("compress", study, "--preset", "integer", "--to", "out")
    assert (said.code, said.err) == (0, "")
    assert (home / "out" / "integer.onnx").is_file()


def test_wrong_input_is_one_line(study: Path, home: Path, explorer: Callable[..., Any]) -> None:
    said = explorer("compress", study, "--preset", "deep", "--to", "out")
    assert (said.code, said.err) == (
        2,
        "error: --preset: there is no 'deep'; known are deep_compression, integer\n",
    )
    (home / "file").write_text("")
    said = explorer("compress", study, "--to", "file")
    assert (said.code, said.err) == (2, "error: file: is not a folder; choose another one\n")
    study.write_text(study.read_text() + '[deep_compression.layers."fc9"]\nkept = 0.5\n')
    said = explorer("compress", study, "--to", "out")
    assert said.code == 2
    assert said.err.startswith("error: deep_compression.layers.fc9: the network has no such layer; it has ")
    assert not (home / "out").exists()
    study.write_text(study.read_text().replace("kept = 0.5", "kept = 1.5\nvalue = 3"))
    said = explorer("compress", study, "--to", "other")
    assert said.code == 2
    assert len(said.err.splitlines()) == 2
    assert "value: unknown key; did you mean 'values'?" in said.err
    assert not (home / "other").exists()


def test_a_file_that_gives_back_another_network_takes_no_place(
    study: Path, home: Path, explorer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_other(model: Any, network: Any) -> None:
        load_packed(model, network)
        module = next(
            module for module in model.modules() if "weight_codes" in dict(module.named_buffers(recurse=False))
        )
        module.weight_codes[0] += 1

    assert explorer("compress", study, "--to", "out").code == 0
    before = (home / "out" / "network.bin").read_bytes()
    monkeypatch.setattr("explorer.export.deep_compression.load_packed", put_other)
    for folder in ("out", "new"):
        said = explorer("compress", study, "--to", folder)
        assert said.code == 2
        assert "gives back another network" in said.err
    assert (home / "out" / "network.bin").read_bytes() == before
    assert not (home / "new" / "network.bin").exists()
