"""What is run: shapes of layers, widths of their operands, and the activations that are alive meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hwmodels.bounds import SHARE, Span
from hwmodels.checks import check_choice, check_number, check_text, check_whole_number, shown
from hwmodels.errors import LayerError
from hwmodels.workload.window import check_window, count_read_lines

MAXIMUM_BITS = 32
"""Widest operand that can be stated: float32."""

PRODUCT_KINDS = ("conv", "linear", "matmul")
"""Layers that multiply and accumulate, on the array."""
SLIDING_KINDS = ("conv", "pool")
"""Layers with a window, which moves over the map."""
ELEMENTWISE_KINDS = ("add", "activation")
VECTOR_KINDS = ("pool", *ELEMENTWISE_KINDS)
"""Layers without weights or products, on the vector unit."""
LAYER_KINDS = (*PRODUCT_KINDS, *VECTOR_KINDS)
LARGEST_EXACT = 2**53
"""Up to here a float counts one by one."""
_CODE_BITS = Span(1e-6, MAXIMUM_BITS)
_ENTROPY_BITS = Span(0.0, MAXIMUM_BITS)
_SHAPE_FIELDS = (
    *("in_channels", "out_channels", "kernel_h", "kernel_w"),
    *("in_h", "in_w", "out_h", "out_w", "stride_h", "stride_w", "dilation_h", "dilation_w"),
    *("groups", "batch", "operands"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """One layer; sizes are those of one image, of which `batch` are run together and share the weights.

    - "conv": kernel, stride, dilation, groups (as many as input channels for a depthwise convolution) and sizes
      without padding: any padding fits with which the windows reach over the map's lines.
    - "linear": one output per position; in_h*in_w = out_h*out_w positions.
    - "matmul": a product of two activations, such as queries with keys: positions x in_channels with
      in_channels x out_channels, split into `groups` heads. The second operand takes the place of weights,
      but is not stored with the network.
    - "pool": a window of kernel_h x kernel_w of each channel, which moves by its stride as a convolution's does;
      global pooling has the window in_h x in_w.
    - "add": the element-wise sum (or product) of `operands` tensors of the output's size.
    - "activation": a function of each element.

    Raises:
        LayerError: a field is out of range (all of them are reported at once), sizes, kernel and stride contradict each
            other at any padding, or MACs, operations or elements pass 2^53, up to which sums are exact.

    Example:
        >>> import hwmodels
        >>> shape = hwmodels.LayerShape(
        ...     name="conv", kind="conv", in_channels=3, out_channels=8, kernel_h=3, kernel_w=3,
        ...     in_h=8, in_w=8, out_h=8, out_w=8,
        ... )
        >>> shape.m, shape.k, shape.n, shape.macs
        (64, 27, 8, 13824)
    """

    name: str
    kind: Literal["conv", "linear", "matmul", "pool", "add", "activation"]
    in_channels: int
    out_channels: int
    kernel_h: int = 1
    kernel_w: int = 1
    in_h: int = 1
    in_w: int = 1
    out_h: int = 1
    out_w: int = 1
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 1
    bias: bool = True
    batch: int = 1
    operands: int = 1

    def __post_init__(self) -> None:
        """Refuse fields that are out of range or contradict each other."""
        problems = [*check_text("name", self.name), *check_choice("kind", self.kind, LAYER_KINDS)]
        for field in _SHAPE_FIELDS:
            problems += check_whole_number(field, getattr(self, field), 1)
        if not isinstance(self.bias, bool):
            problems.append(f"bias: expected true or false, received {shown(self.bias)}")
        if not problems:
            problems = [*_shape_conflicts(self), *_window_conflicts(self)] or _size_problems(self)
        if problems:
            raise LayerError([f"layer {shown(self.name)}: {problem}" for problem in problems])

    @property
    def m(self) -> int:
        """Output positions of all images: rows of the input matrix of the layer's matrix product."""
        return self.batch * self.out_h * self.out_w

    @property
    def k(self) -> int:
        """Length of one dot product (per group); 0 for a layer without products."""
        return self.kernel_h * self.kernel_w * self.in_channels // self.groups if self.kind in PRODUCT_KINDS else 0

    @property
    def n(self) -> int:
        """Output channels per group: columns of the weight matrix."""
        return self.out_channels // self.groups

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of all images."""
        return self.m * self.k * self.out_channels

    @property
    def weights(self) -> int:
        """Number of stored weights, biases aside; 0 for a layer that has none."""
        return self.k * self.out_channels if self.kind in ("conv", "linear") else 0

    @property
    def inputs(self) -> int:
        """Number of input elements that are read, of all images, padding aside, and of all operands of an addition.

        A stride beyond the kernel skips elements: a 1 x 1 kernel of stride 2 reads a quarter of its input.
        """
        read_h, read_w = self.in_h, self.in_w
        if self.kind in SLIDING_KINDS:
            read_h, read_w = (int(count_read_lines(*self.along(axis))) for axis in "hw")
        return self.batch * read_h * read_w * self.in_channels * self.operands

    @property
    def outputs(self) -> int:
        """Number of output elements of all images."""
        return self.m * self.out_channels

    @property
    def vector_operations(self) -> int:
        """Element operations of all images: a window's elements per pooled output, additions, or one function."""
        if self.kind == "pool":
            return self.outputs * self.kernel_h * self.kernel_w
        return {"add": self.outputs * (self.operands - 1), "activation": self.outputs}.get(self.kind, 0)

    def along(self, axis: str) -> tuple[int, int, int, int, int]:
        """Return input, output, kernel, stride and dilation along an axis, "h" or "w"."""
        if axis == "h":
            return self.in_h, self.out_h, self.kernel_h, self.stride_h, self.dilation_h
        return self.in_w, self.out_w, self.kernel_w, self.stride_w, self.dilation_w


def _shape_conflicts(shape: LayerShape) -> list[str]:
    """Return what is wrong between fields that are each in range."""
    problems = []
    for field in ("in_channels", "out_channels"):
        if getattr(shape, field) % shape.groups:
            problems.append(
                f"expected {field} % groups == 0, received {field}={getattr(shape, field)}, groups={shape.groups}"
            )
    if shape.kind in ("linear", "matmul", *ELEMENTWISE_KINDS):
        expected = {"kernel_h": 1, "kernel_w": 1} | ({} if shape.kind == "matmul" else {"groups": 1})
        if any(getattr(shape, field) != value for field, value in expected.items()):
            got = ", ".join(f"{field}={getattr(shape, field)}" for field in expected)
            problems.append(f"expected {'='.join(expected)}=1 for a layer of kind {shape.kind!r}, received {got}")
        if shape.in_h * shape.in_w != shape.out_h * shape.out_w:
            problems.append(
                f"expected in_h*in_w == out_h*out_w for a layer of kind {shape.kind!r} (one output per position), "
                f"received {shape.in_h}*{shape.in_w} and {shape.out_h}*{shape.out_w}"
            )
    if shape.kind in VECTOR_KINDS and shape.in_channels != shape.out_channels:
        problems.append(
            f"expected in_channels == out_channels for a layer of kind {shape.kind!r}, received "
            f"in_channels={shape.in_channels}, out_channels={shape.out_channels}"
        )
    if shape.kind == "pool" and shape.groups != 1:
        problems.append(f"groups: expected 1 for a pool, which works on single channels, received {shape.groups}")
    if (shape.operands < 2) if shape.kind == "add" else (shape.operands != 1):
        wanted = "at least 2" if shape.kind == "add" else "1"
        problems.append(f"operands: expected {wanted} for a layer of kind {shape.kind!r}, received {shape.operands}")
    return problems


def _window_conflicts(shape: LayerShape) -> list[str]:
    """Return what is wrong with how the window moves."""
    if shape.kind in SLIDING_KINDS:
        return [line for axis in "hw" for line in check_window(axis, shape.along(axis), padded=shape.kind == "conv")]
    return [
        f"{field}: expected 1 for a layer of kind {shape.kind!r}, which has no window, received {getattr(shape, field)}"
        for field in ("stride_h", "stride_w", "dilation_h", "dilation_w")
        if getattr(shape, field) != 1
    ]


def _size_problems(shape: LayerShape) -> list[str]:
    """Return which counts of a layer pass what can be counted exactly."""
    stored = shape.batch * shape.in_h * shape.in_w * shape.in_channels * shape.operands
    counts = {"MACs": shape.macs, "operations": shape.vector_operations, "input elements": stored}
    counts["output elements"] = shape.outputs
    beyond = " and ".join(f"{count:.3g} {what}" for what, count in counts.items() if count > LARGEST_EXACT)
    return [f"{beyond} are more than can be counted exactly (2^53): correct its sizes or the batch"] if beyond else []


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerJob:
    """A layer with the widths of its operands, and what is known of its weights.

    Attributes:
        shape: The layer.
        weight_bits: Width of a weight, 1 to 32; 32 is float32.
        input_bits: Width of an input as the layer reads it.
        output_bits: Width of an output.
        density: Ratio of weights that are not zero, 0 to 1.
        codebook_size: Number of distinct values that the weights share; None where they share none.
        stored_input_bits: Width at which memory holds the input, where that is wider than what this layer reads, since
            another reader needs more; None is `input_bits`.
        entropy_bits: Order-0 entropy in bits a weight of the integers that the layer stores; None where it is unknown,
            and a coder is taken to gain nothing.
        index_code_bits: Mean length in bits of a Huffman-coded index into the codebook (`hwmodels.mean_code_bits`);
            None where indices are not coded.
        fusible: False for a layer without products that cannot work on results as they leave the array, because they
            are needed elsewhere too: it takes time and traffic of its own even where the device fuses its kind.
        codebooks: Number of tables of values, of one size: 1, or one for each output channel.
        weights_elsewhere: True where another layer of the network holds the same weights, biases and scales: they are
            fetched for this layer too, but take no storage of their own.
        columns_per_channel: How many of the `out_channels` have a bias and a scale in common: the window of a
            transposed convolution that is run as a product.

    Raises:
        LayerError: a field is out of range; all of them are reported at once.

    Example:
        >>> import hwmodels
        >>> shape = hwmodels.LayerShape(name="fc", kind="linear", in_channels=64, out_channels=10)
        >>> job = hwmodels.LayerJob(shape=shape, weight_bits=4, density=0.25)
        >>> hwmodels.evaluate([job], hwmodels.load("bitfusion")).layers[0].weight_format
        'relative_index'
    """

    shape: LayerShape
    weight_bits: int = 8
    input_bits: int = 8
    output_bits: int = 8
    density: float = 1.0
    codebook_size: int | None = None
    stored_input_bits: int | None = None
    index_code_bits: float | None = None
    entropy_bits: float | None = None
    fusible: bool = True
    codebooks: int = 1
    weights_elsewhere: bool = False
    columns_per_channel: int = 1

    def __post_init__(self) -> None:
        """Refuse fields that are out of range or contradict each other."""
        problems = []
        for field in ("weight_bits", "input_bits", "output_bits"):
            problems += check_whole_number(field, getattr(self, field), 1, MAXIMUM_BITS)
        problems += check_number("density", self.density, SHARE)
        if self.stored_input_bits is not None:
            problems += check_whole_number("stored_input_bits", self.stored_input_bits, 1, MAXIMUM_BITS)
            if not problems and self.stored_input_bits < self.input_bits:
                problems.append(
                    "expected input_bits <= stored_input_bits (a layer cannot read more than is stored), received "
                    f"(input_bits={self.input_bits}, stored_input_bits={self.stored_input_bits})"
                )
        for field in ("fusible", "weights_elsewhere"):
            if not isinstance(getattr(self, field), bool):
                problems.append(f"{field}: expected true or false, received {shown(getattr(self, field))}")
        if self.codebook_size is not None:
            problems += check_whole_number("codebook_size", self.codebook_size, 1)
        problems += check_whole_number("codebooks", self.codebooks, 1)
        problems += check_whole_number("columns_per_channel", self.columns_per_channel, 1)
        if not problems and self.shape.out_channels % self.columns_per_channel:
            problems.append(
                "expected out_channels % columns_per_channel == 0, received "
                f"out_channels={self.shape.out_channels}, columns_per_channel={self.columns_per_channel}"
            )
        if not problems and self.codebooks not in (1, self.shape.out_channels // self.columns_per_channel):
            problems.append(
                "codebooks: expected 1 or one for each of the "
                f"{self.shape.out_channels // self.columns_per_channel} output channels, received {self.codebooks!r}"
            )
        if not problems and self.codebooks * (self.codebook_size or 0) > LARGEST_EXACT:
            problems.append(
                f"expected codebooks * codebook_size <= {LARGEST_EXACT}, received {self.codebooks} codebooks"
            )
        for field, span in (("index_code_bits", _CODE_BITS), ("entropy_bits", _ENTROPY_BITS)):
            problems += [] if getattr(self, field) is None else check_number(field, getattr(self, field), span)
        if self.index_code_bits is not None and self.codebook_size is None:
            problems.append(
                "codebook_size: expected beside index_code_bits (only indices into a codebook are coded), received "
                f"(index_code_bits={self.index_code_bits}, codebook_size=None)"
            )
        if problems:
            raise LayerError([f"layer {self.shape.name!r}: {problem}" for problem in problems])

    @property
    def memory_input_bits(self) -> int:
        """Width at which an input element is fetched."""
        return self.input_bits if self.stored_input_bits is None else self.stored_input_bits
