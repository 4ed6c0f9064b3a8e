"""Beacons are the same whoever tunes them, however often that is interrupted, and stay what they are."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from explorer import load
from explorer.arrays import Float64Array
from explorer.compress.candidate import Candidate
from explorer.errors import DivergedError
from explorer.evaluate.sampled import SampledScore
from explorer.settings import FineTuningSettings
from explorer.study import beacons as module
from explorer.study.beacons import Tuning
from explorer.study.folder import JOURNAL, write_outcome
from explorer.study.record import Outcome
from explorer.study.run import Effort, run
from explorer.study.storage import read_store
from explorer.study.study_file import Study, load_study
from tests.explorer.conftest import Explorer
from tests.support.tiny import quiet, write_tiny

BEACONS = 3


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The tiny study with beacons, and a rate at which an epoch of it does something."""
    study = load_study(write_tiny(tmp_path_factory.mktemp("beacons"), f"[search]\nbeacons = {BEACONS}"))
    search = replace(study.search, trials=16, lag=4)
    return replace(study, search=search, finetuning=FineTuningSettings(learning_rate=0.01, held_aside=0.0))


@pytest.fixture(scope="module")
def folder(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with them."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(study, folder, quiet)
    return folder


@pytest.fixture(scope="module")
def outcome(study: Study, folder: Path) -> Outcome:
    return run(study, folder, quiet)


def test_some_of_what_was_evaluated_is_tuned(outcome: Outcome) -> None:
    items = {item.number: item for item in outcome.evaluations}
    assert len(items) == 16
    assert len({items[beacon.number].candidate for beacon in outcome.beacons}) == BEACONS
    assert any(beacon.score != items[beacon.number].score for beacon in outcome.beacons)
    assert {beacon.score.num_images for beacon in outcome.beacons} == {100}
    assert outcome.provenance["beacons"].startswith("tuned for an epoch: 3 of 16; each predicted from the others: ")
    assert Outcome.from_json(outcome.to_json()) == outcome


def test_what_a_beacon_scores_is_what_fine_tuning_for_an_epoch_gives(folder: Path, outcome: Outcome) -> None:
    result = load(folder)
    items = {item.number: item for item in outcome.evaluations}
    members = {point.evaluation.candidate: point.name for point in outcome.front}
    beacon = next(each for each in outcome.beacons if items[each.number].candidate in members)
    name = members[items[beacon.number].candidate]
    tuned = result.finetune([name], epochs=1)
    after = tuned.front[name].tuned
    assert after is not None
    assert after.search == beacon.score


def test_they_do_not_depend_on_who_tunes_them(study: Study, outcome: Outcome, tmp_path: Path) -> None:
    found = run(study, tmp_path / "two", quiet, effort=Effort(jobs=2))
    assert found.beacons == outcome.beacons
    assert found == outcome


def test_a_run_that_is_killed_at_one_goes_on(
    study: Study, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    tune = Tuning.score

    def dying(self: Tuning, candidate: Candidate, rival: Float64Array | None) -> SampledScore:
        asked.append(candidate.digest())
        if len(asked) == 2:
            raise KeyboardInterrupt
        return tune(self, candidate, rival)

    monkeypatch.setattr(module.Tuning, "score", dying)
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path / "run", quiet)
    found = run(study, tmp_path / "run", quiet)
    assert len(asked) == BEACONS + 1
    assert asked[1] == asked[2]
    assert found == outcome


def test_they_stay_when_the_search_goes_on_and_more_are_chosen_beside_them(
    study: Study, outcome: Outcome, folder: Path, tmp_path: Path
) -> None:
    without = run(replace(study, search=replace(study.search, beacons=0)), tmp_path / "run", quiet)
    assert without.beacons == ()
    assert "beacons" not in without.provenance
    fewer = run(replace(study, search=replace(study.search, beacons=2)), tmp_path / "run", quiet)
    assert set(fewer.beacons) < set(outcome.beacons)
    assert run(study, tmp_path / "run", quiet) == outcome
    more = run(replace(study, search=replace(study.search, trials=20)), tmp_path / "run", quiet)
    assert more.beacons == outcome.beacons
    assert len(more.evaluations) == 20
    assert len(read_store(folder, study).stored()) == 16


def test_what_a_damaged_journal_has_lost_is_taken_for_what_it_was(
    study: Study, folder: Path, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores after tuning are no scores of the search, though of the same candidates."""
    copied = shutil.copytree(folder, tmp_path / "run")
    journal = copied / JOURNAL
    lines = journal.read_bytes().split(b"\n")
    place = next(place for place, line in enumerate(lines) if b'"score"' in line)
    lines[place - 1] = b"{" + lines[place - 1]
    journal.write_bytes(b"\n".join(lines))
    monkeypatch.setattr(module.Tuning, "score", None)
    found = run(study, copied, quiet)
    assert found.provenance["journal"].endswith("with what scores are left in search.journal.damaged")
    assert (found.evaluations, found.beacons) == (outcome.evaluations, outcome.beacons)


def test_another_way_of_tuning_has_beacons_of_its_own(study: Study, outcome: Outcome, tmp_path: Path) -> None:
    run(study, tmp_path / "run", quiet)
    other = replace(study, finetuning=replace(study.finetuning, learning_rate=0.02))
    found = run(other, tmp_path / "run", quiet)
    assert [beacon.number for beacon in found.beacons] == [beacon.number for beacon in outcome.beacons]
    assert found.beacons != outcome.beacons
    assert run(study, tmp_path / "run", quiet) == outcome


def test_one_that_cannot_be_tuned_is_told_and_the_front_is_there_all_the_same(
    study: Study, outcome: Outcome, tmp_path: Path, explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object) -> None:
        raise DivergedError("finetuning: the loss is nan in epoch 1; lower finetuning.learning_rate")

    monkeypatch.setattr(module, "finetune", diverge)
    found = run(study, tmp_path / "run", quiet)
    write_outcome(tmp_path / "run", found)
    assert (found.front, found.beacons) == (outcome.front, ())
    told = f"{BEACONS} could not be tuned; the first: finetuning: the loss is "
    assert found.provenance["failed beacons"].startswith(told)
    code, _, said = explorer("front", tmp_path / "run", "--after-tuning")
    assert (code, f"of its beacons {told}" in " ".join(said.split())) == (2, True)


def test_the_front_after_tuning_is_printed_and_built(folder: Path, outcome: Outcome, explorer: Explorer) -> None:
    write_outcome(folder, outcome)
    code, said, _ = explorer("front", folder, "--after-tuning")
    front = load(folder).front_after_tuning()
    assert code == 0
    assert said.count("+ ") == 1 + sum(not point.found.predicted for point in front) >= 2
    assert all(point.name in said for point in front)
    assert " after tuning, predicted, " in repr(front)
    assert front["t01"].build()(torch.rand(1, 1, 8, 8)).shape == (1, 2)
    without = {**outcome.study, "search": {**outcome.study["search"], "beacons": 0}}
    write_outcome(folder, replace(outcome, study=without, beacons=()))
    code, _, said = explorer("front", folder, "--after-tuning")
    assert code == 2
    assert f"{folder}: no candidate of this run was tuned; set search.beacons = 6" in " ".join(said.split())
