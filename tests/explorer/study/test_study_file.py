"""Reading study files: defaults, paths, JSON and identity."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.errors import StudyFileError
from explorer.settings import BudgetSettings, ComputeSettings, LayerSpace, SpaceSettings
from explorer.study.study_file import COME_ALONG, SECTIONS, Heading, Study, load_accelerator, load_study

STUDIES = Path(__file__).parents[3] / "studies"
MINIMAL = """
[study]
name = "minimal"
[model]
reference = "lenet5_digits"
[model.training]
[data]
source = "digits"
[device]
profile = "bitfusion"
[objectives]
names = ["accuracy", "energy"]
"""


def minimal(**sections: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a minimal study, with these sections instead."""
    return {
        "study": {"name": "minimal"},
        "model": {"reference": "lenet5_digits", "training": {}},
        "data": {"source": "digits"},
        "device": {"profile": "bitfusion"},
        "objectives": {"names": ["accuracy", "energy"]},
        **sections,
    }


def write(folder: Path, text: str) -> Path:
    file = folder / "study.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, MINIMAL))
    assert (study.name, study.title, study.seed) == ("minimal", "", 0)
    assert (study.data.train, study.data.search, study.data.held_out) == (997, 400, 400)
    assert (study.data.mean, study.data.std) == ((0.0,), (1.0,))
    assert study.space.codebook_sizes == (None,)
    assert study.budgets == BudgetSettings()


@pytest.mark.parametrize(("section", "key", "value"), [("space", "steps", [0.1, 0.2]), ("search", "beacons", 2)])
def test_what_finds_scales_otherwise_leaves_no_powers_of_two(section: str, key: str, value: object) -> None:
    told = rf"quantizer\.power_of_two: expected false with {section}\.{key}, .*received true"
    with pytest.raises(StudyFileError, match=told):
        Study.from_json(minimal(quantizer={"power_of_two": True}) | {section: {key: value}})


def test_a_folder_stands_for_its_study_file(tmp_path: Path) -> None:
    assert load_study(write(tmp_path, MINIMAL)) == load_study(tmp_path)


def test_the_digits_study_reads_and_states_every_key() -> None:
    study = load_study("digits")
    assert study.objectives.names == ("accuracy", "energy", "weight_memory")
    text = (COME_ALONG / "digits.toml").read_text(encoding="utf-8")
    keys = [key for entries in study.to_json().values() for key in entries if key not in ("layers", "training")]
    assert [key for key in keys if f"{key} = " not in text] == []
    assert [section for section in SECTIONS if f"[{section}]" not in text] == []


def test_the_resnet20_study_reads_where_its_variables_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_CHECKPOINTS", "/weights")
    study = load_study(STUDIES / "resnet20_cifar10")
    checkpoint = study.model.checkpoint or ""
    assert study.resolve(checkpoint, "model.checkpoint") == Path("/weights/resnet20-12fca82f.th")
    assert study.space.for_layer("conv1").weight_bits == (8,)


def test_relative_paths_start_at_the_study_file(tmp_path: Path) -> None:
    text = MINIMAL.replace("[model.training]", 'checkpoint = "weights.pt"').replace('"bitfusion"', '"own.toml"')
    study = load_study(write(tmp_path, text))
    assert study.resolve("weights.pt", "model.checkpoint") == tmp_path / "weights.pt"
    with pytest.raises(StudyFileError, match=f"{tmp_path / 'own.toml'}"):
        load_accelerator(study)
    assert study.results_folder() == tmp_path / "results"


def test_a_device_name_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "bitfusion").mkdir()
    assert load_accelerator(load_study(write(tmp_path, MINIMAL))).name == "bitfusion"


def test_named_data_is_found_through_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    study = Study.from_json(minimal(data={"source": "mnist"}))
    monkeypatch.delenv("EXPLORER_DATA", raising=False)
    assert study.data.find_file(study.folder) is None
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path))
    assert study.data.find_file(study.folder) == tmp_path / "mnist.npz"


def test_stored_json_shows_no_folder_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHTS", str(tmp_path))
    text = MINIMAL.replace("[model.training]", 'checkpoint = "${WEIGHTS}/weights.pt"')
    study = load_study(write(tmp_path, text))
    assert str(tmp_path) not in json.dumps(study.to_json())
    monkeypatch.delenv("WEIGHTS")
    assert Study.from_json(study.to_json()) == study


def test_lists_are_sorted_and_none_is_last() -> None:
    study = Study.from_json(minimal(space={"weight_bits": [8, 2], "codebook_sizes": ["none", 16, 4]}))
    assert study.space.weight_bits == (2, 8)
    assert study.space.codebook_sizes == (4, 16, None)


def test_a_layer_takes_what_it_does_not_state_from_the_space() -> None:
    space = SpaceSettings(weight_bits=(2, 4), layers=(LayerSpace(layer="fc", filter_keep_ratio=(1.0,)),))
    assert space.for_layer("fc").weight_bits == (2, 4)
    assert space.for_layer("fc").filter_keep_ratio == (1.0,)
    assert space.for_layer("conv") == SpaceSettings(weight_bits=(2, 4))


def test_factory_arguments_become_pairs_and_return_as_a_table() -> None:
    model = {"factory": "net:build", "arguments": {"width": 8, "sizes": [1, 2]}, "training": {}}
    study = Study.from_json(minimal(model=model))
    assert study.model.arguments == (("sizes", (1, 2)), ("width", 8))
    assert study.to_json()["model"]["arguments"] == {"width": 8, "sizes": [1, 2]}


def test_every_section_says_whether_results_depend_on_it() -> None:
    kinds = {"study": Heading, **SECTIONS}
    assert [name for name, kind in kinds.items() if not isinstance(vars(kind).get("AFFECTS_RESULTS"), bool)] == []
    study = Study.from_json(minimal())
    stated = {f"{name}.{key}" for name, entries in study.to_json().items() for key in entries}
    without = {key for key in stated - study.essentials().keys() if key.partition(".")[0] in ("study", "search")}
    assert without == {"study.title", "search.trials", "search.least_gain", "search.beacons", "search.storage"}
    sections = {key.partition(".")[0] for key in stated} - {key.partition(".")[0] for key in study.essentials()}
    assert sections == {"compute", "finetuning", "deep_compression", "comparison", "output"}


def test_a_section_that_does_not_say_it_cannot_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(SECTIONS["space"], "AFFECTS_RESULTS")
    with pytest.raises(AttributeError, match="AFFECTS_RESULTS"):
        Study.from_json(minimal()).essentials()


def test_the_digest_is_of_what_is_explored_not_of_where() -> None:
    study = Study.from_json(minimal())
    search, compute = replace(study.search, trials=900), ComputeSettings(device="cpu")
    longer = replace(study, heading=replace(study.heading, title="other"), search=search, compute=compute)
    assert longer.digest() == study.digest()
    assert replace(study, heading=replace(study.heading, seed=1)).digest() != study.digest()
    assert replace(study, data=replace(study.data, split_seed=1)).digest() != study.digest()


def test_a_study_is_read_with_neither_torch_nor_optuna() -> None:
    """Its names are looked up in the tables of all stages."""
    code = (
        "import sys; from explorer.study.study_file import load_study; load_study(sys.argv[1]); "
        "print({'torch', 'optuna', 'hwmodels'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, "digits"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


strange = 'ab.0"\n\\é'
names = st.text("abcdefgh_0123-", min_size=1, max_size=12)
bits = st.lists(st.integers(2, 8), min_size=1, unique=True)
shares = st.lists(st.floats(0.001, 1.0), min_size=1, max_size=4, unique=True)
codebooks = st.lists(st.one_of(st.integers(2, 256), st.just("none")), min_size=1, max_size=4, unique=True)
positive = st.floats(min_value=1e-9, max_value=1e12)
choices = {
    "weight_bits": bits,
    "activation_bits": bits,
    "filter_keep_ratio": shares,
    "weight_density": shares,
    "codebook_sizes": codebooks,
    "patterns": st.lists(st.sampled_from(["2:4", "1:4", "15:16", "none"]), min_size=1, max_size=4, unique=True),
}
scalars = st.one_of(st.text(strange, max_size=5), st.booleans(), st.integers(-9, 9), st.floats(-9, 9))
models = st.one_of(
    st.fixed_dictionaries({"reference": st.sampled_from(["lenet5", "resnet20"]), "training": st.just({})}),
    st.fixed_dictionaries(
        {
            "factory": st.just("network:build"),
            "checkpoint": st.sampled_from(["weights.pt", "${HOME}/weights.pt"]),
            "arguments": st.dictionaries(names, st.one_of(scalars, st.lists(scalars, max_size=3)), max_size=3),
        },
        optional={"input_shape": st.lists(st.integers(1, 64), min_size=3, max_size=3)},
    ),
)
studies = st.fixed_dictionaries(
    {
        "study": st.fixed_dictionaries({"name": names}, optional={"seed": st.integers(0, 2**32 - 1)}),
        "model": models,
        "data": st.fixed_dictionaries(
            {"source": st.sampled_from(["digits", "mnist", "cifar10"])},
            optional={"split_seed": st.integers(0, 9)},
        ),
        "device": st.fixed_dictionaries({"profile": names}),
        "objectives": st.fixed_dictionaries(
            {"names": st.permutations(["accuracy", "energy", "latency", "activation_memory"])}
        ),
    },
    optional={
        "budgets": st.fixed_dictionaries({}, optional={"energy_uj": positive, "weight_bytes": st.integers(1, 2**40)}),
        "space": st.fixed_dictionaries(
            {},
            optional={
                **choices,
                "layers": st.dictionaries(
                    st.text(strange, max_size=8), st.fixed_dictionaries({}, optional=choices), max_size=3
                ),
            },
        ),
        "search": st.fixed_dictionaries({}, optional={"trials": st.integers(20, 1000)}),
    },
)


@given(studies)
def test_a_study_survives_json(data: dict[str, Any]) -> None:
    study = Study.from_json(data)
    again = Study.from_json(json.loads(json.dumps(study.to_json())))
    assert again == study
    assert again.digest() == study.digest()
    assert hash(again) == hash(study)
