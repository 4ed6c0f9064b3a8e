"""What share of a network is explored and costed, counted by torch's own formulas, and said before the work."""

from __future__ import annotations

import warnings
from contextlib import ExitStack

import torch
from torch import fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from explorer.graph.coverage import count_stored_values
from explorer.graph.inputs import Inputs, as_tuple, take
from explorer.graph.layers import ModelGraph
from explorer.graph.torch_private import FlopCounter
from explorer.study.record import Coverage


def measure_coverage(model: fx.GraphModule, graph: ModelGraph, example: Inputs) -> Coverage:
    """Return how much of a canonical network its graph counts; of `example` (N x ...) the first is run."""
    stored = count_stored_values(model, graph.layer_names)
    return Coverage(
        values=stored.values,
        values_counted=stored.values - stored.in_float,
        macs=max(graph.macs, count_multiply_accumulates(model, take(example, slice(1)))),
        macs_counted=graph.macs,
    )


def count_multiply_accumulates(model: fx.GraphModule, image: Inputs) -> int:
    """Return multiply-accumulates of convolutions and matrix products for one image (1 x ...), by torch's formulas.

    Fused forms of attention and of recurrent layers are taken apart first, since the counter does not know all of them.
    """
    fused_attention = torch.backends.mha.get_fastpath_enabled()
    counter = FlopCounter()
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fused_attention)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(warnings.catch_warnings(action="ignore"))  # of a switch that is not for this CPU
        stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(counter)
        model(*as_tuple(image))
    return counter.total // 2
