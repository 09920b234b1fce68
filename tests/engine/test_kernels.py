"""The kernels: two backends, one result, for every shape, layout and number of threads."""

import inspect
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import oracles
import pytest
from arrays import fortran, read_only, strided
from backends import compiled, reference
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    EXAMPLES,
    GENERATORS,
    IN_PLACE,
    ctc_targets,
    geometries,
    kernel_arguments,
)

import scratchnet as sn
from scratchnet import kernels
from scratchnet.kernels import KERNELS

BACKENDS = {"reference": reference, "numba": compiled}
every_kernel = pytest.mark.parametrize("name", KERNELS)


def call(module, name, arguments, layout=np.copy):
    """All arrays that the call returns or changes; its arrays come in the given layout."""
    writable = IN_PLACE.get(name, ())
    arguments = [
        (layout(a) if i not in writable or layout is not read_only else a.copy())
        if isinstance(a, np.ndarray)
        else a
        for i, a in enumerate(arguments)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # inf - inf, where a test asks for it
        found = getattr(module, name)(*arguments)
    if name in IN_PLACE:
        assert found is None
        return [arguments[i] for i in writable]
    return list(found) if isinstance(found, tuple) else [found]


def assert_same(found, expected, tolerance=1e-12):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@every_kernel
def test_both_backends_have_the_kernel_with_the_same_signature(name):
    signatures = {inspect.signature(getattr(module, name)) for module in BACKENDS.values()}
    assert len(signatures) == 1


@every_kernel
@given(data=st.data())
def test_compiled_equals_reference(name, data):
    arguments = data.draw(kernel_arguments(name))
    # RMSprop centered divides by the root of a difference, which may be small
    tolerance = 1e-11 if name == "rmsprop_step" else 1e-12
    assert_same(call(compiled, name, arguments), call(reference, name, arguments), tolerance)


#: divide by a root that may be of a small difference
STEEP = ("adam_step", "nadam_step", "rmsprop_step")


@every_kernel
@given(data=st.data())
def test_float32_stays_float32(name, data):
    arguments = data.draw(kernel_arguments(name, np.float32))
    results = [call(module, name, arguments) for module in BACKENDS.values()]
    assert results[0][0].dtype == np.float32
    assert_same(*results, tolerance=1e-4 if name in STEEP else 1e-5)


@every_kernel
@pytest.mark.parametrize("layout", [read_only, strided, fortran])
@settings(max_examples=8)
@given(data=st.data())
def test_layout_of_the_arrays_does_not_matter(backend, name, layout, data):
    arguments, module = data.draw(kernel_arguments(name)), BACKENDS[backend]
    assert_same(call(module, name, arguments, layout), call(module, name, arguments))


@every_kernel
@settings(max_examples=5)
@given(data=st.data())
def test_empty_batch_gives_an_empty_result_or_zeros(backend, name, data):
    found = call(BACKENDS[backend], name, data.draw(kernel_arguments(name, sizes=st.just(0))))
    assert all(not np.any(a) for a in found)
    assert name == "sum_rows" or all(a.size == 0 for a in found)


# ---- maxima: ties, NaN, infinities ---------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [[0, 0], [-2, -1], [-np.inf, -np.inf], [np.nan, 1, np.inf], [-np.inf, np.finfo(float).min]],
    ids=["ties", "all negative", "nothing but -inf", "NaN and inf", "-inf and the lowest number"],
)
@given(at=geometries(EXAMPLES, pooling=True), rng=GENERATORS)
def test_max_pool_takes_the_first_of_the_largest_and_never_the_padding(backend, values, at, rng):
    x = rng.choice(np.array(values, float), at.shape)
    expected_y, _, expected_winner = oracles.max_pool(x, np.zeros(at.out_shape), *at.where)
    y, winner = kernels.max_pool(x, *at.where)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(winner, expected_winner)


def test_winner_of_a_window_larger_than_a_byte_counts(backend):
    x = np.zeros((1, 17, 17, 1))
    x[0, 16, 15] = 1
    where = (17, 17), (1, 1), (0, 0, 0, 0)
    winner = kernels.max_pool(x, *where)[1]
    assert winner.item() == 16 * 17 + 15
    dx = kernels.max_pool_backward(np.ones((1, 1, 1, 1)), winner, x.shape, *where)
    np.testing.assert_array_equal(dx, x)


@pytest.mark.parametrize("special, is_special", [(np.nan, np.isnan), (np.inf, np.isinf)])
@pytest.mark.parametrize(
    "name", [name for name in KERNELS if name not in (*IN_PLACE, "ctc_loss")]
)  # what is no number in a frame reaches all of its line: see test_ctc.py
@given(data=st.data())
def test_nan_and_inf_reach_exactly_what_depends_on_them(backend, name, special, is_special, data):
    first, *rest = data.draw(kernel_arguments(name, sizes=EXAMPLES))
    chosen = data.draw(GENERATORS).random(first.shape) < 0.1
    module = BACKENDS[backend]
    found = call(module, name, [np.where(chosen, special, first), *rest])[0]
    reached = call(module, name, [chosen.astype(float), *rest])[0] > 0
    np.testing.assert_array_equal(is_special(found), reached)


# ---- backward is the transpose of forward --------------------------------------------------------


@given(at=geometries(), rng=GENERATORS)
def test_col2im_is_the_transpose_of_im2col(backend, at, rng):
    x = rng.standard_normal(at.shape)
    cols = kernels.im2col(x, *at.where)
    dcols = rng.standard_normal(cols.shape)
    dx = kernels.col2im(dcols, at.shape, *at.where)
    assert np.vdot(cols, dcols) == pytest.approx(np.vdot(x, dx), rel=1e-10, abs=1e-10)


@given(at=geometries(pooling=True), rng=GENERATORS)
def test_pool_backward_is_the_transpose_of_pool(backend, at, rng):
    x, dy = rng.standard_normal(at.shape), rng.standard_normal(at.out_shape)
    largest, winner = kernels.max_pool(x, *at.where)
    for y, dx in (
        (largest, kernels.max_pool_backward(dy, winner, at.shape, *at.where)),
        (
            kernels.average_pool(x, *at.where),
            kernels.average_pool_backward(dy, at.shape, *at.where),
        ),
    ):
        assert np.vdot(y, dy) == pytest.approx(np.vdot(x, dx), rel=1e-10, abs=1e-10)


# ---- how the compiled loops are run --------------------------------------------------------------


def large_cases():
    """One call of each kernel, large enough to be split among threads."""
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((5, 9, 8, 3)), rng.standard_normal((5, 5, 4, 3))
    where = (3, 2), (2, 2), (1, 1, 0, 0)
    flat = rng.random((7, 1003))
    return {
        "im2col": [x, *where],
        "col2im": [rng.standard_normal((100, 18)), x.shape, *where],
        "max_pool": [x, *where],
        "max_pool_backward": [dy, reference.max_pool(x, *where)[1], x.shape, *where],
        "average_pool": [x, *where],
        "average_pool_backward": [dy, x.shape, *where],
        "relu": [x],
        "relu_backward": [x, x[::-1]],
        "sum_rows": [rng.standard_normal((1003, 7))],
        "sgd_step": [*flat[4:], 0.1, 0.9, True],
        "adam_step": [*flat[:4], 0.1, 0.9, 0.999, 1e-7, 3, 0.01],
        "average_step": [*flat[:2], 0.9],
        "rmsprop_step": [*flat[:5], 0.1, 0.9, 0.8, 1e-7, 0.01],
        "adagrad_step": [*flat[:3], 0.1, 1e-7, 0.01],
        "nadam_step": [*flat[:4], 0.1, 0.9, 0.999, 1e-7, 3, 0.8, 0.3, 0.01],
        "lion_step": [*flat[:3], 0.1, 0.9, 0.99, 0.01],
        "ctc_loss": [np.log(rng.dirichlet(np.ones(4), (6, 9))), *ctc_targets(rng, 6, 9, 4), 0],
    }


@every_kernel
def test_compiled_result_has_the_same_bits_for_one_thread_and_two(name):
    import numba

    before, results = numba.get_num_threads(), []
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            results.append(call(compiled, name, large_cases()[name]))
    finally:
        numba.set_num_threads(before)
    assert [a.tobytes() for a in results[0]] == [a.tobytes() for a in results[1]]


def python(code, *arguments, **environment):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_without_the_jit_the_loops_give_the_same(tmp_path):
    cases, results = tmp_path / "cases", tmp_path / "results"
    cases.write_bytes(pickle.dumps(large_cases()))
    code = """if True:
        import pickle, sys, types
        from scratchnet.engine import ctc, functions, steps
        assert isinstance(functions.relu_into, types.FunctionType), "the JIT is on"
        cases = pickle.load(open(sys.argv[1], "rb"))
        compiled = vars(functions) | vars(steps) | vars(ctc)
        found = {name: compiled[name](*given) for name, given in cases.items()}
        pickle.dump((found, cases), open(sys.argv[2], "wb"))"""
    done = python(code, cases, results, NUMBA_DISABLE_JIT="1")
    assert done.returncode == 0, done.stderr
    found, changed = pickle.loads(results.read_bytes())
    for name in KERNELS:
        plain = [changed[name][i] for i in IN_PLACE[name]] if name in IN_PLACE else found[name]
        plain = plain if isinstance(plain, (list, tuple)) else [plain]
        assert_same(call(compiled, name, large_cases()[name]), plain)


def test_the_backend_decides_which_of_both_runs(monkeypatch):
    from scratchnet.engine import functions

    x = np.array([-1.0, 2.0])
    assert kernels.relu(x).tolist() == [0, 2]  # the twin is found
    monkeypatch.setattr(functions, "relu_into", lambda x, y: y.fill(7))
    assert kernels.relu(x).tolist() == [7, 7]
    with sn.use_backend("reference"):
        assert kernels.relu(x).tolist() == [0, 2]


def test_use_backend_nests_and_restores_also_after_an_error():
    before = kernels.backend()
    with sn.use_backend("reference"):
        assert kernels.backend() == "reference"
        with pytest.raises(KeyError), sn.use_backend("numba"):
            assert kernels.backend() == "numba"
            raise KeyError
        assert kernels.backend() == "reference"
    assert kernels.backend() == before


def test_unknown_backend_is_refused_by_name_and_changes_nothing():
    before = kernels.backend()
    with pytest.raises(ValueError, match="numba.*reference.*cuda"):
        sn.use_backend("cuda")
    assert kernels.backend() == before
    done = python(
        "import scratchnet as sn, numpy; sn.kernels.relu(numpy.ones(3))", SCRATCHNET_BACKEND="cuda"
    ).stderr.splitlines()[-1]
    assert "InputError: SCRATCHNET_BACKEND" in done and "cuda" in done


@pytest.mark.parametrize(
    "use",
    ["", "sn.use_backend('reference'); import numpy; sn.kernels.relu(numpy.ones(3))"],
    ids=["import", "reference kernel"],
)
def test_heavy_libraries_are_not_loaded_by(use):
    heavy = {"numba", "matplotlib", "PIL", "rich", "typer", "safetensors"}
    done = python(f"import scratchnet as sn, sys\n{use}\nprint({heavy} & {{*sys.modules}})")
    assert done.stdout.strip() == "set()", done.stderr
