"""The [finetuning] section: read with all its keys, refused with all its problems, and no part of a search."""

import json

import pytest

from explorer.errors import StudyFileError
from explorer.settings import FineTuningSettings
from explorer.study.study_file import Study

STUDY = {
    "study": {"name": "one"},
    "model": {"reference": "lenet5_digits", "training": {}},
    "data": {"source": "digits"},
    "device": {"profile": "bitfusion"},
    "objectives": {"names": ["accuracy", "energy"]},
}


def test_a_section_is_read_and_written() -> None:
    keys = {"epochs": 3, "optimizer": "adam", "learning_rate": 1, "teacher": False, "batch_norm": "frozen"}
    study = Study.from_json({**STUDY, "finetuning": keys})
    assert study.finetuning == FineTuningSettings(**{**keys, "learning_rate": 1.0})  # type: ignore[arg-type]
    assert Study.from_json(json.loads(json.dumps(study.to_json()))) == study
    assert Study.from_json(STUDY).finetuning == FineTuningSettings()


def test_it_does_not_change_what_a_search_finds() -> None:
    changed = Study.from_json({**STUDY, "finetuning": {"epochs": 99}})
    assert changed.digest() == Study.from_json(STUDY).digest()


def test_every_problem_is_told() -> None:
    wrong = {
        "epochs": 0,
        "temperature": 0,
        "teacher_weight": 1.5,
        "batch_norm": "none",
        "crop_pixels": 0.5,
        "flips": True,
    }
    with pytest.raises(StudyFileError) as refused:
        Study.from_json({**STUDY, "finetuning": wrong})
    told = "\n".join(refused.value.problems)
    assert len(refused.value.problems) == len(wrong)
    assert "finetuning.epochs: expected an integer in 1..10000, received 0" in told
    assert "finetuning.flips: unknown key; did you mean 'flip'?" in told
