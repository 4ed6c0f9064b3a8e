"""A compressed network as a TensorFlow Lite file of int8, checked against its integer program on held-out images."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from torch import fx

from explorer.compress.apply import CompressionContext
from explorer.export.formats import Deployment, Exported
from explorer.export.handover import Checked, Layout, deliver, list_common_marks
from explorer.export.stored_bytes import count_constants
from explorer.export.tflite.costed import describe_costed
from explorer.export.tflite.file import list_constants, load_litert
from explorer.export.tflite.network import build
from explorer.export.tflite.run import run_tflite
from explorer.export.tflite.verify import Agreement, compare
from explorer.graph.inputs import take
from explorer.integer.builder import name_layers

NETWORK = "model.tflite"
LAYOUT = Layout(
    title="Compressed network for LiteRT",
    files={NETWORK: "the network: int8, channels last, for one image at a time"},
    use="""
```python
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter("model.tflite")
interpreter.allocate_tensors()
(given, *_), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
interpreter.set_tensor(given["index"], codes)  # 1 x H x W x C
interpreter.invoke()
logits = interpreter.get_tensor(result["index"])
```
""",
    notes="""
`inputs` in `summary.json` says what the codes of a value x are, as the network was trained on it: clip(round(x /
scale) + zero_point, low, high), halves to even; of type float32 it is x itself. `output` says what comes of it: scale *
(code - zero_point). Weights have a scale for each filter; those of at most 4 bits are multiplied up into 8, which
runtimes round more finely, or packed two to a byte where that was asked for. Outputs of type int16 or float32 come of
codes of 16 bits: the last layer multiplies int16 with int8, and its biases have 64 bits.
""",
)


def list_marks(folder: Path) -> dict[Path, bytes | None]:
    """Return the files that `write` writes to a folder, and what is in the first bytes of each."""
    common = list_common_marks(folder, LAYOUT)
    ours = all(path.is_file() for path in common)
    return {folder / NETWORK: b"TFL3" if ours else None, **common}


def write(deployment: Deployment, folder: Path) -> Exported:
    """Write a TensorFlow Lite file of int8 to `folder`; see `Format.write`."""
    return deliver(deployment, LAYOUT, lambda staging: _make(deployment, staging), folder)


def _make(deployment: Deployment, folder: Path) -> Checked:
    network, path = build(deployment.model, deployment.context, types=deployment.types), folder / NETWORK
    path.write_bytes(network.content)
    model = load_litert("schema_py_generated").ModelT.InitFromPackedBuf(network.content)
    found = compare(network, path, deployment.model, deployment.images, deployment.targets, deployment.score)
    verification, costed = found.verification, describe_costed(deployment, network.content)
    tied = f"; where classes share the largest code, on {verification.ties} of the images, the first counts"
    interface = network.interface.to_json()
    return Checked(
        stored=count_constants(list_constants(model), len(network.content), name_layers(deployment.model)),
        verification=verification,
        told=f"{_tell(found)}{tied if verification.ties else ''}",
        details={
            "inputs": interface["inputs"],
            "output": {
                **interface["output"],
                "softmax": network.core is not None,
                "logits_scale": network.logits.scale,
                "logits_zero_point": network.logits.zero_point,
            },
            "packed_int4": deployment.types.pack_int4,
            "equal_output_integers": found.equal,
            "images_with_ties": verification.ties,
            "agreement_with_built_in_kernels": found.built_in,
            **(
                {}
                if found.simulated is None
                else {"agreement_with_simulation": found.simulated / verification.num_images}
            ),
            "ai_edge_litert": version("ai-edge-litert"),
            "costed": costed,
        },
    )


def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
    """Write the file alone, and run it on two images; see `Format.try_out`."""
    images = take(context.calibration.images, slice(2))
    network = build(model, context, images)
    (folder / NETWORK).write_bytes(network.content)
    run_tflite(folder / NETWORK, network.interface.encode(images))
    return folder / NETWORK


def _tell(found: Agreement) -> str:
    verification = found.verification
    told, simulated = "outputs", ""
    if verification.of_classes:
        told, simulated = "predictions", f", {found.simulated} predictions the searched network's"
    if found.built_in < 1:
        same = told if verification.of_classes else "integers"
        simulated += f"; built-in kernels, which round twice, give {found.built_in:.2%} of these {same}"
    return (
        f"{verification.agreeing} of {verification.num_images} {told} and {found.equal:.2%} of all output integers are "
        f"the integer program's{simulated}"
    )
