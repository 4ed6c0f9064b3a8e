"""From a compressed network to the integers that are packed, and from these back into a network of its structure."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import fx, nn

from explorer.compress.activations import input_quantizer
from explorer.compress.quantize import ActivationQuantizer
from explorer.compress.weights import attach_codes, has_codes
from explorer.errors import ExportError
from explorer.graph.modules import layer_module
from explorer.graph.names import LAYER_BUFFERS
from explorer.packed.records import PackedLayer, PackedNetwork, PackedQuantizer

_OF_A_LAYER = ("weight", "bias", *LAYER_BUFFERS)


def packable(model: nn.Module) -> PackedNetwork:
    """Return the integers and scales of what `apply` built, in the order of its modules."""
    layers, quantizers, theirs = [], [], set()
    for name, module in model.named_modules():
        if isinstance(module, ActivationQuantizer):
            theirs.add(f"{name}.scale")
            quantizers.append(
                PackedQuantizer(
                    name=name, bits=module.bits, scale=float(module.scale), zero_point=int(module.zero_point)
                )
            )
        elif has_codes(module):
            theirs.update(f"{name}.{key}" for key in _OF_A_LAYER)
            codes, scales = module.get_buffer("weight_codes"), module.get_buffer("weight_scale")
            biases = module.get_buffer("bias_codes").cpu().numpy() if module.bias is not None else None
            layers.append(PackedLayer(name=name, codes=codes.cpu().numpy(), scales=scales.cpu().numpy(), biases=biases))
    others = [(name, value.cpu().numpy()) for name, value in model.state_dict().items() if name not in theirs]
    return PackedNetwork(
        layers=tuple(layers),
        quantizers=tuple(quantizers),
        others=tuple((name, np.ascontiguousarray(values)) for name, values in others),
    )


def decode_like(model: fx.GraphModule, packed: PackedNetwork) -> fx.GraphModule:
    """Return a network of the structure of `model` in which everything that it has learnt is that of `packed`."""
    decoded = copy.deepcopy(model)
    for value in decoded.state_dict().values():
        value.zero_()
    load_packed(decoded, packed)
    return decoded


def refuse_different(model: fx.GraphModule, decoded: fx.GraphModule, path: Path) -> None:
    """Raise ExportError unless what a file was decoded to is the network that it was made of, bit for bit."""
    own, read = model.state_dict(), decoded.state_dict()
    different = [name for name in own if name not in read or not torch.equal(own[name], read[name])]
    if different or len(own) != len(read):
        raise ExportError(f"{path}: gives back another network ({', '.join(different[:3])}); please report this")


def load_packed(model: fx.GraphModule, packed: PackedNetwork) -> None:
    """Replace, in place, everything that a network of the same structure has learnt by what was packed.

    A layer takes the shape of its packed weight.

    Raises:
        ExportError: Where the structure is not that of the packed network.
    """
    expected = packable(model)
    for what in ("layers", "quantizers"):
        own, given = ({entry.name for entry in getattr(network, what)} for network in (expected, packed))
        if own != given:
            different = ", ".join(sorted(own ^ given)[:3])
            raise ExportError(f"packed network: its {what} are not those of the network ({different})")
    if {name for name, _ in expected.others} != {name for name, _ in packed.others}:
        raise ExportError("packed network: its other parameters are not those of the network")
    for quantizer in packed.quantizers:
        module = model.get_submodule(quantizer.name)
        assert isinstance(module, ActivationQuantizer)
        module.bits, module.zero_point = quantizer.bits, quantizer.zero_point
        module.scale = torch.tensor(quantizer.scale, dtype=torch.float32, device=module.scale.device)
    for layer in packed.layers:
        module = layer_module(model, layer.name)
        torch_device = module.weight.device
        attach_codes(
            module, torch.from_numpy(layer.codes).to(torch_device), torch.from_numpy(layer.scales).to(torch_device)
        )
    _load_biases(model, packed)
    model.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in packed.others}, strict=False)


def _load_biases(model: fx.GraphModule, packed: PackedNetwork) -> None:
    """Put biases in as integers, and as what these stand for on the grid of input scale times weight scale."""
    biases = {layer.name: torch.from_numpy(layer.biases) for layer in packed.layers if layer.biases is not None}
    for node in model.graph.nodes:
        if node.op != "call_module" or str(node.target) not in biases:
            continue
        module = layer_module(model, str(node.target))
        codes = biases[str(node.target)].to(module.weight.device)
        grid = input_quantizer(model, node).scale.double() * module.get_buffer("weight_scale").double()
        module.register_buffer("bias_codes", codes)
        module.bias = nn.Parameter((codes * grid).float(), requires_grad=False)
