"""Networks in many styles with hooks, computed weights, copies and wrappers: right, or refused by name."""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable, Collection
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.parametrize import register_parametrization
from torch.optim.swa_utils import AveragedModel

from explorer.errors import ModelError
from explorer.graph.canonical import canonicalise
from explorer.graph.copies import unwrap
from explorer.graph.inputs import Inputs
from explorer.graph.symbolic import call
from explorer.graph.trace import trace
from explorer.models.factory import call_factory
from explorer.settings import ModelSettings
from tests.support import styles


def every_pair(ways: Collection[str]) -> list[Any]:
    """Every style in every way; all pairs are slow but one of each style, the ways in turn."""
    return [
        pytest.param(style, way, marks=() if i % len(ways) == j else pytest.mark.slow)
        for i, style in enumerate(styles.STYLES)
        for j, way in enumerate(ways)
    ]


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


class Symmetric(nn.Module):
    """Computed from the weight, and from state of its own."""

    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("offset", torch.tensor(0.1))

    def forward(self, weight: Tensor) -> Tensor:
        return weight.abs() - self.offset

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


def parametrized(module: nn.Module, name: str) -> None:
    register_parametrization(module, name, Halved())
    register_parametrization(module, name, Symmetric())


def pruned(module: nn.Module, name: str) -> None:
    prune.random_unstructured(module, name, 0.3)  # type: ignore[no-untyped-call]
    prune.l1_unstructured(module, name, 0.3)  # type: ignore[no-untyped-call]


COMPUTED: dict[str, Callable[[nn.Module, str], Any]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "parametrized": parametrized,
    "pruned": pruned,
    "old_weight_norm": torch.nn.utils.weight_norm,
    "old_spectral_norm": torch.nn.utils.spectral_norm,
}
"""Ways of computing a weight in each call."""


def with_computed_weights(name: str, way: str) -> nn.Module:
    """A style whose weights of two axes and more are all computed, once by way of a copy."""
    model = styles.build(name)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for module in list(model.modules()):
            for key, parameter in list(module._parameters.items()):
                if parameter is not None and parameter.ndim > 1:
                    COMPUTED[way](module, key)
    return model


def state(model: nn.Module) -> list[object]:
    """All that a model consists of: classes, flags, attributes and hooks of every module, by identity."""
    return [
        (path, type(module), {key: dict(value) if isinstance(value, dict) else value for key, value in held.items()})
        for path, module in model.named_modules()
        if (held := {key: value for key, value in vars(module).items() if not isinstance(value, Tensor)})
    ]


def check_untouched_and_right(model: nn.Module, inputs: Inputs) -> None:
    """Canonicalise twice: both compute what the model computes, which stays what it was to the bit."""
    logits = call(model.eval(), inputs)
    model.train()
    before, tensors = state(model), copy.deepcopy(model.state_dict())
    for _ in range(2):
        canonical = canonicalise(model, inputs)
        for expected, received in zip(logits, call(canonical, inputs), strict=True):
            assert torch.allclose(expected, received, rtol=1e-5, atol=1e-5)
    assert state(model) == before
    assert all(module.training for module in model.modules())
    after = model.state_dict()
    assert list(after) == list(tensors)
    assert all(torch.equal(after[key], tensors[key]) for key in tensors)
    for expected, received in zip(logits, call(model.eval(), inputs), strict=True):
        assert torch.equal(expected, received)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize(("name", "way"), every_pair(COMPUTED))
def test_computed_weights_are_followed_and_the_model_stays_as_it_was(name: str, way: str) -> None:
    model, inputs = with_computed_weights(name, way), styles.inputs(name, 2)
    check_untouched_and_right(model, inputs)
    if way not in {"pruned", "old_weight_norm"}:  # which torch does not copy
        check_untouched_and_right(copy.deepcopy(model), inputs)


def test_statistics_that_are_computed_stay_statistics() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
    parametrized(model[1].eval(), "running_mean")
    images = torch.rand(2, 3, 8, 8)
    (expected,), found = call(model, images), canonicalise(model, images)
    assert torch.allclose(found(images), expected, atol=1e-6)
    assert isinstance(found.get_submodule("1").get_buffer("running_mean"), Tensor)


def test_copies_of_one_computed_layer_and_layers_that_share_what_they_compute_from() -> None:
    layer = parametrizations.weight_norm(nn.Conv2d(3, 3, 3, padding=1))
    check_untouched_and_right(nn.Sequential(*(copy.deepcopy(layer) for _ in range(3))), torch.randn(2, 3, 8, 8))
    first, second, third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
    second.weight = third.weight = first.weight
    for each in (first, second):
        register_parametrization(each, "weight", Halved())
    prune.random_unstructured(third, "weight", 0.5)  # type: ignore[no-untyped-call]
    model, images = nn.Sequential(first, second, third), torch.randn(2, 3, 8, 8)
    check_untouched_and_right(model, images)
    shared = [each.shares_weights for each in trace(canonicalise(model, images), images).layers]
    assert shared == ["", "0", ""]


def scale_features(module: nn.Module, given: Any, output: Any = None) -> Any:
    raise AssertionError("no hook may be called")


HOOKS: dict[str, Callable[[nn.Module, Any], Any]] = {
    "forward pre-hook": lambda module, hook: module.register_forward_pre_hook(hook),
    "forward hook": lambda module, hook: module.register_forward_hook(hook, always_call=True),
}


@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize("name", styles.STYLES)
def test_forward_hooks_are_refused_by_name_wherever_they_are(name: str, kind: str) -> None:
    model, inputs = styles.build(name), styles.inputs(name, 2)
    for path, module in model.named_modules():
        where = repr(path) if path else type(model).__name__
        handle = HOOKS[kind](module, functools.partial(scale_features))
        with pytest.raises(
            ModelError, match=rf"the {kind} 'scale_features' \(test_altered_styles.py, line \d+\) of {where} computes"
        ):
            canonicalise(model, inputs)
        handle.remove()
    canonicalise(model, inputs)


@pytest.mark.parametrize("register", [register_module_forward_hook, register_module_forward_pre_hook])
def test_hooks_of_all_modules_are_refused(register: Callable[[Any], Any]) -> None:
    handle = register(scale_features)
    try:
        with pytest.raises(ModelError, match=r"a global forward (pre-)?hook 'scale_features' .* of all modules"):
            canonicalise(nn.Sequential(nn.Linear(3, 4)), torch.randn(2, 3))
    finally:
        handle.remove()


@pytest.mark.parametrize("name", styles.STYLES)
def test_hooks_of_gradients_and_state_dicts_stay_with_the_model(name: str) -> None:
    model = styles.build(name)
    for module in list(model.modules())[1:] or [model]:
        module.register_full_backward_hook(scale_features)
        module.register_full_backward_pre_hook(scale_features)
        module.register_state_dict_post_hook(lambda *_: None)  # type: ignore[no-untyped-call]
    inputs = styles.inputs(name, 2)
    check_untouched_and_right(model, inputs)
    canonical = canonicalise(model, inputs)
    assert not any(module._backward_hooks or module._state_dict_hooks for module in canonical.modules())


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


def twice(self: Any, x: Tensor) -> Tensor:
    return self.conv(x) * 2  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", ["", "0", "0.conv"])
def test_replaced_methods_of_a_network_or_of_a_layer_are_refused_and_those_of_a_block_followed(path: str) -> None:
    model: nn.Module = nn.Sequential(Block(), nn.Flatten(), nn.Linear(108, 5))
    module = model.get_submodule(path)
    replaced = module.forward
    if path == "0":
        module.forward = types.MethodType(twice, module)
        check_untouched_and_right(model, torch.randn(2, 3, 8, 8))
        module.forward = lambda x: replaced(x) * 2
        canonical = canonicalise(model, torch.randn(2, 3, 8, 8))
        images = torch.randn(3, 3, 8, 8)
        assert torch.allclose(canonical(images), model(images), atol=1e-5)
        return
    module.forward = lambda x: replaced(x) * 2
    with pytest.raises(ModelError, match=r"the forward\(\) that was put in the place of its own, '.*<lambda>' \(test_"):
        canonicalise(model, torch.randn(2, 3, 8, 8))


def test_a_replaced_method_that_forward_calls_is_refused_and_one_of_a_class_of_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, images = nn.Sequential(nn.Conv2d(3, 4, 3)), torch.randn(2, 3, 8, 8)
    model[0]._conv_forward = lambda x, weight, bias: x[:, :1]  # type: ignore[assignment]
    with pytest.raises(ModelError, match=r"the _conv_forward\(\) that was put in the place of its own, .* of '0'"):
        canonicalise(model, images)
    monkeypatch.setattr(nn.Conv2d, "forward", twice)
    with pytest.raises(ModelError, match=r"the forward\(\) that was put in the place of its own, 'twice' .* of '0'"):
        canonicalise(nn.Sequential(nn.Conv2d(3, 4, 3)), images)


def distributed(model: nn.Module) -> nn.Module:
    """As DistributedDataParallel holds a network, without processes."""
    wrapper = DistributedDataParallel.__new__(DistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = model
    return wrapper


WRAPPERS: dict[str, Callable[[nn.Module], Any]] = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "parallel": nn.DataParallel,
    "averaged": AveragedModel,
    "distributed": distributed,
    "nested": lambda model: torch.compile(AveragedModel(nn.DataParallel(model)), backend="eager"),
}


@pytest.mark.parametrize(("name", "wrapper"), every_pair(WRAPPERS))
def test_a_wrapped_network_is_the_one_inside(name: str, wrapper: str) -> None:
    model, inputs = styles.build(name), styles.inputs(name, 2)
    wrapped = WRAPPERS[wrapper](model)
    found, expected = canonicalise(wrapped, inputs), canonicalise(model, inputs)
    assert found.code == expected.code
    assert trace(found, inputs) == trace(expected, inputs)
    assert all(torch.equal(a, b) for a, b in zip(call(found, inputs), call(expected, inputs), strict=True))
    assert [type(each) for each in unwrap(wrapped).modules()] == [type(each) for each in model.modules()]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_part_is_the_one_inside(wrapper: str) -> None:
    model, images = nn.Sequential(Block(), nn.Flatten(), nn.Linear(108, 5)), torch.randn(2, 3, 8, 8)
    expected = canonicalise(model, images)
    model[0] = WRAPPERS[wrapper](model[0])
    assert trace(canonicalise(model, images), images) == trace(expected, images)
    hooked = WRAPPERS[wrapper](nn.Linear(3, 4))
    hooked.register_forward_hook(scale_features)
    with pytest.raises(ModelError, match="the forward hook 'scale_features'"):
        canonicalise(hooked, torch.randn(2, 3))


def wrapped_network() -> nn.Module:
    return nn.DataParallel(AveragedModel(nn.Linear(3, 4)))


def test_a_factory_may_return_a_wrapped_network() -> None:
    settings = ModelSettings(factory=f"{__name__}:wrapped_network", checkpoint="weights.pt")
    assert type(call_factory(settings)) is nn.Linear


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("inside", [False, True])
def test_torchscript_is_refused_in_words_of_its_own(inside: bool) -> None:
    images = torch.randn(2, 3, 8, 8)
    for script in (torch.jit.script(Block()), torch.jit.trace(Block(), images)):  # type: ignore[no-untyped-call]
        model = nn.Sequential(script, nn.Flatten()) if inside else script
        with pytest.raises(ModelError, match="is TorchScript, which has no Python code to trace; give the network"):
            canonicalise(model, images)


def test_what_cannot_be_copied_and_what_has_no_weights_yet_is_refused() -> None:
    model = Block()
    model.cache = [model.conv.weight * 2]  # type: ignore[assignment]
    with pytest.raises(ModelError, match="it cannot be copied: RuntimeError: Only Tensors created explicitly"):
        canonicalise(model, torch.randn(2, 3, 8, 8))
    with pytest.raises(ModelError, match="'0' has weights without values yet; call the network on one batch first"):
        canonicalise(nn.Sequential(nn.LazyConv2d(4, 3)), torch.randn(2, 3, 8, 8))
