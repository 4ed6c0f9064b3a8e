"""Random integer programs: every kind of step, in forms that no network has as well."""

from __future__ import annotations

from typing import Any

import numpy as np

from explorer.integer.operations import (
    Concatenate,
    Conv,
    Dilate,
    Linear,
    LookUp,
    MaxPool,
    Multiply,
    Pad,
    PixelShuffle,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
    Step,
    SumPool,
    Threshold,
)
from explorer.integer.program import Input, IntegerProgram, Tensor


class Maker:
    """A program so far; each method appends a step of one kind on tensors that fit, and returns the new one."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.steps: list[Step] = []
        self.tensors: dict[str, Tensor] = {}
        self.arrays: dict[str, Any] = {}
        self.hidden: set[str] = set()
        self.add(QuantizeInput, "uint8", (4, 6, 7), input="images", scale=0.02, zero_point=7, low=0, high=255)

    def add(self, kind: Any, type_: Any, shape: tuple[int, ...], output: str | None = None, /, **fields: Any) -> Tensor:
        name = output or f"t{len(self.steps)}"
        self.steps.append(kind(output=name, **fields))
        low, high = (0, 255) if type_ == "uint8" else (-(2**31), 2**31 - 1)
        self.tensors[name] = Tensor(name=name, type=type_, shape=shape, low=low, high=high)
        return self.tensors[name]

    def array(self, values: Any, dtype: Any) -> str:
        name = f"a{len(self.arrays)}"
        self.arrays[name] = np.asarray(values).astype(dtype)
        return name

    def pick(self, type_: str = "uint8", rank: int = 3) -> Tensor:
        seen = [each for name, each in self.tensors.items() if name not in self.hidden]
        fitting = [each for each in seen if each.type == type_ and len(each.shape) == rank]
        return fitting[self.random.integers(len(fitting))] if fitting else self.pick()

    def draw(self, low: int, high: int, *shape: int) -> Any:
        return self.random.integers(low, high + 1, shape or None)

    def conv(self) -> Tensor:
        source = self.pick()
        channels, height, width = source.shape
        groups = int(self.random.choice([each for each in (1, 2, channels) if channels % each == 0]))
        count, kernel = groups * int(self.draw(1, 3)), self.draw(1, 3, 2)
        padding, dilation, stride = (tuple(self.draw(*ends).tolist()) for ends in ((0, 2, 4), (1, 2, 2), (1, 2, 2)))
        sides = zip((height, width), kernel, padding[:2], padding[2:], dilation, stride, strict=True)
        rows, columns = ((n + a + b - d * (k - 1) - 1) // s + 1 for n, k, a, b, d, s in sides)
        if min(rows, columns) < 1:
            return source
        limit = 2 ** int(self.draw(0, 7)) - 1
        weight = self.draw(-limit - 1, limit, count, channels // groups, *kernel)
        if self.draw(0, 3) == 0:
            weight = self.random.choice(self.draw(-128, 127, 3), weight.shape)
        return self.add(
            Conv,
            "int32",
            (count, int(rows), int(columns)),
            input=source.name,
            weight=self.array(weight, np.int8),
            bias=self.array(self.draw(-5000, 5000, count), np.int32) if self.draw(0, 1) else None,
            zero_point=int(self.draw(0, 40)),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        )

    def entries(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that broadcasts against another: a scalar, or one entry for each index of some axes."""
        if self.draw(0, 1):
            return ()
        return tuple(size if self.draw(0, 1) else 1 for size in shape)

    def requantize(self, *sources: Tensor, output: str = "", wide: bool = False) -> Tensor:
        shape = np.broadcast_shapes(*(each.shape for each in sources))
        shift = self.draw(1, 30, *self.entries(shape))
        multipliers = [self.draw(-(2**9), 2**9, *np.shape(shift)) * 2 ** (shift // 3) for _ in sources]
        zero_point = int(self.draw(0, 255))
        offset = (2 * zero_point + 1) << (shift - 1).astype(np.int64)
        if self.draw(0, 1):
            offset = offset + self.draw(-(2**20), 2**20, *self.entries(shape))
        low, high = self.draw(0, 60, *self.entries(shape)), self.draw(90, 255, *self.entries(shape))
        if wide:
            low, high = self.draw(-(2**20), 0), self.draw(1, 2**20)
        return self.add(
            Requantize,
            "int32" if wide else "uint8",
            shape,
            output,
            inputs=tuple(each.name for each in sources),
            multipliers=tuple(self.array(each, np.int32) for each in multipliers),
            offset=self.array(offset, np.int64),
            shift=self.array(shift, np.uint8),
            low=self.array(low, np.int32),
            high=self.array(high, np.int32),
        )

    def code(self) -> Tensor:
        """Codes of sums, or of the sum of two tensors, one of which may be repeated."""
        source = self.pick("int32")
        alike = [each for name, each in self.tensors.items() if each.shape == source.shape and name not in self.hidden]
        if self.draw(0, 1):
            return self.requantize(source)
        if self.draw(0, 1):
            return self.requantize(source, self.small(source))
        return self.requantize(source, alike[self.draw(0, len(alike) - 1)])

    def small(self, like: Tensor) -> Tensor:
        """The entries at the beginning of some axes of a tensor."""
        result = like
        for axis in (1, 2, 3):
            if self.draw(0, 1):
                shape = tuple(1 if number == axis else size for number, size in enumerate(result.shape, 1))
                indices = self.array([0], np.int64)
                result = self.add(Select, result.type, shape, input=result.name, axis=axis, indices=indices)
        return result

    def threshold(self) -> Tensor:
        fine, depth = self.requantize(self.pick("int32"), wide=True), int(self.draw(1, 4))
        breakpoints = np.sort(self.draw(-(2**20), 2**20, 2**depth - 1))
        self.hidden.add(fine.name)
        table = self.array(self.draw(0, 255, 2**depth), np.uint8)
        return self.add(
            Threshold,
            "uint8",
            fine.shape,
            input=fine.name,
            breakpoints=self.array(breakpoints, np.int32),
            table=table,
        )

    def look_up(self) -> Tensor:
        source = self.pick()
        table = self.array(self.draw(0, 255, 256), np.uint8)
        return self.add(LookUp, "uint8", source.shape, input=source.name, table=table)

    def sum_pool(self) -> Tensor:
        source, windows = self.pick(), []
        for size in source.shape[1:]:
            starts = self.draw(0, size - 1, int(self.draw(1, 4)))
            windows.append(tuple((int(start), int(self.draw(start + 1, size))) for start in starts))
        shape = (source.shape[0], len(windows[0]), len(windows[1]))
        fields: dict[str, Any] = {"zero_point": int(self.draw(0, 40)), "rows": windows[0], "columns": windows[1]}
        return self.add(SumPool, "int32", shape, input=source.name, **fields)

    def max_pool(self) -> Tensor:
        source = self.pick()
        kernel, stride, sides = (tuple(self.draw(*ends).tolist()) for ends in ((1, 2, 2), (1, 3, 2), (0, 1, 4)))
        around = zip(source.shape[1:], kernel, sides[:2], sides[2:], stride, strict=True)
        rows, columns = ((n + a + b - k) // s + 1 for n, k, a, b, s in around)
        if min(rows, columns) < 1:
            return source
        fields: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": sides, "dilation": (1, 1)}
        return self.add(MaxPool, "uint8", (source.shape[0], rows, columns), input=source.name, **fields)

    def multiply(self) -> Tensor:
        left = self.pick(rank=int(self.draw(1, 3)))
        right = self.small(left) if len(left.shape) == 3 else left
        if self.draw(0, 1):
            left, right = right, left
        shape = np.broadcast_shapes(left.shape, right.shape)
        points: dict[str, Any] = {"left_zero_point": int(self.draw(0, 99)), "right_zero_point": int(self.draw(0, 99))}
        return self.add(Multiply, "int32", shape, left=left.name, right=right.name, **points)

    def concatenate(self) -> Tensor:
        first, axis = self.pick(str(self.random.choice(["uint8", "int32"]))), int(self.draw(1, 3))
        sizes = tuple(1 if number == axis else size for number, size in enumerate(first.shape, 1))
        others = [
            each
            for name, each in self.tensors.items()
            if each.type == first.type
            and name not in self.hidden
            and len(each.shape) == 3
            and tuple(1 if number == axis else size for number, size in enumerate(each.shape, 1)) == sizes
        ]
        parts = [first, *(others[self.draw(0, len(others) - 1)] for _ in range(2))]
        total = sum(each.shape[axis - 1] for each in parts)
        shape = tuple(total if number == axis else size for number, size in enumerate(first.shape, 1))
        return self.add(Concatenate, first.type, shape, inputs=tuple(each.name for each in parts), axis=axis)

    def pad(self) -> Tensor:
        source, (before, after) = self.pick(), self.draw(0, 2, 2, 3).tolist()
        shape = tuple(a + size + b for a, size, b in zip(before, source.shape, after, strict=True))
        fields: dict[str, Any] = {"before": tuple(before), "after": tuple(after), "value": int(self.draw(0, 40))}
        return self.add(Pad, "uint8", shape, input=source.name, **fields)

    def dilate(self) -> Tensor:
        source, steps = self.pick(), tuple(self.draw(1, 3, 2).tolist())
        channels, *sizes = source.shape
        shape = (channels, *((size - 1) * by + 1 for size, by in zip(sizes, steps, strict=True)))
        return self.add(Dilate, "uint8", shape, input=source.name, steps=steps, value=int(self.draw(0, 40)))

    def select(self) -> Tensor:
        source, axis = self.pick(str(self.random.choice(["uint8", "int32"]))), int(self.draw(1, 3))
        size = source.shape[axis - 1]
        indices = np.arange(size)[:: int(self.draw(1, 2))] if self.draw(0, 1) else self.draw(0, size - 1, 3)
        shape = tuple(len(indices) if number == axis else each for number, each in enumerate(source.shape, 1))
        chosen = self.array(indices, np.int64)
        return self.add(Select, source.type, shape, input=source.name, axis=axis, indices=chosen)

    def shuffle(self) -> Tensor:
        source = self.pick()
        channels, height, width = source.shape
        if channels % 4:
            return source
        shape = (channels // 4, 2 * height, 2 * width)
        return self.add(PixelShuffle, "uint8", shape, input=source.name, block=2)

    def reshape(self) -> Tensor:
        source = self.pick(str(self.random.choice(["uint8", "int32"])), int(self.draw(1, 3)))
        size = int(np.prod(source.shape))
        shapes = [(size,), (size // 2, 2, 1) if size % 2 == 0 else (1, size, 1), (1, size)]
        return self.add(Reshape, source.type, shapes[self.draw(0, 2)], input=source.name)

    def finish(self) -> IntegerProgram:
        """Two linear layers on what is flattened, and logits behind each other."""
        parts = []
        for number in range(2):
            source = self.pick()
            flat = self.add(Reshape, "uint8", (int(np.prod(source.shape)),), input=source.name)
            weight = self.array(self.draw(-7, 7, 3, flat.shape[0]), np.int8)
            fields: dict[str, Any] = {"input": flat.name, "weight": weight, "bias": None, "zero_point": 3}
            sums = self.add(Linear, "int32", (3,), **fields)
            parts.append(self.requantize(sums, output=f"part{number}", wide=True).name)
        self.add(Concatenate, "int32", (6,), "logits", inputs=tuple(parts), axis=1)
        return IntegerProgram(
            inputs=(Input(name="images", shape=(4, 6, 7)),),
            output="logits",
            output_scale=0.5,
            tensors=tuple(self.tensors.values()),
            steps=tuple(self.steps),
            arrays=self.arrays,
        )


KINDS = ("conv", "code", "threshold", "look_up", "sum_pool", "max_pool", "multiply", "concatenate", "pad", "dilate")
MOVES = ("select", "shuffle", "reshape")


def make_program(seed: int, count: int = 40) -> IntegerProgram:
    """A program of about `count` steps, each on anything that was there before."""
    maker = Maker(seed)
    maker.conv()
    names = [*KINDS, *MOVES]
    for _ in range(count):
        result = getattr(maker, names[maker.draw(0, len(names) - 1)])()
        if int(np.prod(result.shape)) > 3000:
            maker.hidden.add(result.name)
    return maker.finish()
