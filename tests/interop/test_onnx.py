"""ONNX out and in: ONNX Runtime computes what we compute, and what others wrote loads as ours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import GENERATORS, geometries

import scratchnet as sn
from scratchnet import InputError

onnx = pytest.importorskip("onnx", reason='needs onnx: pip install "scratchnet[interop]"')
ort = pytest.importorskip(
    "onnxruntime", reason='needs onnxruntime: pip install "scratchnet[interop]"'
)

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from scratchnet.interop import onnx as interop  # noqa: E402

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE

# -------------------------------------------------------------------------------------------- tools


def runtime(proto, x):
    """What ONNX Runtime computes."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(proto.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def randomized(model, rng):
    """Every parameter and every buffer away from its start, so that one left out would be seen."""
    for name, array in model.arrays().items():
        array[:] = rng.uniform(0.5, 1.5, array.shape) if "running_var" in name else rng.normal(
            0, 0.5, array.shape
        )  # fmt: skip
    return model


def same_network(one, other):
    assert [type(layer) for layer in one.layers] == [type(layer) for layer in other.layers]
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    assert one.arrays().keys() == other.arrays().keys()
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(array, other.arrays()[name], err_msg=name, strict=True)


def graph(nodes, weights=(), shape=("n", 2, 6, 7), kind=FLOAT, opset=17, outputs=("y",)):
    """A network as others write it: x in, y out, weights by name."""
    weights = {name: np.asarray(w) for name, w in dict(weights).items()}
    weights = {k: w.astype("f4") if w.dtype == np.float64 and kind == FLOAT else w
               for k, w in weights.items()}  # fmt: skip
    return helper.make_model(
        helper.make_graph(
            nodes,
            "theirs",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info(name, kind, None) for name in outputs],
            [numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


def chain(*ops, **how):
    """Nodes in a row: ("Conv", ["W", "b"], {"pads": ...}), ... from x to y."""
    names = ["x", *(f"value{k}" for k in range(1, len(ops))), "y"]
    return graph(
        [
            helper.make_node(op, [names[k], *inputs], [names[k + 1]], f"node{k}", **attributes)
            for k, (op, inputs, attributes) in enumerate(ops)
        ],
        **how,
    )


def check_import(proto, rng, n=3):
    """Load a network (n, c, h, w) or (n, d), and compare with ONNX Runtime; returns the model."""
    model = interop.from_onnx(proto)
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    x = rng.standard_normal((n, *(dim.dim_value for dim in dims[1:])), np.float32)
    expected = runtime(proto, x)
    y = model.predict(np.moveaxis(x, 1, -1))
    y = np.moveaxis(y, -1, 1).reshape(expected.shape)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    return model


# ------------------------------------------------------------------------------------------- export


@st.composite
def stacks(draw, pool_padding="same"):
    """(layers, input shape, n): windows of every kind, then perhaps a classifier of some kind."""
    (n, *shape), _, padding, (window, strides, _) = draw(geometries(st.integers(1, 3)))
    filters = draw(st.integers(1, 3))
    layers = [sn.Conv2D(filters, window, strides, padding, use_bias=draw(st.booleans()))]
    if draw(st.booleans()):
        layers.insert(0, draw(st.sampled_from([sn.ReLU, sn.BatchNorm, sn.Softmax]))())
    bends = [sn.ELU, sn.GELU, sn.SiLU, sn.Sigmoid, sn.Softplus, sn.Tanh, sn.LogSoftmax]
    # an epsilon that float32, in which ONNX keeps it, holds exactly
    layer_norm = lambda axis=-1: sn.LayerNorm(axis, 2**-10)  # noqa: E731
    bends += [layer_norm, lambda: layer_norm((1, 2, 3))]
    middle = [sn.ReLU, sn.BatchNorm, lambda: sn.Dropout(0.3), sn.Softmax, *bends]
    pools = [
        lambda kind=kind, size=size, step=step: kind(size, step, pool_padding)
        for kind in (sn.MaxPool2D, sn.AveragePool2D)
        for size, step in ((2, 2), ((3, 2), 1))
    ]
    layers += [make() for make in draw(st.lists(st.sampled_from(middle + pools), max_size=3))]
    end = draw(st.sampled_from(["images", "flatten", "global", "classes"]))
    if end != "images":
        layers.append(sn.GlobalAveragePool2D() if end == "global" else sn.Flatten())
        vectors = [
            layer_norm,
            sn.ReLU,
            sn.BatchNorm,
            lambda: sn.Dropout(0.3),
            sn.Softmax,
            sn.Flatten,
        ]
        layers += [make() for make in draw(st.lists(st.sampled_from(vectors), max_size=2))]
    if end in ("global", "classes"):
        layers += [sn.Dense(3, draw(st.booleans())), sn.ReLU(), sn.Dense(2)]
    return layers, tuple(shape), n


@pytest.mark.parametrize("name", sn.architectures.ARCHITECTURES)
def test_every_architecture_runs_in_onnx_runtime(name, rng):
    model = randomized(sn.architectures.build(name), rng)
    x = rng.random((7, 28, 28, 1), np.float32)
    proto = interop.to_onnx(model)
    onnx.checker.check_model(proto, full_check=True)
    np.testing.assert_allclose(runtime(proto, x), model.predict(x), rtol=1e-4, atol=1e-5)


def test_the_shipped_weights_read_the_same_digits():
    model = sn.architectures.pretrained()
    x = sn.datasets.mnist.load_data()[1][0][:500, ..., None] / np.float32(255)
    np.testing.assert_allclose(
        runtime(interop.to_onnx(model), x), model.predict(x), rtol=1e-4, atol=1e-6
    )


@given(stacks(), GENERATORS)
def test_any_stack_gives_the_same_outputs_in_float32(drawn, rng):
    layers, shape, n = drawn
    model = randomized(sn.Sequential(layers, shape), rng)
    x = rng.standard_normal((n, *shape), np.float32)
    proto = interop.to_onnx(model)
    onnx.checker.check_model(proto, full_check=True)
    y = runtime(proto, x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, model.predict(x), rtol=1e-4, atol=1e-5, strict=True)


# onnx's own evaluator, which has float64, mistakes the sides where a pooling's paddings differ
@given(stacks(pool_padding=1), GENERATORS)
def test_any_stack_gives_the_same_outputs_in_float64_and_comes_back_the_same(drawn, rng):
    layers, shape, n = drawn
    model = randomized(sn.Sequential(layers, shape, dtype=np.float64), rng)
    x = rng.standard_normal((n, *shape))
    proto = interop.to_onnx(model)
    y = ReferenceEvaluator(proto).run(None, {"input": x})[0]
    # ONNX keeps the epsilon of a normalization in float32: 1e-3 is 5e-11 off
    normalized = any(isinstance(layer, sn.BatchNorm | sn.LayerNorm) for layer in layers)
    near = 1e-9 if normalized else 1e-12
    if any(isinstance(layer, sn.GELU) for layer in layers):
        near = 1e-5  # ONNX spells it out with constants in float32, which a LayerNorm may enlarge
    np.testing.assert_allclose(y, model.predict(x), rtol=near, atol=near, strict=True)

    back = interop.from_onnx(proto)
    same_network(model, back)
    np.testing.assert_array_equal(back.predict(x), model.predict(x), strict=True)


def test_a_float64_model_is_exported_in_float32_when_asked(rng):
    model = randomized(sn.architectures.build("cnn-small", dtype=np.float64), rng)
    x = rng.random((2, 28, 28, 1))
    y = runtime(interop.to_onnx(model, np.float32), x.astype(np.float32))
    np.testing.assert_allclose(y, model.predict(x), rtol=1e-4, atol=1e-5)


def test_vectors_and_rows_of_channels_are_exported_too(rng):
    for layers, shape in (
        ([sn.Dense(3), sn.BatchNorm(), sn.Softmax()], (5,)),
        ([sn.BatchNorm(), sn.Softmax(), sn.Flatten(), sn.ReLU()], (5, 3)),
        ([sn.LayerNorm(), sn.LayerNorm((-2, -1)), sn.LogSoftmax()], (5, 3)),
    ):
        model = randomized(sn.Sequential(layers, shape), rng)
        x = rng.standard_normal((4, *shape), np.float32)
        proto = interop.to_onnx(model)
        np.testing.assert_allclose(runtime(proto, x), model.predict(x), rtol=1e-4, atol=1e-5)
        same_network(model, interop.from_onnx(proto))


def test_a_residual_block_becomes_a_sum(rng):
    """Images and vectors; a shortcut with layers and one without; a block in a block."""
    inner = sn.Residual([sn.Conv2D(2, 3, padding="same"), sn.BatchNorm()])
    for layers, shape in (
        ([sn.Residual([inner, sn.ReLU()])], (4, 5, 2)),
        ([sn.ReLU(), sn.Residual([sn.Flatten(), sn.Dense(3)], [sn.GlobalAveragePool2D(),
                                                               sn.Dense(3)])], (4, 5, 2)),
        ([sn.Residual([sn.Conv2D(3, 3, 2, 1)], [sn.Conv2D(3, 1, 2)]), sn.Flatten(), sn.ReLU(),
          sn.Dense(4)], (6, 5, 2)),
        ([sn.Flatten(), sn.Residual([sn.Dense(40), sn.ReLU()]), sn.Dense(2)], (4, 5, 2)),
    ):  # fmt: skip
        model = randomized(sn.Sequential(layers, shape), rng)
        x = rng.standard_normal((3, *shape), np.float32)
        proto = interop.to_onnx(model)
        onnx.checker.check_model(proto, full_check=True)
        np.testing.assert_allclose(runtime(proto, x), model.predict(x), rtol=1e-4, atol=1e-5)


def test_settings_come_back_from_a_file(tmp_path):
    layers = [
        sn.Conv2D(2, (3, 2), (2, 1), ((1, 0), (0, 1))),
        sn.BatchNorm(0.95, 1e-4),
        sn.AveragePool2D(2, 1, 1),
        sn.Dropout(0.3),
    ]  # fmt: skip
    model = sn.Sequential(layers, (7, 6, 3))
    interop.save(model, tmp_path / "net.onnx")
    back = interop.load(tmp_path / "net.onnx")
    assert back.input_shape == (7, 6, 3)
    same_network(model, back)
    conv, norm, pool, dropout = back.layers
    assert (conv.kernel_size, conv.strides, conv.pads) == ((3, 2), (2, 1), (1, 0, 0, 1))
    assert (norm.momentum, norm.epsilon, dropout.rate) == (0.95, 1e-4, 0.3)
    assert (pool.pool_size, pool.strides, pool.pads) == ((2, 2), (1, 1), (1, 1, 1, 1))


def test_what_cannot_be_exported_is_named():
    class Mine(sn.Layer):
        pass

    with pytest.raises(InputError, match="mine: expected one of Conv2D.*found Mine"):
        interop.to_onnx(sn.Sequential([Mine()], (3,)))
    with pytest.raises(InputError, match="expected a model with an input shape"):
        interop.to_onnx(sn.Sequential([sn.ReLU()]))
    with pytest.raises(InputError, match="expected float32 or float64, found float16"):
        interop.to_onnx(sn.Sequential([sn.ReLU()], (3,)), np.float16)


# ------------------------------------------------------------------------------------------- import


def test_a_channels_first_network_takes_our_images(rng):
    """Conv, BatchNorm, pools, Flatten, Gemm with transposed weights: PyTorch's usual order."""
    proto = chain(
        ("Conv", ["W", "b"], {"pads": [1, 1, 1, 1]}),
        ("BatchNormalization", ["g", "s", "m", "v"], {"epsilon": 1e-5}),
        ("Relu", [], {}),
        ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Flatten", [], {}),
        ("Dropout", [], {}),
        ("BatchNormalization", ["g2", "s2", "m2", "v2"], {}),
        ("Gemm", ["D", "e"], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
        ("Softmax", [], {}),
        weights={
            "W": rng.normal(size=(3, 2, 3, 3)), "b": rng.normal(size=3),
            **dict(zip("gsm", rng.normal(size=(3, 3)), strict=True)), "v": rng.uniform(1, 2, 3),
            **dict(zip(("g2", "s2", "m2"), rng.normal(size=(3, 27)), strict=True)),
            "v2": rng.uniform(1, 2, 27), "D": rng.normal(size=(4, 27)), "e": rng.normal(size=4),
        },
    )  # fmt: skip
    model = check_import(proto, rng)
    assert model.input_shape == (6, 7, 2)
    assert [type(layer).__name__ for layer in model.layers] == [
        "Conv2D", "BatchNorm", "ReLU", "MaxPool2D", "Flatten", "Dropout", "BatchNorm", "Dense",
        "Softmax",
    ]  # fmt: skip


def test_a_view_with_an_unknown_batch_is_a_flatten(rng):
    """x.view(x.size(0), -1), as PyTorch's exporter writes it."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Constant", [], ["zero"], value_int=0),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Constant", [], ["axes"], value_ints=[0]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["first"]),
        helper.make_node("Constant", [], ["rest"], value_ints=[-1]),
        helper.make_node("Concat", ["first", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "W"], ["z"]),
        helper.make_node("Add", ["b", "z"], ["y"]),
    ]
    weights = {"W": rng.normal(size=(84, 3)), "b": rng.normal(size=3)}
    model = check_import(graph(nodes, weights), rng)
    assert [type(layer).__name__ for layer in model.layers] == ["Flatten", "Dense"]


def test_allowzero_says_nothing_of_a_shape_without_zeros(rng):
    """PyTorch's default exporter sets it at every view and Flatten."""
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["flat"], allowzero=1),
        helper.make_node("MatMul", ["flat", "W"], ["y"]),
    ]
    weights = {"W": rng.normal(size=(84, 3)), "shape": np.array([-1, 84])}
    model = check_import(graph(nodes, weights), rng)
    assert [type(layer).__name__ for layer in model.layers] == ["Flatten", "Dense"]
    weights["shape"] = np.array([0, 84])
    with pytest.raises(sn.InputError, match="without 0 where allowzero is 1"):
        interop.from_onnx(graph(nodes, weights))


@pytest.mark.parametrize("keep", [0, 1])
def test_a_mean_over_height_and_width_is_global_pooling(rng, keep):
    """PyTorch's default exporter writes AdaptiveAvgPool2d(1) so."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["m"], axes=[-1, 2], keepdims=keep)]
    nodes += [helper.make_node("Flatten", ["m"], ["v"])] * keep
    nodes += [helper.make_node("MatMul", ["v" if keep else "m", "W"], ["y"])]
    model = check_import(graph(nodes, {"W": rng.normal(size=(2, 3))}), rng)
    assert type(model.layers[0]) is sn.GlobalAveragePool2D
    for axes in ([1], [2], [0, 1, 2, 3]):
        nodes[0] = helper.make_node("ReduceMean", ["x"], ["m"], axes=axes)
        with pytest.raises(sn.InputError, match="expected axes 2 and 3"):
            interop.from_onnx(graph(nodes, {"W": rng.normal(size=(2, 3))}))


def test_a_channels_last_network_with_a_transpose_keeps_its_input(rng):
    """As tf2onnx and our own export write it: (n, h, w, c) in, transposed once."""
    W, D = rng.normal(size=(3, 2, 3, 3)), rng.normal(size=(3 * 20, 4))
    proto = chain(
        ("Transpose", [], {"perm": [0, 3, 1, 2]}),
        ("Conv", ["W"], {}),
        ("Add", ["b"], {}),
        ("Transpose", [], {"perm": [0, 2, 3, 1]}),
        ("Reshape", ["shape"], {}),
        ("MatMul", ["D"], {}),
        weights={"W": W, "b": rng.normal(size=(3, 1, 1)), "D": D, "shape": np.array([-1, 60])},
        shape=("n", 6, 7, 2),
    )
    model = interop.from_onnx(proto)
    x = rng.standard_normal((3, 6, 7, 2), np.float32)
    assert model.input_shape == (6, 7, 2)
    np.testing.assert_allclose(model.predict(x), runtime(proto, x), rtol=1e-4, atol=1e-5)


def test_the_data_format_can_be_told(rng):
    """Nothing in Flatten and Gemm says which axis holds the channels."""
    proto = chain(
        ("Flatten", [], {}), ("Gemm", ["W"], {}),
        weights={"W": rng.normal(size=(84, 3))}, shape=("n", 6, 7, 2),
    )  # fmt: skip
    x = rng.standard_normal((3, 6, 7, 2), np.float32)
    first, last = interop.from_onnx(proto), interop.from_onnx(proto, "channels_last")
    assert (first.input_shape, last.input_shape) == ((7, 2, 6), (6, 7, 2))
    y = runtime(proto, x)
    np.testing.assert_allclose(first.predict(np.moveaxis(x, 1, -1)), y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last.predict(x), y, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="data_format: expected \"channels_first\".*found 'NHWC'"):
        interop.from_onnx(proto, "NHWC")


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@given(st.data(), GENERATORS)
def test_windows_of_every_kind_load(op, data, rng):
    """Strides, pads, SAME_UPPER, SAME_LOWER, VALID, and windows that the image's end cuts off."""
    (_, h, w, c), _, padding, (window, strides, pads) = data.draw(geometries(pooling=True))
    top, bottom, left, right = pads
    how = {"kernel_shape": window, "strides": strides}
    if data.draw(st.booleans()) and padding != "same":
        how |= {"pads": [top, left, bottom, right], "ceil_mode": data.draw(st.integers(0, 1))}
    else:
        same = ["SAME_UPPER", "SAME_LOWER"]
        valid = ["VALID"] * (h >= window[0] and w >= window[1])
        how["auto_pad"] = data.draw(st.sampled_from(same + valid))
        # ONNX Runtime refuses a negative SAME padding, which only a stride above the window has
        how["strides"] = tuple(map(min, strides, window))
    check_import(chain((op, [], how), shape=("n", c, h, w)), rng)


def test_global_pooling_and_squeeze(rng):
    for rest in (("Flatten", [], {}), ("Squeeze", ["axes"], {}), ("Reshape", ["shape"], {})):
        proto = chain(
            ("GlobalAveragePool", [], {}), rest, ("Gemm", ["W"], {}),
            weights={"W": rng.normal(size=(2, 3)), "axes": np.array([2, 3]),
                     "shape": np.array([0, -1])},
        )  # fmt: skip
        check_import(proto, rng)


def test_weights_in_a_second_file_beside_it_are_read_and_no_others(tmp_path, rng):
    W = rng.normal(size=(3, 2)).astype(np.float32)

    def write(location, offset=0, length=24):
        proto = chain(("Gemm", ["W"], {}), weights={"W": W}, shape=("n", 3))
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        (folder / "net.onnx").write_bytes(proto.SerializeToString())
        return folder / "net.onnx"

    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "net.data").write_bytes(bytes(8) + W.tobytes())
    (tmp_path / "secret").write_bytes(W.tobytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    model = interop.load(write("net.data", 8))
    np.testing.assert_array_equal(model.layers[0].params["W"], W)
    for place in ("../secret", str(tmp_path / "secret"), "..", "", "inside/../net.data"):
        with pytest.raises(InputError, match="expected a file in the same folder"):
            interop.load(write(place))
    for place in ("link", "missing"):
        with pytest.raises(InputError, match=f"expected a file '{place}', found none"):
            interop.load(write(place))
    for offset in (9, -1, 10**30):
        with pytest.raises(InputError, match="expected 24 bytes in 'net.data'"):
            interop.load(write("net.data", offset))
    with pytest.raises(InputError, match="expected a file in the same folder"):
        interop.from_onnx(onnx.load(write("net.data", 8), load_external_data=False))


# ------------------------------------------------------------------------------------------- errors

IMAGES, VECTORS = {"shape": ("n", 2, 6, 7)}, {"shape": ("n", 3)}
W3 = {"W": np.ones((3, 2, 3, 3), "f4")}
W2 = {"W": np.ones((3, 2), "f4")}
NORM = {name: np.ones(2, "f4") for name in "gsmv"}

REFUSED = {
    "operator": (chain(("Selu", [], {})), r"node 'node0' \(Selu\): expected one of Conv, .*"
                 "found operator Selu"),
    "group": (chain(("Conv", ["W"], {"group": 2}), weights=W3),
              "group 1, or one for each channel, found 2"),
    "kernel_shape": (chain(("Conv", ["W"], {"kernel_shape": [3, 2]}), weights=W3),
                     r"kernel_shape \[3, 3\], found \[3, 2\]"),
    "channels": (chain(("Conv", ["W"], {}), weights={"W": np.ones((3, 5, 3, 3), "f4")}),
                 r"W of shape \(3, 3, 2, 3\), found \(3, 3, 5, 3\)"),
    "one axis": (chain(("MaxPool", [], {"kernel_shape": [2]}), shape=("n", 2, 6)),
                 r"expected images \(n, channels, height, width\), found \(n, 2, 6\)"),
    "too large a window": (chain(("MaxPool", [], {"kernel_shape": [9, 9]})), "does not fit"),
    "auto_pad": (chain(("MaxPool", [], {"kernel_shape": [2, 2], "auto_pad": "SOME"})),
                 "expected auto_pad NOTSET.*found SOME"),
    "no kernel_shape": (chain(("MaxPool", [], {})), "kernel_shape of two axes.*found None"),
    "negative pads": (chain(("Conv", ["W"], {"pads": [0, 0, -1, 0]}), weights=W3), "none below 0"),
    "counted padding": (chain(("AveragePool", [], {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1],
                                                   "count_include_pad": 1})),
                        "count_include_pad 0 where there is padding, found 1"),
    "matrix on images": (chain(("Gemm", ["W"], {}), weights=W2),
                         r"expected vectors \(n, d\), found \(n, 2, 6, 7\)"),
    "transA": (chain(("Gemm", ["W"], {"transA": 1}), weights=W2, **VECTORS), "transA 0, found 1"),
    "rows": (chain(("MatMul", ["W"], {}), weights=W2, shape=("n", 4)), "a matrix of 4 rows"),
    "weights of another dtype": (chain(("MatMul", ["W"], {}), **VECTORS,
                                       weights={"W": np.ones((3, 2), "f2")}),
                                 "expected float32 in 'W', found float16"),
    "no weights": (chain(("MatMul", ["W"], {}), **VECTORS), "constant as input 1, found 'W'"),
    "a bias alone": (chain(("Add", ["W"], {}), weights={"W": np.ones(3, "f4")}, **VECTORS),
                     "expected a bias right after Conv or MatMul"),
    "a bias a place": (chain(("Conv", ["W"], {}), ("Add", ["b"], {}), weights={
        **W3, "b": np.arange(5, dtype="f4")}), "differ from place to place"),
    "training": (chain(("BatchNormalization", [*"gsmv"], {"training_mode": 1}), weights=NORM),
                 "training_mode 0, found 1"),
    "softmax over places": (chain(("Softmax", [], {"axis": 2})), "the classes or the ch.*axis 2"),
    "softmax over images": (chain(("Softmax", [], {"axis": 1}), opset=11), "softmax over"),
    "flatten axis": (chain(("Flatten", [], {"axis": 2})), "axis 1, found 2"),
    "reshape": (chain(("Reshape", ["s"], {}), weights={"s": np.array([2, -1])}),
                r"keeps the batch axis, found \[2, -1\]"),
    "reshape to another size": (chain(("Reshape", ["s"], {}), weights={"s": np.array([0, 5])}),
                                "a shape for 84 values"),
    "transpose": (chain(("Transpose", [], {"perm": [1, 0, 2, 3]})), "batch first, found"),
    "unknown attribute": (chain(("Relu", [], {"slope": 0.5})), "no such attribute, found slope"),
    "flattened channels first": (
        chain(("Conv", ["W"], {}), ("Flatten", [], {}), weights=W3),
        "output 'y': expected classes or"),
    "a shortcut": (graph([helper.make_node("Add", ["x", "x"], ["y"])]),
                   r"node 'y' \(Add\): expected a constant to add, .*a network that branches"),
    "a branch": (graph([helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Relu", ["x"],
                       ["y"], "second")]), "node 'second'.*the value before it, 'a', found 'x'"),
    "two outputs": (graph([helper.make_node("Relu", ["x"], ["y"])], outputs=("y", "x")),
                    "one input and one output, found 1 and 2"),
    "unknown size": (chain(("Relu", [], {}), shape=("n", 2, "h", "w")),
                     r"input 'x': expected known sizes.*found \(n, 2, h, w\)"),
    "integers": (chain(("Relu", [], {}), kind=TensorProto.INT32), "expected float32 or float64"),
    "old": (chain(("Relu", [], {}), opset=5), "opset 6 or later, found 5"),
    "huge": (chain(("Relu", [], {}), shape=("n", 10**6, 10**6)), "at most 67,108,864 values"),
    "no layer": (chain(("Identity", [], {})), "expected at least one layer"),
    "foreign domain": (graph([helper.make_node("Relu", ["x"], ["y"], domain="com.microsoft")]),
                       "operator of ONNX itself"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_our_layers_do_not_offer_is_named_in_one_line(case, tmp_path):
    proto, message = REFUSED[case]
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match=message) as caught:
        interop.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_networks(tmp_path):
    with pytest.raises(InputError, match="missing.onnx: expected an ONNX file: No such file"):
        interop.load(tmp_path / "missing.onnx")
    with pytest.raises(InputError, match="expected an ONNX file, found a folder"):
        interop.load(tmp_path)
    for content in (b"", b"\x80\x04\x95pickle", b"<html>404</html>", bytes(100)):
        (tmp_path / "net.onnx").write_bytes(content)
        with pytest.raises(InputError, match="net.onnx: expected"):
            interop.load(tmp_path / "net.onnx")


@given(data=st.data())
def test_a_damaged_file_loads_or_is_refused(data, tmp_path):
    model = sn.Sequential(
        [sn.Conv2D(2, 2), sn.BatchNorm(), sn.MaxPool2D(2), sn.Flatten(), sn.Dense(2)], (5, 5, 1)
    )
    content = bytearray(interop.to_onnx(model).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    path = tmp_path / "net.onnx"
    path.write_bytes(content[:cut])
    try:
        assert isinstance(interop.load(path), sn.Sequential)
    except InputError as error:
        assert str(error).startswith(f"{path}: ")


# ------------------------------------------------------------- activations in several nodes


def spelled(scale=1.0, outputs=("y",), twist=()):
    """x * sigmoid(scale * x), and perhaps more nodes."""
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["scaled"]),
        helper.make_node("Sigmoid", ["scaled"], ["s"]),
        helper.make_node("Mul", ["s", "x"], ["y"]),
        *twist,
    ]
    return graph(nodes, {"scale": np.array(scale)}, ("n", 5), outputs=outputs)


def test_what_is_spelled_out_is_known_by_its_values(rng):
    model = check_import(spelled(), rng)
    assert [repr(layer) for layer in model.layers] == ["SiLU()"]
    check_import(spelled(twist=[helper.make_node("Relu", ["y"], ["z"])], outputs=("z",)), rng)


@pytest.mark.parametrize(
    "proto",
    [
        spelled(1.0001),
        spelled(1.702),
        spelled(twist=[helper.make_node("Mul", ["y", "s"], ["z"])], outputs=("z",)),
    ],
    ids=["nearly", "another function", "a value between is used again"],
)
def test_what_only_resembles_an_activation_is_refused(proto):
    with pytest.raises(InputError, match="operator Mul|branches"):
        interop.from_onnx(proto)
