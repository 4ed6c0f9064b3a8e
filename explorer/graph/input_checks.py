"""Which inputs a network is refused for: what cannot be quantised, or is not what forward() takes."""

from __future__ import annotations

import inspect
from inspect import Parameter

from torch import Tensor, nn

from explorer.errors import ModelError
from explorer.graph.inputs import Inputs, as_tuple


def check_inputs(model: nn.Module, inputs: Inputs) -> None:
    """Refuse inputs that no network of this kind is explored on.

    Raises:
        ModelError: In one line that names the input by the argument of forward() that it is.
    """
    given = as_tuple(inputs)
    names = name_arguments(model, len(given))
    for name, tensor in zip(names, given, strict=True):
        _check_input(name, tensor)
    first, kind = given[0], given[0].dtype
    for name, tensor in zip(names[1:], given[1:], strict=True):
        if len(tensor) != len(first):
            raise ModelError(
                f"model: input {name!r}: expected {len(first)} entries along its first axis, one for each image, as "
                f"{names[0]!r} has, received {len(tensor)}"
            )
        if tensor.dtype != kind:
            raise ModelError(f"model: input {name!r}: expected {kind}, as {names[0]!r} has, received {tensor.dtype}")
    other = next((p.dtype for p in model.parameters() if p.is_floating_point() and p.dtype != kind), None)
    if other is not None:
        raise ModelError(f"model: its weights are of {other}, the images of {kind}; convert it by model.to({kind})")


def _check_input(name: str, tensor: object) -> None:
    if not isinstance(tensor, Tensor):
        raise ModelError(
            f"model: input {name!r}: expected a tensor, received a {type(tensor).__name__}; give each tensor that "
            "forward() reads an argument of its own"
        )
    if not tensor.is_floating_point():
        raise ModelError(
            f"model: input {name!r}: expected floating-point numbers, received {tensor.dtype}, which no quantiser "
            "stands for; give what is looked up by them (embeddings, one-hot vectors) as the input instead"
        )
    if tensor.ndim < 2:
        shape = " x ".join(("N", *map(str, tensor.shape[1:])))
        raise ModelError(
            f"model: input {name!r}: expected N x features or N x channels x height x width, received {shape}; give "
            "single numbers as N x 1"
        )


def name_arguments(model: nn.Module, count: int, where: str = "model") -> list[str]:
    """Return the names of forward()'s first arguments.

    Raises:
        ModelError: Where it does not take so many tensors by their place; `where` is how the network is called then.
    """
    try:
        parameters = list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):  # of a forward() that is not written in Python
        return [f"input {number}" for number in range(1, count + 1)]
    if any(parameter.kind is Parameter.VAR_POSITIONAL for parameter in parameters):
        raise ModelError(f"{where}: forward() takes any number of arguments (*args); give each a name")
    by_place = [p.name for p in parameters if p.kind in {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}]
    required = [p.name for p in parameters if p.default is Parameter.empty and p.kind is not Parameter.VAR_KEYWORD]
    by_name = next((name for name in required if name not in by_place), None)
    if by_name is not None:
        raise ModelError(f"{where}: input {by_name!r}: forward() takes it by name alone; let it take it by place, too")
    if not len(required) <= count <= len(by_place):
        takes = f"{len(by_place)}" if len(required) == len(by_place) else f"{len(required)} to {len(by_place)}"
        inputs = "input" if takes == "1" else "inputs"
        raise ModelError(
            f"{where}: forward() takes {takes} {inputs} ({', '.join(by_place)}), received {count}; give one tensor "
            "for each"
        )
    return by_place[:count]
