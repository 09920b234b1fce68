"""Weights from files that others wrote, or that were damaged: right, or one line, never a trace."""

import io
import json
import os
import tracemalloc
import zipfile

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError
from scratchnet.interop import weights


def make(seed=0):
    layers = [sn.Conv2D(3, 2), sn.ReLU(), sn.Flatten(), sn.Dense(4)]
    return sn.Sequential(layers, (4, 5, 2), seed=seed)


def npy(array, **changes):
    """An array as NumPy writes it; `changes` to the header, or all of it as `header`."""
    fields = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    text = changes.pop("header", None) or repr(fields | changes)
    version = changes.get("version", b"\1\0")
    head = b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode()
    return head + array.tobytes()


def write(path, changed=None, name="dense.b", method=zipfile.ZIP_STORED):
    """An npz of the model's arrays, the member `name` with other content."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for key, array in make().arrays().items():
            content = npy(array) if key != name or changed is None else changed
            archive.writestr(f"{key}.npy", content)


def refused(path, *words):
    model, before = make(1), make(1).flat_params
    with pytest.raises(InputError) as caught:
        weights.load_weights(model, path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert [word for word in ("expected", "found", *words) if word not in message] == []
    np.testing.assert_array_equal(model.flat_params, before)


B = make().arrays()["dense.b"]
NPY = {
    "an endless shape": (npy(B, shape=(2**40,)), "expected shape (4,), found (1099511627776,)"),
    "a negative shape": (npy(B, shape=(-4,)), "found (-4,)"),
    "objects": (npy(B, descr="|O"), "damaged or foreign"),
    "records": (npy(B, descr=[("a", "<f4")]), "expected floating-point"),
    "complex numbers": (npy(B, descr="<c8"), "expected floating-point numbers, found complex64"),
    "no such type": (npy(B, descr="<f3"), "damaged or foreign"),
    "a program": (npy(B, header="__import__('os').abort()"), "damaged or foreign"),
    "a deep header": (npy(B, header="(" * 5000), "damaged or foreign"),
    "an open header": (npy(B, header="{'descr': '''"), "damaged or foreign"),
    "a wrong indent": (npy(B, header=" {}\n  1\n 2"), "damaged or foreign"),
    "a version to come": (b"\x93NUMPY\x09\x00" + npy(B)[8:], "damaged or foreign"),
    "too few bytes": (npy(B)[:-1], "expected 16 bytes, found 15"),
    "too many bytes": (npy(B) + b"\0", "expected 16 bytes, found more"),
    "nothing": (b"", "damaged or foreign"),
}


@pytest.mark.parametrize("what", NPY)
def test_an_array_that_is_none_is_refused(what, tmp_path):
    content, words = NPY[what]
    write(tmp_path / "net.npz", content)
    refused(tmp_path / "net.npz", words)


def test_what_numpy_writes_in_any_order_of_bytes_and_axes_is_read(tmp_path):
    arrays = {
        name: np.asfortranarray(array.astype(kind))
        for (name, array), kind in zip(
            make(1).arrays().items(), (">f4", "<f8", ">f8", "<f2"), strict=True
        )
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "net.npz", **arrays)
        model = make(2)
        weights.load_weights(model, tmp_path / "net.npz")
        for name, array in model.arrays().items():
            np.testing.assert_array_equal(array, arrays[name].astype(np.float32))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_to_pack_are_refused_before_anything_is_unpacked(tmp_path, method):
    write(tmp_path / "net.npz", method=method)
    refused(tmp_path / "net.npz", "damaged or foreign", "does not use")


def test_an_encrypted_archive_is_refused(tmp_path):
    write(tmp_path / "net.npz")
    content = bytearray((tmp_path / "net.npz").read_bytes())
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = content.find(mark)
        while start >= 0:
            content[start + flags] |= 1
            start = content.find(mark, start + 1)
    (tmp_path / "net.npz").write_bytes(content)
    refused(tmp_path / "net.npz", "damaged or foreign", "encrypted")


def test_damaged_packed_bytes_are_refused(tmp_path):
    write(tmp_path / "net.npz", method=zipfile.ZIP_DEFLATED)
    whole = (tmp_path / "net.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "net.npz") as archive:
        info = archive.getinfo("conv2d.W.npy")
    for place in range(0, info.compress_size, 5):
        content = bytearray(whole)
        content[info.header_offset + 30 + len(info.filename) + place] ^= 0x55
        (tmp_path / "net.npz").write_bytes(content)
        refused(tmp_path / "net.npz", "damaged or foreign")


def test_an_archive_that_lies_about_its_sizes_takes_no_memory(tmp_path):
    """The directory says 64 bytes; 100 MB would come out."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in make().arrays().items():
            extra = bytes(10**8) if name == "dense.b" else b""
            archive.writestr(f"{name}.npy", npy(array) + extra)
    data = bytearray(content.getvalue())
    for mark, at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        start = data.rfind(mark, 0, data.rfind(b"dense.b.npy") if mark == b"PK\1\2" else None)
        data[start + at : start + at + 4] = (len(npy(B))).to_bytes(4, "little")
    (tmp_path / "net.npz").write_bytes(data)
    tracemalloc.start()
    refused(tmp_path / "net.npz", "damaged or foreign")
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


# ------------------------------------------------------------------------------------- safetensors


def tensors(changes):
    """safetensors of the model's arrays, from the format's definition, with a changed header."""
    fields, data = {}, b""
    for name, array in make().arrays().items():
        place = [len(data), len(data) + array.nbytes]
        fields[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": place}
        data += array.tobytes()
    changes(fields)
    head = json.dumps(fields).encode()
    return len(head).to_bytes(8, "little") + head + data


def set_b(**values):
    return lambda fields: fields["dense.b"].update(values)


def test_safetensors_from_the_definition_are_read(tmp_path):
    (tmp_path / "net.safetensors").write_bytes(tensors(lambda fields: None))
    model = make(1)
    weights.load_weights(model, tmp_path / "net.safetensors")
    np.testing.assert_array_equal(model.flat_params, make().flat_params)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (set_b(shape=[2**62]), "damaged or foreign"),
        (set_b(shape=[2**40, 0]), ""),
        (set_b(shape=[2, 2]), "expected shape (4,), found (2, 2)"),
        (set_b(dtype="I32"), "expected floating-point numbers, found int32"),
        (set_b(dtype="BF16", shape=[8]), "expected shape (4,), found (8,)"),
        (set_b(dtype="F8_E4M3", shape=[16]), "expected shape (4,), found (16,)"),
        (set_b(dtype="F99"), "damaged or foreign"),
        (set_b(data_offsets=[0, 16]), "damaged or foreign"),
        (set_b(data_offsets=[2**63, 2**63 + 16]), "damaged or foreign"),
        (lambda fields: fields.update(a=[[]]), "damaged or foreign"),
    ],
)
def test_a_header_that_is_wrong_is_refused(tmp_path, changes, words):
    (tmp_path / "net.safetensors").write_bytes(tensors(changes))
    refused(tmp_path / "net.safetensors", words)


def test_number_formats_that_numpy_lacks_are_refused(tmp_path):
    def halve(fields):
        place = fields["dense.b"]["data_offsets"]
        fields["dense.b"] |= {"dtype": "BF16", "data_offsets": [place[0], place[0] + 8]}

    content = tensors(halve)
    (tmp_path / "net.safetensors").write_bytes(content[:-8])
    refused(tmp_path / "net.safetensors", "expected")


@pytest.mark.parametrize("ending", weights.READERS)
def test_what_is_no_file_is_not_waited_for(tmp_path, ending):
    os.mkdir(tmp_path / f"folder{ending}")
    refused(tmp_path / f"folder{ending}", "expected a file, found a folder")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / f"pipe{ending}")
        refused(tmp_path / f"pipe{ending}", "expected a file, found a pipe")
