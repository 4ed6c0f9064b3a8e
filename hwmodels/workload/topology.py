"""Networks as SCALE-Sim topology files: a CSV with one convolution, or one matrix product, in each row.

The format is that of SCALE-Sim v3 (`scalesim/topology_utils.py`): a row is a layer's name and seven numbers of
a convolution, or the three numbers M, N, K of a matrix product; a row whose name contains "DP" is a depthwise
convolution. It knows no padding, batch, groups, biases or widths, no layers without products, and not which
layer reads which.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hwmodels.checks import shown
from hwmodels.errors import NetworkError
from hwmodels.workload.layer import PRODUCT_KINDS, LayerShape
from hwmodels.workload.network import Network

_NAME = "Layer name"
_CONVOLUTION = ("IFMAP Height", "IFMAP Width", "Filter Height", "Filter Width", "Channels", "Num Filter", "Strides")
_PRODUCT = ("M", "N", "K")
_STRIDE_W, _SPARSITY = "Stride Width", "Sparsity"
_SPELLINGS = {
    **{column.lower(): column for column in (_NAME, *_CONVOLUTION, *_PRODUCT, _STRIDE_W, _SPARSITY)},
    **{"layer": _NAME, "num filters": "Num Filter", "stride": "Strides", "stride height": "Strides"},
    "sparsity ratio": _SPARSITY,
}
"""How the header may call a column, in lower case and with single blanks -> the column."""
_DEPTHWISE = "DP"
_LARGEST = 2**31 - 1


@dataclass(slots=True)
class _TopologyReading:
    """A file being read: rows by number, counted from 1 as an editor does, and what was wrong or is left out."""

    path: Path
    rows: Mapping[int, Mapping[str, str]]
    problems: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def numbers(self, row: int, columns: Sequence[str]) -> list[int] | None:
        """Return the whole numbers in some columns of a row, or None after noting every one that is none."""
        cells = [self.rows[row].get(column, "") for column in columns]
        wrong = [not re.fullmatch("[0-9]{1,10}", cell) or not 1 <= int(cell) <= _LARGEST for cell in cells]
        where = f"{self.path}: row {row}: column"
        self.problems += [
            f"{where} {column!r}: expected a whole number from 1 to {_LARGEST}, received {shown(cell)}"
            for column, cell, is_wrong in zip(columns, cells, wrong, strict=True)
            if is_wrong
        ]
        return None if any(wrong) else [int(cell) for cell in cells]


def read_topology(path: str | Path) -> Network:
    """Return the network of a SCALE-Sim topology file.

    Columns are found by their names in the first row; what stands behind the last one is a remark. A row M, N, K
    is a linear layer of M positions; any other row is a convolution, or a linear layer where the input is
    1 x 1. A file's input sizes include the padding and do not tell how much it is: `in_h` and `in_w` are
    these sizes, so inputs count as if padding were read. Outputs are ceil((H - fh + s) / s) high, as in the
    simulator. There are no biases, no tensors, and one image. A name that an earlier row has gets the row
    number added. A sparsity other than dense is not carried over, and listed in `skipped`.

    Raises:
        NetworkError: the file cannot be read or has no layer, a column is missing, unknown or there twice, a
            number is no whole number from 1 to 2147483647, or a filter is larger than its input; file, row and
            column are named, and the first 20 problems are reported at once.

    Example:
        >>> import hwmodels
        >>> left_out = hwmodels.write_topology(hwmodels.NETWORKS["resnet20"](), "net.csv")
        >>> network = hwmodels.read_topology("net.csv")
        >>> network.layers[0].name, network.macs
        ('conv1', 40551040)
    """
    reading = _rows(Path(path))
    layers: dict[str, LayerShape] = {}
    for row, cells in reading.rows.items():
        stated = cells.get(_NAME, "")
        name = stated if stated and stated not in layers else f"{stated or 'layer'} (row {row})"
        layer = (_read_product if "M" in cells else _read_convolution)(reading, row, name)
        _read_sparsity(reading, row, name)
        if layer is not None:
            layers[name] = layer
    if reading.problems:
        raise NetworkError(reading.problems)
    return Network(name=reading.path.stem, layers=tuple(layers.values()), skipped=tuple(reading.skipped))


def write_topology(network: Network, path: str | Path) -> tuple[tuple[str, str], ...]:
    """Write the layers with products as a SCALE-Sim topology file; returns (name, reason) of those left out.

    Reading the file back gives the m, k and n of every layer. Images of a batch are stacked along the height.
    An input is (out - 1) * stride + kernel high and wide: what the layer reads, padding included; a row has one
    stride, here that of the height, and no dilation. A depthwise convolution gets "DP" into its name, by which the
    simulator knows it. Of any other layer with groups or heads each is a row of its own, since a row states no groups
    and leaving such layers out would make the network look cheaper. What would end a cell becomes "_" in a name.

    Raises:
        NetworkError: no layer has products, or the file cannot be written.

    Example:
        >>> import hwmodels
        >>> left_out = hwmodels.write_topology(hwmodels.NETWORKS["lenet5"](), "lenet5.csv")
        >>> len(left_out), hwmodels.read_topology("lenet5.csv").macs
        (6, 416520)
    """
    path = Path(path)
    rows = [row for layer in network.layers if layer.kind in PRODUCT_KINDS for row in _format_rows(layer)]
    if not rows:
        raise NetworkError(f"{path}: no layer of network {network.name!r} has products, which is all a topology states")
    # The simulator drops what stands behind the last comma of a row.
    text = "".join(", ".join(map(str, row)) + ",\n" for row in [(_NAME, *_CONVOLUTION), *rows])
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NetworkError(f"{path}: the topology cannot be written ({error}); choose another folder") from error
    reason = "it has no products, and a topology states nothing else"
    return tuple((layer.name, reason) for layer in network.layers if layer.kind not in PRODUCT_KINDS)


def _rows(path: Path) -> _TopologyReading:
    """Return the cells of a file by row and column; rows without any text are passed over."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NetworkError(f"{path}: the topology cannot be read as text ({error}); check the path") from error
    split = ((number, [cell.strip() for cell in line.split(",")]) for number, line in enumerate(lines, start=1))
    rows = {number: cells for number, cells in split if any(cells)}
    form = ", ".join((_NAME, *_CONVOLUTION))
    if not rows:
        raise NetworkError(f"{path}: the topology is empty; expected {form} in its first row")
    first, *rest = rows
    columns = _columns(f"{path}: row {first}", rows[first])
    if not rest:
        raise NetworkError(f"{path}: the topology has a header and no layers: add a row for each")
    return _TopologyReading(path, {number: dict(zip(columns, rows[number], strict=False)) for number in rest})


def _columns(where: str, header: list[str]) -> list[str]:
    """Return the columns that a header names."""
    while header and not header[-1]:
        header.pop()
    columns = [_SPELLINGS.get(re.sub(r"[\s_]+", " ", cell).lower(), "") for cell in header]
    wanted = (_NAME, *(_PRODUCT if set(_PRODUCT) & set(columns) else _CONVOLUTION))
    missing = [column for column in wanted if column not in columns]
    known = {*wanted, *_optional(wanted)}
    unknown = [cell for cell, column in zip(header, columns, strict=True) if column not in known]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    for what, which in (("is missing", missing), ("is not known", unknown), ("is there twice", twice)):
        if which:
            got = ", ".join(header)
            got = got if len(got) <= 100 else got[:100] + "..."
            raise NetworkError(
                f"{where}: column {', '.join(map(repr, which))} {what}: expected the header "
                f"{', '.join(wanted)}, and may have {' and '.join(_optional(wanted))}, received {got!r}"
            )
    return columns


def _optional(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that may stand beside the wanted ones."""
    return (_SPARSITY,) if "M" in wanted else (_STRIDE_W, _SPARSITY)


def _read_product(reading: _TopologyReading, row: int, name: str) -> LayerShape | None:
    """Return the linear layer of a row M, N, K."""
    numbers = reading.numbers(row, _PRODUCT)
    if numbers is None:
        return None
    m, n, k = numbers
    return LayerShape(name=name, kind="linear", in_channels=k, out_channels=n, in_h=m, out_h=m, bias=False)


def _read_convolution(reading: _TopologyReading, row: int, name: str) -> LayerShape | None:
    """Return the layer of a row that states an input, a filter and a stride."""
    stride_columns = (_STRIDE_W,) if reading.rows[row].get(_STRIDE_W) else ()
    numbers = reading.numbers(row, (*_CONVOLUTION, *stride_columns))
    if numbers is None:
        return None
    in_h, in_w, kernel_h, kernel_w, channels, filters, stride_h = numbers[:7]
    if kernel_h > in_h or kernel_w > in_w:
        reading.problems.append(
            f"{reading.path}: row {row}: expected a filter no larger than the IFMAP, which includes the padding, "
            f"received one of {kernel_h} x {kernel_w} on {in_h} x {in_w}"
        )
        return None
    depthwise = _DEPTHWISE in reading.rows[row].get(_NAME, "")
    linear = in_h == in_w == 1 and not depthwise
    return LayerShape(
        name=name,
        kind="linear" if linear else "conv",
        in_channels=channels,
        out_channels=channels * filters if depthwise else filters,
        kernel_h=kernel_h,
        kernel_w=kernel_w,
        in_h=in_h,
        in_w=in_w,
        out_h=1 - (kernel_h - in_h) // stride_h,
        out_w=1 - (kernel_w - in_w) // numbers[-1],
        stride_h=1 if linear else stride_h,
        stride_w=1 if linear else numbers[-1],
        groups=channels if depthwise else 1,
        bias=False,
    )


def _read_sparsity(reading: _TopologyReading, row: int, name: str) -> None:
    """Note a sparsity N:M, of which a layer's shape says nothing; blank or N = M is dense."""
    cell = reading.rows[row].get(_SPARSITY, "")
    ratio = re.fullmatch(r"([1-9][0-9]{0,8})\s*:\s*([1-9][0-9]{0,8})", cell)
    if cell and (ratio is None or int(ratio[1]) > int(ratio[2])):
        reading.problems.append(
            f"{reading.path}: row {row}: column {_SPARSITY!r}: expected a ratio such as 2:4, received {shown(cell)}"
        )
    elif ratio is not None and int(ratio[1]) < int(ratio[2]):
        reading.skipped.append((name, f"its sparsity {cell} is not carried over: the layer counts as dense"))


def _format_rows(layer: LayerShape) -> Iterator[tuple[str | int, ...]]:
    """Return the rows of one layer with products."""
    name = re.sub(r"[,\s]+", "_", layer.name.strip())
    depthwise = layer.kind == "conv" and layer.in_channels == layer.groups > 1
    if depthwise:
        name += "" if _DEPTHWISE in name else f"_{_DEPTHWISE}"
        channels, names = layer.in_channels, [name]
    else:
        name = name.replace(_DEPTHWISE, _DEPTHWISE.lower())  # else the simulator would take it for a depthwise one
        channels = layer.in_channels // layer.groups
        names = [f"{name}_group{group}" for group in range(layer.groups)] if layer.groups > 1 else [name]
    height, width = (
        (out - 1) * layer.stride_h + kernel
        for out, kernel in ((layer.batch * layer.out_h, layer.kernel_h), (layer.out_w, layer.kernel_w))
    )
    for each in names:
        yield (each, height, width, layer.kernel_h, layer.kernel_w, channels, layer.n, layer.stride_h)
