"""What is said of a study before any work: layers, what is left out, exports, space, budgets, time; nothing is kept."""

import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from explorer.cli import main

TINY = Path(__file__).parents[2] / "tiny_study"
Said = Callable[..., str]

DEEP = """
from torch import nn

def build():
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()]
    for _ in range(20):
        layers += [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
"""
ATTENTION = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches, self.norm = nn.Conv2d(1, 8, 2, 2), nn.LayerNorm(8)
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 2)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        x = x + torch.softmax(q @ k.transpose(1, 2), dim=-1) @ v
        return self.head(x.mean(1))

def build():
    return Net()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny study in a working folder of its own."""
    shutil.copytree(TINY, tmp_path / "tiny", ignore=shutil.ignore_patterns("__pycache__"))
    runpy.run_path(str(TINY / "shapes.py"))["write"](tmp_path / "tiny" / "images.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def checked(home: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """What `explorer check` prints of the tiny study, with lines added to its file, and another network."""

    def run(more: str = "", network: str = "", code: int = 0) -> str:
        file = home / "tiny" / "study.toml"
        text = file.read_text() + more
        if network:
            (home / "tiny" / "other.py").write_text(network)
            text = text.replace('"network:build"', '"other:build"')
        file.write_text(text)
        before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
        with pytest.raises(SystemExit) as stopped:
            main(["check", "tiny"])
        after = {path: path.stat().st_mtime_ns for path in home.rglob("*") if "__pycache__" not in str(path)}
        assert after.keys() <= before.keys()  # nothing was written
        assert (stopped.value.code or 0) == code
        said = capsys.readouterr()
        return said.out + said.err

    return run


def test_a_small_network(checked: Said) -> None:
    said = checked()
    assert "explored and costed: 100 % of" in said
    assert "export: as onnx and as integer" in said
    assert re.search(r"space: \S+ candidates on \d+ axes, of which 6 are tried", said)
    assert re.search(r"time: about .* in all.*, \S+ s for each of 6 candidates", said)
    assert "skipped: 7: its 2 channels are all kept: they are the network's output" in said
    assert "next:   explorer run tiny" in said


def test_layers_that_are_alike_are_one_row_and_signals_that_fade_before_training_are_no_refusal(checked: Said) -> None:
    said = checked("", DEEP)  # by default relevance has to add up to the difference of the outputs
    assert "error: " not in said
    rows = [line for line in said.splitlines() if "conv 3x3" in line or "linear " in line]
    assert len(rows) == 3
    assert any(" 20 " in row and "4 > 4" in row for row in rows)
    assert len(said.splitlines()) < 40
    assert "blocks may be left out: 20 of 20: 2, 5 and 18 more" in said


def test_more_blocks_than_may_be_left_out_are_refused(checked: Said) -> None:
    said = checked("[space]\nremoved_blocks = [0, 2]\n", DEEP.replace("range(20)", "range(1)"), code=2)
    assert "expected at most 1, the blocks of this network that can be removed, received 2" in said


def test_one_reason_is_one_line(checked: Said) -> None:
    said = checked('[relevance]\nmethod = "l2"\n', ATTENTION)
    reasons = [line.partition(": ")[2].partition(": ")[2] for line in said.splitlines() if line.startswith("skipped: ")]
    kept = [re.sub(r" \([^()]*, lines? [\d, ]+\)$", "", reason) for reason in reasons]
    assert len(set(kept)) == len(kept) > 2
    assert any(re.search(r" \(other.py, lines \d+, \d+", reason) for reason in reasons)


def test_what_is_not_covered_is_said(checked: Said) -> None:
    said = checked('[relevance]\nmethod = "l2"\n', ATTENTION)
    share = re.search(r"costed: (\S+) % of (\S+) parameters, (\S+) % of", said)
    assert share is not None
    assert float(share[1]) < 50
    assert float(share[3]) < 50
    assert "stays in float" in said
    assert re.search(r"export as (onnx|integer) will be refused: ", said)


def test_budgets_that_nothing_can_keep(checked: Said) -> None:
    said = checked("[budgets]\nweight_bytes = 10\nactivation_bytes = 1_000_000\n")
    assert "budget weight_bytes: at most 10; uniform 8 bits takes" in said
    assert said.count("no candidate keeps it") == 1


def budget_line(said: str, key: str) -> str:
    """What is said of a budget."""
    [line] = [line for line in " ".join(said.split()).split("budget ") if line.startswith(f"{key}: ")]
    return line.partition(" time: ")[0].strip()


BUDGETS = "[budgets]\nweight_bytes = 1000\nenergy_uj = 0.01\nactivation_bytes = 10\n"


def on_ethos(home: Path, seed: int = 0) -> None:
    """Put the tiny study onto a device that reads weights at their entropy."""
    file = home / "tiny" / "study.toml"
    file.write_text(
        file.read_text().replace("bitfusion", "ethos_u55_128").replace('name = "tiny"', f'name = "tiny"\nseed = {seed}')
    )


def test_of_weights_to_be_trained_no_entropy_is_told(home: Path, checked: Said) -> None:
    lines = []
    for seed in (0, 1):
        shutil.copytree(home / "tiny", home / str(seed))
        on_ethos(home, seed)
        said = checked(BUDGETS)
        lines.append([budget_line(said, key) for key in ("weight_bytes", "energy_uj", "activation_bytes")])
        shutil.rmtree(home / "tiny")
        (home / str(seed)).rename(home / "tiny")
    assert lines[0] == lines[1]  # whatever is drawn at random
    sizes, energy, activations = lines[0]
    assert re.search(r"8 bits takes at most \d+, the smallest candidate at least \d+$", sizes)
    assert re.search(r"at most 0.1\d+, the smallest candidate at least 0.0\d+: no candidate keeps it", energy)
    assert re.search(r"takes \d+, the smallest candidate \d+: no candidate keeps it", activations)


@pytest.mark.usefixtures("with_checkpoint")
@pytest.mark.parametrize(("space", "least"), [("", ""), ("[space]\nsteps = [0.01]\n", "at least ")])
def test_entropies_of_known_weights_are_told_but_not_at_steps(
    space: str, least: str, home: Path, checked: Said
) -> None:
    on_ethos(home)
    said = budget_line(checked(space + BUDGETS), "weight_bytes")
    assert re.search(rf"uniform 8 bits takes \d+, the smallest candidate {least}\d+$", said)


def coded_budget(said: str) -> list[int]:
    """The limit, and what is said to be taken of it."""
    [line] = [line for line in " ".join(said.split()).split("budget ") if line.startswith("coded_bytes")]
    return [
        int(number.replace(",", "")) for number in re.findall(r"(?:at most|takes about|candidate about) ([\d,]+)", line)
    ]


@pytest.fixture
def with_checkpoint(home: Path) -> None:
    """Give the tiny study weights, as a checkpoint instead of its training."""
    file = home / "tiny" / "study.toml"
    torch.save(runpy.run_path(str(TINY / "network.py"))["build"]().state_dict(), home / "tiny" / "weights.pt")
    before, _, rest = file.read_text().partition("[model.training]")
    file.write_text(f'{before}checkpoint = "weights.pt"\n{rest[rest.index("[data]") :]}')


@pytest.mark.usefixtures("with_checkpoint")
def test_a_budget_of_coded_bytes_is_compared_with_files(checked: Said) -> None:
    limit, eight, smallest = coded_budget(checked("[budgets]\ncoded_bytes = 100_000\n"))
    assert limit == 100_000 > eight > smallest > 0


@pytest.mark.usefixtures("with_checkpoint")
def test_a_budget_that_no_coded_file_keeps(checked: Said) -> None:
    said = checked("[budgets]\ncoded_bytes = 10\n")
    assert "hardly any candidate keeps it" in said


@pytest.mark.usefixtures("with_checkpoint")
def test_of_steps_no_file_is_told_before_their_relevance_is_known(checked: Said) -> None:
    said = checked("[space]\nsteps = [0.01]\n[budgets]\ncoded_bytes = 10\n")
    assert len(coded_budget(said)) == 2
    assert "what steps take is known once relevance is" in " ".join(said.split())
    assert "keeps it" not in said


@pytest.mark.parametrize("space", ["", "[space]\nsteps = [0.01]\n"])
def test_of_a_network_that_is_not_trained_yet_no_file_is_told(checked: Said, space: str) -> None:
    said = checked(f"{space}[budgets]\ncoded_bytes = 10\n")
    assert coded_budget(said) == [10]
    assert "what files take is known once the network is trained" in " ".join(said.split())
    assert "keeps it" not in said


def test_bad_input_is_one_line(checked: Said) -> None:
    said = checked("[relevances]\n", code=2)
    assert [line for line in said.splitlines() if line.startswith("error: ")] == [
        "error: tiny/study.toml: relevances: unknown section; did you mean 'relevance'?"
    ]
