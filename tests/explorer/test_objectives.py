"""The table of objectives: what each entry reaches, and that an entry is all that a new one takes."""

import csv
from dataclasses import fields
from pathlib import Path

import pytest
from rich.console import Console

from explorer.errors import StudyFileError
from explorer.objectives import OBJECTIVES, SCORE, Objective, costs
from explorer.report.front.hover import describe_point
from explorer.report.front.page import collect_page_data
from explorer.report.front.tables import build_front_table, write_front_csv
from explorer.report.front.views import build_front_view
from explorer.settings import BudgetSettings
from explorer.study.record import Cost
from explorer.study.run import run
from explorer.study.study_file import Study, load_study
from tests.support.tiny import quiet, write_tiny

WORK = Objective(name="work", title="Work per image", heading="Operations", unit="MACs", key="macs", whole=True)


def test_every_cost_is_an_attribute_of_the_record() -> None:
    assert {objective.key for objective in costs()} <= {field.name for field in fields(Cost)}
    assert [name for name, objective in OBJECTIVES.items() if name != objective.name] == []
    assert [objective for objective in OBJECTIVES.values() if not objective.is_cost] == [SCORE]


def test_an_entry_is_all_that_a_new_objective_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the record has the number already: the study, the search, the table, the file and the page take it up."""
    file = write_tiny(tmp_path, '"work"]\n[budgets]\nmacs = 1_000_000', '"weight_memory"]')
    with pytest.raises(StudyFileError, match=r'objectives.names\[2\]: expected "accuracy" or .*, received "work"'):
        load_study(file)
    monkeypatch.setitem(OBJECTIVES, "work", WORK)
    study = load_study(file)
    assert study.budgets.limits == (("macs", 1_000_000),)
    assert Study.from_json(study.to_json()).digest() == study.digest()

    outcome = run(study, tmp_path / "run", quiet)
    assert outcome.objectives == ("accuracy", "energy", "work")
    write_front_csv(outcome, tmp_path / "front.csv")
    row = next(csv.DictReader((tmp_path / "front.csv").read_text().splitlines()))
    assert int(row["macs"]) == outcome.front[0].evaluation.cost.macs
    data = collect_page_data(outcome)
    assert [axis["name"] for axis in data["axes"]][:2] == ["energy", "work"]
    assert [figure["heading"] for figure in data["costs"] if figure["key"] == "macs"] == ["Operations"]
    assert "<br>operations " in describe_point(build_front_view(outcome).front[0])
    console = Console(width=200)
    with console.capture() as capture:
        console.print(build_front_table(outcome))
    assert "Opera." in capture.get()


def test_a_budget_that_no_objective_has_is_refused() -> None:
    with pytest.raises(StudyFileError, match=r"budgets\.energy_uj: expected a number of at least 1e-09"):
        BudgetSettings(energy_uj=0.0)
    with pytest.raises(StudyFileError, match=r"budgets\.energy: unknown key; did you mean 'energy_uj'\?"):
        BudgetSettings(energy=3)
