"""/api/landscape: what the page draws of a whole network, held against the library's trace."""

import base64

import numpy as np
import pytest
from serving import ONE, good, is_problem, served

import scratchnet as sn
from scratchnet.web.app import create_app


@pytest.fixture(scope="module")
def server():
    net = sn.Sequential(
        [
            *[sn.Conv2D(3, 3), sn.ReLU(), sn.MaxPool2D(2)],
            sn.Residual([sn.Conv2D(3, 3, padding="same"), sn.BatchNorm()]),
            sn.Residual([sn.Conv2D(2, 1, 2)], [sn.Conv2D(2, 3, 2, padding=1)]),
            *[sn.Flatten(), sn.Dense(10), sn.Softmax()],
        ],
        (28, 28, 1),
        seed=1,
    )
    nothing = (np.zeros((1, 28, 28), np.uint8), np.zeros(1, int))
    with served(create_app({"net": net}, data=lambda: (nothing, nothing))) as client:
        client.net = net
        yield client


def numbers(found):
    values = np.frombuffer(base64.b64decode(found["half"]), "<f2").astype(float)
    return values.reshape(found["shape"]) * found["scale"]


def close(found, expected):
    return np.allclose(numbers(found), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_it_is_the_trace_at_half_precision(server):
    answer = good(server.post("/api/landscape", json={"pixels": ONE, "label": 4}))
    trace = sn.trace(server.net, np.array(ONE, np.uint8), 4)
    assert answer["label"] == 4 and answer["loss"] == pytest.approx(trace.loss)
    assert close(answer["image"], trace.x) and close(answer["dimage"], trace.layers[0].dx)
    for node in answer["nodes"]:
        t = trace[node["name"]]
        assert close(node["y"], t.output)
        assert (node["dy"] is None) == (t.dy is None)
        assert t.dy is None or close(node["dy"], t.dy)
    assert answer["nodes"][-1]["dy"] is None  # folded into the loss


def test_it_says_whose_output_a_layer_takes_and_where_the_rows_of_a_block_meet(server):
    answer = good(server.post("/api/landscape", json={"pixels": ONE}))
    nodes = {node["name"]: node for node in answer["nodes"]}
    assert nodes["conv2d"]["inputs"] == [""]
    assert nodes["residual"]["inputs"] == ["residual.main.batchnorm", "maxpool2d"]
    assert nodes["residual_1"]["inputs"] == ["residual_1.main.conv2d", "residual_1.shortcut.conv2d"]
    inner = nodes["residual_1.shortcut.conv2d"]
    assert (inner["block"], inner["row"], inner["inputs"]) == (
        "residual_1",
        "shortcut",
        ["residual"],
    )
    assert nodes["residual"]["reach"]["channels"] == "same"
    assert nodes["residual"]["parameters"] == 0 < inner["parameters"]
    assert nodes["flatten"]["reach"]["in_order"]
    assert nodes["conv2d"]["about"].startswith("Two-dimensional convolution")
    assert "sum_{u,v,c}" in nodes["conv2d"]["rule"] and nodes["conv2d"]["backward"]


def test_the_winners_of_pooling_are_where_the_values_came_from(server):
    answer = good(server.post("/api/landscape", json={"pixels": ONE}))
    nodes = {node["name"]: node for node in answer["nodes"]}
    winners = np.frombuffer(base64.b64decode(nodes["maxpool2d"]["winners"]), "<i4")
    y, before = numbers(nodes["maxpool2d"]["y"]), numbers(nodes["relu"]["y"])
    h, w, c = y.shape
    assert np.allclose(
        np.take_along_axis(before.reshape(-1, c), winners.reshape(-1, c), 0),
        y.reshape(-1, c),
        rtol=2e-3,
    )
    assert (h, w) == (13, 13)


def test_an_architecture_is_there_untrained_when_it_was_asked_for(server):
    for _ in range(2):  # the second time it is there
        made = good(server.post("/api/models", json={"architecture": "lenet5-1998"}))
        assert (made["name"], made["source"]) == ("untrained-lenet5-1998", "untrained")
    names = [found["name"] for found in good(server.get("/api/models"))]
    assert names == ["net", "mnist-cnn", "untrained-lenet5-1998"]
    body = {"pixels": ONE, "model": made["name"]}
    answer = good(server.post("/api/landscape", json=body))
    table = next(node for node in answer["nodes"] if node["kind"] == "ConnectedConv2D")
    assert table["reach"]["channels"][0] == [0, 1, 2]


def test_mistakes_are_one_line(server):
    is_problem(server.post("/api/landscape", json={"pixels": ONE, "model": "none"}), 404)
    is_problem(server.post("/api/landscape", json={"pixels": ONE, "label": 10}), 404)
    is_problem(server.post("/api/landscape", json={"pixels": [[0]]}), 422)
    is_problem(server.post("/api/models", json={"architecture": "none"}), 422)
