"""Which files are read as images: those in the list and no others, and no program is started."""

import contextlib
import io
import os
import subprocess
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from scratchnet import InputError, datasets
from scratchnet.pictures import FORMATS, formats, pixels, prepare
from scratchnet.web import limits


def drawing(side=28, mode="L"):
    """A ring."""
    image = Image.new(mode, (side, side))
    corners = [side // 5, side // 5, side * 4 // 5, side * 4 // 5]
    ImageDraw.Draw(image).ellipse(corners, outline="white", width=side // 10)
    return image


def saved(kind, image=None, **options):
    file = io.BytesIO()
    (image or drawing()).save(file, kind, **options)
    return file.getvalue()


def refused(source, *words):
    with pytest.raises(InputError) as caught:
        prepare(source)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in ("expected", "found", *words) if word not in message] == []


PROGRAM = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n%%EndComments\nshowpage\n"
LENGTHS = (32).to_bytes(4, "little") + len(PROGRAM).to_bytes(4, "little")
BINARY = (b"\xc5\xd0\xd3\xc6" + LENGTHS).ljust(32, b"\0") + PROGRAM


@pytest.mark.parametrize("content", [PROGRAM, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("name", ["digit.png", "digit.eps", "digit"])
def test_postscript_starts_no_program_whatever_it_is_called(tmp_path, monkeypatch, name, content):
    programs = []
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **_: programs.append(args))
    assert Image.open(io.BytesIO(content)).format == "EPS"  # Pillow by itself would take it
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, str(tmp_path / name), "PNG, JPEG", "PostScript")
    refused(io.BytesIO(content), "PNG, JPEG", "PostScript")
    for part in ("a", "b"):
        (tmp_path / "set" / part).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "set" / part / f"{number}.png").write_bytes(content)
    with pytest.raises(InputError, match=r"[ab]/[0-2].png: expected an image.*PostScript"):
        datasets.load(tmp_path / "set")
    with pytest.raises(limits.RefusedError):
        limits.checked_image(content)
    assert programs == []


def test_no_other_format_is_opened():
    """Of all that Pillow writes, and so could read."""
    Image.init()
    opened = set()
    for kind in sorted(Image.SAVE.keys() & Image.OPEN.keys()):
        try:
            content = saved(kind, drawing(32, "1" if kind in ("XBM", "MSP") else "L"))
            Image.open(io.BytesIO(content)).load()
        except Exception:  # a format with wishes of its own
            continue
        try:
            formats.open_image(io.BytesIO(content))
            opened.add(kind)
        except Image.UnidentifiedImageError:
            refused(io.BytesIO(content), "PNG, JPEG")
    # MPO is JPEG with more pictures after it
    assert opened - {"MPO"} == set(FORMATS)


def test_one_place_opens_images_and_the_page_has_the_same_list():
    package = Path(formats.__file__).parents[1]
    places = [path.name for path in package.rglob("*.py") if "Image.open(" in path.read_text()]
    assert places == ["formats.py"]
    assert limits.FORMATS is FORMATS


@pytest.mark.parametrize("kind", FORMATS)
def test_a_folder_and_predict_read_every_format_of_the_list(tmp_path, kind):
    lossless = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    for name, side in (("small", 28), ("large", 90)):
        (tmp_path / name).mkdir()
        for number in range(2):
            content = saved(kind, drawing(side), **lossless)
            # the name says nothing about the format
            (tmp_path / name / f"{number}.png").write_bytes(content)
    found = datasets.load(tmp_path)
    assert found.x_train.shape == found.x_test.shape == (2, 28, 28)
    small = found.x_train[found.y_train == 1][0].astype(int)
    assert abs(small - np.asarray(drawing()).astype(int)).max() < (60 if kind == "JPEG" else 1)


def png_of_size(width, height):
    """A PNG that says it has that size, and a few bytes of pixels."""
    content = bytearray(saved("PNG"))
    content[16:24] = width.to_bytes(4) + height.to_bytes(4)
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    return bytes(content)


@pytest.mark.parametrize("side", [11_000, 20_000, 2**31 - 1])
def test_a_size_beyond_reason_is_refused_without_a_warning_wherever_it_comes(
    tmp_path, side, recwarn
):
    for part in ("a", "b"):
        (tmp_path / "set" / part).mkdir(parents=True)
        for number in range(3):
            path = tmp_path / "set" / part / f"{number}.png"
            path.write_bytes(png_of_size(side, side))
    refused(path, "at most 100 megapixels")
    with pytest.raises(InputError, match="at most 100 megapixels"):
        datasets.load(tmp_path / "set")
    with pytest.raises(limits.RefusedError, match="at most 40,000,000 pixels"):
        limits.checked_image(path.read_bytes())
    assert not recwarn.list


@pytest.mark.parametrize("kind", FORMATS)
def test_a_small_picture_cut_off_is_refused_in_a_folder(tmp_path, kind):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8))
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        for number in range(2):
            (tmp_path / part / f"{number}.png").write_bytes(saved(kind, noise))
    datasets.load(tmp_path)
    whole = saved(kind, noise)
    (tmp_path / "a" / "0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"0.png: expected .*found"):
        datasets.load(tmp_path)


def test_of_several_frames_the_first_is_taken_in_a_folder(tmp_path):
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        for number, kind in enumerate(("GIF", "TIFF", "WEBP", "PNG")):
            more = {"save_all": True, "append_images": [Image.new("L", (28, 28), 9)]}
            lossless = {"lossless": True} if kind == "WEBP" else {}
            (tmp_path / part / f"{number}.png").write_bytes(saved(kind, **more, **lossless))
    for image in datasets.load(tmp_path).x_train:
        assert abs(image.astype(int) - np.asarray(drawing()).astype(int)).max() <= 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_read_to_its_end_but_not_for_ever(tmp_path, monkeypatch):
    pipe = tmp_path / "0.png"
    os.mkfifo(pipe)

    def write(content):
        with open(pipe, "wb") as file, contextlib.suppress(BrokenPipeError):
            file.write(content)

    content = saved("PNG", drawing(90))
    threading.Thread(target=write, args=(content,), daemon=True).start()
    assert np.array_equal(prepare(pipe).image, prepare(io.BytesIO(content)).image)
    monkeypatch.setattr(pixels, "MAX_PIPE", 200)
    threading.Thread(target=write, args=(bytes(10**6),), daemon=True).start()
    refused(pipe, str(pipe), "at most 200 bytes")

    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "b").mkdir()
    pipe.rename(tmp_path / "set" / "a" / "0.png")  # nobody writes to it: it would be waited for
    for name in ("a/1.png", "b/0.png", "b/1.png"):
        (tmp_path / "set" / name).write_bytes(content)
    with pytest.raises(InputError, match=r"0.png: expected an image file, found a pipe"):
        datasets.load(tmp_path / "set")


def test_a_class_whose_name_is_no_text_is_refused_at_once(tmp_path):
    names = [os.fsencode(tmp_path / "a"), os.fsencode(tmp_path) + b"/\xff"]
    try:
        for name in names:
            os.mkdir(name)
    except OSError:
        pytest.skip("the file system takes no such name")
    for name in names:
        for number in range(2):
            with open(name + f"/{number}.png".encode(), "wb") as file:
                file.write(saved("PNG"))
    with pytest.raises(InputError, match="expected a class's name in UTF-8, found"):
        datasets.load(tmp_path)
