"""Open a torch.export program."""

from __future__ import annotations

from pathlib import Path

import torch

from explorer.errors import ExportError, describe_error
from explorer.export.artefact import Artefact, Port
from explorer.export.torch_export.program import count_stored, open_program, run_program


def load(path: Path) -> Artefact:
    """Open a program.

    Raises:
        ExportError: torch cannot read it.
    """
    try:
        program = open_program(path)
        nodes = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
        signature = program.graph_signature
        inputs = tuple(Port(name=name, shape=_find_shape(nodes[name])) for name in signature.user_inputs)
        output = signature.user_outputs[0]
        stored = count_stored(program, path.stat().st_size)
    except Exception as error:  # torch raises of many kinds
        raise ExportError(
            f"{path}: torch {torch.__version__} cannot open it as a program ({describe_error(error)}); write it again"
        ) from error
    return Artefact(
        form="pt2",
        network=path,
        inputs=inputs,
        output=Port(name="logits", shape=_find_shape(nodes[output])),
        stored=stored,
        run=lambda images: run_program(path, images),
    )


def _find_shape(value: torch.Tensor) -> tuple[int, ...]:
    return tuple(int(size) for size in value.shape[1:])
