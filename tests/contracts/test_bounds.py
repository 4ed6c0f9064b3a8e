"""Every number of every file has bounds: whatever stands there is read, or refused in short lines, never in a crash."""

import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hwmodels
from explorer.compress.candidate import Candidate
from explorer.errors import CandidateError, StudyFileError
from explorer.settings.records import get_rules
from explorer.study.study_file import SECTIONS, Heading, Study, load_study
from hwmodels import NETWORKS, DeviceError

HUGE = (2**63, 10**309, 1 << 20_000)
NASTY: tuple[Any, ...] = (*HUGE, -(2**63), 1e308, 5e-324, math.inf, -math.inf, math.nan, -1)
WORKLOAD = NETWORKS["lenet5"]().jobs(8, 8)
DEVICES = ("gap9_ne16", "edge_tpu", "eyeriss_v1")


def short(text: str) -> bool:
    return all(len(line) < 400 for line in text.splitlines())


def numbers(name: str) -> Iterator[str]:
    """Keys of a profile that hold a number."""
    for key, value, _ in hwmodels.profile_entries(hwmodels.load(name)):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield key


def with_number(name: str, key: str, value: Any, folder: Path) -> Path:
    """A file of the device with another number."""
    *tables, entry = key.split(".")
    written: list[str] = []
    place = ""
    source = Path(hwmodels.__file__).parent / "device" / "catalogue" / f"{name}.toml"
    shown = hex(value) if isinstance(value, int) and value > 0 else value  # decimals have an end at 4,300 digits
    for line in source.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            place = line.strip("[] ")
        found = place == ".".join(tables) and line.split("=")[0].strip() == entry
        written.append(f'{entry} = {{ value = {shown}, source = "x" }}' if found else line)
    file = folder / "device.toml"
    file.write_text("\n".join(written), encoding="utf-8")
    return file


@pytest.mark.parametrize("name", DEVICES)
def test_where_a_device_has_a_word_a_number_is_refused_in_short_lines(name: str, tmp_path: Path) -> None:
    words = [key for key, value, _ in hwmodels.profile_entries(hwmodels.load(name)) if isinstance(value, str)]
    assert "array.dataflow" in words
    for key in words:
        for value in (-1, 0.5, 10**5000):
            with pytest.raises(DeviceError) as caught:
                hwmodels.load(with_number(name, key, value, tmp_path))
            assert short(str(caught.value)), key


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_that_is_accepted_gives_finite_costs(name: str, tmp_path: Path) -> None:
    accepted, refusals = 0, []
    for key in numbers(name):
        for value in (0, 1, 1e-6, 1e3, 1e12, *(value for value in NASTY if not isinstance(value, int) or value > -2)):
            file = with_number(name, key, value, tmp_path)
            try:
                device = hwmodels.load(file)
            except DeviceError as error:
                refusals.append(str(error))
                continue
            accepted += 1
            cost = hwmodels.evaluate(WORKLOAD, device)
            assert math.isfinite(cost.energy_pj), (key, value)
            assert math.isfinite(cost.latency_ms), (key, value)
            assert 0 <= cost.latency_cycles < 2**63, (key, value)
    assert accepted > 30
    assert [refusal for refusal in refusals if not short(refusal)] == []


def test_the_bounds_of_devices_are_far_from_every_one_that_comes_along() -> None:
    for name in hwmodels.names():
        device = hwmodels.load(name)
        for factor in (0.1, 10.0):
            replace(device, clock_hz=device.clock_hz * factor, static_power_w=device.static_power_w * factor)


def test_a_number_that_python_does_not_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "device.toml"
    file.write_text("rows = " + "9" * 4301)
    with pytest.raises(DeviceError, match="is not valid TOML"):
        hwmodels.load(file)
    file.write_text("[study]\nname = 'a'\nseed = " + "9" * 4301)
    with pytest.raises(StudyFileError, match=r"device\.toml: not valid TOML") as caught:
        load_study(file)
    assert short(str(caught.value))


BASE = tomllib.loads(
    """
    study = { name = "a" }
    model = { reference = "lenet5", training = {} }
    data = { source = "mnist" }
    device = { profile = "bitfusion" }
    objectives = { names = ["accuracy", "energy"] }
    """
)


@pytest.mark.parametrize("section", ["study", *SECTIONS])
def test_every_key_of_a_study_stands_every_number(section: str) -> None:
    refusals = []
    kind: Mapping[str, Any] = get_rules({"study": Heading, **SECTIONS}[section])
    for key in kind:
        for value in NASTY:
            for written in (value, [value], [value] * 3, {"a": value}, {"a": {"weight_bits": [value], "kept": value}}):
                document = {**BASE, section: {**BASE.get(section, {}), key: written}}
                try:
                    study = Study.from_json(document)
                except StudyFileError as error:
                    refusals.append(str(error))
                    continue
                json.dumps(study.to_json(), allow_nan=False)
                study.digest()
    assert [refusal for refusal in refusals if not short(refusal)] == []


@pytest.mark.parametrize(
    "key", ["weight_bits", "activation_bits", "weight_density", "codebook_size", "codebook_granularity", "pattern"]
)
def test_every_key_of_a_candidate_stands_every_number(key: str) -> None:
    choice = {"weight_bits": 4, "activation_bits": 8, "weight_density": 0.5, "codebook_size": 4}
    for value in (*(value for value in NASTY if value != 5e-324), "x" * 1000, [[]], {"a": "\n"}):
        for layer, share in (({**choice, key: value}, 0.5), (choice, value)):
            with pytest.raises(CandidateError) as caught:
                Candidate.from_json({"layers": {"a": layer}, "filter_keep_ratio": {"g": share}})
            assert short(str(caught.value))
            assert "\n" not in str(caught.value)


def test_of_many_problems_the_first_are_told_and_the_rest_counted() -> None:
    with pytest.raises(StudyFileError) as caught:
        Study.from_json({**BASE, **{f"section\n{index}": 1 for index in range(50)}})
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 30 more problems"
