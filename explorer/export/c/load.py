"""Open a folder of C: what its summary says that it reads and gives, and the constants of its source."""

from __future__ import annotations

import re
from pathlib import Path

from explorer.errors import ExportError
from explorer.export.artefact import Artefact, Port
from explorer.export.c.compiled import HEADER, MAIN, SOURCE, encode_inputs, run_source
from explorer.export.c.writer import ROLES
from explorer.export.interface import read_interface
from explorer.export.stored_bytes import count_constants

ARRAY = re.compile(r"^static const u?int(\d+)_t (\w+?)_([a-z]+)(?:_\d+)?\[(\d+)\]", re.MULTILINE)
ARENA = re.compile(r"^#define NET_ARENA_SIZE (\d+)$", re.MULTILINE)


def load(path: Path) -> Artefact:
    """Open a source file with the header, example and summary beside it; running it compiles them by cc.

    The bytes are those of the constants that a compiler puts into flash, not those of the text.

    Raises:
        ExportError: Something is missing, or it is no such source.
    """
    missing = [name for name in (SOURCE, HEADER, MAIN) if not path.with_name(name).is_file()]
    if missing:
        raise ExportError(f"{path.parent}: {missing[0]} is missing, which belongs to the network; keep them together")
    interface = read_interface(path.parent)
    try:
        constants = [
            (f"{layer}.{ROLES.get(kind, kind)}", int(bits) // 8 * int(count))
            for bits, layer, kind, count in ARRAY.findall(path.read_text(encoding="ascii"))
        ]
        arena = ARENA.search(path.with_name(HEADER).read_text(encoding="ascii"))
    except ValueError as error:
        raise ExportError(f"{path}: is no source of an export ({error}); write it again") from error
    return Artefact(
        form="c",
        network=path,
        inputs=tuple(map(Port.of, interface.inputs)),
        output=Port.of(interface.output),
        stored=count_constants(constants, sum(size for _, size in constants)),
        run=lambda images: interface.decode(run_source(path.parent, encode_inputs(interface, images))),
        notes=(
            "bytes are those of the constants in flash; the code and structures for each layer come on top",
            *(() if arena is None else (f"{int(arena[1]):,} bytes of static memory hold the activations",)),
        ),
    )
