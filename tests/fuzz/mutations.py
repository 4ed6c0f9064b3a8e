"""Ways to damage a file: blindly, by line and value, by structure, and within archives, with right checksums."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

Mutate = Callable[[random.Random, Sequence[bytes]], bytes]
"""(chance, sound files) -> a damaged one."""

NUMBERS = (
    *("0", "-1", "1", "-0.0", "0.5", "nan", "inf", "-inf", "NaN", "Infinity", "1e308", "-1e308", "1e400", "5e-324"),
    *("1e-300", "2147483647", "2147483648", "4294967296", "9007199254740993", "9223372036854775807"),
    *("9223372036854775808", "-9223372036854775808", "18446744073709551616", "9" * 309, "9" * 4301, "0x" + "f" * 5000),
)
TEXTS = (
    *("", " ", "\\", "..", "../../outside", "/outside", "~", "${HOME}", "${NO_SUCH}", "a" * 5000, "\u202e", "é"),
    *("none", "null", "true", "=1+1", "<script>", "%s%n", "{0}", "\x1b[2J", "a\nb", "\udcff", "module.x", "cpu", "8"),
)
TOML_VALUES = (
    *NUMBERS,
    *(
        "true",
        "false",
        '""',
        '"x"',
        "[]",
        "{}",
        "[[]]",
        "[1, 2]",
        '["a"]',
        "[nan]",
        "{ a = 1 }",
        "1979-05-27",
        "07:32:00",
    ),
    *('"../../outside"', '"${HOME}"', '"${NO_SUCH}/a"', '"\\u0000"', '"\\u001b[2J"', f'"{"a" * 5000}"', "[" * 500),
    *("[" * 3000, "{a=" * 300, "'''", '"', "=", "0b1", "1_000", '{ value = 1, source = "x" }', "{ value = 1 }"),
)
JSON_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, 1e308, -1e308, 5e-324, float("nan"), float("inf"), 2**31, 2**63, -(2**63)),
    *(10**309, [], {}, [[]], [None], {"a": 1}, [1, 2, 3], [0.5] * 5, *TEXTS),
)
CUTS = (b"\x00", b"\xff", b"\n", b"\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b",", b'"', b"{", b"]", b"=")
SIZES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**62, 2**63, 2**64 - 1)


def damage_bytes(chance: random.Random, sound: Sequence[bytes]) -> bytes:
    """Bits and bytes changed, taken away, doubled or put in, sizes overwritten, or two files joined."""
    content = bytearray(chance.choice(sound))
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        place = chance.randrange(len(content) + 1)
        end = min(len(content), place + chance.choice((1, 2, 4, 16, 200)))
        kind = chance.randrange(9)
        if kind == 0 and place < len(content):
            content[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            content[place:end] = chance.randbytes(end - place)
        elif kind == 2:
            del content[place:end]
        elif kind == 3:
            content[place:place] = content[place:end]
        elif kind == 4:
            content[place:place] = chance.choice(CUTS) * chance.choice((1, 1, 50))
        elif kind == 5:
            del content[place:]
        elif kind == 6:
            size = struct.pack(chance.choice(("<Q", ">Q")), chance.choice(SIZES))
            content[place : place + 4] = size[:4] if chance.random() < 0.5 else size[4:]
        elif kind == 7:
            other = chance.choice(sound)
            content[place:] = other[chance.randrange(len(other) + 1) :]
        else:
            content[place:end] = bytes([chance.randrange(256)]) * (end - place)
    return bytes(content)


def damage_lines(values: Sequence[str]) -> Mutate:
    """Lines taken away, doubled, swapped or joined; keys renamed; values replaced by `values`."""

    def mutate(chance: random.Random, sound: Sequence[bytes]) -> bytes:
        lines = chance.choice(sound).decode().split("\n")
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            place, other = chance.randrange(len(lines)), chance.randrange(len(lines))
            kind = chance.randrange(8)
            if kind == 0 and len(lines) > 1:
                del lines[place]
            elif kind == 1:
                lines.insert(other, lines[place])
            elif kind == 2:
                lines[place], lines[other] = lines[other], lines[place]
            elif kind == 3:
                lines[place] = _renamed(lines[place], chance)
            else:
                lines[place] = _with_value(lines[place], chance.choice(values), chance)
        return "\n".join(lines).encode(errors="surrogateescape")

    return mutate


def damage_json(chance: random.Random, sound: Sequence[bytes]) -> bytes:
    """One or two places of a JSON document changed, and the document written again."""
    data = json.loads(chance.choice(sound))
    for _ in range(chance.choice((1, 1, 2))):
        data = _changed(data, chance)
    return json.dumps(data).encode()


def damage_json_lines(chance: random.Random, sound: Sequence[bytes]) -> bytes:
    """One line of a file of JSON documents changed as such."""
    lines = chance.choice(sound).split(b"\n")
    place = chance.randrange(len(lines))
    if lines[place].startswith(b"{"):
        lines[place] = damage_json(chance, [lines[place]])
    return b"\n".join(lines)


def damage_archive(chance: random.Random, sound: Sequence[bytes]) -> bytes:
    """Entries of a zip archive changed, renamed, doubled, taken away or packed otherwise, with right checksums."""
    with zipfile.ZipFile(io.BytesIO(chance.choice(sound))) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(entries))
        name, content = entries[place]
        kind = chance.randrange(8)
        if kind == 0 and len(entries) > 1:
            del entries[place]
        elif kind == 1:
            entries.append((name, chance.choice(entries)[1]))
        elif kind == 2:
            entries[place] = chance.choice((*TEXTS[:8], name + "x", name.upper())), content
        elif kind == 3:
            entries[place] = name, chance.choice(entries)[1]
        elif content.startswith(b"\x93NUMPY") and kind < 7:
            entries[place] = name, _other_header(content, chance)
        else:
            entries[place] = name, damage_bytes(chance, [content])
    return _packed(entries, chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)))


def damage_packed(chance: random.Random, sound: Sequence[bytes]) -> bytes:
    """Header or content of a packed network changed; its checksum is right."""
    content = chance.choice(sound)[:-4]
    (length,) = struct.unpack_from("<I", content, 4)
    header, body = content[8 : 8 + length], content[8 + length :]
    if chance.random() < 0.7:
        header = zlib.compress(damage_json(chance, [zlib.decompress(header)]))
    else:
        body = damage_bytes(chance, [body])
    whole = content[:4] + struct.pack("<I", len(header)) + header + body
    return whole + struct.pack("<I", zlib.crc32(whole))


def _packed(entries: Sequence[tuple[str, bytes]], method: int) -> bytes:
    made = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(made, "w", method) as archive:
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name.replace("\x00", "") or "empty"), content, method)
    return made.getvalue()


def _other_header(content: bytes, chance: random.Random) -> bytes:
    """An array's file whose header states something else."""
    (length,) = struct.unpack_from("<H", content, 8)
    header, rest = content[10 : 10 + length].decode("latin-1"), content[10 + length :]
    kinds = ("<f8", "<f2", "<c8", "|O", "|b1", "<i8", "<u8", "|S4", "<U2", "|V3", "<M8[s]", "f" * 50, "<f4, <f4", "")
    if chance.random() < 0.4:
        header = re.sub(r"'descr': '[^']*'", f"'descr': '{chance.choice(kinds)}'", header)
    else:
        sizes = [
            chance.choice(("0", "1", "-1", "3", "8", "300", "2**70", "10**6", "1e3", "True", "99999999999999999999"))
        ]
        shape = ", ".join(sizes * chance.choice((1, 2, 4, 40))) + ","
        header = re.sub(r"'shape': \([^)]*\)", lambda _: f"'shape': ({shape})", header)
    return content[:8] + struct.pack("<H", len(header)) + header.encode("latin-1") + rest


def _renamed(line: str, chance: random.Random) -> str:
    names = re.findall(r"[A-Za-z_]\w*", line)
    other = chance.choice((*TEXTS[:4], "x", "name", "a" * 300, "\n", "\x00"))
    return line.replace(chance.choice(names), other, 1) if names else other


def _with_value(line: str, value: str, chance: random.Random) -> str:
    """A line with one of its numbers, texts or words replaced."""
    found = list(re.finditer(r"\"[^\"]*\"|[-+]?\d[\w.+-]*|\btrue\b|\bfalse\b|\[[^\]]*\]|[^,\s=]+", line))
    if not found:
        return value
    chosen = chance.choice(found)
    return line[: chosen.start()] + value + line[chosen.end() :]


def _changed(data: Any, chance: random.Random) -> Any:
    """A document with one thing in it replaced, taken away, doubled, renamed or wrapped."""
    if isinstance(data, dict) and data and chance.random() < 0.9:
        key = chance.choice(list(data))
        kind = chance.random()
        if kind < 0.08:
            return {name: value for name, value in data.items() if name != key}
        if kind < 0.16:
            return {**data, chance.choice((*TEXTS, f"{key}x")): chance.choice(JSON_VALUES)}
        return {**data, key: _changed(data[key], chance)}
    if isinstance(data, list) and data and chance.random() < 0.9:
        place, kind = chance.randrange(len(data)), chance.random()
        if kind < 0.08:
            return data[:place] + data[place + 1 :]
        if kind < 0.16:
            return [*data[:place], data[place], *data[place:]]
        return [*data[:place], _changed(data[place], chance), *data[place + 1 :]]
    if isinstance(data, int | float) and abs(data) < 1e300 and chance.random() < 0.3:
        return chance.choice((-data, data + 1, data * 2, data / 3, data * 1e12, str(data)))
    return chance.choice(JSON_VALUES)
