"""What the README of an exported folder of C says: its files, how to call them, and what they take."""

from __future__ import annotations

import math
from dataclasses import replace

from explorer.export.c.compiled import FLAGS, HEADER, MAIN, SOURCE
from explorer.export.c.source import CSource
from explorer.export.handover import Layout

LAYOUT = Layout(
    title="Compressed network as C99",
    files={
        SOURCE: "constants, the kernels that this network needs, and the calls: compile this one",
        HEADER: "`net_run`, sizes, and the grid of each input and of the output",
        MAIN: "an example for a host: codes from stdin, integers to stdout; leave it out of a firmware",
    },
    use="""
```c
#include "net.h"

static int32_t output[NET_OUTPUT_SIZE];

void classify(void)
{{
    {given}
    net_run({arguments}, output);
}}
```

{inputs}

The output `{output}` holds {count} integers of 32 bits, each of which stands for {scale} times itself; the class is the
position of the largest, and no float is needed to find it.
""",
    notes="""
Activations take {arena:,} bytes of static memory. Beside these and the constants a program takes a few kilobytes of
code, about 90 bytes of constants for each layer, the output, and less than 512 bytes of stack. Nothing is allocated, no
function calls itself, and of the library only `memcpy` is used. Weights narrower than 8 bits are packed, those with few
values are indices into a codebook; both are unpacked as they are used. With `__ARM_FEATURE_DSP` (Cortex-M4, M7, M33)
the inner loop multiplies two pairs at once. Checked as compiled by `{flags}`.
""",
    counted="the constants of this one once it is compiled",
)


def describe_layout(source: CSource) -> Layout:
    """Return the layout of a folder with a source."""
    inputs = [
        f"The input `{grid.codes.name}` holds {grid.macro}_SIZE codes of 8 bits, channels last: of a value x as the "
        f"network was trained on it, clip(round(x / {grid.codes.scale:.9g}) + {grid.codes.zero_point}, "
        f"{grid.codes.low}, {grid.codes.high}), halves to even."
        for grid in source.inputs
    ]
    use = LAYOUT.use.format(
        given="\n    ".join(
            f"uint8_t *{grid.parameter} = {grid.function}(); /* write the codes here */" for grid in source.inputs
        ),
        arguments=", ".join(grid.parameter for grid in source.inputs),
        inputs="\n".join(inputs),
        output=source.output.name,
        count=math.prod(source.output.shape),
        scale=f"{source.output.scale:.9g}",
    )
    notes = LAYOUT.notes.format(arena=source.arena_bytes, flags=" ".join(("cc", *FLAGS)))
    return replace(LAYOUT, use=use, notes=notes)
