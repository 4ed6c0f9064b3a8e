"""Transposed convolutions, which a program writes as convolutions of maps with zeros between their entries."""

from __future__ import annotations

from explorer.export.tflite.rescale import FilterBank, Rescaling, widen, write_bank
from explorer.export.tflite.translation import SAME, VALID, Translation, refuse, to_last
from explorer.export.tflite.windows import write_slice
from explorer.integer.operations import Conv, Dilate


def convolve_spread(parts: Translation, made: Rescaling, conv: Conv, bank: FilterBank, spread: Dilate) -> None:
    """Add a transposed convolution; where its padding is not the operator's own, what is too much is cut off."""
    output = made.step.output
    if spread.output not in parts.tensors:
        parts.keep(spread)
    if conv.groups != 1 or conv.dilation != (1, 1):
        raise refuse(made.step, "its transposed convolution has groups, or is dilated")
    inside, shape = parts.shape(spread.input), parts.shape(conv.output)
    kernel = bank.weight[:, :, ::-1, ::-1].transpose(0, 2, 3, 1)
    size, before, after = kernel.shape[1:3], [], []
    for axis in range(2):
        before.append(size[axis] - 1 - conv.padding[axis])
        after.append(size[axis] - 1 - conv.padding[axis + 2])
    full = tuple((inside[1 + i] - 1) * spread.steps[i] + size[i] for i in range(2))
    if min(before + after) < 0:
        raise refuse(made.step, "its output is padded beyond what its kernel reaches")
    same = all(
        shape[1 + i] == inside[1 + i] * spread.steps[i] and before[i] == (before[i] + after[i]) // 2 for i in range(2)
    )
    cut = not same and any(before + after)
    number, wanted = made.target.number, shape
    if cut:
        wanted = (shape[0], *full)
        number = parts.add(output, called=f"{conv.output}_full", shape=wanted)
    sizes = parts.file.add_numbers(f"{conv.output}.shape", (1, *to_last(wanted)))
    given = widen(parts, made, spread.input, parts.read(made.step, spread.input))
    weight, bias = write_bank(parts, conv, spread.input, bank, kernel, 0)
    parts.file.add_operator(
        "TRANSPOSE_CONV",
        (sizes, weight, given, bias),
        number,
        "TransposeConvOptions",
        padding=SAME if same else VALID,
        strideH=spread.steps[0],
        strideW=spread.steps[1],
        fusedActivationFunction=made.target.activation,
    )
    if cut:
        spans = tuple((start, start + length) for start, length in zip(before, shape[1:], strict=True))
        write_slice(parts, conv.output, (number, made.target.number), ((0, 1), *spans, (0, shape[0])))
