"""Damaged and malicious ONNX files: a network, or one line, soon and small."""

import io
import random
from contextlib import redirect_stdout

import numpy as np
import pytest
from fuzzing import EXTREMES, fuzz

import scratchnet as sn

onnx = pytest.importorskip("onnx", reason='needs onnx: pip install "scratchnet[interop]"')

pytestmark = pytest.mark.slow

UNCHANGED = b"a network as it is"
NUMBERS = [*(n for n in EXTREMES if -(2**63) <= n < 2**63), 2, 3, 4, 7, 28, 2**20]
OPERATORS = ["Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "Gemm", "MatMul", "Add"]
OPERATORS += ["Relu", "Softmax", "BatchNormalization", "Dropout", "Flatten", "Reshape", "Squeeze"]
OPERATORS += ["Transpose", "Identity", "LeakyRelu", "Loop", "Constant", "Shape", "Gather", ""]


def networks():
    """As their authors write them: of every layer that is read, in few bytes."""
    from scratchnet.interop import onnx as interop

    rows = [
        [sn.Conv2D(2, 3), sn.ReLU(), sn.MaxPool2D(2), sn.Flatten(), sn.Dense(3), sn.Softmax()],
        [sn.Conv2D(2, 3, 2, "same"), sn.BatchNorm(), sn.LeakyReLU(), sn.GlobalAveragePool2D()],
        [sn.AveragePool2D(2), sn.Dropout(0.5), sn.Flatten(), sn.BatchNorm(), sn.Dense(2)],
    ]
    return [interop.to_onnx(sn.Sequential(row, (6, 6, 2), seed=0)) for row in rows]


def read_onnx(content, folder):
    """What is done with a file of somebody else's: looked at, saved, run."""
    from scratchnet.interop import onnx as interop

    (folder / "a.onnx").write_bytes(content)
    model = interop.load(folder / "a.onnx")
    with redirect_stdout(io.StringIO()):
        model.summary()
    model.save(folder / "a.safetensors")
    model.predict(np.zeros((1, *model.input_shape), model.dtype))


def read_onnx_graph(content, folder):
    """The first byte chooses a network, and all of them together what is changed in its graph."""
    known, chance = networks(), random.Random(content)
    model = known[(content or b"\0")[0] % len(known)]
    for _ in range(0 if content.endswith(UNCHANGED) else chance.choice([1, 1, 1, 2, 3])):
        change(model.graph, chance)
    read_onnx(model.SerializeToString(), folder)


def change(graph, chance):
    """One place of a graph says something else."""
    node = chance.choice(graph.node) if graph.node else graph.node.add()
    attribute = chance.choice(node.attribute) if node.attribute else node.attribute.add()
    weight = chance.choice(graph.initializer) if graph.initializer else graph.initializer.add()
    value = chance.choice([*graph.input, *graph.output])
    what = chance.randrange(12)
    if what == 0:
        node.op_type = chance.choice(OPERATORS)
    elif what == 1 and attribute.ints:
        attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(NUMBERS)
    elif what == 2:
        attribute.i, attribute.type = chance.choice(NUMBERS), onnx.AttributeProto.INT
    elif what == 3:
        attribute.f = chance.choice([float("nan"), float("inf"), -1.0, 0.0, 1e38])
        attribute.type = onnx.AttributeProto.FLOAT
    elif what == 4:
        attribute.type = chance.randrange(15)
    elif what == 5 and weight.dims:
        weight.dims[chance.randrange(len(weight.dims))] = chance.choice(NUMBERS)
    elif what == 6:
        weight.data_type = chance.randrange(25)
    elif what == 7 and value.type.tensor_type.shape.dim:
        chance.choice(value.type.tensor_type.shape.dim).dim_value = chance.choice(NUMBERS)
    elif what == 8:
        names = [name for other in graph.node for name in (*other.input, *other.output)]
        places = node.input if chance.random() < 0.7 else node.output
        if places and names:
            places[chance.randrange(len(places))] = chance.choice([*names, "", "\0", "../x"])
    elif what == 9:
        graph.node.remove(node)
    elif what == 10:
        graph.node.add().CopyFrom(node)
    else:
        weight.data_location = onnx.TensorProto.EXTERNAL
        entry = weight.external_data.add()
        entry.key, entry.value = "location", chance.choice(["a.onnx", "/etc/passwd", "..", ""])


def test_fuzz_onnx(tmp_path):
    fuzz(read_onnx, [model.SerializeToString() for model in networks()], tmp_path)


def test_fuzz_onnx_graphs(tmp_path):
    fuzz(read_onnx_graph, [bytes([n]) + UNCHANGED for n in range(3)], tmp_path, megabytes=600)
