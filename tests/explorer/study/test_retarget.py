"""A run on other devices: costs are those of a search there, scores those of the run, and nothing is evaluated."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import hwmodels
from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate
from explorer.errors import SearchError
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.settings import BudgetSettings
from explorer.study import front
from explorer.study.folder import OUTCOME, read_outcome
from explorer.study.go_on import go_on
from explorer.study.graphs import GRAPHS
from explorer.study.prepare import open_study
from explorer.study.retarget import Retargeted, make_study, retarget
from explorer.study.run import make_price, run
from explorer.study.stored_run import read_run
from explorer.study.study_file import Study, load_study
from tests.support.tiny import TINY, quiet, write_tiny

CHANGE = "[space]\nfilter_keep_ratio = [0.5, 1.0]\nremoved_blocks = [0, 1]\n[search]"
REPOSITORY = Path(__file__).parents[3]


def study_of(folder: Path) -> Study:
    study = load_study(folder.parent / "tiny")
    return replace(
        study, search=replace(study.search, trials=25, seeds=0), budgets=BudgetSettings(weight_bytes=500, accuracy=0.4)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run whose candidates lack filters, too."""
    home = tmp_path_factory.mktemp("retarget")
    write_tiny(home, "[space]\nfilter_keep_ratio = [0.5, 1.0]\n[search]")
    run(study_of(home / "run"), home / "run", quiet)
    return home / "run"


def on(folder: Path, device: str | None, **limits: float) -> Retargeted:
    stored = read_run(folder)
    return retarget(stored, make_study(stored.study, device, limits))


def test_on_every_device_costs_are_those_of_a_search_there(folder: Path) -> None:
    prepared = open_study(study_of(folder), folder, quiet)
    context, stored = prepared.context.for_search(), read_run(folder)
    scores = {item.number: item.score for item in read_outcome(folder).evaluations}
    for name in hwmodels.names():
        device = hwmodels.load(name)
        there = replace(prepared, accelerator=device, entropies=WeightEntropies.of(context, device))
        price_candidate = make_price(there, there.entropies, None)
        found = retarget(stored, make_study(stored.study, name, {}))
        assert len(found.outcome.evaluations) + found.unpriced == len(stored.trials)
        for item in found.outcome.evaluations:
            assert item.cost == price_candidate(item.candidate), name
            assert item.score == scores[item.number]
        members = front.front(found.outcome.evaluations, found.outcome.objectives)
        assert [point.evaluation.number for point in found.outcome.front] == [item.number for item in members]


def test_on_its_own_device_the_front_is_that_of_the_run(folder: Path) -> None:
    found, former = on(folder, None), read_outcome(folder)
    assert found.outcome.front == former.front
    assert found.outcome.evaluations == former.evaluations
    assert found.outcome.baselines == former.baselines
    assert (found.entered, found.left) == ((), ())


def test_what_ended_the_search_elsewhere_is_not_told_of_the_front_here(folder: Path) -> None:
    stored = read_run(folder)
    assert stored.former is not None
    ended = replace(stored.former, provenance={**stored.former.provenance, "search ended": "after 3 candidates"})
    found = retarget(replace(stored, former=ended), make_study(stored.study, "gemmini_default", {}))
    assert "search ended" not in found.outcome.provenance
    assert "retargeted" in found.outcome.provenance


def test_limits_of_another_device_are_dropped_and_others_can_be_stated(folder: Path) -> None:
    study = study_of(folder)
    assert dict(make_study(study, None, {"energy_uj": 3.0}).budgets.limits) == {
        "accuracy": 0.4,
        "weight_bytes": 500,
        "energy_uj": 3.0,
    }
    assert dict(make_study(study, "mpic", {}).budgets.limits) == {"accuracy": 0.4}
    assert make_study(study, "mpic", {}).device.profile == "mpic"
    loose = on(folder, "gemmini_default")
    limit = sorted(point.evaluation.cost.energy_uj or 0.0 for point in loose.outcome.front)[0]
    tight = on(folder, "gemmini_default", energy_uj=limit)
    assert all((point.evaluation.cost.energy_uj or 0.0) <= limit for point in tight.outcome.front)
    assert len(tight.outcome.front) <= len(loose.outcome.front)


def test_members_that_enter_have_no_held_out_score(folder: Path) -> None:
    found, former = on(folder, "gemmini_default"), read_outcome(folder)
    known = {point.evaluation.candidate: point for point in former.front}
    for point in found.outcome.front:
        mine = known.get(point.evaluation.candidate)
        assert (mine is None) == (point.name in (found.entered or ()))
        assert point.held_out == (MeanScore(value=0.0, num_images=0) if mine is None else mine.held_out)
    stay = {point.evaluation.candidate for point in found.outcome.front}
    assert found.left == tuple(point.name for point in former.front if point.evaluation.candidate not in stay)


def test_what_is_proposed_was_never_scored_and_keeps_the_budgets(folder: Path) -> None:
    found = on(folder, "bit_serial_16x16", energy_uj=0.5)
    scored = {item.candidate for item in found.outcome.evaluations if item.score is not None}
    assert found.proposals
    for proposal in found.proposals:
        assert proposal.candidate not in scored
        assert (proposal.cost.energy_uj or 0.0) <= 0.5
        assert proposal.gain >= 0
        assert 0 < proposal.score < 1
    assert len({proposal.candidate for proposal in found.proposals}) == len(found.proposals)
    assert on(folder, "bit_serial_16x16", energy_uj=0.5).proposals == found.proposals


def test_an_interrupted_run_is_enough(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / OUTCOME).unlink()
    lines = (tmp_path / "run" / "search.journal").read_bytes().splitlines(keepends=True)
    (tmp_path / "run" / "search.journal").write_bytes(b"".join(lines[: len(lines) // 2]) + b'{"op_co')
    found = on(tmp_path / "run", "ethos_u55_128")
    assert 5 < len(found.outcome.evaluations) < 25
    assert found.outcome.front
    assert (found.entered, found.left) == (None, None)
    assert [bool(item.search.num_images) for item in found.outcome.baselines] == [True, False]  # the float one orders
    assert not any(item.held_out.num_images for item in found.outcome.baselines)


def test_a_search_goes_on_from_a_run_that_was_interrupted_before_its_first_score(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / OUTCOME).unlink()
    lines = (tmp_path / "run" / "search.journal").read_bytes().splitlines(keepends=True)
    begun = [place for place, line in enumerate(lines) if b'"sample"' in line or b'"proposal"' in line]
    (tmp_path / "run" / "search.journal").write_bytes(b"".join(lines[: begun[0]]))
    stored = read_run(tmp_path / "run")
    assert not stored.trials
    study = make_study(stored.study, "gemmini_default", {})
    there = go_on(tmp_path / "run", stored, retarget(stored, study), study, 6, tmp_path / "there", quiet)
    assert len(there.evaluations) == 6
    assert there.front


def test_a_search_goes_on_and_scores_nothing_twice(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []

    def counted(context: CompressionContext, candidate: Candidate) -> object:
        built.append(candidate.digest())
        return apply(context, candidate)

    monkeypatch.setattr("explorer.study.sampling.apply", counted)
    monkeypatch.setattr("explorer.study.outcome.apply", counted)
    stored = read_run(folder)
    study = make_study(stored.study, "gemmini_default", {})
    found = retarget(stored, study, count=4)
    there = go_on(folder, stored, found, study, 8, tmp_path / "there", quiet)
    members = [point.evaluation.candidate for point in found.outcome.front]
    assert [item.candidate for item in there.evaluations[: len(members)]] == members
    assert len(there.evaluations) == len(members) + 8
    scored = {trial.candidate.digest(): trial.score for trial in stored.trials if trial.score is not None}
    for item in there.evaluations:
        assert scored.get(item.candidate.digest(), item.score) == item.score
    searched = {item.candidate.digest() for item in there.evaluations} - scored.keys()
    former = {point.evaluation.candidate.digest() for point in read_outcome(folder).front}
    entered = {point.evaluation.candidate.digest() for point in there.front} - former
    assert sorted(built) == sorted(searched | entered)  # what the search has built is not built again for the front
    assert {each.candidate.digest() for each in found.proposals} <= searched
    built.clear()
    assert go_on(folder, stored, found, study, 8, tmp_path / "there", quiet) == there
    assert built == []


def test_scores_of_another_network_are_refused(folder: Path, tmp_path: Path) -> None:
    stored = read_run(folder)
    study = make_study(stored.study, "mpic", {})
    other = replace(stored, identity={**stored.identity, "weights": "0" * 16})
    with pytest.raises(SearchError, match=r"its scores do not hold any more.*weights was 0000"):
        go_on(folder, other, retarget(other, study), study, 8, tmp_path / "there", quiet)


def test_what_a_run_lacks_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="none: no run was made here"):
        on(tmp_path / "none", "mpic")
    shutil.copytree(folder, tmp_path / "run")
    graphs = tmp_path / "run" / GRAPHS
    kept = json.loads(graphs.read_text())
    graphs.write_text(json.dumps({**kept, "graphs": [{}]}))
    with pytest.raises(SearchError, match=r"graphs\.json: cannot be read .* explorer run again writes it anew"):
        on(tmp_path / "run", "mpic")
    graphs.unlink()
    with pytest.raises(SearchError, match="an earlier version made this run"):
        on(tmp_path / "run", "mpic")


def test_candidates_without_blocks_are_priced(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    shutil.copytree(TINY, tmp_path / "unused")
    write_tiny(tmp_path, CHANGE)
    network = tmp_path / "tiny" / "network.py"
    code = network.read_text()
    assert "nn.Conv2d(1, width, 3, padding=1),\n        nn.ReLU()," in code
    more = "nn.Conv2d(1, width, 3, padding=1),\n        nn.Conv2d(width, width, 3, padding=1),\n        nn.ReLU(),"
    network.write_text(code.replace("nn.Conv2d(1, width, 3, padding=1),\n        nn.ReLU(),", more))
    study = load_study(tmp_path / "tiny")
    run(replace(study, search=replace(study.search, trials=16)), tmp_path / "run", quiet)
    found = on(tmp_path / "run", None)
    assert found.outcome.evaluations == read_outcome(tmp_path / "run").evaluations
    assert {len(item.candidate.removed_blocks) for item in found.outcome.evaluations} == {0, 1}
    assert on(tmp_path / "run", "ethos_u55_128").unpriced == 0


def test_the_command_needs_no_torch(folder: Path) -> None:
    program = (
        "import sys\nsys.modules['torch'] = None\n"
        "from explorer.cli import main\n"
        f"main(['retarget', {str(folder)!r}, '--device', 'ethos_u55_128', '--budget', 'energy<=1mJ'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "budgets: accuracy >= 0.4, energy_uj <= 1000" in done.stdout or "energy_uj <= 1000" in done.stdout
    assert "Would be evaluated next" in done.stdout
