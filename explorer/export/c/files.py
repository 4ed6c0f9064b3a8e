"""The text of the three files: net.h, net.c with the kernels that it needs, and main.c, which runs it on a host."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from explorer.export.c.text import make_comment, make_number
from explorer.export.c.writer import SourceWriter
from explorer.export.interface import InputCodes

KERNELS: Mapping[str, tuple[str, ...]] = {
    "tensor": (),
    "load": ("tensor",),
    "rescale": (),
    "finish": ("tensor", "rescale"),
    "weights": (),
    "layer": ("weights", "finish"),
    "convolve": ("layer",),
    "convolve_depthwise": ("layer",),
    "sum_pool": ("finish",),
    "max_pool": ("tensor",),
    "elementwise": ("load", "rescale"),
    "add": ("elementwise",),
    "multiply": ("elementwise", "finish"),
    "look_up": ("tensor",),
    "fill": ("tensor",),
    "move": ("load",),
    "select": ("load",),
}
"""The files of `kernels` in the order in which they are written, and which others each needs."""
MARK = "Integer-only inference, written by explorer."
"""What net.h, net.c and main.c begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputGrid:
    """What the caller gives as an input: its codes, the tensor that they become, and what C calls them."""

    codes: InputCodes
    tensor: str
    parameter: str
    function: str
    macro: str


def write_header(writer: SourceWriter, inputs: Sequence[InputGrid]) -> str:
    """Return the text of net.h."""
    program, output = writer.program, writer.stored[writer.program.output]
    parts = [
        f"/* {MARK}",
        "",
        "   An input holds codes of 8 bits, channels last. Of a value x, as the network was trained on it:",
        "   code = clip(round(x / SCALE) + ZERO_POINT, LOW, HIGH), halves to even.",
        "   The output holds 32-bit integers, channels last, each of which stands for NET_OUTPUT_SCALE times itself;",
        "   the class is the position of the largest.",
        "   All memory is static: the network runs once at a time. */",
        "#ifndef NET_H",
        "#define NET_H",
        "",
        "#include <stdint.h>",
        "",
    ]
    for grid in inputs:
        macro, codes = grid.macro, grid.codes
        parts += [
            f"{make_comment(f'{codes.name}: {_tell_shape(codes.shape)}')}",
            f"#define {macro}_SIZE {math.prod(codes.shape)}",
            f"#define {macro}_SCALE {make_number(codes.scale)}",
            f"#define {macro}_ZERO_POINT {codes.zero_point}",
            f"#define {macro}_LOW {codes.low}",
            f"#define {macro}_HIGH {codes.high}",
            "",
        ]
    parts += [
        make_comment(f"{program.output}: {_tell_shape(output.shape)}"),
        f"#define NET_OUTPUT_SIZE {len(output.order)}",
        f"#define NET_OUTPUT_SCALE {make_number(program.output_scale)}",
        "",
        "/* Bytes of the static memory for activations. */",
        f"#define NET_ARENA_SIZE {writer.arena.size_bytes}",
        "",
        "/* Where an input lies in that memory: a caller without memory of its own writes it there, and passes this.",
        "   A run writes over it. */",
        *(f"uint8_t *{grid.function}(void);" for grid in inputs),
        "",
        "/* Compute the output of an input. */",
        f"void net_run({_list_parameters(inputs)}, int32_t *output);",
        "",
        "#endif",
        "",
    ]
    return "\n".join(parts)


def _tell_shape(shape: Sequence[int]) -> str:
    if len(shape) == 1:
        return f"{shape[0]} values"
    return f"{' x '.join(map(str, (*shape[1:], shape[0])))} (channels last)"


def _list_parameters(inputs: Sequence[InputGrid]) -> str:
    return ", ".join(f"const uint8_t *{grid.parameter}" for grid in inputs)


def write_source(writer: SourceWriter, inputs: Sequence[InputGrid]) -> str:
    """Return the text of net.c, with all calls that were written so far."""
    needed = set[str]()
    for kernel in writer.kernels:
        _require(kernel, needed)
    folder = resources.files("explorer.export.c") / "kernels"
    thresholds = any(stage.threshold is not None for stage in writer.stages)
    packed = any(weights.packed is not None for weights in writer.weights.values())
    parts = [
        f"/* {MARK} */",
        '#include "net.h"',
        "",
        "#include <stddef.h>",
        "#include <string.h>",
        "#if defined(__ARM_FEATURE_DSP)",
        "#include <arm_acle.h>",
        "#endif",
        "",
        f"#define NET_PACKED {int(packed)}",
        f"#define NET_THRESHOLDS {int(thresholds)}",
        "",
        *((folder / f"{name}.c").read_text(encoding="utf-8") for name in KERNELS if name in needed),
        *writer.definitions,
        "static union {",
        "    uint8_t bytes[NET_ARENA_SIZE];",
        "    int32_t sums[NET_ARENA_SIZE / 4];",
        "} net_arena;",
        "",
        *_write_places(writer),
        *(text for grid in inputs for text in _write_place(writer, grid)),
        f"void net_run({_list_parameters(inputs)}, int32_t *output)",
        "{",
        "    const net_tensor result = {NULL, output};",
        "",
        *(text for grid in inputs for text in _write_copy(writer, grid)),
        *writer.calls,
        "}",
        "",
    ]
    return "\n".join(parts)


def _require(kernel: str, needed: set[str]) -> None:
    """Add a kernel, and what it needs."""
    needed.add(kernel)
    for other in KERNELS[kernel]:
        _require(other, needed)


def _write_places(writer: SourceWriter) -> list[str]:
    """Return the macros for places in the block of memory that the calls use."""
    used = "\n".join(writer.calls)
    macros = []
    if "NET_CODES(" in used:
        macros += ["#define NET_CODES(offset) ((net_tensor){&net_arena.bytes[offset], NULL})", ""]
    if "NET_SUMS(" in used:
        macros += ["#define NET_SUMS(offset) ((net_tensor){NULL, &net_arena.sums[(offset) / 4]})", ""]
    return macros


def _write_place(writer: SourceWriter, grid: InputGrid) -> list[str]:
    at = writer.arena.offsets[grid.tensor]
    return [f"uint8_t *{grid.function}(void)", "{", f"    return &net_arena.bytes[{at}];", "}", ""]


def _write_copy(writer: SourceWriter, grid: InputGrid) -> list[str]:
    place = f"&net_arena.bytes[{writer.arena.offsets[grid.tensor]}]"
    return [
        f"    if ({grid.parameter} != {place}) {{",
        f"        (void)memcpy({place}, {grid.parameter}, {grid.macro}_SIZE);",
        "    }",
    ]


def write_main(inputs: Sequence[InputGrid]) -> str:
    """Return the text of main.c: codes of one image after the other from stdin, their integers to stdout."""
    reads = " && ".join(
        f"(fread({grid.function}(), 1, {grid.macro}_SIZE, stdin) == {grid.macro}_SIZE)" for grid in inputs
    )
    given = ", ".join(f"{grid.function}()" for grid in inputs)
    return "\n".join(
        [
            f"/* {MARK} */",
            "/* An example for a host: reads codes, all inputs of one image after the other, and writes its output",
            "   as 32-bit integers of this machine. */",
            '#include "net.h"',
            "",
            "#include <stdio.h>",
            "",
            "int main(void)",
            "{",
            "    static int32_t output[NET_OUTPUT_SIZE];",
            "    int failed = 0;",
            "",
            f"    while ((failed == 0) && {reads}) {{",
            f"        net_run({given}, output);",
            "        failed = (fwrite(output, sizeof(output[0]), NET_OUTPUT_SIZE, stdout) != NET_OUTPUT_SIZE) ? 1 : 0;",
            "    }",
            "    return failed;",
            "}",
            "",
        ]
    )
