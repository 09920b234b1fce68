"""Reading ONNX: a network made elsewhere, node by node, as layers of ours.

Accepted is a graph with one input and one output whose nodes follow one another. Each node either
becomes a layer (Conv, ConvTranspose, MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool, Pad,
Resize, Gemm, MatMul, Add as a bias, the activations, both normalizations, Dropout, Flatten) or only
moves values about (Squeeze, Transpose, Identity, and Reshape, which is a layer where ours need
one). GELU, SiLU and Softplus may be spelled out in several (onnx_spelled.py). Everything else is
refused by name, as is an attribute or a value that our layers do not offer: a network that loads
computes what the file says. Nothing in a file is executed; weights that it keeps in a second file
are read from its own folder alone.

The nodes and the known arrays come from onnx_graph.py; onnx_layers.py makes layers of them.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..model import Sequential
from ..model_files import check_size
from . import need
from .onnx_graph import Graph, Node
from .onnx_layers import BRANCHES, READERS, Row
from .onnx_spelled import MOST_NODES, spelled_out

if TYPE_CHECKING:
    import onnx


def load(path: str | os.PathLike, data_format: str | None = None) -> Sequential:
    """The network in an ONNX file, as a Sequential that takes images (n, h, w, c).

    data_format   how the file's input is laid out: "channels_first", as PyTorch has it, or
                  "channels_last". Without it the file is asked: its denotation of the axes if there
                  is one, otherwise channels_first if the network can be read so.

    A classifier's outputs come in the file's order; images come out as (n, h, w, c).
    """
    onnx = need("onnx")
    from google.protobuf.message import DecodeError

    path = Path(path)
    try:
        if path.is_dir():
            raise InputError("expected an ONNX file, found a folder")
        model = onnx.ModelProto.FromString(path.read_bytes())
        return from_onnx(model, data_format, path.parent)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: expected an ONNX file: {error.strerror}") from None
    except DecodeError:
        raise InputError(f"{path}: expected an ONNX file, found something else") from None


def from_onnx(
    model: "onnx.ModelProto", data_format: str | None = None, folder: Path | None = None
) -> Sequential:
    """As `load`, from a graph in memory. folder: where weights outside the graph may lie."""
    if data_format not in (None, "channels_first", "channels_last"):
        raise InputError(
            f'data_format: expected "channels_first" or "channels_last", found {data_format!r}'
        )
    try:
        graph = Graph(model, folder)
        last = data_format == "channels_last" if data_format else graph.says_channels_last()
        if last is not None:
            return _read(graph, last)
        try:
            return _read(graph, channels_last=False)
        except InputError as error:
            with suppress(InputError):
                return _read(graph, channels_last=True)
            raise error from None
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError) as e:
        reason = " ".join(str(e).split())
        raise InputError(
            f"expected an ONNX network, found one that cannot be read ({reason})"
        ) from None


def _read(graph: Graph, channels_last: bool) -> Sequential:
    """The network, if its input is laid out like that. One pass over the graph."""
    row, value = Row(graph, channels_last), graph.input.name
    input_shape, shapes = row.shape, {value: row.order.shape}  # the latter as ONNX has them
    nodes = _without_constants(graph, row)
    uses, at = graph.uses(), 0
    while at < len(nodes):
        node, count = nodes[at], 1
        known = graph.known(node, row.constants, shapes)
        if known is not None:
            row.constants[node.outputs[0]] = known
        else:
            several = nodes[at : at + MOST_NODES]
            if found := spelled_out(several, value, row.constants, uses):
                layer, count = found
                node = several[count - 1]
                row.activation(node, layer)
            else:
                _check_follows(node, value)
                row.add(node)
            value = node.outputs[0]
            shapes[value] = row.order.shape
        at += count
        for key, unread in node.attributes.items():
            node.fail("no such attribute", f"{key} {unread}")
    if graph.output != value:
        raise InputError(f"expected the output to be the last value, found {graph.output!r}")
    row.check_end(value)

    layers = [placed.layer for placed in row.layers]
    check_size(layers, input_shape)
    model = Sequential(layers, input_shape, dtype=row.dtype)
    for placed in row.layers:
        for key, array in (placed.layer.params | placed.layer.buffers).items():
            array[:] = placed.arrays[key]
    return model


def _without_constants(graph: Graph, row: Row) -> list[Node]:
    """All nodes but those that are constants; these are known before anything else."""
    nodes = []
    for node in graph.nodes():
        if node.op != "Constant":
            nodes.append(node)
        elif (known := graph.known(node, row.constants, {})) is not None:
            row.constants[node.outputs[0]] = known
    return nodes


def _check_follows(node: Node, value: str) -> None:
    """Raise unless the node is a known one and takes `value`, which becomes its first input."""
    if node.op not in READERS:
        node.fail(f"one of {', '.join(READERS)}", f"operator {node.op}")
    if node.op == "Add" and node.inputs[1:] == [value]:
        node.inputs.reverse()
    if node.inputs[:1] != [value]:
        found = repr(node.inputs[0]) if node.inputs else "nothing"
        node.fail(f"the value before it, {value!r}", f"{found}, {BRANCHES}")
