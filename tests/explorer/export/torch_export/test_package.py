"""network.pt2: the same outputs once loaded, for any number of images, its weights a byte each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from explorer.compress.apply import CompressionContext
from explorer.errors import ExportError
from explorer.export.torch_export import package
from explorer.export.torch_export.program import run_program
from explorer.files import refuse_foreign
from tests.support.deployments import make_deployment, mix_widths


def test_the_program_gives_the_outputs_for_any_number_of_images(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor], tmp_path: Path
) -> None:
    base = context("mixed")
    deployment = make_deployment(base, images("mixed", 80), mix_widths(base))
    exported = package.write(deployment, tmp_path)
    refuse_foreign(package.list_marks(tmp_path))
    assert exported.verification.agreement == 1.0
    for count in (1, 7):
        with torch.no_grad():
            expected = deployment.model(deployment.images[:count])
        assert torch.allclose(
            torch.from_numpy(run_program(tmp_path / "network.pt2", deployment.images[:count])), expected
        )
    table = json.loads((tmp_path / "summary.json").read_text())["bytes"]
    assert table["total"][1] == (tmp_path / "network.pt2").stat().st_size == exported.network_bytes
    codes = {
        name: module.get_buffer("weight_codes").numel()
        for name, module in deployment.model.named_modules()
        if "weight_codes" in dict(module.named_buffers())
    }
    assert {name: after for name, (_, after) in table["weights_by_layer"].items()} == codes
    assert str(Path(__file__).parents[4]).encode() not in (tmp_path / "network.pt2").read_bytes()


def test_another_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "network.pt2").write_bytes(b"PK")
    with pytest.raises(ExportError, match=r"^verify: torch .* cannot run network\.pt2: .*; choose another --format$"):
        run_program(tmp_path / "network.pt2", torch.zeros(1, 3, 8, 8))


def test_a_network_that_was_only_drafted_is_exported_too(
    tmp_path: Path, context: Callable[[str], CompressionContext]
) -> None:
    """Before a run nothing was computed, and torch.fx may not have compiled it yet: every check was refused."""
    from torch.fx._lazy_graph_module import _use_lazy_graph_module  # noqa: PLC0415

    base = context("mixed")
    with _use_lazy_graph_module(True):
        model = make_deployment(base, torch.zeros(2, *base.graph.input_shapes[0]), mix_widths(base)).model
        assert package.try_out(model, base, tmp_path).is_file()
