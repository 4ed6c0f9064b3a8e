"""Whether activations can stay in the buffers of a device."""

from __future__ import annotations

from collections.abc import Sequence

from hwmodels.device.parts import Buffer


def list_residency_problems(buffers: Sequence[Buffer], dataflow: str, output_traffic: str) -> list[str]:
    """Return why activations cannot stay in a buffer that says so."""
    found = []
    for key in (f"buffers.{buffer.name}.keeps" for buffer in buffers if "maps" in buffer.keeps):
        if dataflow == "rs":
            found.append(
                f"{key}: expected none for the dataflow 'rs', half of whose buffer keeps sums, received 'maps'"
            )
        if output_traffic == "sums":
            found.append(
                f"{key}: expected none where array.output_traffic is 'sums', which pass memory, received 'maps'"
            )
    return found
