"""From the graph of a compressed network to steps that hold values as integers from one layer to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from explorer.compress.compiled import onednn
from explorer.compress.compiled.codes import CodeGrid, Target, add, make_layer, normalize, pack, quantize, unpack
from explorer.compress.compiled.rules import (
    ADDITIONS,
    MAXIMA,
    PRODUCTS,
    Function,
    find_target,
    get_function,
    holds_codes,
    is_homogeneous,
    is_move,
    make_target,
)
from explorer.compress.quantize import ActivationQuantizer
from explorer.graph.modules import BatchNorm, get_attribute

_CENTRED, _REAL, _CODES = "centred", "real", "codes"
"""What a held value is converted to."""
CACHED_BYTES, FEWEST_IMAGES = 2**21, 16
"""Bytes of the largest activation of the batches that are computed fastest (measured: ResNet-20 at 32 images in
float32, at 128 in codes), and images that share the reading of weights even where they are more (assumed)."""


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
    """Steps so far, and how each node's value is held.

    What a layer gives is rounded to the codes that alone are read of it, unless the compiler `stops_at_layers`.
    """

    def __init__(self, model: fx.GraphModule, *, integer: bool, stops_at_layers: bool = False) -> None:
        self.model, self.integer, self.stops_at_layers = model, integer, stops_at_layers
        self.inputs: list[int] = []
        self.constants: dict[int, Any] = {}
        self._steps: list[Step] = []
        self._forms: dict[fx.Node, _Form] = {}
        self._converted: dict[tuple[fx.Node, str], int] = {}
        self._count = 0

    def compile(self) -> tuple[tuple[Step, ...], int]:
        """Return all steps, each with the tensors that it is the last to read but for constants, and the output."""
        nodes = list(self.model.graph.nodes)
        for node in nodes[:-1]:
            self.lower(node)
        output = self._call(_settle, nodes[-1].args, {})
        read, steps = {output, *self.constants}, []
        for step in reversed(self.take_steps()):
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

    def take_steps(self) -> list[Step]:
        """Return the steps written since this was last called."""
        steps, self._steps = self._steps, []
        return steps

    def forget(self, node: fx.Node) -> set[int]:
        """Return the tensors that held a node, which is not read again, and nothing else that may be read."""
        numbers = {
            self._converted.pop((node, kind)) for kind in (_CENTRED, _REAL, _CODES) if (node, kind) in self._converted
        }
        return {self._forms.pop(node).tensor, *numbers} - {form.tensor for form in self._forms.values()}

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.model.get_submodule(str(node.target)) if node.op == "call_module" else None

    def lower(self, node: fx.Node) -> None:
        """Write the steps of a node, and of those behind it that become part of it; nodes come in their order."""
        if node.op == "placeholder":
            self.inputs.append(self._number())
            self._forms[node] = _Form(tensor=self.inputs[-1])
        elif node.op == "get_attr":
            self._forms[node] = _Form(tensor=self._number())
            self.constants[self._forms[node].tensor] = get_attribute(self.model, str(node.target))
        elif node not in self._forms:
            self._compute(node)

    def _compute(self, node: fx.Node) -> None:
        module, read = self._module(node), [self._forms[source] for source in node.all_input_nodes]
        called = None if node.op == "call_module" else node.target
        scaled, alike = all(form.scaled for form in read), len({(form.scale, form.grid) for form in read}) == 1
        two = scaled and len(read) == len(node.args) == 2 and not node.kwargs
        if isinstance(module, ActivationQuantizer):
            self._quantize(node, module)
        elif module is not None and holds_codes(module):
            self._layer(node, module)
        elif isinstance(module, BatchNorm):
            self._norm(node, module)
        elif two and called in ADDITIONS:
            self._add(node)
        elif two and called in PRODUCTS:
            tensor = self._emit(torch.mul, *map(self._centred, node.all_input_nodes))
            self._forms[node] = _Form(tensor=tensor, scale=read[0].scale * read[1].scale)
        elif scaled and alike and is_move(node, module):
            self._move(node, max(read, key=lambda form: form.packed))
        elif scaled and alike and is_homogeneous(module, called):
            held = dict.fromkeys(node.all_input_nodes, self._centred)
            tensor = self._call(get_function(node, module), node.args, node.kwargs, held)
            grid = read[0].grid if isinstance(module, MAXIMA) else None
            self._forms[node] = _Form(tensor=tensor, scale=read[0].scale, grid=grid)
        else:
            self._forms[node] = _Form(tensor=self._call(get_function(node, module), node.args, node.kwargs))

    # How values are held
    def _centred(self, node: fx.Node) -> int:
        """Return the number of the tensor that times `scale` is a node's value."""
        form = self._forms[node]
        if not form.packed or form.grid is None:
            return form.tensor
        return self._once(node, _CENTRED, unpack(form.grid), form.tensor)

    def real(self, node: fx.Node) -> int:
        """Return the number of a node's value, whatever it is."""
        scale, tensor = self._forms[node].scale, self._centred(node)
        return tensor if scale == 1.0 else self._once(node, _REAL, lambda x: x * scale, tensor)

    def _codes(self, node: fx.Node) -> int:
        """Return the number of the codes of a node that has a grid."""
        form = self._forms[node]
        assert form.grid is not None
        return form.tensor if form.packed else self._once(node, _CODES, pack(form.grid), form.tensor)

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
        numbers = [(held or {}).get(node, self.real)(node) for node in nodes]

        def call(*tensors: Any) -> Any:
            given, named = fx.node.map_arg((args, kwargs), lambda node: tensors[nodes[node]])
            return function(*given, **named)

        return self._emit(call, *numbers)

    def _move(self, node: fx.Node, form: _Form) -> None:
        """Do with what is held what is done with the values."""
        function, kwargs = get_function(node, self._module(node)), dict(node.kwargs)
        keep = self._codes if form.packed else self._centred
        args = node.args
        if node.target is F.pad:
            kwargs["value"] = form.grid.zero_point if form.packed and form.grid else 0
            args, kwargs["mode"] = args[:2], "constant"
        held = dict.fromkeys(node.all_input_nodes, keep)
        self._forms[node] = replace(form, tensor=self._call(function, args, kwargs, held))

    def _hold(self, node: fx.Node, found: tuple[fx.Node, Target] | None, tensor: int, scale: float = 1.0) -> None:
        """Note that a node is `scale` times a tensor, or codes for the quantiser found behind it."""
        self._forms[node] = _Form(tensor=tensor, scale=scale)
        while found is not None and node is not found[0]:
            node = next(iter(node.users))
            self._forms[node] = _Form(
                tensor=tensor, scale=found[1].grid.scale, grid=found[1].grid, packed=found[1].packed
            )

    def _layer(self, node: fx.Node, module: nn.Conv2d | nn.Linear) -> None:
        source = node.all_input_nodes[0]
        found = None if self.stops_at_layers else find_target(self.model, node, packed=self.integer)
        form, to = self._forms[source], None if found is None else found[1]
        if self.integer and form.grid is not None and onednn.can_compute(module):
            tensor = self._emit(onednn.make_layer(module, form.grid, to), self._codes(source))
        else:
            tensor = self._emit(make_layer(module, form.scale, to), self._centred(source))
        self._hold(node, found, tensor)

    def _norm(self, node: fx.Node, module: BatchNorm) -> None:
        source, found = node.all_input_nodes[0], find_target(self.model, node, packed=self.integer)
        function = normalize(module, self._forms[source].scale, None if found is None else found[1])
        self._hold(node, found, self._emit(function, self._centred(source)))

    def _add(self, node: fx.Node) -> None:
        first, second = node.all_input_nodes
        one, other, found = self._forms[first], self._forms[second], find_target(self.model, node, packed=self.integer)
        to = None if found is None else found[1]
        if self.integer and to is not None and one.grid is not None and other.grid is not None:
            function = onednn.make_addition(one.grid, other.grid, to)
            tensor = self._emit(function, self._codes(first), self._codes(second))
        else:
            tensor = self._emit(add(one.scale, other.scale, to), self._centred(first), self._centred(second))
        self._hold(node, found, tensor, one.scale)

    def _quantize(self, node: fx.Node, module: ActivationQuantizer) -> None:
        source, to = node.all_input_nodes[0], make_target(module, packed=self.integer)
        form = self._forms[source]
        if form.packed and form.grid is not None:
            tensor = self._emit(onednn.make_rounding(form.grid, to), form.tensor)
        else:
            tensor = self._emit(quantize(form.scale, to), self._centred(source))
        self._forms[node] = _Form(tensor=tensor, scale=to.grid.scale, grid=to.grid, packed=to.packed)


def count_images_at_once(model: fx.GraphModule, batch_size: int, *, integer: bool) -> int:
    """Return how many images are computed fastest together, at most `batch_size`."""
    shapes = [node.meta.get("shape") for node in model.graph.nodes]
    largest = max((prod(shape[1:]) for shape in shapes if shape), default=1) * (1 if integer else 4)
    on_cpu = all(tensor.device.type == "cpu" for tensor in model.parameters())
    return min(batch_size, max(FEWEST_IMAGES, CACHED_BYTES // largest) if on_cpu else batch_size)


def _settle(output: Any) -> Any:
    """Return the output with its tensors in the usual order in memory."""
    return fx.node.map_aggregate(output, lambda x: x.contiguous() if isinstance(x, Tensor) else x)
