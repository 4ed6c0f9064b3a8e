"""Rewrite a network so that every nonlinearity is a module of its own, without changing what it computes."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import fx, nn

from explorer.errors import ModelError
from explorer.graph.copies import copy_plainly
from explorer.graph.functional import fold_constants, functions_to_modules, modules_to_canonical
from explorer.graph.functional_layers import constants_to_norms, layers_to_modules
from explorer.graph.input_checks import check_inputs
from explorer.graph.inputs import Inputs, count_images, join, take
from explorer.graph.lines import find_line
from explorer.graph.moves import simplify_moves
from explorer.graph.names import LAYER_BUFFERS, add_module
from explorer.graph.out_of_place import work_out_of_place
from explorer.graph.reuse import clone_reused
from explorer.graph.spellings import maxima_to_pools, settle_spellings
from explorer.graph.symbolic import call, propagate_shapes, symbolic_trace
from explorer.graph.torch_private import list_own_names

DROPOUTS = nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d | nn.AlphaDropout | nn.FeatureAlphaDropout
_Layer = nn.Conv2d | nn.Linear
_Norm = nn.BatchNorm1d | nn.BatchNorm2d
REORDERED = 1e-5
"""Difference, relative to the largest output, that another order of a sum makes in float32 (assumed)."""


def canonicalise(model: nn.Module, example: Inputs) -> fx.GraphModule:
    """Return a canonical copy of `model` (see `copy_plainly`) in evaluation mode; the user's model is not touched.

    Functional activations, poolings and layers become modules, a module that is called several times is cloned for each
    call (clones of a layer hold the same parameters), nothing works in place, dropout and identities vanish, reshapes
    and slices that only select channels become modules that say so (`simplify_moves`), and a filter whose batch norm
    has a negative gain changes sign with it.

    Args:
        example: A batch of at least two images (N x C x H x W), or a tuple with one such tensor for each argument of
            forward(), on which the outputs must stay bit-identical (with transposed convolutions: equal but for
            rounding).

    Raises:
        ModelError: Where they do not, when torch.fx cannot trace the model, or for inputs that are refused
            (`check_inputs`).
    """
    original = copy_plainly(model)
    check_inputs(original, example)
    expected, more = call(original, example), _outputs(original, _one_more(example))
    graph_module = symbolic_trace(original, example)
    try:
        _rewrite(graph_module, example)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"model: cannot be made canonical ({type(error).__name__}: {error}); write the line in another way, and "
            "please report it"
        ) from error
    received = call(graph_module, example)
    for before, after in zip(expected, received, strict=True):
        delta = float((before.double() - after.double()).abs().max())
        if delta > REORDERED * float(before.double().abs().max()):
            raise ModelError(
                f"model: the canonical copy gives other logits than the model (largest difference {delta:.3g}); "
                "a branch that depends on the input, a random operation, or one that writes into a part of a tensor "
                "cannot be explored"
            )
    if more and not _agree(more, _outputs(graph_module, _one_more(example))):
        count = count_images(example)
        raise ModelError(
            f"model: forward() depends on the number of images: traced with {count} of them, it computes something "
            f"else for {count + 1}; work on all images of a batch at once, without loops over them"
        )
    return graph_module


def _rewrite(graph_module: fx.GraphModule, example: Inputs) -> None:
    """Apply all rewritings in their order, in place."""
    work_out_of_place(graph_module)
    fold_constants(graph_module)
    propagate_shapes(graph_module, example)
    settle_spellings(graph_module)
    functions_to_modules(graph_module)
    layers_to_modules(graph_module)
    constants_to_norms(graph_module)
    modules_to_canonical(graph_module)
    clone_reused(graph_module)
    _drop_identities(graph_module)
    propagate_shapes(graph_module, example)
    simplify_moves(graph_module)
    propagate_shapes(graph_module, example)
    maxima_to_pools(graph_module)
    propagate_shapes(graph_module, example)
    _give_norms_layers(graph_module)
    propagate_shapes(graph_module, example)
    _settle_norms(graph_module)
    graph_module.graph.eliminate_dead_code()
    graph_module.graph.lint()
    graph_module.delete_all_unused_submodules()
    _drop_unread(graph_module)
    graph_module.recompile()
    graph_module.eval()


def _one_more(example: Inputs) -> tuple[torch.Tensor, ...]:
    """Return the example with its first image once more at the end."""
    return join((example, take(example, slice(1))))


def _outputs(model: nn.Module, inputs: Inputs) -> list[torch.Tensor]:
    """Return the outputs, or none where the model does not take this number of images."""
    try:
        return call(model, inputs)
    except ModelError:
        return []


def _agree(expected: list[torch.Tensor], received: list[torch.Tensor]) -> bool:
    return len(expected) == len(received) and all(
        before.shape == after.shape and float((before - after).abs().max()) <= REORDERED * float(before.abs().max())
        for before, after in zip(expected, received, strict=True)
    )


def _drop_unread(graph_module: fx.GraphModule) -> None:
    """Remove parameters and buffers that went into modules or constants, and that the graph no longer reads."""
    read = {str(node.target) for node in graph_module.graph.nodes if node.op == "get_attr"}
    called = {str(node.target) for node in graph_module.graph.nodes if node.op == "call_module"}
    for path, module in list(graph_module.named_modules()):
        if isinstance(module, _Layer) and path in called:
            _clear(module)
        if any(path == each or path.startswith(f"{each}.") for each in called):
            continue
        for name in list_own_names(module)[0]:
            if (f"{path}.{name}" if path else name) not in read:
                delattr(module, name)


def _clear(layer: _Layer) -> None:
    """Remove what somebody has hung on a layer: it does not read it, and its codes may be called so later."""
    held, children = list_own_names(layer)
    for name in {*held, *children, *LAYER_BUFFERS} - {"weight", "bias"}:
        if hasattr(layer, name):
            delattr(layer, name)


def _drop_identities(graph_module: fx.GraphModule) -> None:
    for node in list(graph_module.graph.nodes):
        module = graph_module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.Identity | DROPOUTS) or (isinstance(module, nn.Sequential) and len(module) == 0):
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph_module.graph.erase_node(node)


def _give_norms_layers(graph_module: fx.GraphModule) -> None:
    """Put a layer that changes nothing before every batch norm of images that has none to fold into, in place.

    A depthwise 1 x 1 convolution with all weights one: folded into it, a norm that comes first in its block (He et
    al., 2016b; Huang et al., 2017) is integers like every other layer, and has a cost. Its one weight for each filter
    is exact at any width, since the filter's scale takes it up.
    """
    for node in list(graph_module.graph.nodes):
        norm = graph_module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            continue
        source = node.all_input_nodes[0]
        before = graph_module.get_submodule(str(source.target)) if source.op == "call_module" else None
        if isinstance(before, nn.Conv2d) and len(source.users) == 1:
            continue
        channels = norm.num_features
        gain = nn.Conv2d(channels, channels, 1, groups=channels, bias=False).to(norm.running_mean)
        nn.init.ones_(gain.weight)
        name = add_module(graph_module, f"{node.target}_gain", gain.eval())
        with graph_module.graph.inserting_before(node):
            inserted = graph_module.graph.call_module(name, (source,))
        inserted.meta = {"line": node.meta.get("line", "")}
        node.replace_input_with(source, inserted)


def _settle_norms(graph_module: fx.GraphModule) -> None:
    """Refuse batch norms without statistics; turn filters so that the gain of the norm behind them is positive.

    A norm folds into scales, which are positive: a negative gain would negate the codes of some filters only,
    and a codebook that all filters share would then hold up to twice its values. Calls that share their weights are
    turned together where their norms agree; where they do not, each gets weights of its own.
    """
    behind: defaultdict[int, list[tuple[_Layer, _Norm | None]]] = defaultdict(list)
    for node in graph_module.graph.nodes:
        module = graph_module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is None:
            raise ModelError(
                f"model: batch norm {node.target!r} keeps no running statistics{find_line(node)}, so that its logits "
                "depend on the other images of a batch; use track_running_stats=True"
            )
        if isinstance(module, nn.Conv2d | nn.Linear):
            behind[id(module.weight)].append((module, _norm_behind(graph_module, node)))
    for calls in behind.values():
        signs = [_signs(layer, norm) for layer, norm in calls]
        together = all(torch.equal(sign, signs[0]) for sign in signs)
        weight = nn.Parameter(_scaled(calls[0][0].weight.data, signs[0]))
        for (layer, norm), sign in zip(calls, signs, strict=True):
            layer.weight = weight if together else nn.Parameter(_scaled(layer.weight.data, sign))
            if norm is not None:
                norm.weight = nn.Parameter(norm.weight.data * sign)
                norm.running_mean = None if norm.running_mean is None else norm.running_mean * sign
                layer.bias = None if layer.bias is None else nn.Parameter(layer.bias.data * sign)


def _norm_behind(graph_module: fx.GraphModule, node: fx.Node) -> _Norm | None:
    """Return the batch norm with gains that alone reads the layer at `node`, or None."""
    (reader, *others) = node.users
    if len(node.meta["shape"]) == 3:
        return None  # a linear layer of sequences, whose norm would be one of positions
    norm = graph_module.get_submodule(str(reader.target)) if reader.op == "call_module" else None
    return norm if not others and isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.affine else None


def _signs(layer: _Layer, norm: _Norm | None) -> torch.Tensor:
    """Return -1 for filters whose gain is negative, 1 for all others."""
    gains = layer.weight.data.new_ones(len(layer.weight)) if norm is None else norm.weight.data
    return torch.where(gains < 0, -1.0, 1.0).to(gains)


def _scaled(weight: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    return weight * sign.view(-1, *(1,) * (weight.ndim - 1))
