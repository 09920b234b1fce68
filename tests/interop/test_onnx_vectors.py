"""Vectors nobody here wrote: the test cases of the ONNX standard, and those made with PyTorch.

Each case is a small graph with its inputs and its outputs. Those of single operators run on our
layers, losses and optimizers, without the importer; then all that can be networks run through the
importer. A case that is left out stands in a list below, with the reason; that lists and numbers
are complete is a test of its own, because a runner that finds no files passes on nothing.
"""

import copy
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError

onnx = pytest.importorskip("onnx", reason='needs onnx==1.22.0: pip install "scratchnet[test]"')

from onnx import helper, numpy_helper  # noqa: E402
from onnx.backend import test as backend_test  # noqa: E402

from scratchnet.interop.onnx import from_onnx  # noqa: E402

DATA = Path(backend_test.__file__).parent / "data"
# "_expanded" cases are the same numbers with the operator spelt out in others
OURS = re.compile(
    "test_(?!.*_expanded)((basic_)?conv_|convtranspose|(max|average|global.*)pool|gemm|matmul_|relu"
    "|(log)?softmax|elu|gelu|sigmoid|softplus|swish|tanh|layer_norm|batchnorm|(training_)?dropout|flatten|nllloss|sce|adam|momentum|nesterov)"
)
NODE = sorted(p.name.removeprefix("test_") for p in DATA.glob("node/*") if OURS.match(p.name))
PYTORCH = sorted(
    f"{kind}/{path.name.removeprefix('test_')}"
    for kind in ("converted", "operator")
    for path in DATA.glob(f"pytorch-{kind}/test_*")
)

# ------------------------------------------------------------------------------- what is left out

EXCLUDED = {
    # Flatten always keeps the first axis and joins the others
    "flatten_axis0": "axis 0",
    "flatten_axis2": "axis 2",
    "flatten_axis3": "axis 3",
    "flatten_negative_axis1": "axis -1, the last",
    "flatten_negative_axis2": "axis -2",
    "flatten_negative_axis4": "axis -4, the first",
    # Dense multiplies the rows of one matrix with another
    "gemm_default_matrix_bias": "a bias of its own for each row of the batch",
    "matmul_1d_3d": "a stack of matrices as the weights",
    "matmul_3d": "a stack of matrices as the weights",
    "matmul_4d": "a stack of matrices as the weights",
    "matmul_4d_1d": "a stack of matrices as the input",
    "matmul_bcast": "a stack of matrices as the weights",
    # windows are two-dimensional, without gaps, and padding is not counted in a mean
    "averagepool_2d_ceil_last_window_starts_on_pad": "count_include_pad",
    "averagepool_2d_dilations": "dilations",
    "averagepool_2d_pads_count_include_pad": "count_include_pad",
    "averagepool_2d_precomputed_pads_count_include_pad": "count_include_pad",
    "averagepool_3d_default": "three axes",
    "averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False": "three axes",
    "averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True": "three axes",
    "averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False": "three axes",
    "averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True": "three axes",
    "averagepool_3d_dilations_small": "three axes",
    "convtranspose_3d": "three axes",
    "convtranspose_dilations": "dilations",
    "convtranspose_group_2": "group",
    "convtranspose_group_2_image_3": "group",
    "maxpool_2d_dilations": "dilations",
    "maxpool_3d_default": "three axes",
    "maxpool_3d_dilations": "three axes",
    "maxpool_3d_dilations_use_ref_impl": "three axes",
    "maxpool_3d_dilations_use_ref_impl_large": "three axes",
}

#: what the importer says where a network is left out for that reason ("operator X" it says itself)
SAYS = {
    "one axis": r"height, width\), found \(n, \d+, \d+\)",
    "three axes": r"height, width\), found \(n(, \d+){4}\)",
    "group": "expected group 1",
    "dilations": "expected dilations",
    "whole numbers": "expected float32 or float64",
    "several outputs": "expected a network with one input and one output",
    "an addition that is no bias": "expected a bias right after",
    "a network that branches": "a network that branches",
    "no axis beside the batch": "expected known sizes after the batch axis",
    "no layer at all": "expected at least one layer",
    "rows that no window reaches": "expected output_padding within the windows' reach",
    "padding that is not zero": "expected zeros around the image, found 2",
    "padding that repeats the image": "expected mode constant",
    "a rearrangement of pixels": "image values in an order",
}
PYTORCH_EXCLUDED = {
    "converted/AvgPool1d": "operator Unsqueeze",
    "converted/AvgPool1d_stride": "operator Unsqueeze",
    "converted/AvgPool3d": "three axes",
    "converted/AvgPool3d_stride": "three axes",
    "converted/AvgPool3d_stride1_pad0_gpu_input": "three axes",
    "converted/ConstantPad2d": "padding that is not zero",
    "converted/Conv1d": "one axis",
    "converted/Conv1d_dilated": "one axis",
    "converted/Conv1d_groups": "one axis",
    "converted/Conv1d_pad1": "one axis",
    "converted/Conv1d_pad1size1": "one axis",
    "converted/Conv1d_pad2": "one axis",
    "converted/Conv1d_pad2size1": "one axis",
    "converted/Conv1d_stride": "one axis",
    "converted/Conv2d_groups": "group",
    "converted/Conv2d_groups_thnn": "group",
    "converted/Conv3d": "three axes",
    "converted/Conv3d_dilated": "three axes",
    "converted/Conv3d_dilated_strided": "three axes",
    "converted/Conv3d_groups": "three axes",
    "converted/Conv3d_no_bias": "three axes",
    "converted/Conv3d_stride": "three axes",
    "converted/Conv3d_stride_padding": "three axes",
    "converted/Embedding": "whole numbers",
    "converted/Embedding_sparse": "whole numbers",
    "converted/GLU": "operator Split",
    "converted/GLU_dim": "operator Split",
    "converted/MaxPool1d": "one axis",
    "converted/MaxPool1d_stride": "one axis",
    "converted/MaxPool1d_stride_padding_dilation": "one axis",
    "converted/MaxPool2d_stride_padding_dilation": "dilations",
    "converted/MaxPool3d": "three axes",
    "converted/MaxPool3d_stride": "three axes",
    "converted/MaxPool3d_stride_padding": "three axes",
    "converted/PReLU_1d": "operator PRelu",
    "converted/PReLU_1d_multiparam": "operator PRelu",
    "converted/PReLU_2d": "operator PRelu",
    "converted/PReLU_2d_multiparam": "operator PRelu",
    "converted/PReLU_3d": "operator PRelu",
    "converted/PReLU_3d_multiparam": "operator PRelu",
    "converted/PixelShuffle": "a rearrangement of pixels",
    "converted/PoissonNLLLLoss_no_reduce": "operator Exp",
    "converted/ReflectionPad2d": "padding that repeats the image",
    "converted/ReplicationPad2d": "padding that repeats the image",
    "converted/SELU": "operator Selu",
    "converted/Softmin": "operator Neg",
    "converted/Softsign": "operator Abs",
    "operator/operator_add_broadcast": "an addition that is no bias",
    "operator/operator_add_size1_broadcast": "an addition that is no bias",
    "operator/operator_add_size1_right_broadcast": "an addition that is no bias",
    "operator/operator_add_size1_singleton_broadcast": "an addition that is no bias",
    "operator/operator_addconstant": "an addition that is no bias",
    "operator/operator_addmm": "a network that branches",
    "operator/operator_basic": "no axis beside the batch",
    "operator/operator_chunk": "several outputs",
    "operator/operator_clip": "operator Clip",
    "operator/operator_concat2": "operator Concat",
    "operator/operator_convtranspose": "rows that no window reaches",
    "operator/operator_exp": "operator Exp",
    "operator/operator_index": "operator Slice",
    "operator/operator_max": "operator Max",
    "operator/operator_maxpool": "one axis",
    "operator/operator_min": "operator Min",
    "operator/operator_non_float_params": "whole numbers",
    "operator/operator_pad": "padding that repeats the image",
    "operator/operator_params": "an addition that is no bias",
    "operator/operator_permute2": "no layer at all",
    "operator/operator_pow": "operator Pow",
    "operator/operator_reduced_mean": r"\[2\]",
    "operator/operator_reduced_mean_keepdim": r"\[2\]",
    "operator/operator_reduced_sum": "operator ReduceSum",
    "operator/operator_reduced_sum_keepdim": "operator ReduceSum",
    "operator/operator_repeat": "operator Tile",
    "operator/operator_repeat_dim_overflow": "operator Tile",
    "operator/operator_selu": "operator Selu",
    "operator/operator_sqrt": "operator Sqrt",
    "operator/operator_symbolic_override": "operator InstanceNormalization",
    "operator/operator_symbolic_override_nested": "several outputs",
    "operator/operator_view": "no axis beside the batch",
}

# ------------------------------------------------------------------------------------------- tools


def in_order(folder, what):
    found = (folder / "test_data_set_0").glob(f"{what}_*.pb")
    return sorted(found, key=lambda path: int(path.stem.removeprefix(f"{what}_")))


class Case:
    """A folder of the ONNX data: a graph, the arrays that go in and the arrays that come out."""

    def __init__(self, folder):
        self.model = onnx.load(folder / "model.onnx")
        self.node = self.model.graph.node[0]
        self.attributes = {a.name: helper.get_attribute_value(a) for a in self.node.attribute}
        self.inputs, self.outputs = (
            [numpy_helper.to_array(onnx.load_tensor(path)) for path in in_order(folder, what)]
            for what in ("input", "output")
        )

    def get(self, name, default=None):
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value


def close(found, expected, rtol=1e-5, atol=1e-6):
    found = np.asarray(found)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=rtol, atol=atol)


def last(x):
    """(n, c, h, w) -> (n, h, w, c); (n, c, w) is an image of height 1."""
    x = x if x.ndim == 4 else x[:, :, None]
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def first(y):
    return np.moveaxis(y, -1, 1)


def two(values):
    """Of one axis or two; the height of an image of height 1 is not windowed."""
    return tuple(values) if len(values) == 2 else (1, *values)


def windows(case, size, out_size, kernel):
    """(strides, padding) of a window that is laid over `size` and ends up at `out_size` places."""
    strides = two(case.get("strides", [1] * len(kernel)))
    rank = len(case.get("pads", kernel * 2)) // 2
    given = case.get("pads", [0] * 2 * rank)
    before, after = [0] * (2 - rank) + given[:rank], [0] * (2 - rank) + given[rank:]
    automatic = case.get("auto_pad", "NOTSET")
    sides = []
    for axis in range(2):
        total = (out_size[axis] - 1) * strides[axis] + two(kernel)[axis] - size[axis]
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            small, large = total // 2, total - total // 2
            sides.append((small, large) if automatic == "SAME_UPPER" else (large, small))
        else:  # ceil_mode: one more window, which the end of the image cuts off
            sides.append((before[axis], max(after[axis], total - before[axis])))
    return strides, tuple(sides)


def built(layer, x, **arrays):
    layer.build(x.shape[1:], np.random.default_rng(0), x.dtype)
    for key, array in arrays.items():
        (layer.params | layer.buffers)[key][:] = array
    return layer


# ------------------------------------------------------------------------------ one operator each


def conv(case):
    x, W = last(case.inputs[0]), last(case.inputs[1]).transpose(1, 2, 3, 0)
    kernel = list(W.shape[:2])
    where = windows(case, x.shape[1:3], last(case.outputs[0]).shape[1:3], kernel)
    layer = built(sn.Conv2D(W.shape[3], tuple(kernel), *where, use_bias=False), x, W=W)
    close(first(layer.forward(x)), case.outputs[0])


def conv_transpose(case):
    """The gradient of a convolution by its input: what comes in is dy, what goes out is dx."""
    dy, expected = last(case.inputs[0]), last(case.outputs[0])
    W = last(case.inputs[1]).transpose(1, 2, 3, 0)  # (f, c, kh, kw) -> (kh, kw, c, f)
    kernel, strides = W.shape[:2], two(case.get("strides", [1, 1]))
    where = strides, windows(case, expected.shape[1:3], dy.shape[1:3], list(kernel))[1]
    if case.get("auto_pad") is None:  # the places that no window reaches stay zero
        pads = two(case.get("pads", [0, 0, 0, 0])[:2]), two(case.get("pads", [0, 0, 0, 0])[2:])
        where = strides, tuple(zip(*pads, strict=True))
    layer = built(sn.Conv2D(W.shape[3], kernel, *where, use_bias=False), expected, W=W)
    layer.forward(np.zeros_like(expected))
    close(first(layer.backward(dy)), case.outputs[0])


def pool(kind):
    def run(case):
        x, out_size = last(case.inputs[0]), last(case.outputs[0]).shape[1:3]
        x, kernel = x.astype(np.float32), case.get("kernel_shape")  # one case has whole numbers
        layer = built(kind(two(kernel), *windows(case, x.shape[1:3], out_size, kernel)), x)
        close(first(layer.forward(x)).astype(case.outputs[0].dtype), case.outputs[0])
        if len(case.outputs) == 2:
            close(positions_of_winners(layer, case.get("storage_order", 0)), case.outputs[1])

    return run


def positions_of_winners(layer, column_first):
    """From the place in its window to the place in the image: (n, c, out_h, out_w), counted."""
    (h, w, _), (top, _, left, _) = layer.input_shape, layer.pads
    u, v = np.divmod(layer.cache.astype(np.int64), layer.pool_size[1])  # (n, out_h, out_w, c)
    rows = np.arange(u.shape[1])[:, None, None] * layer.strides[0] + u - top
    columns = np.arange(u.shape[2])[:, None] * layer.strides[1] + v - left
    assert u.shape[0] == u.shape[3] == 1
    return first(columns * h + rows if column_first else rows * w + columns)


def global_average_pool(case):
    x = last(case.inputs[0])
    close(built(sn.GlobalAveragePool2D(), x).forward(x), case.outputs[0])


def global_max_pool(case):
    x = last(case.inputs[0])
    close(built(sn.GlobalMaxPool2D(), x).forward(x), case.outputs[0])


def gemm(case):
    x, W, *C = case.inputs
    x, W = x.T if case.get("transA", 0) else x, W.T if case.get("transB", 0) else W
    W = W * np.float32(case.get("alpha", 1))
    b = C[0] * np.float32(case.get("beta", 1)) if C else np.float32(0)
    close(built(sn.Dense(W.shape[1]), x, W=W, b=b).forward(x), case.outputs[0])


def mat_mul(case):
    x, W = case.inputs
    x, W = np.atleast_2d(x), W.reshape(len(W), -1)
    close(built(sn.Dense(W.shape[1], use_bias=False), x, W=W).forward(x), case.outputs[0])


def relu(case):
    (x,) = case.inputs
    close(built(sn.ReLU(), x).forward(x), case.outputs[0])


def pointwise(kind, **arguments):
    """An activation; arguments: ONNX's defaults by our names, which are the attributes' too."""

    def run(case):
        (x,) = case.inputs
        layer = kind(**{key: case.get(key, value) for key, value in arguments.items()})
        # scalars and vectors, as in some cases, as a batch of one
        close(built(layer, np.atleast_2d(x)).forward(np.atleast_2d(x)), case.outputs[0])

    return run


def softmax(case, kind=sn.Softmax):
    axis = case.get("axis", -1)
    x = np.moveaxis(case.inputs[0], axis, -1)
    close(np.moveaxis(built(kind(), x).forward(x), -1, axis), case.outputs[0])


def log_softmax(case):
    """By the layer; and from logits, cross-entropy is minus the true class's logarithm."""
    softmax(case, sn.LogSoftmax)
    axis = case.get("axis", -1)
    logits = np.moveaxis(case.inputs[0], axis, -1)
    rows, k = logits.reshape(-1, logits.shape[-1]), logits.shape[-1]
    loss = sn.losses.SparseCategoricalCrossentropy(from_logits=True)
    y = np.array([[-loss.forward(row[None], np.array([t])) for t in range(k)] for row in rows])
    y = np.moveaxis(y.reshape(logits.shape), -1, axis)
    close(y.astype(np.float32), case.outputs[0])


def batch_normalization(case):
    x, (gamma, beta, mean, var) = last(case.inputs[0]), case.inputs[1:]
    training = bool(case.get("training_mode", 0))
    arrays = {"gamma": gamma, "beta": beta, "running_mean": mean, "running_var": var}
    layer = sn.BatchNorm(case.get("momentum", 0.9), case.get("epsilon", 1e-5))
    built(layer, x, **arrays)
    close(first(layer.forward(x, training)), case.outputs[0])
    if training:
        close(layer.buffers["running_mean"], case.outputs[1])
        close(layer.buffers["running_var"], case.outputs[2])


def layer_normalization(case):
    """All axes before the normalized ones are the batch."""
    x, gamma, beta = case.inputs
    rows = x.reshape(-1, *gamma.shape)
    layer = sn.LayerNorm(tuple(range(-gamma.ndim, 0)), case.get("epsilon", 1e-5))
    built(layer, rows, gamma=gamma, beta=beta)
    close(layer.forward(rows), case.outputs[0])


def dropout(case):
    """In training with their random choice in place of ours: what is left is the scaling."""
    x, training = case.inputs[0], len(case.inputs) == 3
    rate = case.inputs[1].item() if len(case.inputs) > 1 else case.get("ratio", 0.5)
    kept = case.outputs[1] if len(case.outputs) > 1 else case.outputs[0] != 0
    layer = built(sn.Dropout(rate), x)
    layer.rng = SimpleNamespace(random=lambda shape, dtype: np.where(kept, 0, 1).astype(dtype))
    close(layer.forward(x, training), case.outputs[0])


def flatten(case):
    (x,) = case.inputs
    close(built(sn.Flatten(), x).forward(x), case.outputs[0])


def cross_entropy(case):
    """Class weights, and rows that are ignored, are the size of a row of y_true."""
    x, labels, *weights = case.inputs
    from_logits, k = case.node.op_type == "SoftmaxCrossEntropyLoss", x.shape[1]
    scores = np.ascontiguousarray(np.moveaxis(x, 1, -1)).reshape(-1, k)
    labels, ignored = labels.ravel(), case.get("ignore_index")
    counted = np.ones(len(labels), bool) if ignored is None else labels != ignored
    scale = np.zeros(len(labels), np.float32)
    scale[counted] = weights[0][labels[counted]] if weights else 1
    targets = np.zeros_like(scores)
    targets[counted, labels[counted]] = scale[counted]
    y = scores if from_logits else np.exp(scores)

    loss = sn.losses.CategoricalCrossentropy(from_logits)
    reduction = case.get("reduction", "mean")
    if reduction == "none":
        found = [loss.forward(y[i : i + 1], targets[i : i + 1]) for i in range(len(y))]
    else:
        found = loss.forward(y, targets) * (len(y) / (scale.sum() if reduction == "mean" else 1))
    close(np.array(found, np.float32), case.outputs[0])
    if reduction == "mean" and not weights:
        sparse = sn.losses.SparseCategoricalCrossentropy(from_logits)
        value = sparse.forward(y[counted], labels[counted])
        close(np.array(value, np.float32), case.outputs[0])
    if len(case.outputs) == 2:
        log_probs = np.log(sn.layers.softmax(scores)).reshape(np.moveaxis(x, 1, -1).shape)
        close(np.moveaxis(log_probs, -1, 1), case.outputs[1])


def parameters(case, kinds):
    """(lr, step, arrays): for each kind of array (x, gradient, ...) all tensors of it, flat.

    With norm_coefficient c, ONNX adds c x to the gradient: that of a penalty c/2 x^2 in the loss.
    """
    lr, step, tensors = case.inputs[0].item(), case.inputs[1].item(), case.inputs[2:]
    each = len(tensors) // kinds
    arrays = [np.concatenate(tensors[k * each : (k + 1) * each]) for k in range(kinds)]
    arrays[1] = arrays[1] + np.float32(case.get("norm_coefficient", 0)) * arrays[0]
    assert case.get("norm_coefficient_post", 0) == 0
    return lr, step, arrays


def adam(case):
    lr, step, (x, g, m, v) = parameters(case, 4)
    assert step == 0  # there ONNX does not correct the bias; nor does Adam after many steps
    optimizer = sn.Adam(lr, case.get("alpha"), case.get("beta"), case.get("epsilon"))
    optimizer.load_state({"iterations": 10**6, "m": m, "v": v})
    optimizer.step(SimpleNamespace(flat_params=x, flat_grads=g))
    state = optimizer.state()
    close(np.concatenate([x, state["m"], state["v"]]), np.concatenate(case.outputs))


def momentum(case):
    """ONNX keeps the sum of gradients, we the step: velocity = -lr times theirs."""
    lr, step, (x, g, sums) = parameters(case, 3)
    # ONNX scales the gradient by beta, but not in the first step
    assert step == 0 or case.get("beta") == 1
    nesterov = case.get("mode") == "nesterov"
    optimizer = sn.SGD(lr, case.get("alpha"), nesterov)
    optimizer.load_state({"iterations": 0, "velocity": (-lr * sums).astype(np.float32)})
    optimizer.step(SimpleNamespace(flat_params=x, flat_grads=g))
    sums = (optimizer.state()["velocity"] / -lr).astype(np.float32)
    close(np.concatenate([x, sums]), np.concatenate(case.outputs))


OPERATORS = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": pool(sn.MaxPool2D),
    "AveragePool": pool(sn.AveragePool2D),
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "Gemm": gemm,
    "MatMul": mat_mul,
    "Relu": relu,
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
    "Elu": pointwise(sn.ELU, alpha=1.0),
    "Gelu": pointwise(sn.GELU, approximate="none"),
    "Sigmoid": pointwise(sn.Sigmoid),
    "Softplus": pointwise(sn.Softplus),
    "Swish": pointwise(sn.SiLU),
    "Tanh": pointwise(sn.Tanh),
    "BatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
    "Dropout": dropout,
    "Flatten": flatten,
    "SoftmaxCrossEntropyLoss": cross_entropy,
    "NegativeLogLikelihoodLoss": cross_entropy,
    "Adam": adam,
    "Momentum": momentum,
}


def test_all_cases_are_there_and_nearly_all_are_run():
    assert len(NODE) == 208, f"{len(NODE)} cases in {DATA}; onnx 1.22.0 has them, later ones not"
    assert EXCLUDED.keys() <= set(NODE)
    assert len(NODE) - len(EXCLUDED) == 177


@pytest.mark.parametrize("name", [name for name in NODE if name not in EXCLUDED])
def test_operators_give_what_the_standard_says(name, backend):
    case = Case(DATA / "node" / f"test_{name}")
    OPERATORS[case.node.op_type](case)


# ---------------------------------------------------------------------------- through the importer


def imported(case):
    """The case as a network whose first input is x; what else comes in is a weight of it."""
    model = copy.deepcopy(case.model)
    known = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in known]
    for name, array in zip(names[1:], case.inputs[1:], strict=True):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return from_onnx(model)


def check_imported(case):
    """Import, run, compare: with x as it is, or with its channels last where the model wants it."""
    model, x, expected = imported(case), case.inputs[0], case.outputs[0]
    if x.shape[1:] == model.input_shape:
        y = model.predict(x)
    else:
        y = np.moveaxis(model.predict(np.moveaxis(x, 1, -1)), -1, 1)
    close(y, expected, rtol=1e-4, atol=1e-5)


def test_all_cases_from_pytorch_are_there():
    assert len(PYTORCH) == 117, f"{len(PYTORCH)} cases in {DATA}; onnx 1.22.0 has them"
    assert PYTORCH_EXCLUDED.keys() <= set(PYTORCH)
    assert len(PYTORCH) - len(PYTORCH_EXCLUDED) == 38


@pytest.mark.parametrize("name", PYTORCH)
def test_networks_from_pytorch_load_or_are_refused_for_the_reason_given(name):
    kind, case = name.split("/")
    case = Case(DATA / f"pytorch-{kind}" / f"test_{case}")
    if name not in PYTORCH_EXCLUDED:
        check_imported(case)
        return
    reason = PYTORCH_EXCLUDED[name]
    with pytest.raises(InputError, match=SAYS.get(reason, f"found {reason}$")):
        imported(case)


@pytest.mark.filterwarnings("ignore::scratchnet.errors.InputWarning")  # images of any numbers
def test_operators_as_networks_load_or_are_refused():
    """Never a wrong result and never another error; 69 of them are what a layer does."""
    passed = []
    for name in NODE:
        case = Case(DATA / "node" / f"test_{name}")
        try:
            imported(case)
        except InputError:
            continue
        check_imported(case)
        passed.append(name)
    assert len(passed) == 69, f"{len(passed)} of {len(NODE)} cases in {DATA}: {passed}"
