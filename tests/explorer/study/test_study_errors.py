"""What a study file can get wrong: each problem is one line with key, received value and what to do."""

import re
from pathlib import Path
from typing import Any

import pytest

from explorer.errors import StudyFileError
from explorer.relevance.criteria import CRITERIA
from explorer.settings import DataSettings, SearchSettings, SpaceSettings
from explorer.study import study_file
from explorer.study.study_file import Study, load_accelerator, load_study

VALID: dict[str, dict[str, Any]] = {
    "study": {"name": "valid"},
    "model": {"reference": "lenet5_digits", "training": {}},
    "data": {"source": "digits"},
    "device": {"profile": "bitfusion"},
    "objectives": {"names": ["accuracy", "energy"]},
}
TRAINED: dict[str, Any] = {"training": {}}
BITS = "a list without repetition, each an integer in 1..8"


def problems(**sections: Any) -> tuple[str, ...]:
    """The problems of a valid study with these sections instead."""
    with pytest.raises(StudyFileError) as caught:
        Study.from_json({**VALID, **sections})
    return caught.value.problems


@pytest.mark.parametrize(
    ("section", "entries", "expected"),
    [
        ("study", {}, "study.name: missing; expected a name of letters, digits, _ and -"),
        ("study", {"name": "a b"}, 'study.name: expected a name of letters, digits, _ and -, received "a b"'),
        (
            "study",
            {"name": "a", "seed": True},
            "study.seed: expected an integer in 0..4294967295, received true",
        ),
        ("model", TRAINED, "model: expected exactly one of reference and factory, received neither"),
        (
            "model",
            {"reference": "lenet5", "factory": "net:build", **TRAINED},
            "model: expected exactly one of reference and factory, received both",
        ),
        (
            "model",
            {"reference": "lenet5"},
            "model: the network has no weights; give checkpoint, or how to train",
        ),
        ("model", {"reference": "resnet200", **TRAINED}, "did you mean 'resnet20'?), received \"resnet200\""),
        ("model", {"factory": "net.build", **TRAINED}, 'model.factory: expected "module:callable", received'),
        (
            "model",
            {"reference": "lenet5", "arguments": {"a": 1}, **TRAINED},
            "model.arguments: only a factory takes arguments",
        ),
        (
            "model",
            {"factory": "a:b", "arguments": {"a": {"b": 1}}, **TRAINED},
            "model.arguments.a: expected a table whose values are texts",
        ),
        (
            "model",
            {"reference": "lenet5", "input_shape": [1, 28], **TRAINED},
            "model.input_shape: expected a list of 3, each an integer in 1..65535, received [1, 28]",
        ),
        (
            "model",
            {"reference": "lenet5", "training": {"learning_rate": 0}},
            "model.training.learning_rate: expected a number of at least 1e-12 and of at most 100, received 0",
        ),
        ("model", {"reference": "lenet5", "training": 3}, "expected a table [model.training], received 3"),
        ("data", {}, 'data.source: missing; expected "digits" or "mnist" or "cifar10" or "npz"'),
        ("data", {"source": "cifar100"}, "did you mean 'cifar10'?), received \"cifar100\""),
        (
            "data",
            {"source": "digits", "path": "x.npz"},
            'data.path: only source "mnist" or "cifar10" or "npz" or "folder" takes it',
        ),
        (
            "data",
            {"source": "digits", "std": [0.0]},
            "data.std[0]: expected a number of at least 1e-06 and",
        ),
        (
            "data",
            {"source": "cifar10", "mean": [0.5]},
            "data.std: expected as many values as in data.mean (1), received 3",
        ),
        (
            "data",
            {"source": "digits", "train": 100},
            "data.calibration: expected at most data.train (100), received 256",
        ),
        ("device", {}, "device.profile: missing; expected the name of a device, or the path of a .toml file"),
        ("device", "bitfusion", 'device: expected a table [device], received "bitfusion"'),
        (
            "objectives",
            {"names": ["accuracy"]},
            'objectives.names: expected a list of "accuracy" and at least one other, received ["accuracy"]',
        ),
        (
            "objectives",
            {"names": ["energy", "latency"]},
            'objectives.names: expected a list of "accuracy" and at least one other',
        ),
        (
            "objectives",
            {"names": ["accuracy", "energy", "energy"]},
            "objectives.names: expected a list without repetition",
        ),
        ("objectives", {"names": ["accuracy", "enregy"]}, 'objectives.names[1]: expected "accuracy" or'),
        (
            "budgets",
            {"energy_uj": -1.0},
            "budgets.energy_uj: expected a number of at least 1e-09 and",
        ),
        (
            "budgets",
            {"energy_uj": float("nan")},
            "budgets.energy_uj: expected a number of at least 1e-09 and of at most 1e+12, received NaN",
        ),
        (
            "budgets",
            {"weight_bytes": 1.5},
            "budgets.weight_bytes: expected an integer in 1..1125899906842624, received 1.5",
        ),
        ("space", {"weight_bits": [0]}, "space.weight_bits[0]: expected an integer in 1..8, received 0"),
        ("space", {"weight_bits": []}, f"space.weight_bits: expected {BITS}, received []"),
        ("space", {"weight_bits": 8}, f"space.weight_bits: expected {BITS}, received 8"),
        ("space", {"weight_bits": [4, 4]}, f"space.weight_bits: expected {BITS}, received [4, 4]"),
        ("space", {"filter_keep_ratio": [0.0]}, "expected a number above 0 and of at most 1, received 0.0"),
        ("space", {"weight_density": [True]}, "space.weight_density[0]: expected a number above 0"),
        ("space", {"codebook_sizes": [1]}, 'expected an integer in 2..256 or "none", received 1'),
        (
            "space",
            {"patterns": ["4:4"]},
            'expected a pattern "n:m" with 1 <= n < m <= 32, such as "2:4" or "none", rec',
        ),
        ("space", {"patterns": ["2:4", "2:4"]}, "space.patterns: expected a list without repetition, each a pattern"),
        ("space", {"layers": {"conv1": 8}}, "space.layers.conv1: expected a table [space.layers.conv1]"),
        ("space", {"layers": [1]}, "space.layers: expected a table of tables, received [1]"),
        (
            "space",
            {"layers": {"layer1.0.conv1": {"weight_bits": [9]}}},
            'space.layers."layer1.0.conv1".weight_bits[0]: expected an integer in 1..8, received 9',
        ),
        (
            "relevance",
            {"tolerance": 0},
            "relevance.tolerance: expected a number above 0 and of at most 1e+06",
        ),
        (
            "relevance",
            {"target": "best"},
            'relevance.target: expected "predicted" or "true" or "contrast", received "best"',
        ),
        ("search", {"trials": "400"}, 'search.trials: expected an integer in 1..1000000, received "400"'),
        (
            "search",
            {"storage": "here"},
            'search.storage: expected "journal" or a database URL, received "here"',
        ),
        ("compute", {"device": "gpu"}, 'compute.device: expected "cpu" or "cuda" or "auto", received "gpu"'),
        ("search", {"device": "cpu"}, "search.device: is device of [compute] now; move the key there"),
        ("search", {"batch_size": 8}, "search.batch_size: is batch_size of [compute] now; move the key there"),
        ("search", {"trails": 5}, "search.trails: unknown key; did you mean 'trials'?"),
        ("search", {"x": 5}, "search.x: unknown key; known are trials, population, seeds, lag, sampling_error"),
        ("search", [], "search: expected a table [search], received []"),
        ("output", {"folder": " "}, 'output.folder: expected a path, received " "'),
        ("serach", {"trials": 5}, "serach: unknown section; did you mean 'search'?"),
        ("trials", 5, "trials: unknown key; it belongs into [search]"),
        ("seed", 5, "seed: unknown key; it belongs into [study]"),
    ],
)
def test_each_problem_is_one_line(section: str, entries: Any, expected: str) -> None:
    received = problems(**{section: entries})
    assert len(received) == 1
    assert expected in received[0]
    assert "\n" not in received[0]


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("relevance", "method", "no_criterion"),
        ("space", "filter_criteria", ["no_criterion"]),
        ("comparison", "criteria", ["no_criterion"]),
    ],
)
def test_an_unknown_criterion_is_answered_with_all_of_them(section: str, key: str, value: object) -> None:
    received = next(each for each in problems(**{section: {key: value}}) if each.startswith(f"{section}.{key}"))
    assert set(CRITERIA) <= set(re.findall(r"\w+", received))


def test_a_data_set_from_a_file_needs_its_path_and_counts() -> None:
    received = problems(data={"source": "npz"})
    assert [problem.split(":")[0] for problem in received] == ["data.path", "data.search", "data.held_out"]


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(
        '[study]\nname = 3\n[model]\nrefrence = "lenet5"\n[data]\nsource = "digits"\ntrain = "many"\n'
        '[objectives]\nnames = "accuracy"\n[search]\ntrials = 0\npopulation = 1.5\n[typo]\n',
        encoding="utf-8",
    )
    with pytest.raises(StudyFileError) as caught:
        load_study(file)
    keys = [problem.removeprefix(f"{file}: ").split(":")[0] for problem in caught.value.problems]
    assert keys == [
        "study.name",
        "model.refrence",
        "data.train",
        "device.profile",
        "objectives.names",
        "search.trials",
        "search.population",
        "typo",
    ]


def test_a_long_value_is_cut_and_a_strange_key_quoted() -> None:
    assert problems(device={"profile": ["x" * 500]})[0].endswith("...")
    assert problems(search={"a\nb": 1})[0].startswith('search."a\\nb": unknown key')


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text('[study]\nname = "a\n', encoding="utf-8")
    with pytest.raises(StudyFileError, match=re.escape(f"{file}: not valid TOML: ") + r".*line 2"):
        load_study(file)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_bytes(b'[study]\nname = "\xe9"\n')
    with pytest.raises(StudyFileError, match=r"byte 16 is not UTF-8; save the file as UTF-8"):
        load_study(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r"absent\.toml: no such file or folder; name a study\.toml"):
        load_study(tmp_path / "absent.toml")


def test_a_folder_without_a_study_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r"the folder has no study\.toml; name a folder with one"):
        load_study(tmp_path)


def test_unset_variables_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPLORER_ABSENT", raising=False)
    (tmp_path / "study.toml").write_text(
        '[study]\nname = "a"\n[model]\nreference = "lenet5"\ncheckpoint = "${EXPLORER_ABSENT}/w.pt"\n'
        '[data]\nsource = "digits"\n[device]\nprofile = "${EXPLORER_ABSENT}/d.toml"\n'
        '[objectives]\nnames = ["accuracy", "energy"]\n[search]\nstorage = "${EXPLORER_ABSENT}"\n',
        encoding="utf-8",
    )
    with pytest.raises(StudyFileError, match=r"environment variable EXPLORER_ABSENT is not set") as caught:
        load_study(tmp_path)
    assert [problem.split(": ")[1] for problem in caught.value.problems] == [
        "model.checkpoint",
        "device.profile",
        "search.storage",
    ]


def test_json_that_is_no_object_is_refused() -> None:
    with pytest.raises(StudyFileError, match="study: expected an object with one entry for each section"):
        Study.from_json([1])


def test_records_made_in_python_follow_the_same_rules() -> None:
    with pytest.raises(StudyFileError, match=r"search\.trials: expected an integer in 1\.\.1000000, received 0"):
        SearchSettings(trials=0)
    with pytest.raises(StudyFileError, match=r"space\.weight_bits\[0\]: .*received 16"):
        SpaceSettings(weight_bits=(16,))
    with pytest.raises(StudyFileError, match=r"data\.split_seed: .*received -1"):
        DataSettings(source="digits", split_seed=-1)


def test_an_unknown_device_is_refused_by_the_device_models(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hwmodels")
    study = Study.from_json({**VALID, "device": {"profile": "no_such_device"}})
    with pytest.raises(StudyFileError, match=r"device\.profile: 'no_such_device' cannot be used: .*no_such_device"):
        load_accelerator(study)
    assert study_file.FILE_NAME == "study.toml"
