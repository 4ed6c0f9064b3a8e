"""The layers of a compressed network as a topology for the SCALE-Sim simulator."""

from __future__ import annotations

from pathlib import Path

from torch import fx

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.plan import plan
from explorer.errors import ExportError
from explorer.evaluate.hardware import list_layer_jobs
from explorer.export.formats import Deployment, Exported
from explorer.export.handover import Checked, Layout, deliver, list_common_marks
from explorer.export.stored_bytes import StoredBytes
from explorer.export.verify import compare_outputs, run_torch
from hwmodels import Network, read_topology, write_topology

TOPOLOGY = "topology.csv"
LAYOUT = Layout(
    title="Compressed network as a SCALE-Sim topology",
    files={TOPOLOGY: "a row for each layer with products: its sizes without what was pruned"},
    use="""
Give it to SCALE-Sim v3 as the topology (of convolutions: `input_type_gemm=False`), or price it here:

```sh
explorer cost topology.csv --device gemmini_default
```
""",
    notes="""
Such a file has convolutions alone: a linear layer is a window of 1 x 1 on 1 x 1, or on as many rows
as it has positions. Input sizes include the padding. The name of a depthwise convolution has "DP" in it; of any other
layer with groups each group is a row. A row has one stride and no dilation, and knows neither weights nor widths:
zeros inside a filter, shared values and bits make no difference to the simulator.
""",
    counted="`topology.csv`, which holds sizes and no weights",
)


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    return {folder / TOPOLOGY: b"Layer name", **list_common_marks(folder, LAYOUT)}


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write topology.csv to `folder` and read it back; see `Format.write`."""
    return deliver(deployment, LAYOUT, lambda staging: _make(deployment, staging), folder)


def _make(deployment: Deployment, folder: Path) -> Checked:
    path = folder / TOPOLOGY
    network, left_out = _write(deployment.context, deployment.point.evaluation.candidate, path)
    outside = {name for name, _ in left_out}
    macs = {layer.name: layer.macs for layer in network.layers if layer.name not in outside}
    read = read_topology(path)
    if read.macs != sum(macs.values()):
        raise ExportError(
            f"{TOPOLOGY}: states {read.macs:,} multiply-accumulates, the network has {sum(macs.values()):,}; "
            "please report this"
        )
    outputs = run_torch(deployment.model, deployment.images)  # a topology computes nothing: there is no agreement
    return Checked(
        stored=StoredBytes(weights={}, total=path.stat().st_size),
        verification=compare_outputs(TOPOLOGY, outputs, outputs, deployment.targets, deployment.score),
        told=f"the file was read back: {len(read.layers)} rows, {read.macs:,} multiply-accumulates, as the network; "
        "the score is that of the search's simulation",
        details={"agreement": None, "macs": macs, "left_out": dict(left_out)},
    )


def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
    """Write the topology of the network with 8 bits; see `Format.try_out`."""
    _write(context, uniform(context.graph), folder / TOPOLOGY)
    return folder / TOPOLOGY


def _write(
    context: CompressionContext, candidate: Candidate, path: Path
) -> tuple[Network, tuple[tuple[str, str], ...]]:
    """Write a candidate's layers; returns them all, and (name, reason) of those left out."""
    jobs = list_layer_jobs(context.graph, plan(context.graph, candidate))
    network = Network(name="network", layers=tuple(job.shape for job in jobs))
    return network, write_topology(network, path)
