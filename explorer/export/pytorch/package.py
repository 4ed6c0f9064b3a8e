"""Deployment to torch: network.pt with the packed state, and network.py that loads it without this package."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import fx

from explorer.arrays import Float32Array
from explorer.compress.apply import CompressionContext
from explorer.errors import ExportError
from explorer.export.formats import Deployment, Exported
from explorer.export.handover import Checked, Layout, deliver, list_common_marks
from explorer.export.pytorch.source import WEIGHTS, write_source
from explorer.export.pytorch.state import pack_state
from explorer.export.stored_bytes import StoredBytes
from explorer.export.verify import compare_outputs, run_torch
from explorer.files import without_controls
from explorer.graph.inputs import Inputs, as_tuple, count_images, run, take

MODULE = "network.py"
SOURCE_MARK = b"explorer: a compressed network"
LAYOUT = Layout(
    title="Compressed network for torch",
    files={
        WEIGHTS: "state dict: codes packed at their width, codebooks, scales, biases",
        MODULE: "the network as a torch.nn.Module, and `load()`",
    },
    use="""
```python
import torch
import network  # this folder on the path; torch is all that it needs

model = network.load()
with torch.no_grad():
    logits = model(images)
```
""",
    notes="""
`images` are normalised as in the study. Of each layer in `network.WIDTHS`, `network.pt` holds `NAME.packed` (uint8:
places in the codebook, of that many bits each, the lowest bit first), `NAME.codebook` (int8; one row, or one for each
output channel) and `NAME.weight_scale` (float32, one for each output channel). A weight is its code times the scale.
`NAME.bias` is float32, a whole number times the scales of input and weight. `load()` unpacks all of it: the network
then has an ordinary `state_dict()`, and the codes beside it as `NAME.weight_codes`.
""",
)
BATCH = 256
"""Images that are run at once."""
_ALONE = """
import sys
sys.modules.update(explorer=None, hwmodels=None)
folder, given, taken, size, threads = sys.argv[1:]
sys.path.insert(0, folder)
import torch
import network
torch.set_num_threads(int(threads))
images = torch.load(given, weights_only=True)
model = network.load()
with torch.no_grad():
    parts = [model(*part) for part in zip(*(tensor.split(int(size)) for tensor in images))]
torch.save(torch.cat(parts), taken)
"""


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    ours = (folder / MODULE).is_file()
    return {
        folder / MODULE: SOURCE_MARK,
        folder / WEIGHTS: b"PK" if ours else None,
        **list_common_marks(folder, LAYOUT),
    }


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write network.pt and network.py to `folder`, and run them without this package; see `Format.write`."""
    return deliver(deployment, LAYOUT, lambda staging: _make(deployment, staging), folder)


def _make(deployment: Deployment, folder: Path) -> Checked:
    stored = _write_network(deployment.model, f"{deployment.point.name} of {deployment.study}", folder)
    received, expected = run_alone(folder, deployment.images), run_torch(deployment.model, deployment.images)
    verification = compare_outputs(WEIGHTS, received, expected, deployment.targets, deployment.score)
    equal = float((received == expected).mean())
    return Checked(
        stored=stored,
        verification=verification,
        told=f"{verification.summary()} with torch alone, {equal:.2%} of the outputs bit for bit",
        details={"equal_outputs": equal},
    )


def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
    """Write the files and load them; see `Format.try_out`."""
    _write_network(model, "tried out", folder)
    try:
        run(runpy.run_path(str(folder / MODULE))["load"](), take(context.calibration.images, slice(2)))
    except Exception as error:
        raise _refuse(f"{type(error).__name__}: {error}") from error
    return folder / WEIGHTS


def run_alone(folder: Path, images: Inputs) -> Float32Array:
    """Return the outputs of what was written, computed where neither explorer nor hwmodels is."""
    with tempfile.TemporaryDirectory() as home:
        given, taken = Path(home) / "given.pt", Path(home) / "taken.pt"
        torch.save([tensor.cpu() for tensor in as_tuple(images)], given)
        arguments = [str(folder.absolute()), str(given), str(taken), str(BATCH), str(torch.get_num_threads())]
        command = [sys.executable, "-c", _ALONE, *arguments]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # else __pycache__ would come to lie beside the network
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise _refuse((done.stderr.strip().splitlines() or ["it ended"])[-1])
        outputs: Float32Array = torch.load(taken, weights_only=True).numpy()
    assert len(outputs) == count_images(images)
    return outputs


def _write_network(model: fx.GraphModule, title: str, folder: Path) -> StoredBytes:
    state = pack_state(model)
    source = write_source(model, state.widths, f"{SOURCE_MARK.decode()}, {_quote(title)}.")
    (folder / MODULE).write_text(source, encoding="utf-8")
    torch.save(dict(state.tensors), folder / WEIGHTS)
    total = sum((folder / name).stat().st_size for name in (WEIGHTS, MODULE))
    return replace(state.stored, total=total)


def _quote(title: str) -> str:
    """Return a text that stays what it is inside a docstring."""
    return without_controls(title).replace("\\", "/").replace('"', "'")


def _refuse(what: str) -> ExportError:
    return ExportError(f"verify: {MODULE} cannot be run with torch alone: {what}; choose another --format")
