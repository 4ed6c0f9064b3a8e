"""Storage of a compressed network: one file with its weights at their entropy, decoded and compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import fx

from explorer.compress.apply import CompressionContext
from explorer.errors import ExportError
from explorer.export.formats import Deployment, Exported
from explorer.export.handover import Checked, Layout, deliver, list_common_marks
from explorer.export.stored_bytes import StoredBytes
from explorer.export.verify import compare_outputs, run_torch
from explorer.packed.coded import MAGIC, write_coded
from explorer.packed.file import read_packed
from explorer.packed.network import decode_like, packable, refuse_different

NETWORK = "network.bin"
LAYOUT = Layout(
    title="Compressed network to store",
    files={NETWORK: "weights, biases and scales at their entropy, and the quantisers of activations"},
    use="""
```python
from pathlib import Path

from explorer.packed.file import read_packed

for layer in read_packed(Path("network.bin")).layers:
    print(layer.name, layer.codes.shape)  # int8; a weight is its code times the scale of its filter
```
""",
    notes="""
A range coder writes each weight with the probability that its neighbours, filter and input give it; the file ends with
a checksum. It holds no graph: the network that it was made of takes its weights up again.
""",
    counted="`network.bin`; a byte that several kinds share stands under layout",
)


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    return {folder / NETWORK: MAGIC, **list_common_marks(folder, LAYOUT)}


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write network.bin and what it is made of to `folder`, and read it back; see `Format.write`."""
    return deliver(deployment, LAYOUT, lambda staging: _make(deployment, staging), folder)


def _make(deployment: Deployment, folder: Path) -> Checked:
    model, path = deployment.model, folder / NETWORK
    coding = write_coded(packable(model), path)
    decoded = decode_like(model, read_packed(path))
    refuse_different(model, decoded, path)
    expected, received = run_torch(model, deployment.images), run_torch(decoded, deployment.images)
    if not (received == expected).all():
        raise ExportError(f"{NETWORK}: predicts otherwise than the network that was coded; please report this")
    return Checked(
        stored=StoredBytes(
            weights={name: bits // 8 for name, bits in coding.weight_bits.items()},
            scales=coding.scale_bits // 8,
            biases=coding.bias_bits // 8,
            total=len(coding.data),
        ),
        verification=compare_outputs(NETWORK, received, expected, deployment.targets, deployment.score),
        told="the file was read back: equal integers, and equal outputs on all of these images",
        details={
            "coded_bytes": len(coding.data),
            "weight_bits": dict(coding.weight_bits),
            "bias_bits": coding.bias_bits,
            "scale_bits": coding.scale_bits,
        },
    )


def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
    """Write network.bin, all weights 0, which takes no time to code; see `Format.try_out`."""
    network = packable(model)
    layers = tuple(replace(layer, codes=np.zeros_like(layer.codes)) for layer in network.layers)
    write_coded(replace(network, layers=layers), folder / NETWORK)
    return folder / NETWORK
