"""Which lines of a map a sliding window reads, and which strides can give an output of a size; padding is not known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hwmodels.arrays import IntArray

IntLike = npt.NDArray[np.int64] | int


def measure_reach(kernel: IntLike, dilation: IntLike) -> IntLike:
    """Return how many lines there are from the first to the last that a window reads."""
    return dilation * (kernel - 1) + 1


def count_read_lines(size: IntLike, out: IntLike, kernel: IntLike, stride: IntLike, dilation: IntLike) -> IntArray:
    """Return how many of `size` lines the windows read, as many as padding leaves possible.

    A stride beyond the kernel skips lines, and the last window may end before the last line. Lines between those that
    a dilated kernel reads count as read.
    """
    span = (out - 1) * stride + measure_reach(kernel, dilation)
    return np.minimum(size, np.minimum(out * kernel, span))


def check_window(axis: str, sizes: tuple[int, int, int, int, int], *, padded: bool) -> list[str]:
    """Return what is wrong between sizes along an axis ("h" or "w"): input, output, kernel, stride and dilation.

    Windows may leave less than a stride of lines unread, since another one would fit otherwise. Where they are
    `padded`, they reach over the input by no more lines than it has, twice the kernel's, or a stride less one.
    """
    size, out, kernel, stride, dilation = sizes
    reach = measure_reach(kernel, dilation)
    beyond = (out - 1) * stride + reach - size
    margin = max(size, 2 * reach, stride - 1)
    if beyond + stride > 0 and (beyond <= margin or not padded):
        return []
    least = max(1, -((reach - 1 - size) // out))
    most = (margin + size - reach) // (out - 1) if padded and out > 1 else None
    kernel_text = f"kernel_{axis}={kernel}" + (f", dilation_{axis}={dilation}" if dilation > 1 else "")
    if most is not None and most < least:
        limit = margin + size - reach + 1
        return [f"out_{axis}: expected at most {limit} of in_{axis}={size} with {kernel_text}, received {out}"]
    wanted = f"{least}" if most == least else f"at least {least}" if most is None else f"{least} to {most}"
    return [
        f"stride_{axis}: expected {wanted} for out_{axis}={out} of in_{axis}={size} with {kernel_text}, padded or not, "
        f"received {stride}"
    ]
