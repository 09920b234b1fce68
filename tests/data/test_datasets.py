"""MNIST as shipped, and IDX files of one's own: read back whole, or refused by name."""

import gzip
import hashlib
import struct
import tracemalloc
from importlib.resources import files

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError
from scratchnet.datasets import idx

TRAIN_X, TRAIN_Y, TEST_X, TEST_Y = NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

# of the uncompressed canonical files, as published with Keras's, PyTorch's and other mirrors
SUMS = {
    TRAIN_X: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    TRAIN_Y: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    TEST_X: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    TEST_Y: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def encoded(array, kind=8):
    """The array as IDX, from the format's definition."""
    axes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + axes + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    """A valid folder of 6 training and 4 test images of 3x2 pixels."""
    rng = np.random.default_rng(0)
    for name, shape in zip(NAMES, [(6, 3, 2), (6,), (4, 3, 2), (4,)], strict=True):
        (tmp_path / name).write_bytes(encoded(rng.integers(0, 10, shape, np.uint8)))
    return tmp_path


def refused(folder, *words):
    with pytest.raises(InputError) as caught:
        idx.load_folder(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert all(str(word) in message for word in (folder, "expected", "found", *words)), message


# -------------------------------------------------------------------------------------------- MNIST


def test_mnist_is_the_canonical_one_and_checked_at_every_load(monkeypatch):
    assert SUMS == sn.datasets.mnist.SHA256
    for name, expected in SUMS.items():
        packed = (files("scratchnet.datasets") / "files" / f"{name}.gz").read_bytes()
        assert hashlib.sha256(gzip.decompress(packed)).hexdigest() == expected
    monkeypatch.setitem(sn.datasets.mnist.SHA256, TEST_Y, "0" * 64)
    with pytest.raises(InputError, match=f"{TEST_Y}.*SHA-256"):
        sn.datasets.mnist.load_data()


def test_mnist_loads_as_in_keras():
    (x, y), (x_test, y_test) = sn.datasets.mnist.load_data()
    assert (x.shape, y.shape) == ((60000, 28, 28), (60000,))
    assert (x_test.shape, y_test.shape) == ((10000, 28, 28), (10000,))
    for array in (x, y, x_test, y_test):
        assert array.dtype == np.uint8
        assert array.flags.writeable
        assert array.flags.c_contiguous
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(y).tolist() == counts
    assert np.bincount(y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert y[:5].tolist() == [5, 0, 4, 1, 9]
    assert x.mean() == pytest.approx(33.3184, abs=1e-4)
    assert x.min() == 0
    assert x.max() == 255


# ----------------------------------------------------------------------------- folders of one's own


@pytest.mark.parametrize("packed", [(), NAMES, (TRAIN_X, TEST_Y)], ids=["plain", "gz", "mixed"])
def test_a_folder_of_idx_files_comes_back_as_written(tmp_path, packed):
    rng = np.random.default_rng(1)
    written = [rng.integers(0, 256, s, np.uint8) for s in [(5, 4, 3), (5,), (2, 4, 3), (2,)]]
    for name, array in zip(NAMES, written, strict=True):
        if name in packed:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(encoded(array)))
        else:
            (tmp_path / name).write_bytes(encoded(array))
    train, test = idx.load_folder(str(tmp_path))
    for found, expected in zip((*train, *test), written, strict=True):
        assert np.array_equal(found, expected)
        assert found.dtype == np.uint8
        assert found.flags.writeable


@pytest.mark.parametrize("name", [TRAIN_X, TEST_Y])
def test_a_file_cut_anywhere_is_refused(folder, name):
    whole = (folder / name).read_bytes()
    for length in range(len(whole)):
        (folder / name).write_bytes(whole[:length])
        refused(folder, name)
    (folder / name).write_bytes(whole[:-1])
    refused(folder, f"{len(whole)} bytes", f"found {len(whole) - 1}")
    (folder / name).write_bytes(whole + b"\0")
    refused(folder, f"found {len(whole) + 1}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["an empty file"]),
        (b"<!DOCTYPE html><html>Not Found</html>", ["<!DOCTYP"]),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), ["PNG"]),
        (bytes(100), ["0x08", "0x00"]),
        (encoded(np.zeros((6, 3, 2), np.float32), kind=0x0D), ["0x08", "0x0d"]),
        (encoded(np.zeros(30, np.uint8)), ["3 axes", "with 1"]),
        (encoded(np.zeros((6, 3, 2, 1), np.uint8)), ["3 axes", "with 4"]),
        (b"\0\0\x08\x03" + b"\xff" * 12, ["4294967295", "found 16"]),
        (b"\0\0\x08\x03" + bytes(4) + b"\xff" * 8, ["at least one image", "(0, 4294967295"]),
        (b"\0\0\x08\x03" + b"\xff" * 8 + bytes(4), ["at least one image", "4294967295, 0)"]),
        (b"\0\0\x08\x03" + bytes(4) + b"\xff" * 8 + b"!", ["expected 16 bytes"]),
    ],
    ids=[
        *["empty", "HTML", "PNG", "zeros", "floats", "1 axis", "4 axes", "huge"],
        *["none of a huge size", "huge but for one axis", "and a byte"],
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_a_foreign_file_is_refused_with_what_it_looks_like(folder, content, words, pack):
    (folder / TRAIN_X).write_bytes(pack(content))
    refused(folder, TRAIN_X, *words)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refused(folder, name)


def test_a_folder_in_place_of_a_file_or_the_other_way_round_is_refused(folder):
    refused(folder / "missing")
    refused(folder / TRAIN_X)
    refused(folder / ("x" * 300))
    (folder / TEST_Y).unlink()
    (folder / TEST_Y).mkdir()
    refused(folder, TEST_Y)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        (TRAIN_Y, (5,), ["5", "6"]),
        (TEST_X, (3, 3, 2), ["4", "3"]),
        (TEST_X, (4, 2, 3), ["(3, 2)", "(2, 3)"]),
    ],
    ids=["labels", "images", "sizes"],
)
def test_files_that_do_not_belong_together_are_refused(folder, name, shape, words):
    (folder / name).write_bytes(encoded(np.zeros(shape, np.uint8)))
    refused(folder, *words)


@pytest.mark.parametrize("shape", [(0, 3, 2), (6, 0, 2)])
def test_a_set_without_images_is_refused(folder, shape):
    (folder / TRAIN_X).write_bytes(encoded(np.zeros(shape, np.uint8)))
    (folder / TRAIN_Y).write_bytes(encoded(np.zeros(shape[0], np.uint8)))
    refused(folder, "at least one image")


def memory_used(call):
    """The most bytes that NumPy and Python held at once for the call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("announced", [(6, 3, 2), (2**32 - 1,) * 3, (2, 2**15, 2**15), (0, 3, 2)])
def test_gzip_that_holds_far_more_than_it_should_takes_no_memory(folder, announced):
    head = encoded(np.zeros((0, 0, 0), np.uint8))[:4] + struct.pack(">3I", *announced)
    (folder / TRAIN_X).unlink()
    path = folder / f"{TRAIN_X}.gz"
    with gzip.open(path, "wb") as file:  # 300 MB in 0.3
        file.write(head)
        for _ in range(300):
            file.write(bytes(10**6))
    most = min(10**7 + 2 * np.prod([float(side) for side in announced]), 450e6)
    assert memory_used(lambda: refused(folder, path, "bytes for an array")) < most


def test_gzip_that_honestly_holds_more_than_any_set_is_refused(folder, monkeypatch):
    monkeypatch.setattr(idx, "MOST_UNPACKED", 35)
    content = (folder / TRAIN_X).read_bytes()
    (folder / TRAIN_X).write_bytes(gzip.compress(content))
    refused(folder, TRAIN_X, "at most 35 bytes", "found 36")
    (folder / TRAIN_X).write_bytes(content)  # as much as the file is long
    idx.load_folder(folder)


def test_an_array_that_does_not_fit_in_memory_is_refused(folder, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(idx, "_array", fail)
    refused(folder, TRAIN_X, "fits in memory")


def test_parse_reads_what_header_and_bytes_say():
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    content = idx.header(array.shape) + array.tobytes()
    assert content == encoded(array)
    np.testing.assert_array_equal(idx.parse(content, "name", 3), array)
    with pytest.raises(InputError, match="^name: expected 40 bytes .* found 39$"):
        idx.parse(content[:-1], "name", 3)


def test_a_damaged_gzip_file_never_gives_data(folder):
    good = gzip.compress(encoded(np.arange(36, dtype=np.uint8).reshape(6, 3, 2)), mtime=0)
    (folder / TRAIN_X).unlink()
    path = folder / f"{TRAIN_X}.gz"
    path.write_bytes(good)
    expected = idx.load_folder(folder)[0][0]
    for length in range(len(good)):
        path.write_bytes(good[:length])
        refused(folder, path)
    for bit in range(8 * len(good)):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = idx.load_folder(folder)[0][0]
        except InputError as error:
            assert "\n" not in str(error)
            assert str(path) in str(error)
        else:  # a bit without a meaning, such as one of the time stamp
            assert np.array_equal(found, expected)
