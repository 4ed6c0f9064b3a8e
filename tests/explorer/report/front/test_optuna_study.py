"""The evaluations as a study of Optuna: its own reader finds choices as parameters, values, limits and states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from explorer.errors import ExportError
from explorer.report.front.optuna_study import write_optuna_study
from explorer.study.record import Outcome
from tests.support.outcomes import make_outcome


@pytest.fixture(scope="module")
def told() -> Outcome:
    """With one evaluation that was never scored, and one that cannot be computed."""
    outcome = make_outcome()
    first, second, *others = outcome.evaluations
    unscored = replace(first, score=None, violations=(("energy_uj", 0.5),))
    failed = replace(second, score=None, failure="it is singular")
    return replace(outcome, evaluations=(unscored, failed, *others))


@pytest.fixture(scope="module")
def study(told: Outcome, tmp_path_factory: pytest.TempPathFactory) -> optuna.Study:
    path = tmp_path_factory.mktemp("optuna") / "choices.journal"
    write_optuna_study(told, path)
    return optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(path))))


def test_every_evaluation_is_a_trial_with_its_choices(told: Outcome, study: optuna.Study) -> None:
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    members = {point.evaluation.number: point.name for point in told.front}
    for item, trial in zip(told.evaluations, study.trials, strict=True):
        for choice in item.candidate.layers:
            assert trial.params[f"{choice.layer} weight bits"] == choice.weight_bits
        assert trial.user_attrs["point"] == members.get(item.number, "")
        assert trial.user_attrs["evaluation"] == item.number
        if item.score is not None:
            assert trial.values == [item.score.value, item.cost.energy_uj, item.cost.weight_bytes]
        assert trial.system_attrs["constraints"] == [sum(excess for _, excess in item.violations)]


def test_what_has_no_score_has_no_values(study: optuna.Study) -> None:
    assert [trial.state for trial in study.trials[:3]] == [TrialState.PRUNED, TrialState.FAIL, TrialState.COMPLETE]
    assert [trial.values for trial in study.trials[:2]] == [None, None]


def test_it_is_written_anew_but_over_no_other_file(told: Outcome, tmp_path: Path) -> None:
    path, other = tmp_path / "choices.journal", tmp_path / "search.journal"
    for _ in range(2):
        write_optuna_study(told, path)
        assert len(path.read_text().splitlines()) == 1 + len(told.evaluations)
    other.write_text('{"op_code": 0, "study_name": "search"}\n')
    with pytest.raises(ExportError, match="is there and was not written by this version"):
        write_optuna_study(told, other)
    assert other.read_text().endswith('"search"}\n')
