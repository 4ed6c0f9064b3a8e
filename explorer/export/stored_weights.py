"""Open a file that stores the weights of a network, and no network: coded ones, and those of Deep Compression."""

from __future__ import annotations

from pathlib import Path

from explorer.errors import ExportError
from explorer.export.artefact import Artefact, Port
from explorer.export.stored_bytes import StoredBytes
from explorer.packed import coded
from explorer.packed.file import pack, read_packed
from explorer.packed.records import PackedNetwork


def load(path: Path) -> Artefact:
    """Open a file, decode it, and code it again: the bytes have to be the same.

    Raises:
        ExportError: It is damaged, or of another version.
    """
    network, content = read_packed(path), path.read_bytes()
    stored, again = _count_coded(network) if content.startswith(coded.MAGIC) else _count_packed(network)
    if again != content:
        raise ExportError(f"{path}: its weights are coded otherwise than here; decode it by the version that wrote it")
    return Artefact(
        form="coded",
        network=path,
        inputs=(),
        output=Port(name="logits"),
        stored=stored,
        run=None,
        notes=("it was decoded, and coded again to the same bytes",),
    )


def _count_coded(network: PackedNetwork) -> tuple[StoredBytes, bytes]:
    coding = coded.code(network)
    weights = {name: bits // 8 for name, bits in coding.weight_bits.items()}
    stored = StoredBytes(
        weights=weights, scales=coding.scale_bits // 8, biases=coding.bias_bits // 8, total=len(coding.data)
    )
    return stored, coding.data


def _count_packed(network: PackedNetwork) -> tuple[StoredBytes, bytes]:
    packing = pack(network)
    parts = ("codebook_bytes", "table_bytes", "index_bytes", "run_bytes")
    stored = StoredBytes(
        weights={size.layer: sum(getattr(size, part) for part in parts) for size in packing.layers},
        scales=sum(size.scale_bytes for size in packing.layers),
        biases=sum(size.bias_bytes for size in packing.layers),
        total=len(packing.data),
    )
    return stored, packing.data
