"""Device profiles: TOML files in which every value carries its source, read and checked as a whole.

A profile has `name`, `title` and the tables array, dram, arithmetic, power and buffers.<name>. Every other
entry is `key = { value = ..., source = "..." }`, the unit being part of the key; a source is the id of an
entry of sources.bib or "assumed". In a user's own file, a source may be any text.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from hwmodels.accelerator import ASSUMED, Accelerator, Buffer
from hwmodels.errors import DeviceError

_KEYS: Mapping[str, str] = {
    "array.rows": "rows",
    "array.columns": "columns",
    "array.dataflow": "dataflow",
    "array.pipelined_folds": "pipelined_folds",
    "array.clock_hz": "clock_hz",
    "dram.bandwidth_bits_per_s": "dram_bandwidth_bits_per_s",
    "dram.energy_pj_per_bit": "dram_energy_pj_per_bit",
    "arithmetic.law": "precision_law",
    "arithmetic.native_bits": "native_bits",
    "arithmetic.weight_bits": "weight_bits",
    "arithmetic.input_bits": "input_bits",
    "arithmetic.accumulator_bits": "accumulator_bits",
    "arithmetic.mac_energy_pj": "mac_energy_pj",
    "arithmetic.weight_formats": "weight_formats",
    "power.static_w": "static_power_w",
}
"""Dotted key of the file -> field of Accelerator."""
_LISTS = ("arithmetic.weight_bits", "arithmetic.input_bits", "arithmetic.weight_formats")
_BUFFER_KEYS = ("operands", "size_bytes", "read_energy_pj_per_bit", "write_energy_pj_per_bit")
_TABLES = ("array", "dram", "arithmetic", "power")


@dataclass(slots=True)
class _Reading:
    """What has been read of one file so far: values and sources by dotted key, and what was wrong."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def names() -> tuple[str, ...]:
    """Return the names of the devices that come with the package, sorted."""
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in _folder().iterdir() if _is_profile(entry)))


def source_ids() -> frozenset[str]:
    """Return the ids of the publications in sources.bib."""
    bibliography = (resources.files("hwmodels") / "sources.bib").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^@\w+\{([^,\s]+),", bibliography, flags=re.MULTILINE))


def load(name_or_path: str | Path) -> Accelerator:
    """Return the shipped device of that name, or the one in a TOML file (a Path, or a text ending in .toml).

    Raises:
        DeviceError: the name is unknown (the known ones are listed), or the file cannot be read, or entries
            of it are unknown, missing or out of range (all are reported at once, with the file and the
            key).
    """
    if isinstance(name_or_path, Path) or name_or_path.endswith(".toml"):
        return _read(Path(name_or_path), sources=None)
    known = names()
    if name_or_path not in known:
        closest = difflib.get_close_matches(name_or_path, known, n=1)
        hint = f"did you mean {closest[0]!r}? " if closest else ""
        raise DeviceError(
            f"unknown device {name_or_path!r}: {hint}Known devices are {', '.join(known)}; "
            "a device of your own is the path of a file that ends in .toml"
        )
    return _read(_folder() / f"{name_or_path}.toml", sources=source_ids())


def entries(device: Accelerator) -> tuple[tuple[str, Any, str], ...]:
    """Return (dotted key with its unit, value, source id or "assumed") for everything a profile states."""
    values = {key: getattr(device, attribute) for key, attribute in _KEYS.items()}
    for buffer in device.buffers:
        values |= {f"buffers.{buffer.name}.{key}": getattr(buffer, key) for key in _BUFFER_KEYS}
    return tuple((key, value, device.sources.get(key, "")) for key, value in values.items())


def _folder() -> Traversable:
    """Return the folder of the shipped profiles."""
    return resources.files("hwmodels") / "devices"


def _is_profile(entry: Traversable) -> bool:
    """Tell a profile from whatever else an editor may leave in the folder."""
    return entry.name.endswith(".toml") and not entry.name.startswith(".")


def _read(file: Path | Traversable, sources: frozenset[str] | None) -> Accelerator:
    """Return the device of one file; with `sources`, other ids than these are refused."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(f"{file}: the device profile cannot be read ({error}); check the path") from error
    except tomllib.TOMLDecodeError as error:
        raise DeviceError(f"{file}: the device profile is not valid TOML: {error}") from error
    reading = _Reading()
    buffers = document.pop("buffers", {})
    title, name = document.pop("title", None), document.pop("name", None)
    _read_tables(document, reading)
    _read_buffers(buffers, reading)
    if sources is not None:
        reading.problems += [
            f"`{key}`: source {source!r} is neither in sources.bib nor {ASSUMED!r}"
            for key, source in reading.sources.items()
            if source != ASSUMED and source not in sources
        ]
    if reading.problems:
        raise DeviceError([f"{file}: {problem}" for problem in reading.problems])
    try:
        return _build(name, title, list(buffers), reading)
    except DeviceError as error:
        raise DeviceError([f"{file}: {problem}" for problem in error.problems]) from error


def _read_tables(document: Mapping[str, Any], reading: _Reading) -> None:
    """Read the fixed tables: every key of _KEYS must be there, and no other."""
    for table, entries in document.items():
        if table not in _TABLES or not isinstance(entries, dict):
            reading.problems.append(_unknown(table, ("name", "title", "buffers", *_TABLES)))
            continue
        for key, entry in entries.items():
            dotted = f"{table}.{key}"
            if dotted in _KEYS:
                _read_entry(dotted, entry, reading, is_list=dotted in _LISTS)
            else:
                reading.problems.append(_unknown(dotted, tuple(_KEYS)))
    given = {f"{table}.{key}" for table, entries in document.items() if isinstance(entries, dict) for key in entries}
    reading.problems += [_missing(key) for key in _KEYS if key not in given]


def _read_buffers(buffers: object, reading: _Reading) -> None:
    """Read the tables buffers.<name>: each has all of _BUFFER_KEYS, and no other."""
    if not isinstance(buffers, dict) or not all(isinstance(entries, dict) for entries in buffers.values()):
        reading.problems.append("`buffers` must hold one table for each buffer, such as [buffers.weights]")
        return
    for name, entries in buffers.items():
        for key, entry in entries.items():
            dotted = f"buffers.{name}.{key}"
            if key in _BUFFER_KEYS:
                _read_entry(dotted, entry, reading, is_list=key == "operands")
            else:
                reading.problems.append(_unknown(dotted, tuple(f"buffers.{name}.{known}" for known in _BUFFER_KEYS)))
        reading.problems += [_missing(f"buffers.{name}.{key}") for key in _BUFFER_KEYS if key not in entries]


def _read_entry(key: str, entry: object, reading: _Reading, *, is_list: bool) -> None:
    """Read one `{ value = ..., source = "..." }`."""
    if not isinstance(entry, dict) or set(entry) != {"value", "source"}:
        reading.problems.append(
            f'`{key}` must be written {{ value = ..., source = "..." }}, with "{ASSUMED}" as the source of a '
            f"value that is not published, but got {entry!r}"
        )
        return
    value, source = entry["value"], entry["source"]
    if not isinstance(source, str) or not source.strip():
        reading.problems.append(f"`{key}`: `source` must be a non-empty text, but got {source!r}")
        return
    if is_list is not isinstance(value, list):
        reading.problems.append(f"`{key}` must be {'a list' if is_list else 'one value'}, but got {value!r}")
        return
    reading.values[key] = tuple(value) if is_list else value
    reading.sources[key] = source


def _build(name: object, title: object, buffers: list[str], reading: _Reading) -> Accelerator:
    """Return the record; its own checks refuse values of a wrong type or out of range."""
    fields: dict[str, Any] = {attribute: reading.values[key] for key, attribute in _KEYS.items()}
    return Accelerator(
        name=name,  # type: ignore[arg-type]  # anything may stand in a file: the record's checks report it
        title=title,  # type: ignore[arg-type]
        buffers=tuple(
            Buffer(name=buffer, **{key: reading.values[f"buffers.{buffer}.{key}"] for key in _BUFFER_KEYS})
            for buffer in buffers
        ),
        sources=reading.sources,
        **fields,
    )


def _unknown(key: str, known: tuple[str, ...]) -> str:
    """Return the text on a key that is not known, with the closest one that is."""
    closest = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean `{closest[0]}`?" if closest else f"known are {', '.join(known)}"
    return f"unknown key `{key}`: {hint}"


def _missing(key: str) -> str:
    """Return the text on a key that is not there."""
    return f'`{key}` is missing: add it as {{ value = ..., source = "..." }}'
