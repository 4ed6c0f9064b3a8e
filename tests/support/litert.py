"""Networks as files of TensorFlow Lite, run in LiteRT beside the integer program."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate
from explorer.export.formats import FileTypes
from explorer.export.interface import to_arrays
from explorer.export.tflite.file import load_litert
from explorer.export.tflite.network import Network, build
from explorer.export.tflite.run import run_tflite
from explorer.graph.inputs import Inputs
from explorer.integer.interpret import run_program
from explorer.integer.lower import lower_program

needs_litert = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="no ai-edge-litert; pip install ai-edge-litert"
)


def write_network(
    base: CompressionContext, candidate: Candidate, folder: Path, types: FileTypes | None = None
) -> Network:
    """Write a candidate's network to `model.tflite`."""
    network = build(apply(base, candidate), base, types=types or FileTypes())
    (folder / "model.tflite").write_bytes(network.content)
    return network


def run_file(network: Network, images: Inputs, folder: Path, kernels: str = "default") -> NDArray[np.int64]:
    """The integers that LiteRT gives."""
    interface = network.interface
    return interface.output.decode(run_tflite(folder / "model.tflite", interface.encode(images), kernels))


def check_equal(
    base: CompressionContext, candidate: Candidate, images: Inputs, folder: Path, types: FileTypes | None = None
) -> Network:
    """LiteRT gives every integer of the file's program, and that is the network's: its logits but for rounding."""
    network = write_network(base, candidate, folder, types)
    received = run_file(network, images, folder)
    expected = run_program(network.program, to_arrays(images))
    assert len(np.unique(expected)) > 1
    assert (received == expected).all()
    plain = lower_program(apply(base, candidate), base.graph.input_shapes)
    logits = run_program(plain, to_arrays(images)) * plain.output_scale / network.logits.scale
    codes = np.iinfo(network.logits.type)
    inside = np.clip(np.rint(logits), codes.min - network.logits.zero_point, codes.max - network.logits.zero_point)
    away = np.abs(received - inside) / 2 ** (codes.bits - 8)
    assert away.mean() <= 0.5  # the runtime adds with multipliers of 21 bits
    assert away.max() <= 4
    return network


def list_operators(content: bytes) -> list[str]:
    """Return the names of a file's operators, in their order."""
    schema = load_litert("schema_py_generated")
    model = schema.ModelT.InitFromPackedBuf(content)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    return [names[model.operatorCodes[each.opcodeIndex].builtinCode] for each in model.subgraphs[0].operators]
