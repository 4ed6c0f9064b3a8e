"""Which operand stays in the array while the others pass: the dataflows that a profile may name, with their needs."""

from collections.abc import Mapping
from typing import NamedTuple


class Dataflow(NamedTuple):
    """A dataflow as a profile knows it; `hwmodels.cost.mapping` knows what it costs."""

    title: str
    profile_keys: tuple[str, ...] = ("array.rows", "array.columns")
    """What a profile must state of the units: rows and columns, or the loops that run side by side."""
    register_words: int = 0
    """Of one element, at least."""


SYSTOLIC_DATAFLOWS: Mapping[str, Dataflow] = {
    "os": Dataflow("output stationary"),
    "ws": Dataflow("weight stationary"),
    "is": Dataflow("input stationary"),
}
"""Those of systolic arrays, whose counts are closed forms, by the name that a profile gives."""
DATAFLOWS: Mapping[str, Dataflow] = {
    **SYSTOLIC_DATAFLOWS,
    "rs": Dataflow("row stationary", register_words=3),  # a weight, an input and a sum
    "unrolled": Dataflow("loops side by side, no systolic array", profile_keys=("unroll.rate",)),
    "blocks": Dataflow(
        "loops side by side, between a decoder of weights and the writing of blocks of results",
        profile_keys=(
            *("unroll.out_channels", "unroll.in_channels", "blocks.traversals", "blocks.depthwise_kernel"),
            *("blocks.weights_per_cycle", "blocks.outputs_per_cycle", "blocks.outputs"),
        ),
    ),
    "ne16": Dataflow(
        "output tiles of NE16, one slice of the inputs after the other",
        profile_keys=("unroll.out_h", "unroll.out_w", "unroll.in_channels", "unroll.kernel"),
    ),
    "bits": Dataflow("bits of weights in the columns, bits of inputs in time"),
}
"""All of them."""
