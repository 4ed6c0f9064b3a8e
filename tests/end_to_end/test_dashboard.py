"""Optuna's dashboard opens the journal of a search: its trials, directions and values, as docs/report.md says."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.evaluate.mean_score import MeanScore
from explorer.report.front.optuna_study import write_optuna_study
from explorer.study.folder import JOURNAL
from explorer.study.storage import open_store
from explorer.study.trials import Proposed, TrialResult
from tests.support.outcomes import make_outcome

OBJECTIVES = ("accuracy", "energy")
VALUES = [[0.5, 1.0], [0.75, 2.0], [0.625, 3.0]]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """The journal of a search with three finished trials."""
    store = open_store(tmp_path, "journal", "search", OBJECTIVES, {"study": "1"})
    for number, values in enumerate(VALUES):
        choice = LayerChoice(layer="conv1", weight_bits=number + 2)
        candidate = Candidate(layers=(choice,), filter_keep_ratio=())
        result = TrialResult(score=MeanScore(value=values[0], num_images=8))
        store.propose(number, Proposed((number,), candidate, "bayes"), result=result, values=values)
    return tmp_path / JOURNAL


def test_optuna_reads_the_trials(journal: Path) -> None:
    study = optuna.load_study(study_name="search", storage=JournalStorage(JournalFileBackend(str(journal))))
    assert [trial.values for trial in study.trials] == VALUES
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [trial.number for trial in study.best_trials] == [0, 1]
    assert study.trials[0].user_attrs["proposal"]["origin"] == "bayes"


@pytest.mark.filterwarnings("ignore")
def test_the_dashboard_lists_them(journal: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    application = dashboard.wsgi(JournalStorage(JournalFileBackend(str(journal))))
    (listed,) = _get(application, "/api/studies")["study_summaries"]
    assert (listed["study_name"], listed["directions"]) == ("search", ["maximize", "minimize"])
    trials = _get(application, f"/api/studies/{listed['study_id']}")["trials"]
    assert [(trial["state"], [float(value) for value in trial["values"]]) for trial in trials] == [
        ("Complete", values) for values in VALUES
    ]


@pytest.mark.filterwarnings("ignore")
def test_the_dashboard_knows_what_was_chosen(tmp_path: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    outcome = make_outcome()
    write_optuna_study(outcome, tmp_path / "choices")
    application = dashboard.wsgi(JournalStorage(JournalFileBackend(str(tmp_path / "choices"))))
    (listed,) = _get(application, "/api/studies")["study_summaries"]
    trials = _get(application, f"/api/studies/{listed['study_id']}")["trials"]
    for item, trial in zip(outcome.evaluations, trials, strict=True):
        chosen = {entry["name"]: entry["param_external_value"] for entry in trial["params"]}
        choice = item.candidate.layers[0]
        assert chosen[f"{choice.layer} weight bits"] == str(choice.weight_bits)


def _get(application: Any, path: str) -> Any:
    """The answer of a WSGI application, as JSON."""
    said: list[str] = []
    environment = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "http",
    }

    def start(status: str, headers: Iterable[tuple[str, str]], exc_info: Any = None) -> None:
        said.append(status)

    body = b"".join(application(environment, start))
    assert said == ["200 OK"]
    return json.loads(body)
