"""Lines read as a whole: their image, boxes from the alignment, and which of two readers counts."""

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.line_reader import LineReader, for_classes
from scratchnet.pictures import sequences, whole_lines

SIGNS = (*"0123456789", ",", "-", "+", "")
BLANK = 13


def frames(*labels, sure=0.98, count=40, at=None):
    """Log-probabilities (count, 14) in which the labels stand out, at these frames."""
    probs = np.full((count, 14), (1 - sure) / 13)
    probs[:, BLANK] = sure
    for label, t in zip(labels, at or range(3, count, 6), strict=False):
        probs[t] = (1 - sure) / 13
        probs[t, label] = sure
    return np.log(probs)


class Says:
    """A reader that finds the same in every line: the labels, at these columns of its image."""

    height, signs, blank = 32, SIGNS, BLANK

    def __init__(self, *labels, at=(), sure=0.98):
        self.labels, self.at, self.sure, self.seen = labels, at, sure, []

    def read(self, lines):
        self.seen += lines
        return [
            frames(
                *self.labels,
                sure=self.sure,
                count=-(-line.shape[1] // 2),
                at=[round(share * line.shape[1] / 2) for share in self.at],
            )
            for line in lines
        ]


class Bars:
    """A classifier of the pieces: the wider the ink, the larger the digit; never quite sure."""

    def predict(self, x, batch_size):
        wide = (x.reshape(len(x), 28, 28) > 99).any(axis=1).sum(axis=1)
        probs = np.full((len(x), 10), 0.03)
        probs[np.arange(len(x)), np.minimum(wide // 3, 9)] = 0.73
        return probs


def picture(*places, shape=(120, 260)):
    """Bars of ink (left, right) on white paper."""
    image = np.full(shape, 255, np.uint8)
    for left, right in places:
        image[30:90, left:right] = 10
    return image


def test_a_line_has_the_form_that_its_reader_knows():
    ink = np.ones((60, 20), np.float32)
    line = whole_lines.line_of([(ink, 100, 40), (ink, 160, 46)], 60, 0.0, 32)
    assert line.image.shape[0] == 32 and line.image.dtype == np.uint8
    rows = np.flatnonzero(line.image.max(axis=1) > 128)
    assert 25 <= np.ptp(rows) + 1 <= 28 and abs(rows.mean() - 15.5) <= 1
    assert line.corner == (100, 40) and line.ink.shape == (66, 80)
    columns = np.flatnonzero(line.image.max(axis=0) > 128)
    ends = line.across[0, [0, -1]]
    assert abs(columns[0] - ends[0]) <= 1 and abs(columns[-1] - ends[1]) <= 1
    assert whole_lines.line_of([(0 * ink, 0, 0)], 60, 0.0, 32) is None
    assert whole_lines.line_of([(ink, 0, 0), (ink, 9000, 0)], 60, 0.0, 32) is None


def test_a_line_that_runs_down_is_made_level():
    """Squares along a slope: level, they have the rows of one."""
    square = np.ones((20, 20), np.float32)
    inks = [(square, 40 * k, round(40 * k * np.tan(np.deg2rad(15)))) for k in range(5)]
    line = whole_lines.line_of(inks, 20, 15.0, 32)
    assert (line.image.max(axis=1) > 128).sum() <= 32 * 0.95
    columns = np.flatnonzero((line.image > 128).any(axis=0))
    gaps = np.flatnonzero(np.diff(columns) > 1)
    assert len(gaps) == 4
    for k, (left, top) in enumerate((x, y) for _, x, y in inks):  # each square's middle, in its own
        at = line.across[top + 10, left + 10]
        begin, end = columns[0 if k == 0 else gaps[k - 1] + 1], columns[gaps[k] if k < 4 else -1]
        assert begin <= at <= end


def test_the_surer_reader_counts():
    worth = [np.full(10, 0.02) for _ in range(3)]
    for vector, label in zip(worth, (4, 0, 7), strict=True):
        vector[label] = 0.82
    read = whole_lines.better_labels
    assert read(frames(4, 0, 7), BLANK, [4, 0, 7], worth) is None
    assert read(frames(4, 6, 7, sure=0.999), BLANK, [4, 0, 7], worth) == [4, 6, 7]
    doubtful = frames(4, 6, 7)
    doubtful[9, [6, 0]] = np.log(
        [0.6, 0.3]
    )  # it says 6 twice as often; the classifier 0 forty times
    assert read(doubtful, BLANK, [4, 0, 7], worth) is None
    assert read(frames(4, 0, 1, 7, sure=0.999), BLANK, [4, 0, 7], worth) == [4, 0, 1, 7]
    assert read(frames(4, 10, 7, sure=0.999), BLANK, [4, 0, 7], worth) == [4, 10, 7]
    assert read(frames(sure=0.999), BLANK, [4, 0, 7], worth) is None  # nothing is no reading


def test_bars_that_touch_are_read_apart_and_each_has_its_box():
    """Two bars joined at their foot: the classifier takes them for one digit."""
    image = picture((60, 84), (92, 116))
    image[84:90, 60:116] = 10
    alone = sequences.read(image, Bars())
    assert len(alone.lines[0]) == 1
    reader = Says(3, 5, at=(0.3, 0.7), sure=0.9999)
    found = sequences.read(image, Bars(), reader=reader)
    assert [digit.label for digit in found.lines[0]] == [3, 5]
    first, second = (digit.box for digit in found.lines[0])
    assert first[0] == 60 and 80 <= first[2] <= 95 and first[1::2] == (30, 90)
    assert second[2] == 116 and first[2] == second[0]
    assert all(digit.image.shape == (28, 28) and digit.image.any() for digit in found.lines[0])
    assert len(reader.seen) == 1 and reader.seen[0].shape[0] == 32


def test_a_sign_that_the_line_shows_is_in_the_text_and_not_among_the_digits():
    image = picture((30, 60), (100, 108), (140, 170))
    reader = Says(8, 12, 9, at=(0.15, 0.5, 0.85), sure=0.9999)
    found = sequences.read(image, Bars(), reader=reader)
    assert [digit.label for digit in found.lines[0]] == [8, 9]
    assert [(sign.text, sign.box) for sign in found.signs] == [("+", (100, 30, 108, 90))]
    assert found.texts([str(k) for k in range(10)]) == ["8+9"]


def test_a_reader_that_is_not_surer_changes_nothing():
    image = picture((30, 60), (140, 170))
    alone = sequences.read(image, Bars())
    beside = sequences.read(image, Bars(), reader=Says(1, 2, at=(0.2, 0.8), sure=0.2))
    assert [digit.label for digit in beside.lines[0]] == [digit.label for digit in alone.lines[0]]
    assert [digit.box for digit in beside.lines[0]] == [digit.box for digit in alone.lines[0]]


# ---- the network for every width -----------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    layers = [sn.Conv2D(4, 3, (4, 2), "same"), sn.BatchNorm(), sn.ReLU()]
    layers += [sn.Conv2D(14, (8, 3), padding=((0, 0), (1, 1))), sn.Reshape((-1, 14)), sn.Softmax()]
    model = sn.Sequential(layers, (32, 64, 1), seed=3)
    model.class_names = SIGNS
    return LineReader(model)


def test_one_network_reads_every_width_with_the_same_weights(small):
    rng = np.random.default_rng(0)
    lines = [rng.integers(0, 255, (32, w)).astype(np.uint8) for w in (20, 64, 65, 130)]
    found = small.read(lines)
    assert [len(log_probs) for log_probs in found] == [32, 32, 64, 96]
    for line, log_probs in zip(lines, found, strict=True):
        np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, rtol=1e-5)
        again = small.read([line])[0]
        np.testing.assert_allclose(again, log_probs, rtol=1e-5, atol=1e-6)
    wider = np.pad(lines[1], ((0, 0), (0, 60)))
    np.testing.assert_allclose(small.read([wider])[0][:30], found[1][:30], rtol=1e-4, atol=1e-5)
    assert small.at(128) is small.at(128)
    assert np.shares_memory(small.at(128).layers[0].params["W"], small.model.layers[0].params["W"])
    assert small.at(192).class_names == SIGNS and small.blank == BLANK
    assert small.read([]) == []


def test_what_is_no_line_and_no_reader_is_refused(small):
    for shape in ((28, 40), (32, 0), (32, 9999), (1, 32, 4)):
        with pytest.raises(sn.InputError, match="line: expected 32 rows"):
            small.read([np.zeros(shape, np.uint8)])
    with pytest.raises(sn.InputError, match="line reader: expected a model from lines"):
        LineReader(sn.Sequential([sn.Flatten(), sn.Dense(3)], (32, 64, 1)))
    assert for_classes(["a", "b"]) is None


def test_the_shipped_reader_tells_digits_apart_that_touch():
    """Twelve pairs of test digits: before, some 6 of 10 were read."""
    from scratchnet.datasets import photos

    model, reader = sn.architectures.pretrained(), sn.line_reader.shipped()
    right = 0
    for example in photos.examples("number, a pair touching", 12):
        found = sequences.read(example.picture, model, reader=reader)
        read = "".join(str(digit.label) for line in found.lines for digit in line)
        right += read == example.truth
    assert right >= 8
