"""Device profiles: what ships, and how a wrong file is reported."""

from __future__ import annotations

import dataclasses
import pickle
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from hwmodels import Accelerator, DeviceError, Unroll, load, names
from hwmodels.device.profiles import read_source_ids

SHIPPED = ("bit_serial_16x16", "bitfusion", "gemmini_default")


def _text(name: str) -> str:
    return (resources.files("hwmodels.device") / "catalogue" / f"{name}.toml").read_text(encoding="utf-8")


def _edited(folder: Path, old: str, new: str) -> Path:
    """Return a copy of the bitfusion profile with one edit."""
    text = _text("bitfusion")
    assert text.count(old) == 1
    file = folder / "mine.toml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    return file


def test_shipped_devices() -> None:
    assert set(SHIPPED) <= set(names())


@pytest.mark.parametrize("name", names())
def test_every_shipped_device_loads_with_a_source_for_every_number(name: str) -> None:
    device = load(name)
    assert device.name == name
    document = tomllib.loads(_text(name))
    tables = ("array", "arithmetic", "power", "vector", "registers", "unroll", "blocks")
    written = sum(len(document.get(table, {})) for table in tables)
    written += sum(len(place) for places in ("buffers", "memories") for place in document[places].values())
    assert len(device.sources) == written
    assert set(device.sources.values()) <= read_source_ids() | {"assumed"}
    assert device.digest() == load(name).digest()
    assert pickle.loads(pickle.dumps(device)) == device


def test_bitfusion_numbers() -> None:
    device = load("bitfusion")
    assert (device.rows, device.columns, device.units, device.dataflow) == (16, 32, 512, "ws")
    assert device.bits_per_cycle(device.find_memory("weights")) == 192
    assert [device.find_buffer(operand).size_bytes for operand in ("weights", "inputs", "outputs")] == [
        *(65536, 32768, 16384)
    ]
    assert "power.static_w" in device.assumed


def test_a_users_file_may_cite_anything(tmp_path: Path) -> None:
    file = _edited(tmp_path, 'clock_hz = { value = 500e6, source = "bitfusion_isca2018" }',
                   'clock_hz = { value = 1e9, source = "our lab, May" }')  # fmt: skip
    device = load(file)
    assert device.clock_hz == 1e9
    assert device.sources["array.clock_hz"] == "our lab, May"
    assert load(str(file)) == device
    assert device.digest() != load("bitfusion").digest()


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DeviceError, match=r"unknown device 'bitfuson': did you mean 'bitfusion'\? Known devices are"):
        load("bitfuson")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"absent\.toml: the device profile cannot be read .*check the path"):
        load(tmp_path / "absent.toml")


def test_broken_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("rows = = 1", encoding="utf-8")
    with pytest.raises(DeviceError, match=r"broken\.toml: the device profile is not valid TOML: .*line 1"):
        load(tmp_path / "broken.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "clock_hz =",
            "clock_khz =",
            r"mine\.toml: array.clock_khz: unknown key; did you mean 'array.clock_hz'\?",
        ),
        ("[power]", "[powr]", r"powr: unknown key; did you mean 'power'\?"),
        (
            "rows = { value = 16,",
            "rows = { value = 0,",
            r"array.rows: expected a whole number from 1 to.*received 0",
        ),
        (
            "rows = { value = 16,",
            'rows = { value = "a",',
            r"array.rows: expected a whole number .* received 'a'",
        ),
        (
            "{ value = 500e6,",
            "{ value = -1,",
            r"array.clock_hz: expected a number from 1000 to 1e\+12, received -1",
        ),
        (
            "{ value = 15.0,",
            "{ value = inf,",
            r"memories.dram.energy_pj_per_bit: expected a number .* received inf",
        ),
        ('{ value = "ws",', '{ value = "wx",', r"array.dataflow: expected one of os, ws, is, rs, unrolled, .* 'wx'"),
        ('{ value = "ws",', '{ value = "rs",', r"registers.words: expected at least 3 for the dataflow 'rs', received"),
        ('{ value = "ws",', '{ value = "unrolled",', r"unroll.rate: missing; add it as"),
        ("rows = {", "rowz = {", r"array.rows: missing; add it as"),
        ("[vector]", "[registers]", r"registers.operations_per_cycle: unknown key; "),
        ('["pool", "activation"]', '["conv"]', r"vector.fused: expected one of pool, activation, received 'conv'"),
        (
            '["weights", "inputs", "outputs"]',
            '["weights"]',
            r"memories: expected exactly one that holds the inputs, received none",
        ),
        (
            '{ value = "fusion",',
            '{ value = "fuse",',
            r"arithmetic.law: expected one of product, .* received 'fuse'",
        ),
        ("{ value = true,", "{ value = 1,", r"array.pipelined_folds: expected true or false, received 1"),
        (
            '{ value = ["dense"],',
            '{ value = ["coo"],',
            r"arithmetic.weight_formats: expected one of dense,.*'coo'",
        ),
        (
            '{ value = ["dense"],',
            '{ value = ["bitmap"],',
            r"arithmetic.weight_formats: expected 'dense' or 'entropy' among them",
        ),
        (
            '{ value = ["dense"],',
            '{ value = "dense",',
            r"arithmetic.weight_formats: expected a list, received 'dense'",
        ),
        (
            '{ value = ["inputs"],',
            '{ value = ["weights"],',
            r"buffers: expected exactly one that holds the inputs, received none",
        ),
        (
            '{ value = ["inputs"],',
            '{ value = ["weights"],',
            r"one that holds the weights, received weights, inputs",
        ),
        (
            "{ value = 65536,",
            "{ value = 0.5,",
            r"buffers.weights.size_bytes: expected a whole number .* received 0.5",
        ),
        (
            'static_w = { value = 0.0, source = "assumed" }',
            "static_w = 0.0",
            r"power.static_w: expected \{ value = .*received 0.0",
        ),
        (
            'static_w = { value = 0.0, source = "assumed" }',
            'static_w = { value = 0.0, source = "" }',
            r"source: expected a non-empty text",
        ),
        (
            'title = "Bit Fusion, 16x32 fusion units, 45 nm"',
            "",
            r"title: expected a non-empty text, received None",
        ),
    ],
)
def test_a_wrong_entry_is_named_with_what_to_do(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = _edited(tmp_path, old, new)
    with pytest.raises(DeviceError, match=message):
        load(file)


def test_all_missing_keys_are_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "empty.toml"
    file.write_text("[buffers.weights]\nsize = 1\n", encoding="utf-8")
    with pytest.raises(DeviceError, match=r"array.dataflow: missing; add it as") as caught:
        load(file)
    assert any("did you mean 'buffers.weights.size_bytes'" in problem for problem in caught.value.problems)
    assert len(caught.value.problems) == 10 + 3 + 5
    assert all(str(file) in problem for problem in caught.value.problems)


@pytest.mark.parametrize("text", ["buffers = 3", "buffers = { weights = 3 }"])
def test_buffers_must_be_tables(tmp_path: Path, text: str) -> None:
    (tmp_path / "b.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DeviceError, match=r"buffers: expected one table for each of them"):
        load(tmp_path / "b.toml")


def test_a_shipped_device_must_cite_a_listed_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwmodels.device.profiles.read_source_ids", lambda: frozenset({"horowitz_isscc2014"}))
    with pytest.raises(
        DeviceError,
        match=r"array.rows: source: expected one of sources.bib or 'assumed', received 'bitfusion_isca2018'",
    ):
        load("bitfusion")


def test_widths_must_ascend() -> None:
    with pytest.raises(DeviceError, match=r"arithmetic.weight_bits: expected ascending widths, at least one, received"):
        dataclasses.replace(load("bitfusion"), weight_bits=(8, 2))


def test_accelerators_are_hashable_values() -> None:
    device: Accelerator = load("bitfusion")
    assert len({device, load("bitfusion"), load("gemmini_default")}) == 2


def test_parts_that_contradict_each_other_are_refused() -> None:
    device = load("bitfusion")
    memory = dataclasses.replace(device.memories[0], overflow_bandwidth_bits_per_s=1e9)
    with pytest.raises(DeviceError, match=r"memories.dram.size_bytes: expected with overflow_bandwidth_bits_per_s"):
        dataclasses.replace(device, memories=(memory,))
    with pytest.raises(DeviceError, match=r"unroll.out_channels \* unroll.in_channels .* received 16 and 8"):
        dataclasses.replace(device, unroll=Unroll(out_channels=8, depthwise_channels=16))
    with pytest.raises(DeviceError, match=r"buffers: expected names that differ, received 'one' twice"):
        dataclasses.replace(device, buffers=tuple(dataclasses.replace(each, name="one") for each in device.buffers))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"macs_per_cycle": ()}, r"macs_per_cycle: expected one entry for each pair .* \(8, 8\) among them, received"),
        ({"weight_bits": (4, 8)}, r"macs_per_cycle: expected one entry for each pair .* received those of \[\(8, 8\)"),
        ({"macs_per_cycle": ((8, 8),)}, r"macs_per_cycle: expected \[weight_bits, input_bits, MACs\] for each pair"),
        ({"macs_per_cycle": 3 * ((8, 8, 2.1),)}, r"macs_per_cycle: expected one entry for each pair"),
        ({"precision_law": "fixed"}, r"macs_per_cycle: expected none for the law 'fixed', received"),
    ],
)
def test_a_table_of_rates_is_that_of_every_pair(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        dataclasses.replace(load("mpic"), **change)


def test_rates_are_positive_numbers() -> None:
    device = load("mpic")
    rates = ((8, 8, 0.0), *device.macs_per_cycle[1:])
    with pytest.raises(DeviceError, match=r"arithmetic.macs_per_cycle: expected a number from .* received 0"):
        dataclasses.replace(device, macs_per_cycle=rates)
