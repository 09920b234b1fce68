"""The page's answers on padding, enlarging, reshaping and windows of other kinds."""

import numpy as np
from serving import array, good, served

import scratchnet as sn
from scratchnet.layers.registry import gradient_of
from scratchnet.web.app import create_app


def test_every_value_and_every_gradient_is_answered_and_windows_with_gaps_are_not_drawn():
    row = [sn.ZeroPadding2D(2), sn.Conv2D(3, 3, 2, dilation_rate=2), sn.ScaledTanh()]
    row += [sn.DepthwiseConv2D((3, 2), depth_multiplier=2), sn.Subsampling2D(2)]
    row += [sn.ConnectedConv2D([[0, 1], [5]], (2, 3)), sn.Conv2DTranspose(2, 3, 2, "same")]
    row += [sn.UpSampling2D(2), sn.GlobalMaxPool2D(), sn.Reshape((2, 1)), sn.Flatten()]
    net = sn.Sequential([*row, sn.Dense(10), sn.Softmax()], (28, 28, 1))
    windows = {"depthwiseconv2d": [3, 2], "subsampling2d": [2, 2], "connectedconv2d": [2, 3]}
    windows["globalmaxpool2d"] = list(net.layers[8].input_shape[:2])
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28)).tolist()
    nothing = (np.zeros((1, 28, 28), np.uint8), np.zeros(1, int))
    with served(create_app({"net": net}, data=lambda: (nothing, nothing))) as client:
        layers = good(client.post("/api/trace", json={"pixels": pixels}))["layers"]
        for layer in layers:
            assert layer["formula"] == gradient_of(layer["kind"])
            place = {"layer": layer["name"], "index": [s // 2 for s in layer["output_shape"]]}
            found = good(client.post("/api/trace/output", json={"pixels": pixels, **place}))
            assert found["window"] == windows.get(layer["name"]), layer["name"]
            value = array(layer["output"])[tuple(place["index"])]
            assert abs(found["total"] - value) < 1e-5
            for parameter in layer["parameters"]:
                at = {"layer": layer["name"], "parameter": parameter["name"], "label": 3}
                at["index"] = [0] * len(parameter["shape"])
                found = good(client.post("/api/trace/parameter", json={"pixels": pixels, **at}))
                assert found["relative_error"] < 1e-3 or abs(found["analytic"]) < 1e-7
