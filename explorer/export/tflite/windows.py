"""Windows that move over maps: how they are padded, and where those of a pooling lie."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from explorer.export.tflite.translation import SAME, VALID, Translation, to_last
from explorer.integer.operations import Conv, HeightWidth, MaxPool, Pad


def pad_windows(
    parts: Translation, step: Conv | MaxPool, kernel: HeightWidth, after: tuple[int, ...]
) -> tuple[int, int]:
    """Return the tensor that windows move over, and how the operator pads: as it does itself where that is the same.

    `after` are the rows and columns of what it gives.
    """
    before = parts.shape(step.input)[1:]
    starts, ends, same = step.padding[:2], [], True
    for axis in range(2):
        reach = (after[axis] - 1) * step.stride[axis] + step.dilation[axis] * (kernel[axis] - 1) + 1
        ends.append(max(0, reach - before[axis] - starts[axis]))
        total = max(0, reach - before[axis])
        same &= starts[axis] == total // 2 and after[axis] == -(-before[axis] // step.stride[axis])
    number = parts.read(step, step.input)
    if same:
        return number, SAME
    if not any((*starts, *ends)):
        return number, VALID
    zero, lowest = parts.grid(step.input).zero_point, parts.program.tensor(step.input).low + parts.shifts[step.input]
    value = zero if isinstance(step, Conv) else min(zero, lowest)  # so that padding never wins
    sides = tuple(zip(starts, ends, strict=True))
    sizes = (size + start + end for size, (start, end) in zip(before, sides, strict=True))
    shape = (parts.shape(step.input)[0], *sizes)
    padded = parts.add(step.input, called=f"{step.output}_padded", shape=shape)
    write_pad(parts, step, padded, ((0, 0), *sides, (0, 0)), value)
    return padded, VALID


def write_pad(
    parts: Translation, step: Conv | MaxPool | Pad, padded: int, sides: tuple[tuple[int, int], ...], value: int
) -> None:
    """Add a padding (axes as in the file) with a code; that of zero needs no constant of its own."""
    grid = parts.grid(step.input)
    inputs = (parts.read(step, step.input), parts.file.add_numbers(f"{step.output}.paddings", sides))
    if value == grid.zero_point:
        parts.file.add_operator("PAD", inputs, padded, "PadOptions")
    else:
        code = parts.file.add_codes(f"{step.output}.padding", value, grid)
        parts.file.add_operator("PADV2", (*inputs, code), padded, "PadV2Options")


def write_reshape(parts: Translation, name: str, number: int, target: int, shape: tuple[int, ...]) -> None:
    """Add the reshape of one tensor to another, of `shape` (channels first)."""
    sizes = parts.file.add_numbers(f"{name}.shape", (1, *to_last(shape)))
    parts.file.add_operator("RESHAPE", (number, sizes), target, "ReshapeOptions")


def write_slice(
    parts: Translation, name: str, numbers: tuple[int, int], spans: tuple[HeightWidth, ...], steps: HeightWidth = (1, 1)
) -> None:
    """Add what takes (start, stop) of each axis of the file from one tensor to another, in `steps` along the maps."""
    begin, end = zip(*spans, strict=True)
    rest = [
        parts.file.add_numbers(f"{name}.{key}", values)
        for key, values in (("begin", begin), ("end", end), ("strides", (1, *steps, 1)))
    ]
    parts.file.add_operator("STRIDED_SLICE", (numbers[0], *rest), numbers[1], "StridedSliceOptions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Windows along an axis: of `size`, `stride` apart, the first starting `before` the axis does."""

    size: int
    stride: int
    before: int
    after: int


def find_windows(spans: tuple[HeightWidth, ...], length: int) -> Windows | None:
    """Return regular windows over padding whose parts on the axis are the spans (start, stop); None where none are."""
    size, starts, stops = max(stop - start for start, stop in spans), *zip(*spans, strict=True)
    strides = sorted({b - a for ends in (starts, stops) for a, b in pairwise(ends) if b > a} or {1})
    for stride in strides:
        for before in range(size):
            whole = [(i * stride - before, i * stride - before + size) for i in range(len(spans))]
            if tuple((max(start, 0), min(stop, length)) for start, stop in whole) == tuple(spans):
                return Windows(size=size, stride=stride, before=before, after=max(0, whole[-1][1] - length))
    return None
