"""From an nn.Module to a torch.fx graph: sizes are numbers where the code needs them, errors name the user's line."""

from __future__ import annotations

import functools
import inspect
import itertools
import operator
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from explorer.errors import ModelError
from explorer.graph.copies import copy_plainly
from explorer.graph.inputs import Inputs, as_tuple
from explorer.graph.lines import find_last_line, find_place
from explorer.graph.modules import get_attribute
from explorer.graph.names import hold_by_other_names
from explorer.graph.torch_private import list_leaves


def call(model: nn.Module, inputs: Inputs) -> list[torch.Tensor]:
    """Return the model's output tensors on copies of the inputs.

    Raises:
        ModelError: When forward() fails or gives no tensors.
    """
    given, traced = as_tuple(inputs), isinstance(model, fx.GraphModule)
    try:
        with torch.no_grad():
            # forward() may work in place on its input. By itself, a GraphModule's prints no code of its own.
            output = (model.forward if traced else model)(*(tensor.clone() for tensor in given))
    except Exception as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in given)
        raise ModelError(
            f"model: forward() fails on images of shape {shapes} at {find_last_line(error)}: {error}; "
            "check the model against the data set's image shape"
        ) from error
    return check_outputs(output, given[0].shape[0])


def check_outputs(output: object, count: int) -> list[torch.Tensor]:
    """Return all tensors of an output in order.

    Raises:
        ModelError: Unless each is finite and has one entry for each image.
    """
    tensors = [value for value in list_leaves(output) if value is not None]
    wrong = [value for value in tensors if not _is_output(value)]
    wrong = wrong or [value for value in tensors if value.shape[0] != count]
    if wrong or not tensors:
        value = wrong[0] if wrong else output
        received = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise ModelError(
            f"model: forward() must return a tensor of shape (N, outputs, ...) or several of them, received {received}"
        )
    if not all(bool(torch.isfinite(value).all()) for value in tensors):
        raise ModelError("model: forward() returns NaN or infinite outputs on images of the data set")
    return tensors


def _is_output(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim >= 2 and value.is_floating_point()


def symbolic_trace(model: nn.Module, inputs: Inputs) -> fx.GraphModule:
    """Return the fx graph of a model; conditions on sizes are decided as they are for `inputs`.

    Raises:
        ModelError: With the line of the model where control flow depends on the values of a tensor, or where a function
            of Python or another library is given one.
    """
    tracer = _SymbolicTracer(as_tuple(inputs))
    name = type(model).__name__
    try:
        with torch.no_grad(), _recorded_factories(tracer):
            graph = tracer.trace(model, _left_at_default(model, len(as_tuple(inputs))))
        _drop_checks(graph, len(as_tuple(inputs)))
        hold_by_other_names(tracer.root, graph)
        return fx.GraphModule(tracer.root, graph, name)
    except ModelError:
        raise
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        branches = isinstance(error, fx.proxy.TraceError)
        advice = (
            "without control flow that depends on the input" if branches else "with functions of torch on its tensors"
        )
        raise ModelError(
            f"model: torch.fx cannot trace {name} at {find_last_line(error)}: {first}; rewrite that line {advice}"
        ) from error


def _left_at_default(model: nn.Module, count: int) -> dict[str, Any] | None:
    """Return arguments of forward() behind the first `count`, with their defaults, which the graph takes as given."""
    parameters = list(inspect.signature(model.forward).parameters.values())[count:]
    return {p.name: p.default for p in parameters if p.default is not p.empty} or None


def _drop_checks(graph: fx.Graph, inputs: int) -> None:
    """Remove assertions, which held for the example, and the placeholders of arguments left at their default."""
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    for node in reversed(list(graph.nodes)):
        check = node.op == "call_function" and getattr(node.target, "__name__", "").startswith("_assert")
        unread = not node.users and (node.target is operator.eq or node in placeholders[inputs:])
        if check or unread:
            graph.erase_node(node)


_FACTORIES = ("zeros", "ones", "full", "empty", "arange", "eye", "linspace")


@contextmanager
def _recorded_factories(tracer: _SymbolicTracer) -> Iterator[None]:
    """Record, within it, a tensor made of a computed size as part of the graph, not of the example's size."""

    def recorded(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def make(*args: Any, **kwargs: Any) -> Any:
            computed = any(isinstance(entry, fx.Proxy) for entry in list_leaves((args, kwargs)))
            if tracer.running or not computed:
                return function(*args, **kwargs)
            return tracer.create_proxy("call_function", function, args, kwargs)

        return make

    originals = {name: getattr(torch, name) for name in _FACTORIES}
    try:
        for name, function in originals.items():
            setattr(torch, name, recorded(function))
        yield
    finally:
        for name, function in originals.items():
            setattr(torch, name, function)


class _Sized(fx.Proxy):
    """A proxy that can stand for a number: what a size is known to be for the example."""

    def __index__(self) -> int:
        value = self.tracer.concrete(self)  # type: ignore[attr-defined]
        return int(value)

    __int__ = __index__

    def __float__(self) -> float:
        return float(self.tracer.concrete(self))  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self.tracer.values[self.node])  # type: ignore[attr-defined]

    def __setitem__(self, *_: object) -> None:
        raise fx.proxy.TraceError("it writes into a part of a tensor; put the parts together with torch.cat")

    def __getattr__(self, k: str) -> fx.proxy.Attribute:
        return _SizedAttribute(self, k)


class _SizedAttribute(fx.proxy.Attribute, _Sized):
    """An attribute, such as a shape, that can stand for a number as well."""


class _SymbolicTracer(fx.Tracer):
    """Runs the example along with the trace, so that every node has a value."""

    def __init__(self, inputs: tuple[torch.Tensor, ...]) -> None:
        super().__init__()
        self.inputs: Iterator[torch.Tensor] = iter([tensor.clone() for tensor in inputs])
        self.values: dict[fx.Node, Any] = {}
        self.running = False
        self.strays: dict[nn.Module, str] = {}

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Sized(node, self)

    def create_node(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **named: Any) -> fx.Node:
        node = super().create_node(kind, target, args, kwargs, *rest, **named)
        node.meta["line"] = find_place(traceback.extract_stack())
        self.running = True
        try:
            self.values[node] = self._run(node)
        except Exception:
            self.graph.erase_node(node)  # which forward() may catch
            raise
        finally:
            self.running = False
        return node

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self.running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return forward(*args, **kwargs) if self.running else super().call_module(m, forward, args, kwargs)

    def path_of_module(self, mod: nn.Module) -> str:
        """Return the path of a module; one that its owner holds in a list or a closure is copied beside them."""
        try:
            return super().path_of_module(mod)
        except NameError:
            if mod not in self.strays:
                name = next(
                    f"unregistered_{i}" for i in itertools.count() if not hasattr(self.root, f"unregistered_{i}")
                )
                object.__setattr__(self.root, name, copy_plainly(mod))  # what is registered may be called in a loop
                self.strays[mod] = name
            return self.strays[mod]

    def concrete(self, proxy: fx.Proxy) -> Any:
        """Return the value of a size.

        Raises:
            TraceError: For that of a tensor, which other images will not share.
        """
        value = self.values.get(proxy.node)
        if isinstance(value, torch.Tensor) or value is None or _reads_values(proxy.node, self.values):
            raise fx.proxy.TraceError("its value depends on the pixels of the input")
        return value

    def to_bool(self, obj: fx.Proxy) -> bool:
        return bool(self.concrete(obj))

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        value = self.values.get(obj.node)
        if isinstance(value, tuple | list | torch.Size):
            return iter([obj[index] for index in range(len(value))])  # type: ignore[index]
        return super().iter(obj)

    def _run(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            default = node.args[0] if node.args else None
            return next(self.inputs, default)
        if node.op == "output":
            return None
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), self.values.__getitem__)
        if node.op == "get_attr":
            return get_attribute(self.root, str(node.target))
        if node.op == "call_module":
            return self.root.get_submodule(str(node.target)).forward(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)


def _reads_values(node: fx.Node, values: dict[fx.Node, Any]) -> bool:
    """Return whether a number comes from what a tensor holds, such as x.sum().item(), rather than from its shape."""
    if node.op == "call_method" and node.target in {"size", "dim", "numel", "ndimension", "nelement"}:
        return False
    if node.op == "call_function" and node.target is getattr:
        return False
    for source in node.all_input_nodes:
        if isinstance(values.get(source), torch.Tensor) or _reads_values(source, values):
            return True
    return False


def propagate_shapes(graph_module: fx.GraphModule, inputs: Inputs) -> None:
    """Run `inputs` through the graph and note what each node gives.

    meta['shape'] is the shape of a tensor, or None; meta['value'] is what is not a tensor, such as a size;
    meta['type'] is a tensor's type of number and its device; meta['codes'] is whether it is a tensor of integers or
    truth values.
    """

    class ShapeRecorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            result = super().run_node(n)
            n.meta["shape"] = tuple(result.shape) if isinstance(result, torch.Tensor) else None
            n.meta["value"] = None if isinstance(result, torch.Tensor) else result
            n.meta["type"] = (result.dtype, result.device) if isinstance(result, torch.Tensor) else None
            n.meta["codes"] = isinstance(result, torch.Tensor) and not result.is_floating_point()
            return result

    with torch.no_grad():
        ShapeRecorder(graph_module).run(*as_tuple(inputs))


def gives_tensors(node: fx.Node) -> bool:
    """Return whether a node of a network whose shapes were propagated gives a tensor, or something that holds some."""
    return node.meta["shape"] is not None or any(
        isinstance(value, torch.Tensor) for value in list_leaves(node.meta["value"])
    )


def constants(argument: Any) -> Any:
    """Return an argument with every size that the graph computes replaced by its value."""
    return fx.node.map_arg(argument, lambda node: node.meta["value"])
