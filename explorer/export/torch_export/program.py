"""A compressed network as a torch.export program, whose graph reads weights as int8 codes with their scales."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.func import functional_call

from explorer.arrays import Float32Array
from explorer.compress.prune import copy_network
from explorer.compress.weights import has_codes
from explorer.errors import ExportError, describe_error
from explorer.export.stored_bytes import StoredBytes
from explorer.graph.inputs import Inputs, Shapes, batches, example

TRACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node")
"""What torch keeps of a node's origin: paths of this machine, and half of the file."""


class CodedLayer(nn.Module):
    """A layer that computes its weight from int8 codes each time it is called."""

    weight_codes: Tensor
    weight_scale: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight_codes", layer.get_buffer("weight_codes"))
        self.register_buffer("weight_scale", layer.get_buffer("weight_scale"))
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())
        self._layer = [layer]  # in a list it is no module of this one, and its float weight is not saved

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer computes."""
        scale = self.weight_scale.view(-1, *(1,) * (self.weight_codes.ndim - 1))
        own = {"weight": self.weight_codes.float() * scale}
        if self.bias is not None:
            own["bias"] = self.bias
        output: Tensor = functional_call(self._layer[0], own, (x,))
        return output


def build_program(model: fx.GraphModule, shapes: Shapes) -> ExportedProgram:
    """Return the program of what `apply` built, for any number of images.

    Raises:
        ExportError: Where torch cannot export it.
    """
    coded = copy_network(model)
    for name, module in list(coded.named_modules()):
        if has_codes(module):
            coded.set_submodule(name, CodedLayer(module))
    inputs = example(model, shapes)
    coded.code  # noqa: B018  (what torch.fx compiles lazily has the network's own arguments only once it is)
    try:
        with _quiet():
            program = torch.export.export(
                coded.eval(), inputs, dynamic_shapes=tuple({0: Dim("N")} for _ in inputs), strict=False
            )
    except Exception as error:  # torch raises of many kinds
        raise ExportError(
            f"export: torch.export refuses the network: {describe_error(error)}; choose another --format"
        ) from error
    for node in program.graph.nodes:
        for key in TRACES:
            node.meta.pop(key, None)
    return program


def save_program(program: ExportedProgram, path: Path) -> StoredBytes:
    """Write a program; returns what the bytes of its file are."""
    with _quiet():
        torch.export.save(program, path)
    return count_stored(program, path.stat().st_size)


def open_program(path: Path) -> ExportedProgram:
    """Return the program of a file; raises what torch raises."""
    with _quiet():
        return torch.export.load(path)


def count_stored(program: ExportedProgram, total: int) -> StoredBytes:
    """Return what the bytes of a program's file are, `total` in all."""
    weights: dict[str, int] = {}
    kinds = dict.fromkeys(("scales", "biases", "others"), 0)
    for name, tensor in program.state_dict.items():
        layer, _, role = name.rpartition(".")
        if role == "weight_codes":
            weights[layer] = tensor.nbytes
        else:
            kinds[{"weight_scale": "scales", "scale": "scales", "bias": "biases"}.get(role, "others")] += tensor.nbytes
    return StoredBytes(weights=weights, total=total, **kinds)


def run_program(path: Path, images: Inputs, batch: int = 256) -> Float32Array:
    """Return the outputs (N x ...) of a program that was written.

    Raises:
        ExportError: Where it cannot be loaded or run.
    """
    try:
        with _quiet(), torch.no_grad():
            module = open_program(path).module()
            parts = [module(*(tensor.cpu() for tensor in part)) for part in batches(images, batch)]
        outputs: Float32Array = torch.cat(parts).numpy()
    except Exception as error:
        raise ExportError(
            f"verify: torch {torch.__version__} cannot run {path.name}: {describe_error(error)}; choose another "
            "--format"
        ) from error
    return outputs


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out torch's warnings of its own future."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
