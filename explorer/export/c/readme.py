"""The README of an exported folder of C: what its files are, how to call them, and what they take."""

from __future__ import annotations

import math

from explorer.export.c.compiled import FLAGS
from explorer.export.c.files import MARK
from explorer.export.c.source import CSource
from explorer.export.formats import Exported
from explorer.integer.program import IntegerProgram

TEXT = """# Point {point} as C99

{mark}

| file | what it is |
|---|---|
| `net.h` | `net_run`, sizes, and the grid of each input and of the output |
| `net.c` | constants, the kernels that this network needs, and the calls: compile this one |
| `main.c` | an example for a host: codes from stdin, integers to stdout; leave it out of a firmware |
| `summary.json` | the same figures for a program, and the candidate that was built |

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

| memory | bytes |
|---|---|
| parameters of the network in float32 | {float32:,} |
| constants in C | {constants:,} |
| of these, weights | {weights:,} |
| static memory for activations | {arena:,} |

Beside these a program takes a few kilobytes of code, about 90 bytes of constants for each layer, the output, and less
than 512 bytes of stack. Nothing is allocated, no function calls itself, and of the library only `memcpy` is used.
Weights narrower than 8 bits are packed, those with few values are indices into a codebook; both are unpacked as they
are used. With `__ARM_FEATURE_DSP` (Cortex-M4, M7, M33) the inner loop multiplies two pairs at once.

Checked: compiled by `{flags}`, it gives the very integers of the network's integer program on all {images} held-out
images.
"""


def write_readme(source: CSource, program: IntegerProgram, exported: Exported) -> str:
    """Return the text of README.md."""
    inputs = [
        f"The input `{grid.codes.name}` holds {grid.macro}_SIZE codes of 8 bits, channels last: of a value x as the "
        f"network was trained on it, clip(round(x / {grid.codes.scale:.9g}) + {grid.codes.zero_point}, "
        f"{grid.codes.low}, {grid.codes.high}), halves to even."
        for grid in source.inputs
    ]
    return TEXT.format(
        point=exported.point,
        mark=MARK,
        given="\n    ".join(
            f"uint8_t *{grid.parameter} = {grid.function}(); /* write the codes here */" for grid in source.inputs
        ),
        arguments=", ".join(grid.parameter for grid in source.inputs),
        inputs="\n".join(inputs),
        output=program.output,
        count=math.prod(source.output.shape),
        scale=f"{program.output_scale:.9g}",
        float32=exported.float32_bytes,
        constants=source.constant_bytes,
        weights=source.weight_bytes,
        arena=source.arena_bytes,
        flags=" ".join(("cc", *FLAGS)),
        images=exported.verification.num_images,
    )
