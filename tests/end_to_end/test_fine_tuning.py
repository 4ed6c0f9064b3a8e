"""A point of a finished run is fine-tuned, interrupted, gone on with, scored and exported."""

import csv
import json
import math
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from explorer.study import finetune
from explorer.study.choose import choose, recommend
from explorer.study.folder import read_outcome, read_study
from explorer.study.front import spread
from explorer.study.prepare import open_study
from explorer.study.record import FrontPoint
from explorer.study.requirements import Requirements
from explorer.training.tuned import Tuned, rebuild
from tests.support.pages import read_page_data

Explorer = Callable[..., Any]


def files(home: Path) -> set[str]:
    return {path.name for path in (home / "run" / "tuned").glob("*")}


def tuned_of(home: Path, name: str = "knee") -> Tuned:
    outcome = read_outcome(home / "run")
    digest = choose(outcome, Requirements(pick=name)).point.evaluation.candidate.digest()
    return Tuned.load(home / "run" / "tuned" / f"{digest}.pt")


def read_front(home: Path) -> list[dict[str, str]]:
    with (home / "run" / "front.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def find_paired_error(run: Path, point: FrontPoint, tuned: Tuned) -> float:
    """That of the loss on search images, of predictions of the float network and the tuned one, both rebuilt here."""
    prepared = open_study(read_study(run), run, lambda *_: None)
    (images,), targets = prepared.tensors(prepared.data.search)
    with torch.no_grad():
        right = [
            (model(images).argmax(1) == targets).numpy()
            for model in (prepared.context.model, rebuild(prepared.context, point.evaluation.candidate, tuned))
        ]
    lost, won = ((one & ~other).sum() + 0.5 for one, other in (right, right[::-1]))
    return float(math.sqrt(lost + won - (lost - won) ** 2 / (len(targets) + 2)) / (len(targets) + 2))


@pytest.fixture
def finished(home: Path, explorer: Explorer) -> Path:
    """A run whose study has a [finetuning] section."""
    study = home / "tiny" / "study.toml"
    study.write_text(
        study.read_text() + "[finetuning]\nepochs = 4\nbatch_size = 32\nlearning_rate = 0.004\nflip = true\n"
    )
    assert explorer("run", "tiny", "--out", "run").code == 0
    return home


def test_tune_and_export(finished: Path, explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    front = read_front(finished)
    said = explorer("finetune", "run", "--pick", "knee")
    assert (said.code, said.err) == (0, "")
    outcome = read_outcome(finished / "run")
    point = choose(outcome, Requirements(pick="knee")).point
    tuned = tuned_of(finished)
    after = tuned.description["held_out"]["value"]
    assert f"{point.name}, right on 100 held-out images: {point.held_out.value:.2%} (+- " in said.out
    assert f"before, {after:.2%} (+- " in said.out
    assert " after 4 epochs" in said.out
    assert re.search(r"fine-tune, batches: (\d+) of \1, done", said.out)
    assert f"explorer export run --pick {point.name} --tuned --to run/export" in said.out
    assert files(finished) == {f"{point.evaluation.candidate.digest()}.pt", "scores.json"}
    for before, now in zip(front, read_front(finished), strict=True):
        changed = {key for key in before if now[key] != before[key]}
        assert all(key.endswith("_tuned") or key == "recommended" for key in changed)
        written = now["accuracy_held_out_tuned"] == f"{after:.9g}"
        assert written == (now["name"] == point.name)

    monkeypatch.setattr(finetune, "finetune", None)  # found, not made again
    again = explorer("finetune", "run", "--pick", "knee")
    assert again.code == 0
    assert again.out.endswith(said.out[said.out.index(f"{point.name}, right") :])

    assert explorer("export", "run", "--max-loss", "100", "--tuned", "--to", "tuned").code == 0
    assert explorer("export", "run", "--pick", "knee", "--to", "plain").code == 0
    exported, plain = (json.loads((finished / to / "configuration.json").read_text()) for to in ("tuned", "plain"))
    assert exported["finetuning"] == tuned.description
    assert exported["finetuning"]["learning_rate"] == 0.004
    assert exported["accuracy"]["search"] is None
    assert exported["accuracy"]["held_out"]["value"] == exported["network"]["accuracy"]["value"] == after
    assert exported["network"]["agreement"] == 1.0
    assert point.tuned is not None
    assert point.tuned.loss_error == find_paired_error(finished / "run", point, tuned)
    assert exported["candidate"] == plain["candidate"]
    assert exported["layers"] != plain["layers"]
    assert "finetuning" not in plain
    readmes = [(finished / to / "README.md").read_text() for to in ("tuned", "plain")]
    told = f"Fine-tuned for 4 epochs of {tuned.description['images']} images from the float network's weights, by its"
    assert told in readmes[0]
    scores = f": {point.held_out.value:.2%} right before, {after:.2%} right after, on 100 held-out images."
    assert scores in readmes[0]
    assert "Fine-tuned" not in readmes[1]
    assert explorer("verify", "tuned", "--data", "tiny/study.toml").code == 0
    assert plain["accuracy"]["held_out"]["value"] == point.held_out.value


def test_a_front_is_tuned_and_shown_beside_the_other(finished: Path, explorer: Explorer) -> None:
    said = explorer("finetune", "run", "--points", "3", "--epochs", "1")
    assert (said.code, said.err) == (0, "")
    outcome = read_outcome(finished / "run")
    made = [point for point in outcome.front if point.tuned is not None]
    assert [point.name for point in made] == [point.name for point in spread(outcome.front, outcome.objectives, 3)]
    done, of = map(int, re.findall(r"fine-tune, batches: (\d+) of (\d+), done", said.out)[-1])
    assert done == of == 3 * int(re.findall(r"fine-tune, batches: \d+ of (\d+)", said.out)[0]) // 3
    shown = {point["name"] for point in read_page_data(finished / "run" / "report.html")["points"] if point["tuned"]}
    assert shown == {point.name for point in made}
    again = explorer("front", "run").out
    for point in made:
        assert point.tuned is not None
        row = next(line for line in again[again.index("Fine-tuned") :].splitlines() if line.startswith(point.name))
        assert f"{100 * point.held_out.value:.1f}" in row
        assert f"{100 * point.tuned.held_out.value:.1f}" in row
        assert tuned_of(finished, point.name).description["held_out"]["value"] == point.tuned.held_out.value
    best = recommend(outcome)
    assert best is not None
    assert f"recommended: {best.name}, " in again
    assert (" --tuned" in again) == best.tuned
    assert explorer("finetune", "run", "--points", "3", "--epochs", "1").out.count(" before, ") == 3
    assert set(files(finished)) == {f"{point.evaluation.candidate.digest()}.pt" for point in made} | {"scores.json"}


def test_other_choices_are_refused(finished: Path, explorer: Explorer) -> None:
    for arguments, text in (
        (("--points", "0"), "expected a whole number from 1, received '0'"),
        (("--points", "2", "--all"), "expected one of --pick, --points and --all, received --points and --all"),
        (("--pick", "knee", "--points", "2"), "received --pick and --points"),
        (("--max-loss", "1", "--all"), "expected one of requirements, --points and --all, received requirements and"),
    ):
        said = explorer("finetune", "run", *arguments)
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert text in said.err


@pytest.mark.slow
def test_of_two_tunings_the_better_is_kept(finished: Path, explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("finetune", "run", "--pick", "knee", "--epochs")
    assert " after 1 epoch" in explorer(*command, 1).out
    first = tuned_of(finished)
    assert " after 4 epochs" in explorer(*command, 4).out
    second = tuned_of(finished)
    assert (first.description["epochs"], second.description["epochs"]) == (1, 4)
    assert second.description["aside_loss"] < first.description["aside_loss"]
    assert any(not torch.equal(first.state[name], second.state[name]) for name in first.state)

    shown, study = read_front(finished), finished / "run" / "study.json"
    rate, slow = '"learning_rate": 0.004', '"learning_rate": 1e-12'  # by which it stays where it starts
    assert study.read_text().count(rate) == 1
    study.write_text(study.read_text().replace(rate, slow))
    said = explorer(*command, 2).out
    loss = f"{second.description['aside_loss']:.4g}"
    told = f"the earlier tuning of 4 epochs is kept, whose loss on the images held aside is {loss}; that of the new one"
    assert f"{told} of 2 epochs is " in " ".join(said.split())
    assert " after 4 epochs" in said
    kept = tuned_of(finished)
    assert all(torch.equal(kept.state[name], second.state[name]) for name in kept.state)
    assert read_front(finished) == shown
    monkeypatch.setattr(finetune, "finetune", None)  # what was tried is not made again
    for epochs in (2, 1):
        again = explorer(*command, epochs)
        study.write_text(study.read_text().replace(slow, rate))
        assert again.code == 0
        assert "is kept, whose loss" in " ".join(again.out.split())

    study.write_text(study.read_text().replace('"held_aside": 0.05', '"held_aside": 0.2'))
    refused = explorer("finetune", "run", "--all")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "was tuned before, with another held_aside: which is better cannot be told; move" in refused.err


@pytest.mark.slow
def test_interrupted_and_gone_on_with(finished: Path, start: Explorer, explorer: Explorer) -> None:
    command = ("finetune", "run", "--pick", "knee", "--epochs", 30)
    process = start(*command)
    process.wait_for(lambda: any(name.endswith(".unfinished") for name in files(finished)))
    said = process.stop(signal.SIGINT)
    assert said.code == 130
    assert said.err == "interrupted: all finished epochs are kept in run; the same command goes on\n"
    other = explorer("finetune", "run", "--pick", "knee", "--epochs", 5)
    assert other.code == 2
    assert "belongs to a training of other weights, images or settings" in other.err
    assert explorer(*command).code == 0
    resumed = tuned_of(finished)
    (file,) = (finished / "run" / "tuned").glob("*.pt")
    file.unlink()
    assert explorer(*command).code == 0
    whole = tuned_of(finished)
    assert all(torch.equal(resumed.state[name], whole.state[name]) for name in whole.state)
    assert resumed.description == whole.description


def test_bad_input_is_one_line(finished: Path, explorer: Explorer) -> None:
    for arguments, text in (
        (("finetune", "nowhere"), "nowhere: no run was made here"),
        (("finetune", "run", "--pick", "p99"), "p99"),
        (("finetune", "run", "--epochs", "0"), "expected a whole number in 1..10000, received '0'"),
        (("finetune", "run", "--epochs", "some"), "expected a whole number in 1..10000, received 'some'"),
        (("export", "run", "--tuned", "--to", "out"), "no member of the front was fine-tuned"),
        (
            ("export", "run", "--pick", "knee", "--tuned", "--to", "out"),
            "is not fine-tuned; tune it with: explorer fin",
        ),
    ):
        said = explorer(*arguments)
        assert said.code == 2
        assert said.err.count("\n") == 1
        assert text in said.err
    assert not (finished / "out").exists()
    assert explorer("finetune", "run", "--pick", "knee", "--epochs", 1).code == 0
    (file,) = (finished / "run" / "tuned").glob("*.pt")
    file.write_bytes(b"nothing")
    for command in ("export run --pick knee --tuned --to out", "finetune run --pick knee --epochs 1"):
        said = explorer(*command.split())
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert "cannot be read as a fine-tuned network" in said.err
    assert not (finished / "out").exists()


@pytest.mark.slow
def test_a_network_that_changed_is_not_tuned(finished: Path, explorer: Explorer) -> None:
    (weights,) = (finished / "run").glob("weights-*.pt")
    state = torch.load(weights, weights_only=True)
    torch.save({name: tensor * 1.01 for name, tensor in state.items()}, weights)
    said = explorer("finetune", "run")
    assert said.code == 2
    assert "the network has changed since the search" in said.err
