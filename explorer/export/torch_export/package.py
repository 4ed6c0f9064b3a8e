"""Deployment to torch's compilers: network.pt2, a torch.export program, loaded back and compared."""

from __future__ import annotations

from pathlib import Path

from torch import fx

from explorer.compress.apply import CompressionContext
from explorer.export.formats import Deployment, Exported
from explorer.export.handover import Checked, Layout, deliver, list_common_marks
from explorer.export.torch_export.program import build_program, run_program, save_program
from explorer.export.verify import compare_outputs, run_torch

PROGRAM = "network.pt2"
LAYOUT = Layout(
    title="Compressed network as a torch.export program",
    files={PROGRAM: "the program, for any number of images"},
    use="""
```python
import torch

model = torch.export.load("network.pt2").module()
with torch.no_grad():
    logits = model(images)
```
""",
    notes="""
`images` are normalised as in the study. The graph holds the weights of each layer as int8 codes with a scale for each
output channel (float32), and multiplies them before the layer; activations are rounded to their grids. Narrower codes
take a byte each here: `--format pt` packs them.
""",
)


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    common = list_common_marks(folder, LAYOUT)
    ours = all(path.is_file() for path in common)
    return {folder / PROGRAM: b"PK" if ours else None, **common}


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write network.pt2 to `folder` and verify it; see `Format.write`."""
    return deliver(deployment, LAYOUT, lambda staging: _make(deployment, staging), folder)


def _make(deployment: Deployment, folder: Path) -> Checked:
    program = build_program(deployment.model, deployment.context.graph.input_shapes)
    stored = save_program(program, folder / PROGRAM)
    expected = run_torch(deployment.model, deployment.images)
    received = run_program(folder / PROGRAM, deployment.images)
    verification = compare_outputs(PROGRAM, received, expected, deployment.targets, deployment.score)
    return Checked(stored=stored, verification=verification, told=verification.summary())


def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
    """Write the program; see `Format.try_out`."""
    save_program(build_program(model, context.graph.input_shapes), folder / PROGRAM)
    return folder / PROGRAM
