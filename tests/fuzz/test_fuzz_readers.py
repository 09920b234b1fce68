"""Damaged images, data sets, weights and kernels: read, or refused in one line."""

import functools
import gzip
import io
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numba
import numpy as np
import pytest
from fuzzing import fuzz
from PIL import Image

import scratchnet as sn
from scratchnet.datasets import folder as image_folder
from scratchnet.datasets import idx
from scratchnet.engine import cache, threads
from scratchnet.interop import weights
from scratchnet.pictures import prepare, sequences
from scratchnet.web import limits

pytestmark = pytest.mark.slow


# ---- IDX -----------------------------------------------------------------------------------------


def idx_files():
    rng = np.random.default_rng(0)
    shapes = [(6, 3, 2), (1, 28, 28), (300, 5, 5)]
    return [idx.header(s) + rng.integers(0, 256, s, np.uint8).tobytes() for s in shapes]


def read_idx(content, folder):
    (folder / "images").write_bytes(content)
    found = idx.read(folder / "images", 3)
    assert found.nbytes == len(content) - 16 and found.flags.writeable


def read_idx_gz(content, folder):
    (folder / "images").write_bytes(content)
    found = idx.read(folder / "images", 3)
    assert found.dtype == np.uint8 and found.ndim == 3


def read_idx_packed(content, folder):
    """Damaged before it was packed."""
    read_idx_gz(gzip.compress(content, 1), folder)


def read_idx_folder(content, folder):
    """One of four files; labels and sizes that do not fit."""
    for name, shape in zip(idx.FILES, [(6, 3, 2), (6,), (4, 3, 2), (4,)], strict=True):
        (folder / name).write_bytes(idx.header(shape) + bytes(int(np.prod(shape))))
    (folder / idx.FILES[content[-1] % 4 if content else 0]).write_bytes(content)
    (x, y), _ = idx.load_folder(folder)
    assert len(x) == len(y) > 0


def test_fuzz_idx(tmp_path):
    fuzz(read_idx, idx_files(), tmp_path, megabytes=50)


def test_fuzz_idx_gz(tmp_path):
    fuzz(read_idx_gz, [gzip.compress(file) for file in idx_files()], tmp_path, megabytes=50)


def test_fuzz_idx_packed(tmp_path):
    fuzz(read_idx_packed, idx_files(), tmp_path, megabytes=50)


def test_fuzz_idx_folder(tmp_path):
    whole = [idx.header(s) + bytes(int(np.prod(s))) for s in ((6, 3, 2), (6,), (4, 3, 2), (4,))]
    # each seed fits in the place that its last byte says
    seeds = [file[:-1] + bytes([place]) for place, file in enumerate(whole)]
    fuzz(read_idx_folder, seeds, tmp_path, megabytes=50)


# ---- weights -------------------------------------------------------------------------------------


@functools.cache
def model():
    layers = [sn.Conv2D(3, 2), sn.BatchNorm(), sn.ReLU(), sn.Flatten(), sn.Dense(4)]
    return sn.Sequential(layers, (4, 5, 2), seed=0)


def load_weights(path):
    before = model().flat_params.copy()
    try:
        weights.load_weights(model(), path)
    except sn.InputError:
        np.testing.assert_array_equal(model().flat_params, before)
        raise


def read_npz(content, folder):
    (folder / "net.npz").write_bytes(content)
    load_weights(folder / "net.npz")


def read_npy(content, folder):
    """One array is damaged; the archive and its sums are right."""
    with zipfile.ZipFile(folder / "net.npz", "w") as archive:
        for name, array in model().arrays().items():
            file = io.BytesIO()
            np.save(file, array)
            archive.writestr(f"{name}.npy", content if name == "dense.W" else file.getvalue())
    load_weights(folder / "net.npz")


def read_safetensors(content, folder):
    (folder / "net.safetensors").write_bytes(content)
    load_weights(folder / "net.safetensors")


def test_fuzz_npz(tmp_path):
    seeds = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, **model().arrays())
        seeds.append(file.getvalue())
    fuzz(read_npz, seeds, tmp_path, megabytes=50)


def test_fuzz_npy(tmp_path):
    seeds = []
    for kind in (np.float32, np.float64):
        file = io.BytesIO()
        np.save(file, model().arrays()["dense.W"].astype(kind))
        seeds.append(file.getvalue())
    fuzz(read_npy, seeds, tmp_path, megabytes=50)


def test_fuzz_safetensors(tmp_path):
    weights.save_safetensors(model(), tmp_path / "net.safetensors")
    seeds = [(tmp_path / "net.safetensors").read_bytes()]
    model().save(tmp_path / "model")
    fuzz(read_safetensors, [*seeds, (tmp_path / "model").read_bytes()], tmp_path, megabytes=50)


# ---- images --------------------------------------------------------------------------------------


def drawn(mode="L", side=40):
    rng = np.random.default_rng(1)
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    ink = abs(np.hypot(x - side / 2, y - side / 2) - side / 3) < side / 12
    grey = np.where(ink, 230, 20) + rng.integers(-10, 10, ink.shape)
    return Image.fromarray(grey.astype(np.uint8)).convert(mode)


@functools.cache
def image_files():
    """Every format of the list, in most of the ways in which it stores pixels."""
    alpha, wide = drawn("LA"), Image.fromarray(np.asarray(drawn()).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    film = {"save_all": True, "append_images": [drawn(side=40), drawn(side=40).rotate(90)]}
    ways = [
        *[(drawn(mode), "PNG", {}) for mode in ("1", "L", "P", "RGB", "RGBA")],
        *[(alpha, "PNG", {}), (wide, "PNG", {}), (drawn("RGB"), "PNG", {"exif": exif})],
        *[
            (drawn("L", 28), "PNG", {}),
            (drawn("P"), "PNG", {"transparency": 3}),
            (drawn(), "PNG", film),
        ],
        *[(drawn(mode), "JPEG", {"exif": exif}) for mode in ("L", "RGB", "CMYK")],
        (drawn("RGB"), "JPEG", {"progressive": True}),
        *[(drawn(), "GIF", {}), (drawn(), "GIF", film), (drawn("P"), "GIF", {"transparency": 3})],
        *[(drawn(mode), "BMP", {}) for mode in ("1", "L", "P", "RGB", "RGBA")],
        *[(drawn("RGB"), "WEBP", {"lossless": lossless}) for lossless in (False, True)],
        *[(drawn("RGBA"), "WEBP", {"exif": exif}), (drawn("RGB"), "WEBP", film)],
        *[
            (drawn(mode), "TIFF", {"compression": packed})
            for mode, packed in [
                *[("1", "group4"), ("1", "packbits"), ("L", None), ("RGB", "tiff_lzw")],
                *[("RGBA", "tiff_adobe_deflate"), ("RGB", "jpeg"), ("L", "zstd")],
            ]
        ],
        *[(wide, "TIFF", {}), (Image.fromarray(np.asarray(drawn()) / np.float32(255)), "TIFF", {})],
        *[(drawn(), "TIFF", film), (drawn("RGB"), "TIFF", {"exif": exif, "tiled": True})],
        *[(drawn(mode), "PPM", {}) for mode in ("1", "L", "RGB")],
    ]
    files = []
    for image, kind, options in ways:
        file = io.BytesIO()
        image.save(file, kind, **options)
        files.append(file.getvalue())
    plain = " ".join(map(str, np.asarray(drawn()).ravel()))
    bits = " ".join("01"[value] for value in np.asarray(drawn("1")).ravel().astype(int))
    return [*files, f"P2 40 40 255 {plain}".encode(), f"P1 40 40 {bits}".encode()]


def read_image(content, folder):
    (folder / "image.png").write_bytes(content)
    found = prepare(folder / "image.png")
    assert found.image.shape == (28, 28) and found.image.dtype == np.uint8


def read_png_with_right_sums(content, folder):
    """The chunks' sums are mended, and so is the packing of their pixels."""
    start, mended = 8, bytearray(content)
    while start + 12 <= len(mended):
        end = start + 8 + int.from_bytes(mended[start : start + 4], "big")
        mended[end : end + 4] = zlib.crc32(mended[start + 4 : end]).to_bytes(4, "big")
        start = end + 4
    read_image(bytes(mended), folder)


def read_image_elsewhere(content, folder):
    """The other doors: a folder of images, a picture of several digits, the page."""
    (folder / "image.png").write_bytes(content)
    refusals = 0
    for door in (
        lambda: image_folder._picture(folder / "image.png"),
        lambda: sequences.read(folder / "image.png", sn.architectures.pretrained()),
        lambda: limits.checked_image(content),
    ):
        try:
            door()
        except (sn.InputError, limits.RefusedError):
            refusals += 1
    if refusals:
        raise sn.InputError("refused")


def test_fuzz_images(tmp_path):
    fuzz(read_image, image_files(), tmp_path, seconds=20, megabytes=1500)


def test_fuzz_png_with_right_sums(tmp_path):
    files = [file for file in image_files() if file.startswith(b"\x89PNG")]
    fuzz(read_png_with_right_sums, files, tmp_path, seconds=20, megabytes=1500)


def test_fuzz_images_elsewhere(tmp_path):
    fuzz(read_image_elsewhere, image_files(), tmp_path, seconds=40, megabytes=1500)


# ---- kernels -------------------------------------------------------------------------------------


def double(x):
    for i in range(len(x)):
        x[i] *= 2


TYPES = (numba.types.Array(numba.float64, 1, "C"),)


@functools.cache
def kept(folder):
    """A cache in that folder, the loop in it, and the file in which it is."""
    numba.config.CACHE_DIR = str(folder)
    cache.folder.cache_clear()
    loop = numba.njit(double)
    loop._cache = cache.KernelCache(double, {})
    loop.compile(TYPES)
    (path,) = Path(cache.folder()).glob("*.kernel")
    return loop, path, path.read_bytes()


def read_kernel(content, folder):
    loop, path, whole = kept(folder)
    path.write_bytes(content or whole)
    found = loop._cache.load_overload(TYPES, loop.targetctx)
    assert (found is not None) == ((content or whole) == whole)
    if found is None:
        raise sn.InputError("compiled anew")


#: what a new process keeps: Numba numbers functions, so after others the bytes are not the same
FIRST = """
import sys
sys.path[:0] = sys.argv[2:]
import test_fuzz_readers
sys.stdout.buffer.write(test_fuzz_readers.kept(sys.argv[1])[2])
"""


@pytest.mark.skipif(not threads.compiles(), reason="without the compiler nothing is kept")
def test_fuzz_kernels(tmp_path):
    here = Path(__file__).parent
    command = [sys.executable, "-W", "ignore", "-c", FIRST, tmp_path, here, here.parent]
    content = subprocess.run(command, capture_output=True, check=True, timeout=120).stdout
    fuzz(read_kernel, [content], tmp_path, megabytes=100)
