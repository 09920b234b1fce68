"""pictures.prepare: any image of a digit comes out as MNIST has it, or as one line of error."""

import io
import os
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw, ImageFilter, ImageSequence

import scratchnet as sn
from scratchnet.datasets import photos
from scratchnet.errors import InputError
from scratchnet.pictures import Prepared, prepare

STEPS = [
    "read",
    "grey",
    "polarity",
    "flattened",
    "ink",
    "cropped",
    "thickened",
    "scaled",
    "centred",
]
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def draw_five(size, scale, corner, pen, ink, paper, mode="RGB"):
    """A 5 in two separate strokes, its hat and its body."""
    image = Image.new(mode, size, paper)
    pencil = ImageDraw.Draw(image)

    def stroke(*points):
        pencil.line(
            [(corner[0] + x * scale, corner[1] + y * scale) for x, y in points],
            fill=ink,
            width=pen,
            joint="curve",
        )

    stroke(
        (0.25, 0.08),
        (0.22, 0.45),
        (0.45, 0.38),
        (0.65, 0.45),
        (0.74, 0.62),
        (0.66, 0.82),
        (0.45, 0.93),
        (0.2, 0.85),
    )
    stroke((0.36, 0.02), (0.78, 0.0))
    return image


def five(ink=BLACK, paper=WHITE, mode="RGB", pen=24):
    return draw_five((400, 320), 220, (110, 50), pen, ink, paper, mode)


@pytest.fixture(scope="module")
def canonical():
    """What every picture of this 5 must come out as: the clean drawing, light ink on black."""
    return prepare(five(255, 0, "L")).image


@pytest.fixture(scope="module")
def mnist():
    return sn.datasets.mnist.load_data()


def likeness(a, b):
    """The correlation of two images at the best shift of up to a pixel (rounding may flip one)."""
    moved = [np.roll(a, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return max(np.corrcoef(m.ravel(), b.ravel())[0, 1] for m in moved)


def assert_is_the_five(source, canonical, at_least=0.97):
    prepared = prepare(source)
    assert_is_well_formed(prepared)
    assert likeness(prepared.image, canonical) > at_least
    return prepared


def assert_is_well_formed(prepared):
    assert isinstance(prepared, Prepared)
    assert prepared.image.shape == (28, 28) and prepared.image.dtype == np.uint8
    assert prepared.image.max() > 200 and prepared.image[0].max() < 128
    assert [step.name for step in prepared.steps] == STEPS
    for step in prepared.steps:
        assert step.image.dtype == np.uint8 and step.image.size > 0
        assert step.image.ndim == 2 or step.image.shape[2:] == (3,)
        assert step.caption and "\n" not in step.caption
    assert np.array_equal(prepared.steps[-1].image, prepared.image)


def caption(prepared, name):
    return next(step.caption for step in prepared.steps if step.name == name)


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


# --- MNIST's own form


def test_a_digit_fills_20_pixels_and_is_centred_by_mass(canonical):
    rows, columns = (np.flatnonzero(canonical.any(axis=axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    weights = canonical / canonical.sum()
    assert abs(weights.sum(axis=1) @ np.arange(28) - 14) <= 0.5
    assert abs(weights.sum(axis=0) @ np.arange(28) - 14) <= 0.5
    assert len(np.unique(canonical)) > 20  # anti-aliased, not binary


def test_mnist_itself_comes_back_unchanged(mnist):
    originals = mnist[1][0][:100]
    difference = [np.abs(prepare(x).image.astype(int) - x).max() for x in originals]
    assert np.mean(np.array(difference) <= 2) >= 0.95


def photograph(x, rng):
    """An MNIST digit, enlarged, off-centre, dark on grey paper, unevenly lit, with noise."""
    big = np.asarray(Image.fromarray(x).resize((280, 280), Image.Resampling.BICUBIC)) / 255
    ink = np.zeros((400, 420))
    top, left = rng.integers(0, 120), rng.integers(0, 140)
    ink[top : top + 280, left : left + 280] = big
    light = np.linspace(0.9, 1.05, 420)
    photo = (200 - 160 * ink) * light + rng.normal(0, 3, ink.shape)
    return photo.clip(0, 255).astype(np.uint8)


def test_photographs_of_mnist_come_back_nearly_equal(mnist):
    rng = np.random.default_rng(0)
    originals = mnist[1][0][:40]
    prepared = [prepare(photograph(x, rng)).image for x in originals]
    assert np.mean([likeness(a, b) for a, b in zip(prepared, originals, strict=True)]) > 0.95
    assert np.abs(np.array(prepared) - originals.astype(float)).mean() < 8


def test_photographs_of_mnist_are_still_recognised(mnist):
    (x_train, y_train), (x_test, y_test) = mnist
    known = x_train[:6000].reshape(6000, 784).astype(np.float32)

    def accuracy(images):
        queries = np.array(images).reshape(-1, 784).astype(np.float32)
        distance = (known**2).sum(axis=1) - 2 * queries @ known.T
        return (y_train[distance.argmin(axis=1)] == y_test[: len(queries)]).mean()

    rng = np.random.default_rng(1)
    assert accuracy([prepare(photograph(x, rng)).image for x in x_test[:60]]) >= (
        accuracy(x_test[:60]) - 0.02
    )


@pytest.mark.parametrize("pen", [4, 6, 8])
def test_thin_strokes_come_out_as_wide_as_mnists(pen):
    prepared = prepare(draw_five((600, 600), 330, (130, 120), pen, 30, 240, "L"))
    usual = prepare(draw_five((600, 600), 330, (130, 120), 30, 30, 240, "L"))
    assert "thickened" in caption(prepared, "thickened")
    assert "kept" in caption(usual, "thickened")
    assert prepared.image.sum() > 0.8 * usual.image.sum()
    assert likeness(prepared.image, usual.image) > 0.9


def test_a_hairline_in_a_large_picture():
    hairline = prepare(draw_five((760, 760), 700, (20, 20), 1, 0, 255, "L"))
    usual = prepare(draw_five((760, 760), 700, (20, 20), 64, 0, 255, "L"))
    assert hairline.image.sum() > 0.7 * usual.image.sum()
    assert likeness(hairline.image, usual.image) > 0.85


# --- Ink, paper and light


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        (BLACK, WHITE),
        (WHITE, BLACK),
        ((40, 40, 40), (200, 200, 195)),
        ((220, 220, 210), (50, 70, 60)),
        ((120, 120, 120), (150, 150, 150)),
        ((230, 40, 40), WHITE),
        ((30, 60, 220), WHITE),
        ((250, 240, 60), WHITE),
        ((40, 60, 200), (240, 220, 80)),
    ],
)
def test_any_ink_on_any_paper(ink, paper, canonical):
    prepared = assert_is_the_five(five(ink, paper), canonical)
    dark = sum(ink) < sum(paper)
    assert caption(prepared, "polarity").startswith("dark ink" if dark else "light ink")


@pytest.mark.parametrize("ink", [BLACK, WHITE, (200, 30, 30)])
def test_strokes_on_a_transparent_background(ink, canonical):
    hidden = Image.new("RGBA", (400, 320), (*ink, 0))
    drawing = five((*ink, 255), (0, 0, 0, 0), "RGBA")
    prepared = assert_is_the_five(drawing, canonical)
    assert "transparency" in caption(prepared, "read")
    hidden.alpha_composite(drawing)
    assert_is_the_five(hidden, canonical)


def test_an_opaque_card_with_transparent_corners_keeps_its_own_paper(canonical):
    for ink, paper in ((BLACK, WHITE), (WHITE, BLACK)):
        card = five(ink, paper).convert("RGBA")
        shape = Image.new("L", card.size, 0)
        ImageDraw.Draw(shape).rounded_rectangle((0, 0, 399, 319), 60, fill=255)
        card.putalpha(shape)
        assert_is_the_five(card, canonical)


@pytest.mark.parametrize("sharpness", [3, 12, 40])
def test_a_photograph_with_a_shadow_noise_and_jpeg(sharpness, canonical):
    rng = np.random.default_rng(0)
    image = draw_five((1600, 1280), 880, (440, 200), 96, (40, 45, 60), (205, 200, 190))
    y, x = np.mgrid[-1:1:1280j, -1:1:1600j]
    light = (0.9 - 0.2 * x) * (1 - 0.5 / (1 + np.exp(-sharpness * (x + 0.6 * y))))
    photo = np.asarray(image) * light[:, :, None] + rng.normal(0, 8, (1280, 1600, 1))
    jpeg = saved(Image.fromarray(photo.clip(0, 255).astype(np.uint8)), "JPEG", quality=60)
    prepared = assert_is_the_five(jpeg, canonical, at_least=0.92)
    assert caption(prepared, "flattened").startswith("uneven background")


def test_specks_are_dropped_and_separate_strokes_kept(canonical):
    image = five()
    pencil = ImageDraw.Draw(image)
    for x, y in ((10, 12), (380, 20), (30, 300), (390, 310), (60, 150), (350, 160)):
        pencil.ellipse((x - 2, y - 2, x + 2, y + 2), fill=BLACK)
    prepared = assert_is_the_five(image, canonical)
    assert "2 strokes kept, 6 other marks dropped" in caption(prepared, "ink")


def test_a_dark_table_at_the_edges_is_not_ink(canonical):
    image = five((60, 60, 60), (190, 190, 190))
    ImageDraw.Draw(image).rectangle((0, 0, 40, 320), fill=(35, 35, 35))
    assert_is_the_five(image, canonical)


def test_faint_ruled_lines_are_not_ink(canonical):
    image = Image.new("RGB", (400, 320), (245, 243, 235))
    for y in range(20, 320, 40):
        ImageDraw.Draw(image).line((0, y, 400, y), fill=(170, 200, 240), width=2)
    ink = five(255, 0, "L")
    image.paste((30, 30, 120), mask=ink)
    assert_is_the_five(image, canonical)


def test_off_centre_and_cut_close(canonical):
    image = draw_five((1000, 800), 220, (760, 560), 24, 0, 255, "L")
    assert_is_the_five(image, canonical)
    ink_alone = Image.eval(image, lambda level: 255 - level).getbbox()
    assert_is_the_five(image.crop(ink_alone), canonical)


@pytest.mark.parametrize("factor", [0.13, 0.25, 0.5, 4, 10])
def test_any_size(factor, canonical):
    size = (round(400 * factor), round(320 * factor))
    image = five(0, 255, "L").resize(size, Image.Resampling.BOX)
    assert_is_the_five(image, canonical, at_least=0.9)


def test_eight_by_eight():
    ring = np.zeros((8, 8))
    ring[0:8, 2:6] = 16
    ring[2:6, 3:5] = 0
    prepared = prepare(ring / 16)
    assert_is_well_formed(prepared)
    assert prepared.image[14, 14] < 60 < 200 < prepared.image[14, 8:21].max()


# --- Files, modes, arrays


@pytest.mark.parametrize(
    "mode",
    [
        "1",
        "L",
        "LA",
        "P",
        "PA",
        "RGB",
        "RGBA",
        "RGBX",
        "CMYK",
        "YCbCr",
        "HSV",
        "LAB",
        "I",
        "I;16",
        "I;16B",
        "F",
        "La",
        "RGBa",
    ],
)
def test_every_pillow_mode(mode, canonical):
    image = five()
    if mode in ("I;16", "I;16B", "I", "F"):
        wide = np.asarray(image.convert("L")).astype(np.uint16) * 257
        kind = {"I;16B": ">u2", "I": "int32", "F": "float32"}.get(mode, "uint16")
        image = Image.fromarray(wide.astype(kind))
    elif mode == "LAB":
        lightness, middle = image.convert("L"), Image.new("L", image.size, 128)
        image = Image.merge("LAB", (lightness, middle, middle))
    elif mode == "PA":
        image = image.convert("P").convert("PA")
    elif mode in ("La", "RGBa"):
        image = image.convert(mode.upper()).convert(mode)
    else:
        image = image.convert(mode)
    assert image.mode == mode
    assert_is_the_five(image, canonical)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_paths_and_files(kind, tmp_path, canonical):
    path = tmp_path / f"five.{kind.lower()}"
    five().save(path)
    assert_is_the_five(path, canonical)
    assert_is_the_five(str(path), canonical)
    with open(path, "rb") as file:
        prepared = assert_is_the_five(file, canonical)
    assert caption(prepared, "read") == f"{kind} of 400 x 320"


def test_16_bit_png_and_palette_with_transparency(canonical):
    wide = Image.fromarray(np.asarray(five(0, 255, "L")).astype(np.uint16) * 257)
    assert_is_the_five(saved(wide), canonical)
    twelve_bits = np.asarray(five(0, 255, "L")).astype(np.uint16) * 16
    assert_is_the_five(saved(Image.fromarray(twelve_bits)), canonical)
    palette = five(BLACK, WHITE).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    paper = palette.getpixel((0, 0))
    assert_is_the_five(saved(palette, transparency=paper), canonical)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, canonical):
    # The file holds the picture turned the other way, as a camera held askew would save it.
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = five() if orientation == 1 else five().transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("JPEG", "PNG", "TIFF"):
        prepared = assert_is_the_five(saved(image, kind, exif=exif), canonical)
        assert ("(EXIF)" in caption(prepared, "read")) == (orientation != 1)


def test_the_first_of_several_frames(canonical):
    blank = Image.new("RGB", (400, 320), WHITE)
    for kind in ("GIF", "TIFF"):
        film = saved(five(), kind, save_all=True, append_images=[blank])
        assert len(list(ImageSequence.Iterator(Image.open(film)))) == 2
        film.seek(0)
        assert_is_the_five(film, canonical)


def arrays():
    grey = np.asarray(five(0, 255, "L"))
    colour = np.asarray(five())
    alpha = np.asarray(five((0, 0, 0, 255), (0, 0, 0, 0), "RGBA"))
    return {
        "uint8": grey,
        "one channel": grey[:, :, None],
        "rgb": colour,
        "rgba": alpha,
        "bool": grey > 128,
        "mask of 0 and 1": (grey > 128).astype(np.uint8),
        "uint16": grey.astype(np.uint16) * 257,
        "float 0..1": grey / 255,
        "float32 0..255": grey.astype(np.float32),
        "float16": (grey / 255).astype(np.float16),
        "rgba float": alpha / 255,
        "not contiguous": np.asfortranarray(colour)[::-1][::-1],
    }


@pytest.mark.parametrize("name", list(arrays()))
def test_arrays(name, canonical):
    array = arrays()[name]
    before = array.copy()
    assert_is_the_five(array, canonical)
    assert np.array_equal(array, before)


def test_the_source_is_left_as_it_was(canonical):
    image = draw_five((2000, 1600), 1100, (550, 250), 120, BLACK, WHITE)
    copy = image.copy()
    assert_is_the_five(image, canonical)
    assert image.size == (2000, 1600) and image.tobytes() == copy.tobytes()


# --- Errors: one line that names the image, what was expected and what was found


def assert_refused(source, *words):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError) as caught:
            prepare(source)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    for word in ("expected", "found", *words):
        assert word in message
    if isinstance(source, str | os.PathLike):
        assert message.startswith(os.fspath(source))


def test_paths_that_cannot_be_read(tmp_path):
    assert_refused(tmp_path / "none.png", "no such file")
    assert_refused(str(tmp_path), "directory")
    with pytest.raises(InputError, match="expected"):
        prepare("nul\0l.png")
    with pytest.raises(InputError, match="expected"):
        prepare("x" * 5000)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"Dear reader,\n", "text"),
        ("Größe\n".encode(), "text"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"<svg xmlns='x'/>", "SVG"),
        (b"%PDF-1.4\n", "PDF"),
        (b"\0\1\2\3" * 50, "no known image format"),
        (b"\x89PNG\r\n\x1a\n", "found"),
    ],
)
def test_files_that_are_no_image(content, words, tmp_path):
    path = tmp_path / "file.png"
    path.write_bytes(content)
    assert_refused(path, words)
    assert_refused(io.BytesIO(content), words)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_truncated_images(kind, share, tmp_path):
    rng = np.random.default_rng(0)
    noisy = np.asarray(five()) // 2 + rng.integers(0, 20, (320, 400, 3), dtype=np.uint8)
    path = tmp_path / f"cut.{kind.lower()}"
    data = saved(Image.fromarray(noisy), kind).getvalue()
    path.write_bytes(data[: int(len(data) * share)])
    assert_refused(path)


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    for side in (11_000, 20_000):  # beyond our limit, and beyond Pillow's own
        path = tmp_path / f"{side}.png"
        Image.new("1", (8, 8)).save(path)
        data = bytearray(path.read_bytes())
        data[16:24] = side.to_bytes(4, "big") * 2  # width and height in the header
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
        path.write_bytes(data)
        assert_refused(path, "megapixels")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((28, 28)), "blank"),
        (np.full((300, 200, 3), 200, np.uint8), "blank"),
        (np.zeros((0, 5), np.uint8), "0"),
        (np.zeros((5, 0, 3)), "0"),
        (np.zeros(28), "shape"),
        (np.zeros((2, 28, 28)), "shape"),
        (np.zeros((28, 28, 2)), "shape"),
        (np.array(3.0), "shape"),
        (np.full((28, 28), np.nan), "NaN"),
        (np.full((9, 9), np.inf), "infinity"),
        (np.full((9, 9), -1.0), "-1"),
        (np.full((9, 9), 1e6), "1e+06"),
        (np.zeros((9, 9), np.int64), "int64"),
        (np.zeros((9, 9), complex), "complex"),
        (np.full((9, 9), "a"), "<U1"),
        (np.zeros((40, 40, 4)), "transparent"),
    ],
)
def test_arrays_that_are_no_digit(array, words):
    assert_refused(array, words)


def blanks():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    noise = rng.normal(0, 1, x.shape)
    specks = np.full(x.shape, 220.0)
    for top, left in rng.integers(0, 295, (30, 2)):
        specks[top : top + 2, left : left + 2] = 30
    return {
        "noise": 180 + 3 * noise,
        "strong noise": 128 + 30 * noise,
        "gradient": 128 + 100 * x,
        "vignette": 200 - 60 * (x * x + y * y) + 4 * noise,
        "specks": specks,
    }


@pytest.mark.parametrize("name", list(blanks()))
def test_blank_paper(name):
    assert_refused(blanks()[name].clip(0, 255).astype(np.uint8), "blank")


@pytest.mark.parametrize("seed", range(4))
def test_a_lamps_reflection_is_no_light_ink(seed):
    rng = np.random.default_rng(seed)
    paper, light = np.zeros((300, 400), np.float32), photos.Light(glare=40)
    assert_refused(photos.photograph(paper, rng, light=light), "blank")


@pytest.mark.parametrize("blur", [0, 2, 4])
@pytest.mark.parametrize(("ink", "paper"), [(BLACK, WHITE), (WHITE, (40, 60, 50))])
def test_a_digit_that_is_a_little_out_of_focus_is_no_reflection(ink, paper, blur):
    picture = five(ink, paper).filter(ImageFilter.GaussianBlur(blur))
    assert sn.architectures.pretrained().predict(prepare(picture).image[None]).argmax() == 5


def test_other_things():
    for thing in (None, 3, [[0, 1]], object()):
        assert_refused(thing, type(thing).__name__)
    assert_refused(io.StringIO("text"), "binary mode")
    closed = io.BytesIO(b"x")
    closed.close()
    assert_refused(closed, "closed")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=90),
        elements=st.sampled_from([0, 0, 0, 40, 200, 255]),
    )
)
def test_any_array_is_a_digit_or_an_input_error(array):
    try:
        prepared = prepare(array)
    except InputError:
        return
    assert prepared.image.shape == (28, 28) and prepared.image.max() > 200


def test_pillow_is_not_imported_with_the_module():
    code = "import sys, scratchnet.pictures; sys.exit('PIL' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
