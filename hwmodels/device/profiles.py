"""Device profiles: TOML files in which every value carries its source, read and checked as a whole.

A profile has `name`, `title` and the tables array, arithmetic, power, vector, buffers.<name>, memories.<name> and,
where the device has such, registers, unroll and blocks. Every other entry is `key = { value = ..., source = "..." }`,
the unit being part of the key; a source is the id of an entry of sources.bib or "assumed". In a user's own file,
a source may be any text.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from hwmodels.checks import shown, suggest
from hwmodels.device.accelerator import ASSUMED, Accelerator
from hwmodels.device.dataflows import DATAFLOWS, Dataflow
from hwmodels.device.parts import Blocks, Buffer, Memory, Registers, Unroll, VectorUnit
from hwmodels.errors import DeviceError

_REQUIRED: Mapping[str, str] = {
    "array.dataflow": "dataflow",
    "array.clock_hz": "clock_hz",
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
_OPTIONAL: Mapping[str, str] = {
    "array.rows": "rows",
    "array.columns": "columns",
    "array.pipelined_folds": "pipelined_folds",
    "array.diagonal_groups": "diagonal_groups",
    "array.k_packing": "k_packing",
    "array.output_traffic": "output_traffic",
    "array.network_energy_pj_per_bit": "network_energy_pj_per_bit",
    "array.layer_overhead_cycles": "layer_overhead_cycles",
    "array.maximum_layers": "maximum_layers",
    "array.node_nm": "node_nm",
    "arithmetic.packed": "packed",
    "arithmetic.macs_per_cycle": "macs_per_cycle",
    "arithmetic.idle_energy_share": "idle_energy_share",
    "power.energy_factor": "energy_factor",
}
_FLAT: Mapping[str, str] = {**_REQUIRED, **_OPTIONAL}
_PARTS: Mapping[str, tuple[type[Any], tuple[str, ...], tuple[str, ...]]] = {
    "vector": (
        VectorUnit,
        ("operations_per_cycle", "energy_pj_per_operation", "fused"),
        ("pool_operations_per_cycle",),
    ),
    "registers": (Registers, ("words", "accesses_per_mac", "energy_pj_per_bit"), ()),
    "unroll": (Unroll, (), ("out_h", "out_w", "out_channels", "in_channels", "kernel", "depthwise_channels", "rate")),
    "blocks": (
        Blocks,
        ("traversals", "depthwise_kernel", "weights_per_cycle", "outputs_per_cycle", "outputs"),
        (),
    ),
}
"""Table -> (record, keys that must be there, keys that may)."""
_PLACES: Mapping[str, tuple[type[Any], tuple[str, ...], tuple[str, ...]]] = {
    "buffers": (
        Buffer,
        ("operands", "size_bytes", "read_energy_pj_per_bit", "write_energy_pj_per_bit"),
        ("bandwidth_bits_per_cycle", "read_by", "keeps", "staged_in"),
    ),
    "memories": (
        Memory,
        ("operands", "bandwidth_bits_per_s", "energy_pj_per_bit"),
        ("size_bytes", "overflow_bandwidth_bits_per_s", "program_bytes"),
    ),
}
"""Table of named tables -> the same."""
_WIDTHS = ("weight_bits", "input_bits")
_LISTS = frozenset({*_WIDTHS, "packed", "weight_formats", "operands", "keeps", "fused", "macs_per_cycle", "traversals"})
_TABLES = ("array", "arithmetic", "power")


@dataclass(slots=True)
class _ProfileReading:
    """What has been read of one file so far: values and sources by dotted key, and what was wrong."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def names() -> tuple[str, ...]:
    """Return the names of the devices that come with the package, sorted.

    Example:
        >>> import hwmodels
        >>> hwmodels.names()[:3]
        ('bit_serial_16x16', 'bitfusion', 'edge_tpu')
    """
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in _folder().iterdir() if _is_profile(entry)))


def read_source_ids() -> frozenset[str]:
    """Return the ids of the publications in sources.bib."""
    bibliography = (resources.files("hwmodels") / "sources.bib").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^@\w+\{([^,\s]+),", bibliography, flags=re.MULTILINE))


def load(name_or_path: str | Path) -> Accelerator:
    """Return the shipped device of that name, or the one in a TOML file (a Path, or a text ending in .toml).

    Raises:
        DeviceError: the name is unknown (the known ones are listed), or the file cannot be read, or entries
            of it are unknown, missing or out of range (all are reported at once, with the file and the
            key).

    Example:
        >>> import hwmodels
        >>> hwmodels.load("edge_tpu").title
        'Google Coral Edge TPU, 64x64 array assumed'
    """
    if isinstance(name_or_path, Path) or name_or_path.endswith(".toml"):
        return _read(Path(name_or_path), sources=None)
    known = names()
    if name_or_path not in known:
        listed = f"Known devices are {', '.join(known)}"
        raise DeviceError(
            f"unknown device {name_or_path!r}: {f'{suggest(name_or_path, known)} {listed}'.lstrip()}; "
            "a device of your own is the path of a file that ends in .toml"
        )
    return _read(_folder() / f"{name_or_path}.toml", sources=read_source_ids())


def profile_entries(device: Accelerator) -> tuple[tuple[str, Any, str], ...]:
    """Return (dotted key with its unit, value, source id or "assumed") for everything a profile states.

    A device that was not read from a file states all of its values, without sources.

    Example:
        >>> import hwmodels
        >>> hwmodels.profile_entries(hwmodels.load("bitfusion"))[0]
        ('array.dataflow', 'ws', 'bitfusion_isca2018')
    """
    values = {key: getattr(device, attribute) for key, attribute in _FLAT.items()}
    for table, (_, required, optional) in _PARTS.items():
        values |= {f"{table}.{key}": getattr(getattr(device, table), key) for key in (*required, *optional)}
    for table, (_, required, optional) in _PLACES.items():
        for place in getattr(device, table):
            values |= {f"{table}.{place.name}.{key}": getattr(place, key) for key in (*required, *optional)}
    stated = device.sources or dict.fromkeys(values, "")
    return tuple((key, value, stated[key]) for key, value in values.items() if key in stated)


def _folder() -> Traversable:
    """Return the folder of the shipped profiles."""
    return resources.files("hwmodels.device") / "catalogue"


def _is_profile(entry: Traversable) -> bool:
    """Tell a profile from whatever else an editor may leave in the folder."""
    return entry.name.endswith(".toml") and not entry.name.startswith(".")


def _read(file: Path | Traversable, sources: frozenset[str] | None) -> Accelerator:
    """Return the device of one file; with `sources`, other ids than these are refused."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(f"{file}: the device profile cannot be read ({error}); check the path") from error
    except (ValueError, RecursionError) as error:  # beyond bad TOML: an integer of 4,301 digits, tables nested deep
        raise DeviceError(f"{file}: the device profile is not valid TOML: {error}") from error
    reading = _ProfileReading()
    title, name = document.pop("title", None), document.pop("name", None)
    _read_document(document, reading)
    if sources is not None:
        reading.problems += [
            f"{key}: source: expected one of sources.bib or {ASSUMED!r}, received {shown(source)}"
            for key, source in reading.sources.items()
            if source != ASSUMED and source not in sources
        ]
    if reading.problems:
        raise DeviceError([f"{file}: {problem}" for problem in reading.problems])
    try:
        return _build(name, title, document, reading)
    except DeviceError as error:
        raise DeviceError([f"{file}: {problem}" for problem in error.problems]) from error


def _read_document(document: Mapping[str, Any], reading: _ProfileReading) -> None:
    """Read every table, and say which are unknown or missing."""
    flat = {table: {key: key in _REQUIRED for key in _FLAT if _in(key, table)} for table in _TABLES}
    parts = {part: _list_keys(part, fields) for part, fields in _PARTS.items() if part in document or part == "vector"}
    for table, keys in (flat | parts).items():
        entries = document.get(table, {})
        if isinstance(entries, dict):
            _read_table(table, entries, keys, reading)
        else:
            reading.problems.append(f"{table}: expected a table, received {shown(entries)}")
    for places, fields in _PLACES.items():
        tables = document.get(places, {})
        if not isinstance(tables, dict) or not all(isinstance(entries, dict) for entries in tables.values()):
            reading.problems.append(f"{places}: expected one table for each of them, such as [{places}.weights]")
            continue
        for name, entries in tables.items():
            _read_table(f"{places}.{name}", entries, _list_keys(f"{places}.{name}", fields), reading)
    known = ("name", "title", *_TABLES, *_PARTS, *_PLACES)
    reading.problems += [_unknown(table, known) for table in document if table not in known]
    if "array.dataflow" in reading.values:
        name = reading.values["array.dataflow"]
        dataflow = DATAFLOWS.get(name if isinstance(name, str) else "", Dataflow("unknown"))
        reading.problems += [_missing(key) for key in dataflow.profile_keys if key not in reading.values]


def _read_table(table: str, entries: Mapping[str, Any], keys: Mapping[str, bool], reading: _ProfileReading) -> None:
    """Read one table; `keys` says of each dotted key that may be there whether it must."""
    for key, entry in entries.items():
        dotted = f"{table}.{key}"
        if dotted in keys:
            _read_entry(dotted, entry, reading, is_list=key in _LISTS)
        else:
            reading.problems.append(_unknown(dotted, tuple(keys)))
    reading.problems += [_missing(key) for key, needed in keys.items() if needed and key.split(".")[-1] not in entries]


def _list_keys(table: str, fields: tuple[type[Any], tuple[str, ...], tuple[str, ...]]) -> dict[str, bool]:
    """Return the dotted keys of a table, each with whether it must be there."""
    _, required, optional = fields
    return {f"{table}.{key}": key in required for key in (*required, *optional)}


def _in(key: str, table: str) -> bool:
    """Tell whether a dotted key belongs to a table."""
    return key.rpartition(".")[0] == table


def _read_entry(key: str, entry: object, reading: _ProfileReading, *, is_list: bool) -> None:
    """Read one `{ value = ..., source = "..." }`."""
    if not isinstance(entry, dict) or set(entry) != {"value", "source"}:
        reading.problems.append(
            f'{key}: expected {{ value = ..., source = "..." }}, with "{ASSUMED}" as the source of a '
            f"value that is not published, received {shown(entry)}"
        )
        return
    value, source = entry["value"], entry["source"]
    if not isinstance(source, str) or not source.strip():
        reading.problems.append(f"{key}: source: expected a non-empty text, received {shown(source)}")
        return
    if is_list is not isinstance(value, list):
        reading.problems.append(f"{key}: expected {'a list' if is_list else 'one value'}, received {shown(value)}")
        return
    reading.values[key] = _freeze(value)
    reading.sources[key] = source


def _freeze(value: Any) -> Any:
    """Return a list, and lists in it, as tuples."""
    return tuple(map(_freeze, value)) if isinstance(value, list) else value


def _build(name: object, title: object, document: Mapping[str, Any], reading: _ProfileReading) -> Accelerator:
    """Return the record; its own checks refuse values of a wrong type or out of range."""
    values = reading.values
    fields: dict[str, Any] = {attribute: values[key] for key, attribute in _FLAT.items() if key in values}
    for table, (record, _, _) in _PARTS.items():
        if table in document:
            fields[table] = record(**_select_values(table, values))
    for table, (record, _, _) in _PLACES.items():
        places = document.get(table, {})
        fields[table] = tuple(record(name=place, **_select_values(f"{table}.{place}", values)) for place in places)
    return Accelerator(
        name=name,  # type: ignore[arg-type]  # anything may stand in a file: the record's checks report it
        title=title,  # type: ignore[arg-type]
        sources=reading.sources,
        **fields,
    )


def _select_values(table: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was read of one table, by its key within the table."""
    return {key.rpartition(".")[2]: value for key, value in values.items() if _in(key, table)}


def _unknown(key: str, known: tuple[str, ...]) -> str:
    """Return the text on a key that is not known, with the closest one that is."""
    hint = suggest(key, known) or f"known are {', '.join(known)}"
    return f"{key}: unknown key; {hint}"


def _missing(key: str) -> str:
    """Return the text on a key that is not there."""
    return f'{key}: missing; add it as {{ value = ..., source = "..." }}'
