"""A compressed network as C99, compiled here and compared with its integer program on all held-out images."""

from __future__ import annotations

from pathlib import Path

from torch import fx

from explorer.compress.apply import CompressionContext
from explorer.export.c.compiled import (
    FLAGS,
    SOURCE,
    encode_inputs,
    find_compiler,
    run_source,
    write_files,
)
from explorer.export.c.files import MARK
from explorer.export.c.readme import LAYOUT, describe_layout
from explorer.export.c.source import CSource, build_source
from explorer.export.formats import Deployment, Exported
from explorer.export.handover import Checked, deliver, list_common_marks
from explorer.export.stored_bytes import count_constants
from explorer.export.verify import verify_integers
from explorer.integer.builder import name_layers
from explorer.integer.lower import lower_program
from explorer.integer.program import IntegerProgram


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    own: dict[Path, bytes | None] = dict.fromkeys((folder / name for name in LAYOUT.files), MARK.encode())
    return {**own, **list_common_marks(folder, LAYOUT)}


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write C99, an example and a description to `folder`; see `Format.write`."""
    find_compiler()
    program = lower_program(deployment.model, deployment.context.graph.input_shapes)
    source = build_source(program)
    layout = describe_layout(source)
    return deliver(deployment, layout, lambda staging: _make(deployment, program, source, staging), folder)


def _make(deployment: Deployment, program: IntegerProgram, source: CSource, folder: Path) -> Checked:
    write_files(source, folder)
    output = run_source(folder, encode_inputs(source.interface, deployment.images))
    verification = verify_integers(SOURCE, source.output.decode(output), program, deployment)
    assert verification.scores is not None
    simulated, exact = verification.scores[1], verification.num_images
    return Checked(
        stored=count_constants(source.constants, source.constant_bytes, name_layers(deployment.model)),
        verification=verification,
        told=f"{source.arena_bytes:,} bytes of memory for activations; compiled by cc, all integers of {exact} images "
        f"are the integer program's; {verification.summary()} ({simulated.value:.2%} in the search's simulation)",
        details={
            "constant_bytes": source.constant_bytes,
            "weight_bytes": source.weight_bytes,
            "arena_bytes": source.arena_bytes,
            "images_with_equal_integers": exact,
            "compiled_with": ["cc", *FLAGS],
            **source.interface.to_json(),
        },
    )


def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
    """Write the source alone; see `Format.try_out`."""
    find_compiler()
    write_files(build_source(lower_program(model, context.graph.input_shapes)), folder)
    return folder / SOURCE
