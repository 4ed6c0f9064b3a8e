"""The reference of the study file, its JSON Schema and the table of devices, from the records that read them.

`python -m docs.generate` writes them anew; tests hold that they are current.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from explorer.settings.deep_compression import DeepLayer
from explorer.settings.model import TrainingSettings
from explorer.settings.records import describe_record, get_rules, list_required
from explorer.settings.search import LayerSpace
from explorer.study.names import NAMES
from explorer.study.study_file import COME_ALONG, SECTIONS, Heading
from hwmodels import Accelerator, load, names

COMMAND = "python -m docs.generate"
DOCS = Path(__file__).parent
NOTE = f"<!-- {COMMAND} wrote this, from explorer/settings and explorer/study/digits.toml -->"
SUBTABLES: Mapping[str, type[Any]] = {
    "model.training": TrainingSettings,
    'space.layers."NAME"': LayerSpace,
    'deep_compression.layers."NAME"': DeepLayer,
}
"""Tables within sections, each after its section."""
PARENTS: Mapping[type[Any], str] = {LayerSpace: "space", DeepLayer: "deep_compression"}
"""Whose keys those of a layer are."""
SAME = {"kept": "kept_convolutions", "values": "values_convolutions"}
"""Keys of a layer that have another name in their section."""


INTRODUCTION = """\
A study is a TOML file, `study.toml` in a folder of its own. `[study]`, `[model]`, `[data]`, `[device]` and
`[objectives]` are needed; what is left out of the others has the default that is said. Relative paths start in the
folder of the file, `${NAME}` in a path is an environment variable. `explorer check STUDY` tells what is wrong, a line
for each problem, before any work.

[study.schema.json](study.schema.json) says the same to editors that check TOML by a JSON Schema (draft 7), but for
what one key asks of another. The study that comes along, `explorer/study/digits.toml`, has all keys.
"""


def write_schema() -> str:
    """Return the JSON Schema of a study file, for editors."""
    sections = {name: describe_record(kind) for name, kind in {"study": Heading, **SECTIONS}.items()}
    for section, rules in NAMES.items():
        sections[section]["properties"] |= {key: rule.schema() for key, rule in rules.items()}
    # A score may have any name, by which it is then also limited.
    sections["budgets"]["additionalProperties"] = {"type": "number", "minimum": 0, "maximum": 1}
    for name, kind in {"study": Heading, **SECTIONS}.items():
        sections[name]["description"] = _summarise(kind)
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A study of explorer",
        "type": "object",
        "properties": sections,
        "required": [name for name, section in sections.items() if section["required"]] + ["model"],
        "additionalProperties": False,
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def write_reference() -> str:
    """Return the page with every section and key of a study file."""
    comments = dict(_comments((COME_ALONG / "digits.toml").read_text(encoding="utf-8")))
    pages = [
        f"{NOTE}\n# The study file\n",
        INTRODUCTION,
    ]
    for section, kind in {"study": Heading, **SECTIONS}.items():
        pages.append(_section(section, kind, comments))
        pages += [_section(name, each, comments) for name, each in SUBTABLES.items() if name.startswith(f"{section}.")]
    return "\n".join(pages)


def write_devices() -> str:
    """Return the table of the profiles that come along."""
    headings = ("name", "device", "multipliers", "dataflow", "rates by", "widths of weights", "decodes", "assumed")
    rows = [headings, ("---",) * len(headings), *map(_describe, map(load, names()))]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def replace_table(page: str) -> str:
    """Return the page of the devices with its table as it is now: what stands between the note and an empty line."""
    start, _, rest = page.partition(NOTE)
    return f"{start}{NOTE}\n\n{write_devices()}\n{rest.strip().partition(chr(10) * 2)[2]}"


def _describe(device: Accelerator) -> tuple[str, ...]:
    return (
        f"`{device.name}`",
        device.title,
        f"{device.units:,}",
        device.dataflow,
        device.precision_law,
        ", ".join(map(str, device.weight_bits)),
        ", ".join(each for each in device.weight_formats if each != "dense"),
        f"{len(device.assumed)} of {len(device.sources)} values",
    )


def _summarise(kind: type[Any]) -> str:
    return inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]


def _section(section: str, kind: type[Any], comments: Mapping[tuple[str, str], str]) -> str:
    text = inspect.cleandoc(kind.__doc__ or "").partition("\nExample:")[0].partition("\nAttributes:")[0].strip()
    lines = [f"## `[{section}]`\n", f"{text}\n", "| key | what it is | may be | default |", "|---|---|---|---|"]
    defaults = {each.name: each for each in fields(kind)}
    own = {} if kind in PARENTS else NAMES.get(section, {})
    parent = PARENTS.get(kind, section)
    for key, rule in get_rules(kind).items():
        allowed = own.get(key, rule).expected
        told = comments.get((section, key)) or comments.get((parent, SAME.get(key, key)), "")
        default = _default(defaults.get(key), rule.write, key in list_required(kind))
        lines.append(f"| `{key}` | {_cell(told)} | {_cell(allowed)} | {default} |")
    return "\n".join(lines) + "\n"


def _default(field: Any, write: Any, required: bool) -> str:
    if required:
        return "must be given"
    if field is None or field.default in (None, MISSING, ()):
        return ""
    value = write(field.default)
    value = ["none" if each is None else each for each in value] if isinstance(value, list) else value
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def _comments(text: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Return ((section, key), comment) of a study file whose comments explain its keys, commented-out ones too."""
    section, key, said = "", "", ""
    for line in [*text.splitlines(), "[end]"]:
        table = re.match(r"(?:# )?\[([^\]]+)\]", line)
        entry = re.match(r"(?:# )?(\w+) = ", line)
        more = re.match(r"(?:# {10,}| {10,}# ?)(.*)", line)
        if more and key:
            said += f" {more[1]}"
            continue
        if key:
            yield (section, key), said
            key = ""
        if table:
            section = table[1].replace('"conv1"', '"NAME"')
        elif entry:
            comment = re.search(r"\s#\s+([^\"]*(?:\"[^\"]*\"[^\"]*)*)$", line[2:])
            key, said = entry[1], comment[1] if comment else ""


def main() -> None:
    """Write all three."""
    (DOCS / "study.schema.json").write_text(write_schema(), encoding="utf-8")
    (DOCS / "study_file.md").write_text(write_reference(), encoding="utf-8")
    page = DOCS / "devices.md"
    page.write_text(replace_table(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
