"""Which exports a network has is known without a search."""

from __future__ import annotations

import pytest

from explorer.export.deploy import find_refusals
from explorer.export.formats import list_installed
from tests.explorer.export.onnx.test_styles import basis_of

REFUSED = {
    ("two_inputs", "tflite"): "several outputs",
    ("attention", "tflite"): "node 'chunk",
    ("channels_last", "tflite"): "node 'permute",
    ("two_inputs", "integer"): "several outputs",
    ("attention", "onnx"): "node 'flatten",
    ("attention", "integer"): "node 'chunk",
    ("channels_last", "onnx"): "node 'permute",
    ("channels_last", "integer"): "node 'permute",
    ("attention", "qonnx"): "node 'flatten",
    ("channels_last", "qonnx"): "node 'permute",
    ("two_inputs", "c"): "several outputs",
    ("attention", "c"): "node 'chunk",
    ("channels_last", "c"): "node 'permute",
}


@pytest.mark.parametrize("form", list_installed())
@pytest.mark.parametrize("name", ["lambdas", "two_inputs", "pair", "metadata", "siamese", "attention", "channels_last"])
def test_reasons_name_what_cannot_be_exported(name: str, form: str) -> None:
    reasons = find_refusals(basis_of(name), form)
    assert len(reasons) == ((name, form) in REFUSED)
    for reason in reasons:
        assert REFUSED[name, form] in reason
