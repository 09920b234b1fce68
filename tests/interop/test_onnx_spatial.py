"""Padding, enlarging, reshaping and other windows in ONNX: out, in, and as others write them."""

import numpy as np
import pytest
from spatial import ROWS
from test_onnx import chain, check_import, randomized, runtime, same_network

import scratchnet as sn
from scratchnet import InputError

onnx = pytest.importorskip("onnx", reason='needs onnx: pip install "scratchnet[test]"')

from scratchnet.interop import onnx as interop  # noqa: E402

every_row = pytest.mark.parametrize("make, shape", ROWS.values(), ids=ROWS)


@every_row
def test_a_file_gives_the_same_outputs_and_comes_back_as_the_same_network(make, shape, rng):
    model = randomized(sn.Sequential(make(), shape), rng)
    proto = interop.to_onnx(model)
    onnx.checker.check_model(proto, full_check=True)
    for n in (3, 1):
        x = rng.standard_normal((n, *shape), np.float32)
        expected = model.predict(x)
        np.testing.assert_allclose(runtime(proto, x), expected, rtol=1e-4, atol=1e-5, strict=True)
    if not any(isinstance(layer, sn.ScaledTanh) for layer in model.layers):
        same_network(model, interop.from_onnx(proto))


def numbers(rng, *shape):
    return rng.standard_normal(shape, np.float32)


PADS = np.array([0, 0, 1, 0, 0, 0, 2, 3])
TRANSPOSED = {"T": np.arange(36, dtype="f4").reshape(2, 3, 3, 2), "t": np.arange(3, dtype="f4")}
SCALES = np.array([1, 1, 2, 3], np.float32)
HALF = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
FLOOR = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


@pytest.mark.parametrize(
    "op, weights, kind",
    [
        (
            ("Conv", ["W"], {"dilations": [2, 1], "strides": [1, 2], "pads": [1, 0, 2, 1]}),
            {"W": np.arange(36, dtype="f4").reshape(3, 2, 3, 2)},
            sn.Conv2D,
        ),
        *(
            (("ConvTranspose", ["T", "t"], how), TRANSPOSED, sn.Conv2DTranspose)
            for how in (
                {},
                {"strides": [2, 3], "pads": [1, 0, 0, 1]},
                {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 0]},
                {"strides": [4, 5], "output_padding": [1, 3]},
                {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
                {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
                {"strides": [2, 2], "output_shape": [11, 13]},
            )
        ),
        (
            ("Conv", ["D", "d"], {"group": 2, "strides": [2, 1], "pads": [1, 0, 0, 1]}),
            {"D": np.arange(36, dtype="f4").reshape(6, 1, 3, 2), "d": np.arange(6, dtype="f4")},
            sn.DepthwiseConv2D,
        ),
        (("Pad", ["p"], {}), {"p": PADS}, sn.ZeroPadding2D),
        (("Pad", ["p", "v"], {"mode": "constant"}), {"p": PADS, "v": 0.0}, sn.ZeroPadding2D),
        (("Resize", ["", "s"], FLOOR), {"s": SCALES}, sn.UpSampling2D),
        (("Resize", ["", "s"], HALF), {"s": SCALES}, sn.UpSampling2D),
        (("Resize", ["", "s"], {}), {"s": SCALES}, sn.UpSampling2D),
        (("Resize", ["", "", "z"], FLOOR), {"z": np.array([1, 2, 12, 7])}, sn.UpSampling2D),
        (("GlobalMaxPool", [], {}), {}, sn.GlobalMaxPool2D),
    ],
    ids=str,
)
def test_an_operator_becomes_its_layer(op, weights, kind, rng):
    n = 1 if "z" in weights else 3  # which names the batch's size, too
    assert type(check_import(chain(op, weights=weights), rng, n).layers[0]) is kind


def test_a_decoder_that_reshapes_to_channels_first_gets_its_dense_turned(rng):
    weights = {"W": numbers(rng, 5, 24), "b": numbers(rng, 24), "r": np.array([-1, 3, 4, 2])}
    weights |= {"K": numbers(rng, 2, 3, 2, 2)}
    nodes = ("Gemm", ["W", "b"], {}), ("Relu", [], {}), ("Reshape", ["r"], {}), ("Conv", ["K"], {})
    model = check_import(chain(*nodes, weights=weights, shape=("n", 5)), rng)
    assert [type(at).__name__ for at in model.layers] == ["Dense", "ReLU", "Reshape", "Conv2D"]


@pytest.mark.parametrize(
    "op, weights, said",
    [
        (("Pad", ["p", "v"], {}), {"p": PADS, "v": 1.5}, "zeros around the image, found 1.5"),
        (
            ("ConvTranspose", ["T"], {"strides": [4, 1], "output_padding": [2, 0]}),
            TRANSPOSED,
            "expected output_padding within the windows' reach",
        ),
        (("ConvTranspose", ["T"], {"dilations": [2, 2]}), TRANSPOSED, "expected dilations"),
        (("Pad", ["p"], {"mode": "reflect"}), {"p": PADS}, "expected mode constant, found reflect"),
        (("Pad", ["p"], {}), {"p": PADS[::-1].copy()}, "expected pads of height and width"),
        (("Pad", ["p"], {}), {"p": -PADS}, "none below 0"),
        (("Resize", ["", "s"], HALF), {"s": SCALES / 2}, "expected whole numbers of times"),
        (("Resize", ["", "s"], {"mode": "cubic"}), {"s": SCALES}, "found cubic, half_pixel"),
        (
            (
                "Resize",
                ["", "s"],
                {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
            ),
            {"s": SCALES},
            "found linear, asymmetric",
        ),
    ],
    ids=str,
)
def test_what_the_layers_do_not_offer_is_named_in_one_line(op, weights, said):
    with pytest.raises(InputError, match=said):
        interop.from_onnx(chain(op, weights=weights))


def test_a_reshape_in_an_order_that_no_layer_gives_is_refused(rng):
    weights = {"r": np.array([0, 4, 3, 7]), "K": numbers(rng, 2, 4, 2, 2)}
    nodes = chain(("Reshape", ["r"], {}), ("Conv", ["K"], {}), weights=weights)
    with pytest.raises(InputError, match="expected images"):
        interop.from_onnx(nodes)
