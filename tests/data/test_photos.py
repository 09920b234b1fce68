"""Photographs that are made: seeded, of every kind, and what they say is written is there."""

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError
from scratchnet.datasets import photos
from scratchnet.datasets.photos import judging, letters, scene, writing


def a_seven():
    digit = np.zeros((28, 28), np.uint8)
    digit[5:8, 8:20] = 255
    for k in range(15):
        digit[8 + k, 17 - k // 2 : 20 - k // 2] = 255
    return digit


@pytest.mark.parametrize("name", photos.SERIES)
def test_every_series_makes_pictures_and_the_same_ones_again(name):
    (first,) = photos.examples(name, 1)
    again, _ = photos.examples(name, 2)
    assert first.picture.dtype == np.uint8 and first.picture.shape[2:] == (3,)
    assert min(first.picture.shape[:2]) > 100 or name.startswith("cut close")
    assert first.truth == again.truth and (first.picture == again.picture).all()
    kind = photos.SERIES[name].kind
    assert (first.truth == "") == (kind == "blank")
    if kind == "digit":
        assert first.truth in list("0123456789")


def test_another_seed_makes_other_pictures():
    (one,), (other,) = (photos.examples("plain paper", 1, seed=seed) for seed in (0, 1))
    assert one.picture.shape != other.picture.shape or (one.picture != other.picture).any()


def test_an_unknown_series_is_named():
    with pytest.raises(InputError, match="series: expected one of plain paper, .* found 'moon'"):
        next(photos.examples("moon"))


@pytest.mark.parametrize("height", [40, 120])
def test_ink_has_the_height_that_is_asked_for_and_a_sharp_edge(height):
    for ink in (writing.inked(a_seven(), height), writing.traced(a_seven(), height, 4)):
        assert abs(max(ink.shape) - height) <= 6
        assert ink.dtype == np.float32 and ink.min() >= 0 and ink.max() <= 1
        assert ((ink > 0.1) & (ink < 0.9)).mean() < 0.5


def test_a_thicker_pen_leaves_more_ink_and_a_traced_line_has_the_pen_s_width():
    usual, thick = (writing.inked(a_seven(), 100, by) for by in (0, 3))
    assert (thick > 0.5).mean() > 1.3 * (usual > 0.5).mean()
    thin, wide = (writing.traced(a_seven(), 100, pen) for pen in (3, 9))
    assert 2 < (wide > 0.5).sum() / (thin > 0.5).sum() < 4


def test_thinning_keeps_a_line_whole_and_one_pixel_wide():
    mask = np.zeros((30, 40), bool)
    mask[10:17, 4:36] = True
    line = writing.thinned(mask)
    assert line.sum(axis=0).max() == 1
    assert 20 <= line.any(axis=0).sum() <= 32 and not (line & ~mask).any()


@pytest.mark.parametrize("radius", [0.3, 0.7, 2.5, 4.0])
def test_the_compiled_pen_writes_the_same_bits(radius, rng):
    ink = writing.inked(a_seven(), 50)
    ink[:20, :5] = rng.random((20, 5), np.float32)
    with sn.use_backend("reference"):
        wide, line = writing.widened(ink, radius), writing.thinned(ink > 0.5)
    np.testing.assert_array_equal(writing.widened(ink, radius), wide)
    np.testing.assert_array_equal(writing.thinned(ink > 0.5), line)


def test_the_compiled_camera_takes_the_same_picture(rng):
    page = rng.uniform(0, 255, (31, 40, 3)).astype(np.float32)
    maps = [rng.random((31, 40), np.float32) for _ in range(3)]
    light = (maps[1] + 0.5, maps[2], rng.random(3, np.float32), 40 * maps[0])
    colour = rng.uniform(0, 255, 3).astype(np.float32)
    noise = 5 * rng.standard_normal((31, 40), np.float32)

    def taken():
        seen = scene.exposed(page, maps[0], colour, *light)
        return seen, scene.sensed(seen, scene.gaussian(0.9), noise)

    with sn.use_backend("reference"):
        want = taken()
    for a, b in zip(taken(), want, strict=True):  # sums in another order may round otherwise
        assert a.dtype == np.uint8 and np.abs(a.astype(int) - b).max() <= 1
        assert (a != b).mean() < 0.01


@pytest.mark.parametrize("sigma", [0.0, 0.6, 1.5, 4.0])
def test_the_blur_has_the_deviation_that_is_asked_for(sigma):
    kernel = scene.gaussian(sigma)
    x = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-6) and (kernel >= 0).all()
    assert kernel @ (x * x) == pytest.approx(sigma**2, abs=1e-5)


def test_a_row_has_the_gaps_that_are_asked_for():
    a, b = np.ones((20, 8), np.float32), np.ones((20, 6), np.float32)
    for gap in (5, 0, -3):
        row = writing.in_a_row([a, b], [gap], True, [0, 0])
        assert row.shape == (20, 14 + gap)
    slanted = np.eye(20, dtype=np.float32)
    row = writing.in_a_row([slanted, slanted], [2], True, [0, 0])
    assert row.shape[1] == 23  # their boxes overlap, their ink is two pixels apart


def test_light_and_camera_do_what_they_say(rng):
    nothing = np.zeros((120, 160), np.float32)
    still = photos.Camera(blur=0, noise=0, quality=0)
    plain = photos.Paper(grain=0)
    even = photos.photograph(nothing, rng, plain, None, photos.Light(slope=0), still)
    assert (even == np.array(plain.colour, int)).all()
    shadow = photos.Light(slope=0, shadow=0.5)
    dark = photos.photograph(nothing, rng, plain, None, shadow, still)
    assert set(np.unique(dark[:, :, 0])) > {116, 232} and 0.2 < (dark[:, :, 0] < 200).mean() < 0.8
    turned = photos.Camera(turn=8, perspective=0.03)
    assert photos.photograph(nothing + 0.5, rng, camera=turned).shape == (120, 160, 3)


@pytest.fixture
def no_fonts(monkeypatch):
    """Stands in for the fonts' glyphs: letters of strokes, and a seven."""

    def glyphs(signs):
        rng = np.random.default_rng(0)
        if signs == letters.DIGITS:
            return [(sign, a_seven()) for sign in signs]
        inks = [writing.drawn(strokes, 80, 8, rng) for strokes in writing.LETTERS.values()]
        return [("A", np.rint(255 * ink).astype(np.uint8)) for ink in inks]

    monkeypatch.setattr(letters, "glyphs", glyphs)


def test_what_a_judge_learns_from_is_in_mnist_s_form(rng, no_fonts):
    x = np.stack([a_seven()] * 4)
    images, labels = judging.others(x, 40, rng)
    assert images.shape == (40, 28, 28) and images.dtype == np.uint8
    assert set(labels) == {judging.NOT_A_DIGIT, judging.SEVERAL}
    assert (images.max(axis=(1, 2)) > 150).all()
    images, labels = judging.printed(5, rng)
    assert images.shape == (5, 28, 28) and ((labels >= 0) & (labels < 10)).all()
    for seen in (judging.rewritten(x, rng), judging.papers(8, rng)):
        assert seen.shape[1:] == (28, 28) and seen.dtype == np.uint8


def test_digits_are_photographed_and_found_again(rng):
    x = np.stack([a_seven()] * 6)
    seen, which = judging.photographed(x, rng)
    assert 4 <= len(seen) == len(which) <= 6 and (np.diff(which) > 0).all()


def test_other_pens_leave_more_or_less_ink_and_the_same_seed_the_same(rng):
    x = np.stack([a_seven()] * 30)
    made, again = (judging.rewritten(x, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(made, again)
    ink = (made > 100).sum(axis=(1, 2))
    assert ink.max() > 2 * ink.min()


def test_fonts_that_are_not_there_are_asked_for_by_their_packages(monkeypatch, tmp_path):
    monkeypatch.setattr(letters, "FOLDERS", (tmp_path,))
    letters.glyphs.cache_clear()
    letters._files.cache_clear()
    with pytest.raises(InputError, match=r"fonts: expected .* \(apt install fonts-breip .*\)"):
        letters.glyphs("A")
    letters._files.cache_clear()


def test_a_font_s_glyphs_are_those_that_it_has(monkeypatch):
    """Of a font that comes with Matplotlib."""
    from matplotlib import get_data_path

    path = f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    monkeypatch.setattr(letters, "_files", lambda: {"DejaVuSans.ttf": path})
    monkeypatch.setattr(letters, "PACKAGES", {"fonts-dejavu-core": ("DejaVuSans.ttf",)})
    letters._font.cache_clear()
    letters.glyphs.cache_clear()
    found = letters.glyphs("A1 \U0010ffff")  # a blank leaves no ink, and the last is no sign
    assert [sign for sign, _ in found] == ["A", "1"]
    assert all(50 < max(ink.shape) < 90 and ink.max() == 255 for _, ink in found)
    letters._font.cache_clear()
    letters.glyphs.cache_clear()


def test_a_dot_is_drawn_again_as_a_dot():
    ink = np.zeros((40, 40), np.float32)
    ink[4:26, 18:21] = ink[32:35, 18:21] = 1
    again = writing.retraced(ink, 60, 5.0)
    rows = (again > 0.5).any(axis=1)
    assert np.flatnonzero(np.diff(rows.astype(int)) == -1).size == 2
    dot = np.zeros((10, 10), np.float32)
    dot[4:6, 4:6] = 1
    assert (writing.retraced(dot, 20, 4.0) > 0.5).any()
