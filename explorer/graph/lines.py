"""Where in the user's code something stands, for errors and lists of what is skipped."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from explorer.errors import ExplorerError, describe_error


def find_last_line(error: BaseException) -> str:
    """Return the file and line of the innermost frame outside torch: the user's own line."""
    frame = _user_frame(traceback.extract_tb(error.__traceback__))
    return f"{frame.filename}:{frame.lineno} ({frame.line})" if frame is not None else "an unknown line"


def apply_to_outputs(
    function: Callable[[Tensor, Tensor], Any], outputs: Tensor, targets: Tensor, where: str, kind: type[ExplorerError]
) -> Any:
    """Return what a function of the user's gives for outputs and targets.

    Raises:
        ExplorerError: An error of the `kind`, which names `where` it was called, when the function fails.
    """
    try:
        return function(outputs, targets)
    except Exception as error:  # the user's code
        raise kind(
            f"{where} failed on outputs of shape {tuple(outputs.shape)} and targets of shape {tuple(targets.shape)} at "
            f"{find_last_line(error)}: {describe_error(error)}; correct it"
        ) from error


def find_line(node: fx.Node) -> str:
    """Return where a node was made, as " at file, line number" of the user's code; empty where that is not known."""
    line: str = node.meta.get("line", "")
    return f" at {line}" if line and node.op != "output" else ""


def describe(node: fx.Node) -> str:
    """Return what a call is of, as a user would write it, and its line: "torch.amax at net.py, line 12"."""
    return f"{name_function(node)}{find_line(node)}"


def locate_node(node: fx.Node) -> str:
    """Return a node's name, what it calls, and its line: "node 'add_1' (add at net.py, line 12)"."""
    return f"node {node.name!r} ({getattr(node.target, '__name__', node.target)}{find_line(node)})"


def name_function(node: fx.Node) -> str:
    """Return what a call is of, as a user would write it: "torch.amax", "Tensor.amax" or "F.normalize"."""
    owners = ((F, "F."), (torch, "torch."))
    name = str(getattr(node.target, "__name__", node.target))
    if node.op == "call_method":
        name = f"Tensor.{name}"
    elif node.op == "call_function":
        name = next((f"{prefix}{name}" for owner, prefix in owners if getattr(owner, name, None) is node.target), name)
    return name


def find_place(frames: traceback.StackSummary) -> str:
    """Return the name of the file, without its folder, and line number of the user's own line."""
    frame = _user_frame(frames)
    return f"{Path(frame.filename).name}, line {frame.lineno}" if frame is not None else ""


def _user_frame(frames: traceback.StackSummary) -> traceback.FrameSummary | None:
    outside = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<")
    names = [frame.name for frame in frames]
    # Who asked for the trace wrote no line of the network: one of torch.nn's own modules alone has none.
    traced = len(names) - names[::-1].index("symbolic_trace") if "symbolic_trace" in names else 0
    return next((frame for frame in reversed(frames[traced:]) if not frame.filename.startswith(outside)), None)
