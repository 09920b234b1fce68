"""Several digits in one picture: all found, none twice, in the order in which they are written."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

import scratchnet as sn
from scratchnet import InputError, plots
from scratchnet.pictures import sequences


@pytest.fixture(scope="module")
def model():
    return sn.architectures.pretrained()


@pytest.fixture(scope="module")
def mnist(model):
    """20 test images of each digit that the model reads right: [digit][number] -> (28, 28)."""
    x, y = sn.datasets.mnist.load_data()[1]
    x, y = x[:3000], y[:3000]
    good = model.predict(x, batch_size=256)
    right = (good.argmax(axis=1) == y) & (good.max(axis=1) > 0.99)
    return [x[right & (y == digit)][:20] for digit in range(10)]


def ink(image, scale=3):
    """The digit's own box, enlarged; light on 0."""
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    cut = Image.fromarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return np.asarray(cut.resize((cut.width * scale, cut.height * scale), Image.Resampling.BICUBIC))


def sheet(mnist, *lines, gap=15, pitch=90, slope=0.0, which=0):
    """Dark digits on light paper, with the true boxes: left, top, right, bottom."""
    longest = max(map(len, lines))
    page = np.zeros((pitch * len(lines) + 60 + round(abs(slope) * 75 * longest), 60 + 75 * longest))
    boxes = []
    for number, line in enumerate(lines):
        left = 30
        for digit in map(int, line):
            mark = ink(mnist[digit][which])
            down = slope * (left if slope > 0 else left - page.shape[1])
            top = 30 + number * pitch + round(down) + (60 - len(mark)) // 2
            page[top : top + len(mark), left : left + mark.shape[1]] = mark
            boxes.append((left, top, left + mark.shape[1], top + len(mark)))
            left += mark.shape[1] + gap
    return (235 - 0.8 * page).astype(np.uint8), boxes


def text(reading):
    return ["".join(str(digit.label) for digit in line) for line in reading.lines]


def flat(reading):
    return [digit for line in reading.lines for digit in line]


# ------------------------------------------------------------------------------------------ finding


@pytest.mark.parametrize("number", ["7", "42", "31415", "0987654321"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_digits_are_read_from_left_to_right(model, mnist, number, which):
    assert text(sequences.read(sheet(mnist, number, which=which)[0], model)) == [number]


def test_boxes_lie_around_the_digits(model, mnist):
    page, boxes = sheet(mnist, "2718", "28")
    found = flat(sequences.read(page, model))
    np.testing.assert_allclose([digit.box for digit in found], boxes, atol=3)
    assert all(0.5 < digit.confidence <= 1 for digit in found)
    assert all(digit.image.shape == (28, 28) and digit.image.dtype == np.uint8 for digit in found)


def test_boxes_are_in_pixels_of_the_picture_however_large(model, mnist):
    page, boxes = sheet(mnist, "2718")
    large = np.kron(page, np.ones((4, 4), np.uint8))
    reading = sequences.read(large, model)
    assert max(reading.picture.shape) < max(large.shape)
    np.testing.assert_allclose(
        [digit.box for digit in flat(reading)], 4 * np.array(boxes), atol=4 * 4
    )


def test_halves_of_a_broken_digit_are_no_line_of_their_own():
    # top, left, bottom, right: two whole digits, and between them one in an upper and a lower half
    whole = [(10, 0, 90, 50), (12, 140, 92, 190)]
    halves = [(11, 72, 45, 115), (52, 70, 91, 112)]
    for order in ([0, 1, 2, 3], [2, 3, 0, 1], [3, 0, 2, 1]):
        boxes = np.array([*whole, *halves])[order]
        (line,) = sequences.lines_of(boxes)
        assert sorted(line) == [0, 1, 2, 3]
        assert [boxes[n, 1] for n in line] == [0, 70, 72, 140]


@pytest.mark.parametrize("apart", [5, 20, 80])
@pytest.mark.parametrize("low", [40, 80])
def test_a_line_of_whole_or_low_digits_below_another_stays_a_line(apart, low):
    upper = [(0, 70 * k, 80, 70 * k + 50) for k in range(6)]
    lower = [(80 + apart, 70 * k + 5, 80 + apart + low, 70 * k + 45) for k in range(3)]
    assert sequences.lines_of(np.array([*upper, *lower])) == [[*range(6)], [6, 7, 8]]


def test_lines_run_from_top_to_bottom(model, mnist):
    page, _ = sheet(mnist, "31", "4159", "265")
    assert text(sequences.read(page, model)) == ["31", "4159", "265"]


@pytest.mark.parametrize("slope", [-0.15, 0.15])
def test_a_line_may_run_slightly_up_or_down(model, mnist, slope):
    page, _ = sheet(mnist, "2468013", slope=slope)
    assert text(sequences.read(page, model)) == ["2468013"]


def test_light_ink_colours_and_files_work_too(model, mnist, tmp_path):
    page, _ = sheet(mnist, "905")
    Image.fromarray(page).save(tmp_path / "page.jpg")
    blue = np.stack([page, page // 2 + 110, np.full_like(page, 240)], axis=-1)
    for source in (255 - page, blue, Image.fromarray(page), str(tmp_path / "page.jpg")):
        assert text(sequences.read(source, model)) == ["905"]


def test_specks_and_a_ruled_line_are_no_digits(model, mnist):
    page, _ = sheet(mnist, "1234")
    page[100:103] = 60  # from border to border, below the digits
    page[5:8, 5:8] = page[20:23, 200:203] = 60
    assert text(sequences.read(page, model)) == ["1234"]


# ---------------------------------------------------------------------- broken and touching strokes


def test_a_five_with_its_top_stroke_apart_is_one_digit(model, mnist):
    page = Image.fromarray(sheet(mnist, "10")[0])
    wide = Image.new("L", (page.width + 120, page.height), 235)
    wide.paste(page)
    pen, left, top = ImageDraw.Draw(wide), page.width - 20, 30
    pen.line([(left + 18, top + 2), (left + 45, top)], fill=40, width=7)  # the stroke apart
    pen.line([(left + 10, top + 8), (left + 7, top + 28)], fill=40, width=7)
    pen.arc([left - 12, top + 22, left + 38, top + 60], -100, 130, fill=40, width=7)
    reading = sequences.read(wide, model)
    assert text(reading) == ["105"]
    box = flat(reading)[-1].box
    assert box[1] <= top + 2
    assert box[3] >= top + 55


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_broken_in_the_middle_stays_one_digit(model, mnist, digit):
    page, _ = sheet(mnist, f"2{digit}3")
    broken, _ = sheet(mnist, f"2{digit}3")
    first, middle, last = (d.box for d in flat(sequences.read(page, model)))
    centre = (middle[1] + middle[3]) // 2
    broken[centre - 1 : centre + 2, middle[0] : middle[2]] = 235
    found = sequences.read(broken, model)
    assert [len(line) for line in found.lines] == [3]
    assert (found.lines[0][0].label, found.lines[0][2].label) == (2, 3)
    np.testing.assert_allclose(found.lines[0][1].box, middle, atol=3)


@pytest.mark.parametrize("number", ["24", "35", "80", "247"])
def test_touching_digits_are_cut_apart(model, mnist, number):
    apart, _ = sheet(mnist, number, gap=6)
    assert text(sequences.read(apart, model)) == [number]
    joined, boxes = sheet(mnist, number, gap=6)
    for left, right in zip(boxes, boxes[1:], strict=False):  # a thin bridge at half height
        middle = (max(left[1], right[1]) + min(left[3], right[3])) // 2
        row = joined[middle]
        start = left[0] + np.flatnonzero(row[left[0] : left[2]] < 100)[-1]
        stop = right[0] + np.flatnonzero(row[right[0] : right[2]] < 100)[0]
        joined[middle - 1 : middle + 2, start : stop + 1] = 50
    assert text(sequences.read(joined, model)) == [number]


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "page",
    [
        np.full((200, 300), 230, np.uint8),
        np.random.default_rng(0).normal(200, 8, (200, 300)).clip(0, 255).astype(np.uint8),
        np.random.default_rng(0).integers(0, 256, (200, 300)).astype(np.uint8),
    ],
    ids=["blank", "paper", "noise"],
)
def test_a_picture_without_digits_is_refused(model, page):
    with pytest.raises(InputError, match="array: expected .* found") as caught:
        sequences.read(page, model)
    assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------- pictures and command


def test_boxes_are_drawn_with_what_was_read(model, mnist):
    reading = sequences.read(sheet(mnist, "31", "41")[0], model)
    (ax,) = plots.digit_boxes(reading).axes
    assert ax.get_title(loc="left") == "read as  31   41"
    assert [label.get_text().split()[0] for label in ax.texts] == list("3141")
    assert len(ax.patches) == 4
    names = ["nought", "I", "ii", "III", "IV", "V", "VI", "VII", "VIII", "IX"]
    (ax,) = plots.digit_boxes(reading, names).axes
    assert ax.get_title(loc="left") == "read as  IIII   IVI"


def test_the_command_reads_numbers(mnist, tmp_path):
    Image.fromarray(sheet(mnist, "31", "4159")[0]).save(tmp_path / "a.png")
    Image.new("L", (200, 100), 255).save(tmp_path / "blank.png")

    def run(*args):
        command = [sys.executable, "-m", "scratchnet", "predict", *args]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    done = run("--sequence", "a.png", "blank.png", "--json")
    assert done.returncode == 1
    assert done.stderr.startswith("scratchnet: blank.png: expected a digit")
    (found,) = json.loads(done.stdout)
    assert set(found) == {"path", "number", "lines", "text", "digits"}
    assert found["text"] == "31\n4159"
    assert (found["path"], found["number"], found["lines"]) == ("a.png", "31 4159", ["31", "4159"])
    assert [digit["class"] for digit in found["digits"]] == list("314159")
    assert [digit["line"] for digit in found["digits"]] == [0, 0, 1, 1, 1, 1]
    for digit in found["digits"]:
        assert set(digit) == {"class", "digit", "confidence", "box", "line"}
        left, top, right, bottom = digit["box"]
        assert 0 <= left < right and 0 <= top < bottom

    done = run("--sequence", "a.png", "--show", "boxes.png")
    assert [line.split("   ")[0] for line in done.stdout.splitlines()] == [
        "a.png: 31",
        "a.png: 4159",
    ]
    with Image.open(tmp_path / "boxes.png") as image:
        assert image.width > 1000
    assert run("a.png", "--show", "boxes.png").returncode == 2


def test_a_mark_of_which_a_part_is_too_wide_for_a_digit_is_read_whole():
    ink = np.zeros((20, 80), np.float32)
    ink[8:10], ink[:, 24:56] = 1, 1
    pieces = sequences._pieces(sequences._Mark(ink, 0, 0), 20.0)
    assert [(piece.start, piece.stop) for piece in pieces] == [(0, 80)]
