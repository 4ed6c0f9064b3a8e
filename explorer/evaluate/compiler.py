"""From the graph of a compressed network to steps that hold values as integers from one layer to the next."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from explorer.compress.quantize import ActivationQuantizer
from explorer.compress.weights import get_codes, has_codes
from explorer.evaluate import onednn
from explorer.evaluate.codes import CodeGrid, Target, add, make_layer, pack, quantize, unpack
from explorer.graph.modules import SelectChannels, get_attribute

Function = Callable[..., Any]
_ADDITIONS = frozenset({operator.add, operator.iadd, torch.add, "add", "add_"})
_PRODUCTS = frozenset({operator.mul, operator.imul, torch.mul, "mul", "mul_"})
_JOINS = frozenset({torch.cat, torch.concat})
_PICKS = (nn.Flatten, nn.Unflatten, SelectChannels, nn.PixelShuffle, nn.UpsamplingNearest2d)
"""Modules that only take elements from place to place, whatever their type."""
_PICKING_CALLS = frozenset(
    {
        *("reshape", "flatten", "unsqueeze", "squeeze", "permute", "transpose", operator.getitem),
        *(torch.reshape, torch.flatten, torch.unsqueeze, torch.squeeze, torch.permute, torch.transpose),
    }
)
_CLIPS = frozenset({nn.ReLU, nn.ReLU6, nn.Hardtanh})
_MAXIMA = (nn.MaxPool2d, nn.AdaptiveMaxPool2d)
_HOMOGENEOUS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Upsample)
"""Modules that give c times as much for c times as much, with c > 0."""
_HOMOGENEOUS_CALLS = frozenset({torch.mean, "mean"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Writes tensor `result` from `sources`; `dead` are not read again."""

    function: Function
    sources: tuple[int, ...]
    result: int
    dead: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """How a node's value is held: it is `scale` times a tensor.

    With a `grid` that are codes of it less the zero point; where `packed`, it is the codes themselves, in uint8.
    """

    tensor: int
    scale: float = 1.0
    grid: CodeGrid | None = None
    packed: bool = False

    @property
    def scaled(self) -> bool:
        """Whether it is surely a tensor, and not held as what it is."""
        return self.grid is not None or self.scale != 1.0


class Compiler:
    """Steps so far, and how each node's value is held."""

    def __init__(self, model: fx.GraphModule, *, integer: bool) -> None:
        self.model, self.integer = model, integer
        self.inputs: list[int] = []
        self.constants: dict[int, Any] = {}
        self._steps: list[Step] = []
        self._forms: dict[fx.Node, _Form] = {}
        self._converted: dict[tuple[fx.Node, str], int] = {}
        self._count = 0

    def compile(self) -> tuple[tuple[Step, ...], int]:
        """Return the steps, and the number of the output."""
        for node in self.model.graph.nodes:
            if node.op == "placeholder":
                self.inputs.append(self._number())
                self._forms[node] = _Form(tensor=self.inputs[-1])
            elif node.op == "get_attr":
                self._forms[node] = _Form(tensor=self._number())
                self.constants[self._forms[node].tensor] = get_attribute(self.model, str(node.target))
            elif node.op == "output":
                return self._finish(self._call(_settle, node.args, {}))
            elif node not in self._forms:
                self._lower(node)
        raise AssertionError("a graph has an output")

    def _finish(self, output: int) -> tuple[tuple[Step, ...], int]:
        """Let each step say which tensors it is the last to read; constants stay."""
        read, steps = {output, *self.constants}, []
        for step in reversed(self._steps):
            dead = tuple(source for source in dict.fromkeys(step.sources) if source not in read)
            read.update(dead)
            steps.append(replace(step, dead=dead))
        return tuple(reversed(steps)), output

    def _number(self) -> int:
        self._count += 1
        return self._count - 1

    def _emit(self, function: Function, *sources: int) -> int:
        result = self._number()
        self._steps.append(Step(function=function, sources=sources, result=result))
        return result

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.model.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _lower(self, node: fx.Node) -> None:
        """Write the steps of a node, and of those behind it that become part of it."""
        module, read = self._module(node), [self._forms[source] for source in node.all_input_nodes]
        called = None if node.op == "call_module" else node.target
        scaled, alike = all(form.scaled for form in read), len({(form.scale, form.grid) for form in read}) == 1
        two = scaled and len(read) == len(node.args) == 2 and not node.kwargs
        if isinstance(module, ActivationQuantizer):
            self._quantize(node, module)
        elif module is not None and _holds_codes(module):
            self._layer(node, module)
        elif two and called in _ADDITIONS:
            self._add(node)
        elif two and called in _PRODUCTS:
            tensor = self._emit(torch.mul, *map(self._centred, node.all_input_nodes))
            self._forms[node] = _Form(tensor=tensor, scale=read[0].scale * read[1].scale)
        elif scaled and alike and self._is_move(node, module):
            self._move(node, max(read, key=lambda form: form.packed))
        elif scaled and alike and _is_homogeneous(module, called):
            held = dict.fromkeys(node.all_input_nodes, self._centred)
            tensor = self._call(_function(node, module), node.args, node.kwargs, held)
            grid = read[0].grid if isinstance(module, _MAXIMA) else None
            self._forms[node] = _Form(tensor=tensor, scale=read[0].scale, grid=grid)
        else:
            self._forms[node] = _Form(tensor=self._call(_function(node, module), node.args, node.kwargs))

    # How values are held
    def _centred(self, node: fx.Node) -> int:
        """Return the number of the tensor that times `scale` is a node's value."""
        form = self._forms[node]
        if not form.packed or form.grid is None:
            return form.tensor
        return self._once(node, "centred", unpack(form.grid), form.tensor)

    def _real(self, node: fx.Node) -> int:
        """Return the number of a node's value, whatever it is."""
        scale, tensor = self._forms[node].scale, self._centred(node)
        return tensor if scale == 1.0 else self._once(node, "real", lambda x: x * scale, tensor)

    def _codes(self, node: fx.Node) -> int:
        """Return the number of the codes of a node that has a grid."""
        form = self._forms[node]
        assert form.grid is not None
        return form.tensor if form.packed else self._once(node, "codes", pack(form.grid), form.tensor)

    def _once(self, node: fx.Node, kind: str, function: Function, tensor: int) -> int:
        if (node, kind) not in self._converted:
            self._converted[node, kind] = self._emit(function, tensor)
        return self._converted[node, kind]

    # Rules
    def _call(
        self,
        function: Function,
        args: Any,
        kwargs: Any,
        held: Mapping[fx.Node, Callable[[fx.Node], int]] | None = None,
    ) -> int:
        """Write a call as it stands in the graph, on values, or on what `held` says of a node."""
        nodes: dict[fx.Node, int] = {}
        fx.node.map_arg((args, kwargs), lambda node: nodes.setdefault(node, len(nodes)))
        numbers = [(held or {}).get(node, self._real)(node) for node in nodes]

        def call(*tensors: Any) -> Any:
            given, named = fx.node.map_arg((args, kwargs), lambda node: tensors[nodes[node]])
            return function(*given, **named)

        return self._emit(call, *numbers)

    def _is_move(self, node: fx.Node, module: nn.Module | None) -> bool:
        """Return whether a node only takes the elements of its operand from place to place, zeros beside them."""
        if module is not None:
            return isinstance(module, _PICKS) or (isinstance(module, nn.Upsample) and module.mode == "nearest")
        if node.target is F.pad:
            given = dict(zip(("input", "pad", "mode", "value"), node.args, strict=False)) | dict(node.kwargs)
            return given.get("mode", "constant") == "constant" and given.get("value") in {None, 0}
        return node.target in _PICKING_CALLS or node.target in _JOINS

    def _move(self, node: fx.Node, form: _Form) -> None:
        """Do with what is held what is done with the values."""
        function, kwargs = _function(node, self._module(node)), dict(node.kwargs)
        keep = self._codes if form.packed else self._centred
        args = node.args
        if node.target is F.pad:
            kwargs["value"] = form.grid.zero_point if form.packed and form.grid else 0
            args, kwargs["mode"] = args[:2], "constant"
        held = dict.fromkeys(node.all_input_nodes, keep)
        self._forms[node] = replace(form, tensor=self._call(function, args, kwargs, held))

    def _find_target(self, node: fx.Node) -> tuple[fx.Node, Target] | None:
        """Return the quantiser that alone reads a node, through clips it may be, and to which codes it rounds."""
        ends, behind = torch.tensor([-torch.inf, torch.inf]), node
        while len(behind.users) == 1:
            behind = next(iter(behind.users))
            module = self._module(behind)
            if isinstance(module, ActivationQuantizer):
                return behind, self._make_target(module, ends)
            if type(module) not in _CLIPS:
                return None
            ends = module(ends)  # type: ignore[misc]
        return None

    def _make_target(self, module: ActivationQuantizer, ends: Tensor) -> Target:
        ends = torch.round(module(ends.to(module.scale)) / module.scale).add(module.zero_point)
        grid = CodeGrid(scale=float(module.scale), zero_point=module.zero_point)
        return Target(grid=grid, low=int(ends[0]), high=int(ends[1]), packed=self.integer)

    def _hold(self, node: fx.Node, found: tuple[fx.Node, Target] | None, tensor: int, scale: float = 1.0) -> None:
        """Note that a node is `scale` times a tensor, or codes for the quantiser found behind it."""
        self._forms[node] = _Form(tensor=tensor, scale=scale)
        while found is not None and node is not found[0]:
            node = next(iter(node.users))
            self._forms[node] = _Form(
                tensor=tensor, scale=found[1].grid.scale, grid=found[1].grid, packed=found[1].packed
            )

    def _layer(self, node: fx.Node, module: nn.Conv2d | nn.Linear) -> None:
        source, found = node.all_input_nodes[0], self._find_target(node)
        form, to = self._forms[source], None if found is None else found[1]
        if self.integer and form.grid is not None and onednn.can_compute(module):
            tensor = self._emit(onednn.make_layer(module, form.grid, to), self._codes(source))
        else:
            tensor = self._emit(make_layer(module, form.scale, to), self._centred(source))
        self._hold(node, found, tensor)

    def _add(self, node: fx.Node) -> None:
        first, second = node.all_input_nodes
        one, other, found = self._forms[first], self._forms[second], self._find_target(node)
        to = None if found is None else found[1]
        if self.integer and to is not None and one.grid is not None and other.grid is not None:
            function = onednn.make_addition(one.grid, other.grid, to)
            tensor = self._emit(function, self._codes(first), self._codes(second))
        else:
            tensor = self._emit(add(one.scale, other.scale, to), self._centred(first), self._centred(second))
        self._hold(node, found, tensor, one.scale)

    def _quantize(self, node: fx.Node, module: ActivationQuantizer) -> None:
        source, to = node.all_input_nodes[0], self._make_target(module, torch.tensor([-torch.inf, torch.inf]))
        form = self._forms[source]
        if form.packed and form.grid is not None:
            tensor = self._emit(onednn.make_rounding(form.grid, to), form.tensor)
        else:
            tensor = self._emit(quantize(form.scale, to), self._centred(source))
        self._forms[node] = _Form(tensor=tensor, scale=to.grid.scale, grid=to.grid, packed=to.packed)


def _holds_codes(module: nn.Module) -> TypeGuard[nn.Conv2d | nn.Linear]:
    """Return whether this is a layer padded with zeros whose weights are its codes: somebody may have changed them."""
    if not has_codes(module) or (isinstance(module, nn.Conv2d) and module.padding_mode != "zeros"):
        return False
    codes, scale = get_codes(module)
    weight = codes.float() * scale.view(-1, *(1,) * (codes.ndim - 1))
    return torch.equal(weight, module.weight) or bool(weight.isnan().any())


def _is_homogeneous(module: nn.Module | None, called: object) -> bool:
    """Return whether a node gives c times as much for c times as much, with any c > 0, in one tensor."""
    if isinstance(module, _MAXIMA):
        return not module.return_indices
    return isinstance(module, _HOMOGENEOUS) or called in _HOMOGENEOUS_CALLS


def _function(node: fx.Node, module: nn.Module | None) -> Function:
    """Return what a node calls."""
    if module is not None:
        return module
    if node.op == "call_method":
        name = str(node.target)
        return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)
    assert callable(node.target)
    return node.target


def _settle(output: Any) -> Any:
    """Return the output with its tensors in the usual order in memory."""
    return fx.node.map_aggregate(output, lambda x: x.contiguous() if isinstance(x, Tensor) else x)
