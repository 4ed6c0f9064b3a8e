"""The names that a study may hold: all of every table, each entry resolved, and a new one by its entry alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.samplers import BaseSampler, RandomSampler

from explorer.data.load import load_data
from explorer.dotted import resolve
from explorer.errors import StudyFileError
from explorer.models.reference import REFERENCE_NETWORKS, ReferenceNetwork
from explorer.relevance.aggregation import AGGREGATIONS
from explorer.relevance.criteria import CRITERIA, Criterion
from explorer.relevance.references import REFERENCES
from explorer.relevance.targets import TARGETS
from explorer.search.problem import SamplingProblem
from explorer.search.samplers import PREDICT_NO_GAIN, SAMPLERS
from explorer.settings.comparison import CASES
from explorer.settings.sources import SOURCES, Source
from explorer.study.run import run
from explorer.study.study_file import Study, load_study
from tests.support.tiny import quiet, write_tiny

TABLES: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("model", "reference"): REFERENCE_NETWORKS,
    ("relevance", "method"): CRITERIA,
    ("relevance", "target"): TARGETS,
    ("relevance", "reference"): REFERENCES,
    ("relevance", "aggregation"): AGGREGATIONS,
    ("search", "sampler"): SAMPLERS,
    ("comparison", "case"): CASES,
}
SOURCE = Source(read="explorer.data.digits:read_digits", splits=(997, 30, 20))
ENTRIES = [(*place, name) for place, table in TABLES.items() for name in table]


def study(section: str = "search", **entries: object) -> dict[str, Any]:
    """The JSON of a study with these entries in a section."""
    data: dict[str, Any] = {
        "study": {"name": "names"},
        "model": {"reference": "lenet5_digits", "training": {}},
        "data": {"source": "digits"},
        "device": {"profile": "bitfusion"},
        "objectives": {"names": ["accuracy", "energy"]},
    }
    return {**data, section: {**data.get(section, {}), **entries}}


@pytest.mark.parametrize(("section", "key", "name"), ENTRIES)
def test_every_entry_is_accepted_and_stands_for_something(section: str, key: str, name: str) -> None:
    read = Study.from_json(study(section, **{key: name}))
    assert getattr(getattr(read, section), key) == name
    entry = TABLES[section, key][name]
    assert callable(entry if callable(entry) else resolve(entry.path))


@pytest.mark.parametrize(("section", "key"), TABLES)
def test_another_name_is_refused_with_what_is_known(section: str, key: str) -> None:
    close = f"{next(iter(TABLES[section, key]))}x"
    with pytest.raises(StudyFileError) as refusal:
        Study.from_json(study(section, **{key: close}))
    (line,) = refusal.value.problems
    assert line.startswith(f'{section}.{key}: expected "{close[:-1]}" or ')
    assert line.endswith(f'received "{close}"')
    assert f"did you mean '{close[:-1]}'" in line or key == "reference"


def test_names_of_several_sections_are_refused_at_once() -> None:
    data = {**study(sampler="nsga3"), "relevance": {"method": "tailor"}, "space": {"filter_criteria": ["l1", "l3"]}}
    with pytest.raises(StudyFileError) as refusal:
        Study.from_json(data)
    places = [line.partition(":")[0] for line in refusal.value.problems]
    assert places == ["space.filter_criteria[1]", "relevance.method", "search.sampler"]


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_an_end_that_a_sampler_does_not_know_of_is_refused(sampler: str) -> None:
    if sampler not in PREDICT_NO_GAIN:
        assert Study.from_json(study(sampler=sampler, least_gain=0.1)).search.least_gain == 0.1
        return
    told = rf'^search\.least_gain: expected 0 with sampler "{sampler}", which predicts no gain, received 0\.1$'
    with pytest.raises(StudyFileError, match=told):
        Study.from_json(study(sampler=sampler, least_gain=0.1))


def test_an_entry_is_all_that_a_new_sampler_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def mine(problem: SamplingProblem, number: int) -> BaseSampler:
        made.append(number)
        return RandomSampler(seed=problem.seed + number)

    file = write_tiny(tmp_path, '[search]\nsampler = "mine"')
    with pytest.raises(StudyFileError, match=r'search.sampler: expected "bayes" or .*, received "mine"'):
        load_study(file)
    monkeypatch.setitem(SAMPLERS, "mine", mine)
    outcome = run(load_study(file), tmp_path / "run", quiet)
    assert made == [item.number for item in outcome.evaluations if item.origin == "mine"] == [3, 4, 5]
    assert len(outcome.evaluations) == 6
    assert "mine" in {evaluation.origin for evaluation in outcome.evaluations}


def test_an_entry_is_all_that_a_new_source_of_data_takes_beside_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StudyFileError, match=r'data.source: expected "digits" or .*, received "own"'):
        Study.from_json(study("data", source="own"))
    monkeypatch.setitem(SOURCES, "own", SOURCE)
    data = load_data(Study.from_json(study("data", source="own")).data)
    assert (data.name, len(data.search), len(data.held_out)) == ("own", 30, 20)


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_of_data_has_a_reader(source: str) -> None:
    assert callable(resolve(SOURCES[source].read))


def test_an_entry_is_all_that_a_new_criterion_or_network_takes_beside_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    network = ReferenceNetwork(path="explorer.models.lenet:LeNet5Digits", images="1 x 8 x 8")
    criterion = Criterion(path="explorer.relevance.magnitude:l1", subjects=frozenset({"filters"}), source="a test")
    monkeypatch.setitem(REFERENCE_NETWORKS, "mine", network)
    monkeypatch.setitem(CRITERIA, "own", criterion)
    data = {**study("model", reference="mine"), "relevance": {"method": "own"}, "comparison": {"focus": "own"}}
    read = Study.from_json(data)
    assert (read.model.reference, read.relevance.method, read.comparison.focus) == ("mine", "own", "own")
