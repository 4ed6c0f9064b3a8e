"""Which built networks are still there."""

from collections.abc import Callable
from dataclasses import replace

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.evaluate.engine import Runner
from explorer.study.built import COMPILED, BuiltNetworks

BasisOf = Callable[[str], CompressionContext]


def runner_of(context: CompressionContext, bits: int) -> Runner:
    return Runner(apply(context, uniform(context.graph, bits)), 16)


def test_the_latest_are_kept_up_to_both_limits(context: BasisOf) -> None:
    base = context("lenet5_digits")
    runners = {bits: runner_of(base, bits) for bits in (3, 4, 5)}
    tensors = (*runners[3].model.parameters(), *runners[3].model.buffers())
    size = COMPILED * sum(tensor.nbytes for tensor in tensors)
    for built in (BuiltNetworks(most=2), BuiltNetworks(most_bytes=2 * size)):
        for bits, runner in runners.items():
            built.keep(base, uniform(base.graph, bits), runner)
        found = [built.find(base, uniform(base.graph, bits)) for bits in runners]
        assert found == [None, runners[4], runners[5]]


def test_one_of_another_context_is_not_found(context: BasisOf) -> None:
    base, built = context("lenet5_digits"), BuiltNetworks()
    built.keep(base, uniform(base.graph), runner_of(base, 8))
    assert built.find(base, uniform(base.graph)) is not None
    assert built.find(replace(base), uniform(base.graph)) is None


def test_one_that_is_too_large_is_not_kept(context: BasisOf) -> None:
    base, built = context("lenet5_digits"), BuiltNetworks(most_bytes=10)
    built.keep(base, uniform(base.graph), runner_of(base, 8))
    assert built.find(base, uniform(base.graph)) is None
