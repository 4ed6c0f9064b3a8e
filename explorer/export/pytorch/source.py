"""The Python module that is written beside a state dict: the network layer by layer, with torch alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

import explorer
from explorer.compress.quantize import ActivationQuantizer
from explorer.errors import ExportError
from explorer.export.pytorch.unpack import load_packed, place, unpack
from explorer.graph.lines import locate_node
from explorer.graph.modules import SelectChannels, TransposedConv2d, get_attribute, inputs_first, outputs_first

OWN: Mapping[type[nn.Module], tuple[Callable[..., Any], ...]] = {
    ActivationQuantizer: (ActivationQuantizer,),
    SelectChannels: (SelectChannels,),
    TransposedConv2d: (outputs_first, inputs_first, TransposedConv2d),
}
"""Modules that torch does not have, and what is written of each."""
WEIGHTS = "network.pt"
_BEGINNING = '''"""{title}

load() returns the network in evaluation mode; torch is all that it needs. Each layer of WIDTHS has its codes (int8) as
`weight_codes` and a scale for each output channel as `weight_scale` beside `weight`, which is their product.
Written by explorer {version}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, nan
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, device, nn

'''
_ENDING = '''

WIDTHS = {widths}
"""Bits in which each place in a layer's codebook is stored."""


def load(file: str | Path = Path(__file__).with_name("{weights}")) -> Network:
    """Return the network with the weights of a file, in evaluation mode."""
    network = Network()
    load_packed(network, WIDTHS, torch.load(file, weights_only=True))
    return network.eval()
'''


def write_source(model: fx.GraphModule, widths: Mapping[str, int], title: str) -> str:
    """Return a module with a class `Network`, and a function that loads it, for what `apply` built.

    Raises:
        ExportError: Names a node that calls what torch does not have.
    """
    called = dict.fromkeys(str(node.target) for node in model.graph.nodes if node.op == "call_module")
    nodes = {str(node.target): node for node in model.graph.nodes if node.op == "call_module"}
    lines, kinds = [], set[type[nn.Module]]()
    for name, module in model.named_modules(remove_duplicate=False):
        if name in called:
            kinds.add(type(module))
            lines.append(f"        place(self, {name!r}, {_construct(module, nodes[name])})")
            if isinstance(module, TransposedConv2d):
                lines.append(f"        self.get_submodule({name!r}).output_padding = {tuple(module.output_padding)}")
    attributes = dict.fromkeys(str(node.target) for node in model.graph.nodes if node.op == "get_attr")
    for name in attributes:
        value = get_attribute(model, name)
        if isinstance(value, Tensor):
            lines.append(f"        place(self, {name!r}, torch.empty({tuple(value.shape)}, dtype={value.dtype}))")
    own = [part for kind, parts in OWN.items() if kind in kinds for part in parts]
    written: tuple[Callable[..., Any], ...] = (unpack, load_packed, place, *own)
    parts = [inspect.getsource(part) for part in written]
    forward = "\n".join(f"    {line}".rstrip() for line in _write_forward(model).strip().splitlines())
    begun = ("class Network(nn.Module):", f'    """{title}"""', "", "    def __init__(self) -> None:")
    network = "\n".join((*begun, "        super().__init__()", *lines, "", forward))
    ending = _ENDING.format(widths=dict(widths), weights=WEIGHTS)
    beginning = _BEGINNING.format(title=title, version=explorer.__version__)
    return beginning + "".join(f"\n{part.rstrip()}\n\n" for part in (*parts, network)).rstrip() + "\n" + ending


def _write_forward(model: fx.GraphModule) -> str:
    code = model.graph.python_code("self")
    for node in model.graph.nodes:
        function = node.target
        if node.op == "call_function" and not str(getattr(function, "__module__", "")).startswith(
            ("torch", "_operator", "builtins", "math")
        ):
            raise _refuse(node, f"it calls {getattr(function, '__name__', function)}, which torch does not have")
    return code.src


def _construct(module: nn.Module, node: fx.Node) -> str:
    """Return the call that makes a module like this one; its tensors come from the state dict."""
    kind = type(module)
    if kind not in OWN and not kind.__module__.startswith("torch.nn."):
        raise _refuse(node, f"{kind.__name__} is no module of torch.nn")
    if isinstance(module, SelectChannels):
        return f"SelectChannels(range({len(module.index)}))"
    given = []
    told = nn.RNNBase if isinstance(module, nn.RNNBase) else kind  # its kinds pass on what they are given
    for name, parameter in list(inspect.signature(told.__init__).parameters.items())[1:]:
        is_default = parameter.default is not parameter.empty and not hasattr(module, name)
        if name in {"device", "dtype", "args", "kwargs"} or is_default or (told is nn.RNNBase and name == "mode"):
            continue
        value = _plain(getattr(module, name, None), is_flag=name == "bias")
        if value is _UNKNOWN:
            raise _refuse(node, f"its {name} cannot be written as text")
        if parameter.default is parameter.empty or value != parameter.default:
            given.append(f"{name}={value!r}")
    return f"{'' if kind in OWN else 'nn.'}{kind.__name__}({', '.join(given)})"


_UNKNOWN = object()


def _plain(value: Any, *, is_flag: bool) -> Any:
    """Return an argument as plain data: a bias as whether there is one."""
    if is_flag:
        return value is not None and value is not False
    if isinstance(value, Tensor):
        return value.item() if value.ndim == 0 else _UNKNOWN
    if isinstance(value, torch.Size | tuple | list):
        return tuple(value) if all(isinstance(entry, int | float | None) for entry in value) else _UNKNOWN
    return value if isinstance(value, bool | int | float | str | None) else _UNKNOWN


def _refuse(node: fx.Node, what: str) -> ExportError:
    return ExportError(
        f"export: {locate_node(node)} cannot be written as Python: {what}; rewrite the model with layers and functions "
        "of torch"
    )
