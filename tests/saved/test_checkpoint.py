"""Saved models: the same bits back, nothing executed, damage refused in one line, atomic writes."""

import copy
import json
import os
import pickle
import stat
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import scratchnet as sn
from scratchnet import InputError, checkpoint

# -------------------------------------------------------------------------------------------- tools

EVERY_LAYER = [
    lambda: sn.Conv2D(4, (3, 2), strides=(1, 2), padding=((1, 0), (0, 1))),
    sn.BatchNorm,
    sn.ReLU,
    lambda: sn.MaxPool2D(2, padding="same"),
    lambda: sn.AveragePool2D(2, strides=1),
    lambda: sn.Conv2D(3, 1, use_bias=False, kernel_initializer="he_normal"),
    sn.GlobalAveragePool2D,
    sn.Flatten,
    lambda: sn.Dropout(0.25),
    lambda: sn.Dense(3, use_bias=False),
    sn.Softmax,
]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    return rng.normal(size=(40, 9, 8, 2)).astype(np.float32), rng.integers(0, 3, 40)


def trained(data, dtype=np.float32, optimizer=None):
    model = sn.Sequential([make() for make in EVERY_LAYER], input_shape=(9, 8, 2), dtype=dtype)
    model.compile(optimizer or sn.Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(*data, epochs=2, verbose=0)
    return model


class Saved:
    """A valid file with every kind of layer; a class, for its short repr in failing tests."""

    def __init__(self, path, data):
        trained(data).save(path)
        self.content, self.arrays = path.read_bytes(), load_file(path)
        self.start = 8 + struct.unpack("<Q", self.content[:8])[0]  # of the arrays' bytes
        header = json.loads(self.content[8 : self.start])
        self.description = json.loads(header["__metadata__"]["scratchnet"])


@pytest.fixture(scope="module")
def saved(data, tmp_path_factory):
    return Saved(tmp_path_factory.mktemp("saved") / "model.safetensors", data)


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        sn.load_model(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1, repr(message)
    assert all(word in message for word in (str(path), *words)), message


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def changed(thing, path, value):
    """A deep copy with the value at path (keys and indices) replaced; "delete" takes it away."""
    thing = inner = copy.deepcopy(thing)
    for key in path[:-1]:
        inner = inner[key]
    if isinstance(value, str) and value == "delete":
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return thing


# --------------------------------------------------------------------------------------- round trip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_loaded_is_what_was_saved_to_the_bit(data, tmp_path, dtype):
    model, path = trained(data, dtype), tmp_path / "model.safetensors"
    model.save(path)
    loaded = sn.load_model(path)
    for one, other in zip(loaded.layers, model.layers, strict=True):
        assert type(one) is type(other)
        assert json.dumps(one.config()) == json.dumps(other.config())
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    assert loaded.arrays().keys() == model.arrays().keys()
    for name, array in model.arrays().items():
        assert loaded.arrays()[name].dtype == dtype
        assert loaded.arrays()[name].tobytes() == array.tobytes(), name
    assert np.abs(loaded.layers[1].buffers["running_mean"]).max() > 0
    assert loaded.predict(data[0]).tobytes() == model.predict(data[0]).tobytes()
    assert loaded.evaluate(*data, verbose=0) == model.evaluate(*data, verbose=0)
    history = loaded.fit(*data, epochs=15, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize(
    "optimizer",
    [
        sn.SGD(0.1, momentum=0.9, nesterov=True),
        sn.AdamW(sn.schedules.OneCycle(0.01, 50), weight_decay=0.1),
        sn.Adam(sn.schedules.Cosine(0.01, np.int64(50))),
        sn.Adam(sn.schedules.StepDecay(0.01, 5), beta_1=0.8, epsilon=np.float32(1e-6)),
    ],
    ids=lambda o: f"{type(o).__name__} {type(o.learning_rate).__name__}",
)
def test_the_choices_of_compile_come_back(data, tmp_path, optimizer):
    trained(data, optimizer=optimizer).save(tmp_path / "m")
    loaded = sn.load_model(tmp_path / "m")
    assert type(loaded.optimizer) is type(optimizer)
    found, expected = loaded.optimizer.config(), optimizer.config()
    assert found.keys() == expected.keys()
    assert all(found[key] == pytest.approx(expected[key]) for key in expected)
    assert type(loaded.loss) is sn.losses.SparseCategoricalCrossentropy
    assert loaded.metrics == ["accuracy"]


@pytest.mark.parametrize("layer", [lambda: sn.Conv2D(2, 3, padding=np.int64(1)), sn.ReLU])
def test_an_uncompiled_model_is_saved_whatever_integers_it_was_made_with(tmp_path, layer):
    model = sn.Sequential([layer()], input_shape=tuple(np.array([5, 5, 1])))
    model.save(tmp_path / "m")
    assert sn.load_model(tmp_path / "m").output_shape == model.output_shape


def test_the_file_is_plain_safetensors(saved):
    arrays = saved.arrays
    assert saved.description["version"] == 1
    assert [entry["kind"] for entry in saved.description["layers"]] == [
        type(make()).__name__ for make in EVERY_LAYER
    ]
    names = {"conv2d.W", "conv2d.b", "conv2d_1.W", "dense.W"}
    names |= {f"batchnorm.{key}" for key in ("gamma", "beta", "running_mean", "running_var")}
    assert arrays.keys() == names
    assert arrays["conv2d.W"].shape == (3, 2, 2, 4)
    assert len(saved.content) == saved.start + sum(array.nbytes for array in arrays.values())


def test_what_could_not_be_loaded_again_is_not_saved(data, tmp_path):
    class Mine(sn.ReLU):
        pass

    with pytest.raises(InputError, match="Mine"):
        sn.Sequential([Mine()], input_shape=(3,)).save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------ foreign files


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def _zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.json", "{}")


@pytest.mark.parametrize(
    "make",
    {
        "pickle": lambda path: path.write_bytes(pickle.dumps(Bomb())),
        "zip": _zip,
        "text": lambda path: path.write_text("not a model\n" * 9),
        "empty": lambda path: path.touch(),
        "folder": lambda path: path.mkdir(),
        "missing": lambda path: None,
        "huge header": lambda path: path.write_bytes(struct.pack("<Q", 2**63) + b"{}"),
        "header longer than the file": lambda path: path.write_bytes(struct.pack("<Q", 99) + b"{}"),
        "header not JSON": lambda path: path.write_bytes(raw(b"{nonsense")),
        "header not UTF-8": lambda path: path.write_bytes(raw(b'{"\xff\xfe": 1}')),
        "huge tensor": lambda path: path.write_bytes(
            raw({"a": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 2**63]}})
        ),
        "overlapping": lambda path: path.write_bytes(
            raw({k: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} for k in "ab"}, b"1234")
        ),
        "no description": lambda path: save_file({"a": np.zeros(3)}, path),
        "other metadata": lambda path: save_file({"a": np.zeros(3)}, path, {"format": "pt"}),
    }.items(),
    ids=lambda case: case[0],
)
def test_a_foreign_file_is_refused_and_nothing_in_it_executed(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model"
    make[1](path)
    refused(path, "expected", "found")
    assert not os.path.exists("executed")


@pytest.mark.parametrize("name", ["m" * 300, "two\nlines"])
def test_an_odd_name_of_a_missing_file_is_refused_in_one_line(tmp_path, name):
    for use in (sn.load_model, trained_nothing().save):
        path = tmp_path / ("sub/" if use is not sn.load_model else "") / name
        with pytest.raises(InputError) as caught:
            use(path)
        assert "\n" not in str(caught.value)


def trained_nothing():
    return sn.Sequential([sn.Dense(2)], input_shape=(3,))


@pytest.mark.parametrize("part", [0, 1, 4, 7, 8, 9, 100, 0.05, 0.3, 0.5, 0.9, 0.99, -5, -1])
def test_a_truncated_file_is_refused(saved, tmp_path, part):
    content, path = saved.content, tmp_path / "model"
    path.write_bytes(content[: part if isinstance(part, int) else int(part * len(content))])
    refused(path, "expected", "found")


@pytest.mark.parametrize("at", [0, 1, 2, 3, 5, 7, 8, 9, 10, 12])
@pytest.mark.parametrize("bit", [1, 16, 128])
def test_a_flipped_bit_at_the_start_of_the_header_is_refused(saved, tmp_path, at, bit):
    content, path = bytearray(saved.content), tmp_path / "model"
    content[at] ^= bit
    path.write_bytes(content)
    refused(path, "expected", "found")


# ------------------------------------------------------------------------------- wrong descriptions

DENSE = ("layers", 9, "config", "units")


@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        (("version",), 2, ["version 1", "found 2"]),
        (("version",), "delete", ["version 1", "None"]),
        (("layers",), [], []),
        (("layers", 0, "kind"), "Evil", ["Conv2D", "'Evil'"]),
        (("layers", 0, "name"), "a\nb", []),
        (("layers", 0, "config"), None, []),
        (("layers", 0, "config", "filters"), 10**12, []),
        (("layers", 0, "config", "kernel_size"), 10**6, []),
        (("layers", 0, "config", "padding"), 10**9, []),
        (DENSE, 10**12, ["found"]),
        (DENSE, 4, ["dense.W", "(3, 4)", "(3, 3)"]),
        (("input_shape",), [10**6, 10**6, 2], []),
        (("input_shape",), [9, 8], []),
        (("input_shape",), [], []),
        (("dtype",), "float16", ["float16"]),
        (("compile", "optimizer"), "evil", ["evil"]),
        (("compile", "optimizer_config", "learning_rate", "rate"), "fast", []),
        (("compile", "optimizer_config", "beta_1"), 7, ["beta_1", "7"]),
        (("compile", "loss"), "evil", ["evil"]),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else repr(value)[:20],
)
def test_a_wrong_description_is_refused(saved, tmp_path, where, value, words):
    """Huge sizes as well, which is the test that no memory is taken for them."""
    description = changed(saved.description, where, value)
    save_file(saved.arrays, tmp_path / "model", {"scratchnet": json.dumps(description)})
    refused(tmp_path / "model", *words)


@pytest.mark.parametrize("text", ["", "{", "5", "[]", "null", "[" * 100_000, "9" * 5000])
def test_a_description_that_is_no_json_object_is_refused(tmp_path, text):
    save_file({"a": np.zeros(3)}, tmp_path / "model", {"scratchnet": text})
    refused(tmp_path / "model", "expected", "JSON")


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("dense.W", None, ["dense.W", "(3, 3)", "nothing"]),
        ("more", np.zeros(2), ["more", "nothing", "(2,)"]),
        ("dense.W", np.zeros((9,), np.float32), ["dense.W", "(3, 3)", "(9,)"]),
        ("conv2d.W", np.zeros((3, 2, 4, 2), np.float32), ["(3, 2, 2, 4)", "(3, 2, 4, 2)"]),
        ("dense.W", np.zeros((3, 3), np.int64), ["dense.W", "float32", "int64"]),
        ("dense.W", np.zeros((3, 3), np.complex64), ["dense.W", "float32", "complex64"]),
    ],
)
def test_arrays_that_do_not_fit_the_layers_are_refused(saved, tmp_path, name, array, words):
    arrays = {**saved.arrays, name: array}
    arrays = {key: value for key, value in arrays.items() if value is not None}
    save_file(arrays, tmp_path / "model", {"scratchnet": json.dumps(saved.description)})
    refused(tmp_path / "model", *words)


@pytest.mark.parametrize(("dtype", "size"), [("BF16", 2), ("F8_E5M2", 1), ("F8_E4M3", 1)])
def test_number_types_that_numpy_does_not_have_are_refused(tmp_path, dtype, size):
    trained_nothing().save(tmp_path / "m")
    description, _ = checkpoint.load(tmp_path / "m")
    header = {
        "__metadata__": {"scratchnet": json.dumps(description)},
        "dense.W": {"dtype": dtype, "shape": [3, 2], "data_offsets": [0, 6 * size]},
        "dense.b": {"dtype": dtype, "shape": [2], "data_offsets": [6 * size, 8 * size]},
    }
    (tmp_path / "m").write_bytes(raw(header, bytes(8 * size)))
    refused(tmp_path / "m")


# ------------------------------------------------------------------------------------------- atomic


@pytest.mark.parametrize("function", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(
    saved, data, tmp_path, monkeypatch, function, error
):
    path = tmp_path / "model"
    path.write_bytes(saved.content)

    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch, pytest.raises((InputError, KeyboardInterrupt)) as caught:
        patch.setattr(os, function, fail)
        trained(data).save(path)
    if isinstance(error, OSError):
        assert issubclass(caught.type, InputError)
        assert str(path) in str(caught.value)
        assert "No space left on device" in str(caught.value)
    assert path.read_bytes() == saved.content
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_can_be_written_but_not_listed_is_good_enough(tmp_path, monkeypatch):
    """Mode 0300. The file is whole by then; only syncing the folder needs to open it."""
    real = os.open

    def no_folders(path, *args, **kwargs):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", no_folders)
    trained_nothing().save(tmp_path / "m")
    assert sn.load_model(tmp_path / "m").count_params() == 8


@pytest.mark.parametrize("target", ["missing/m", "file/m", "."])
def test_a_target_that_cannot_be_written_is_named(tmp_path, target):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError) as caught:
        trained_nothing().save(tmp_path / target)
    assert str(tmp_path / target) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_permissions_follow_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        trained_nothing().save(tmp_path / "m")
        assert os.umask(mask) == mask  # and saving has not changed it
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o666 & ~mask


# --------------------------------------------------------------------------------------------- fuzz

fuzz = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)


def loads_or_refuses(path):
    try:
        model = sn.load_model(path)
    except InputError as error:
        assert len(str(error).splitlines()) == 1, repr(str(error))
        assert str(path) in str(error)
    else:
        assert model.flat_params.size < 10_000


@fuzz
@given(content=st.binary(max_size=200), length=st.none() | st.integers(0, 300))
def test_random_bytes_never_raise_anything_else(tmp_path, content, length):
    head = b"" if length is None else struct.pack("<Q", length) + b"{"
    (tmp_path / "m").write_bytes(head + content)
    loads_or_refuses(tmp_path / "m")


@fuzz
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    part=st.floats(0, 1) | st.just(1.0),
    in_header=st.booleans(),
)
def test_random_damage_to_a_valid_file_never_raises_anything_else(
    saved, tmp_path, flips, part, in_header
):
    content = bytearray(saved.content)
    size = saved.start if in_header else len(content)
    for place, value in flips:
        content[int(place * size)] = value
    (tmp_path / "m").write_bytes(content[: int(part * len(content))])
    loads_or_refuses(tmp_path / "m")


def leaves(thing, path=()):
    yield path
    inside = list(enumerate(thing)) if isinstance(thing, list) else []
    for key, value in thing.items() if isinstance(thing, dict) else inside:
        yield from leaves(value, (*path, key))


TEXT, NUMBER = st.text(max_size=5), st.integers() | st.floats() | st.sampled_from([1, 2, 2**31])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT | st.sampled_from(["delete", "Dense", "float64"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@fuzz
@given(draw=st.data(), value=VALUES)
def test_any_value_in_the_description_never_raises_anything_else(saved, tmp_path, draw, value):
    places = [path for path in leaves(saved.description) if path]
    description = changed(saved.description, draw.draw(st.sampled_from(places)), value)
    save_file(saved.arrays, tmp_path / "m", {"scratchnet": json.dumps(description)})
    loads_or_refuses(tmp_path / "m")


# -------------------------------------------------------------------- small files that ask for much


def described_layer(kind, **config):
    return {"kind": kind, "name": kind.lower(), "config": config}


def nested(depth):
    layer = described_layer("ReLU")
    for _ in range(depth):
        layer = described_layer("Residual", layers=[layer], shortcut=[])
    return layer


RELUS = [{"kind": "ReLU", "name": f"r{i}", "config": {}} for i in range(10_000)]
CONV = {"filters": 1, "kernel_size": 1, "use_bias": False}


@pytest.mark.parametrize(
    ("shape", "layer", "words"),
    [
        ([2**31 - 1, 1, 1], described_layer("ReLU"), "sane size|at most"),
        ([28, 28, 1], described_layer("Conv2D", **CONV, padding=20_000), "sane size|padding"),
        ([28, 28, 1], described_layer("MaxPool2D", pool_size=10_001, padding="same"), "windows"),
        ([28, 28, 1], described_layer("Residual", layers=RELUS, shortcut=[]), "1,000 layers"),
        ([28, 28, 1], nested(200), "deep"),
        ([28, 28, 1], {**described_layer("ReLU"), "name": "a" * 30_000}, "at most"),
        ([28, 28, 1], described_layer("Conv2D", filters="3", kernel_size=3), "found '3'"),
        ([28, 28, 1], described_layer("Dropout", rate=10**400), "Dropout rate"),
        ([1] * 40, described_layer("ReLU"), "axes"),
    ],
    ids=["input", "padding", "window", "layers", "depth", "name", "text", "rate", "axes"],
)
def test_a_small_file_that_asks_for_much_is_refused(tmp_path, shape, layer, words):
    description = {"version": 1, "input_shape": shape, "dtype": "float32", "layers": [layer]}
    arrays = {"conv2d.W": np.zeros((1, 1, 1, 1), np.float32)} if "Conv2D" in str(layer) else {}
    checkpoint.save(tmp_path / "m", description, arrays or {"a": np.zeros(1, np.float32)})
    with pytest.raises(InputError, match=words):
        sn.load_model(tmp_path / "m")


@pytest.mark.parametrize("name", ["\ud800", "a" * 30_000])
def test_class_names_that_cannot_be_shown_are_refused(name):
    with pytest.raises(InputError, match="class_names: expected"):
        trained_nothing().class_names = ["a", name]


def test_a_file_of_the_user_is_no_leftover(tmp_path):
    mine = tmp_path / ".my.notes.tmp"
    mine.write_text("mine")
    (tmp_path / ".state.abcd_123.tmp").write_text("left")
    checkpoint.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]
