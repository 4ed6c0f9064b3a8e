"""What a network takes in its files, byte by byte, before and after compression."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

KINDS = ("weights", "scales", "biases", "others", "layout")
"""What the bytes of a file are; their sum is its size."""
GRID = ("scale", "zero_point", "bits")
ROLES = {
    **dict.fromkeys(("weight", "weight_codes", "weight_values"), "weights"),
    **dict.fromkeys((f"{of}{part}" for of in ("", "weight_", "bias_") for part in GRID), "scales"),
    **dict.fromkeys(("multiplier", "offset", "shift", "low", "high"), "scales"),
    **dict.fromkeys(("bias", "bias_codes", "bias_values"), "biases"),
}
"""What a constant is by the last part of its name, a number behind it left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBytes:
    """The bytes of a network's files.

    `weights` are those of each layer by its name, `scales` all that weights and activations are read by (scales, zero
    points, shared values), `others` what belongs to no layer, such as batch norms that fold into none. What is left of
    `total`, the size of the files, is their layout: names, the graph, framing.
    """

    weights: Mapping[str, int]
    scales: int = 0
    biases: int = 0
    others: int = 0
    total: int

    @property
    def layout(self) -> int:
        """Bytes that are no number of the network."""
        return self.total - sum(self.weights.values()) - self.scales - self.biases - self.others

    def by_kind(self) -> dict[str, int]:
        """Return the bytes of each of KINDS."""
        return {kind: sum(self.weights.values()) if kind == "weights" else getattr(self, kind) for kind in KINDS}


def count_constants(
    constants: Iterable[tuple[str, int]], total: int, layers: Mapping[str, str] | None = None
) -> StoredBytes:
    """Return what the constants (name, bytes) of files of `total` bytes are.

    They are called by a node or tensor, a slash or full stop, and what they are of it; `layers` names the layers by
    these, which are their names otherwise.
    """
    weights: dict[str, int] = {}
    kinds = dict.fromkeys(("scales", "biases", "others"), 0)
    for name, size in constants:
        owner, _, role = name.replace("/", ".").rpartition(".")
        kind = ROLES.get(role.rstrip("0123456789"), "others")
        layer = owner if layers is None else layers.get(owner)
        if kind == "weights" and layer is not None:
            weights[layer] = weights.get(layer, 0) + size
        else:
            kinds["others" if kind == "weights" else kind] += size
    return StoredBytes(weights=weights, total=total, **kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteTable:
    """The bytes of the uncompressed network in float32, as an ONNX file, and those of the exported one."""

    float32: StoredBytes
    exported: StoredBytes

    def to_json(self) -> dict[str, Any]:
        """Return plain data: [float32, exported] of each kind, of the total, and of the weights of each layer."""
        before, after = self.float32.by_kind(), self.exported.by_kind()
        layers = {name: [size, self.exported.weights.get(name, 0)] for name, size in self.float32.weights.items()}
        return {
            "columns": ["float32", "exported"],
            **{kind: [before[kind], after[kind]] for kind in KINDS},
            "total": [self.float32.total, self.exported.total],
            "weights_by_layer": layers,
        }

    def rows(self) -> tuple[tuple[str, int, int], ...]:
        """Return (what, bytes in float32, bytes exported) of each kind with any, and of the whole."""
        before, after = self.float32.by_kind(), self.exported.by_kind()
        kinds = ((kind, before[kind], after[kind]) for kind in KINDS if before[kind] or after[kind])
        return (*kinds, ("all bytes", self.float32.total, self.exported.total))

    def lines(self) -> tuple[str, ...]:
        """Return the rows as text, numbers below each other."""
        rows = (f"{what:10} {before:12,} {after:12,}" for what, before, after in self.rows())
        return (f"{'bytes':10} {'float32':>12} {'exported':>12}", *rows)
