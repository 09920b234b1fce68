"""Lines of numbers that are made: what is written in them is known, and the same every time."""

from dataclasses import replace

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.datasets import lines


@pytest.fixture(scope="module")
def maker():
    """Of images of which each is a bar as high as MNIST's digits, as wide as its class."""
    x = np.zeros((10, 28, 28), np.uint8)
    for digit in range(10):
        x[digit, 4:24, 10 : 12 + digit] = 255
    return lines.LineMaker(x, np.arange(10), marks_share=0)


def test_the_same_state_gives_the_same_lines(maker):
    first, again, other = (maker(6, np.random.default_rng(seed)) for seed in (3, 3, 4))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != other[0]).any()
    images, labels = first
    assert images.shape == (6, lines.HEIGHT, lines.WIDTH) and images.dtype == np.uint8
    assert labels.shape == (6, lines.MOST)


def test_labels_say_what_is_written_and_end_in_blanks(maker):
    images, labels = maker(60, np.random.default_rng(0))
    assert images.any(axis=(1, 2)).all()
    for row in labels:
        count = int((row != lines.BLANK).sum())
        assert 1 <= count <= lines.MOST and (row[:count] < 10).all()
        assert (row[count:] == lines.BLANK).all()


def test_signs_that_are_far_apart_stand_apart_and_all_that_is_labelled_is_there(maker):
    rng = np.random.default_rng(5)
    apart = 0
    for _ in range(20):
        plan = maker._plan(rng)
        count = len(plan.signs)
        plan = replace(plan, gaps=np.full(count, 9.0), sizes=np.ones(count), fitted=False)
        plan = replace(plan, turn=0, slant=0, thin=False)
        pictures = maker._pictures(plan.signs, np.zeros(count, bool), rng)
        cells = lines._drawn(pictures, [plan], rng)
        image = np.zeros((lines.HEIGHT, lines.WIDTH), np.float32)
        placed = lines._put(image, cells, plan, rng)
        ink = np.concatenate([[False], (image > 0.5).any(axis=0)])
        assert (ink[1:] & ~ink[:-1]).sum() == placed >= 1
        apart += placed
    assert apart > 40


def test_marks_stand_where_they_belong_beside_a_digit():
    rng = np.random.default_rng(0)
    middle = {}
    for sign in lines.MARKS:
        ink = lines.drawn_mark(sign, rng)
        assert ink.shape == (28, 28) and ink.dtype == np.uint8 and ink.max() > 200
        middle[sign] = np.flatnonzero((ink > 99).any(axis=1)).mean()
    assert middle[","] > 21 and 11 < middle["-"] < 17 and 11 < middle["+"] < 17


def test_a_thin_pen_leaves_less_ink_and_the_same_height():
    """A ring as a 0: of each digit one image, all the same."""
    y, x = np.mgrid[:28, :28]
    ring = np.where(np.abs(np.hypot(y - 13.5, x - 13.5) - 8.5) < 1.5, 255, 0).astype(np.uint8)
    maker = lines.LineMaker(np.repeat(ring[None], 10, 0), np.arange(10), thin_share=1.0)
    for usual, thin in zip(*maker._banks, strict=True):
        ink, less = (images.sum(axis=(1, 2)).mean() for images in (usual, thin))
        assert 0 < less < 0.8 * ink
    rows = [np.flatnonzero((bank[0][0] > 60).any(axis=1)) for bank in maker._banks]
    assert abs(np.ptp(rows[0]) - np.ptp(rows[1])) <= 1
    images, labels = maker(20, np.random.default_rng(0))
    assert (images.max(axis=(1, 2)) > 100).all() and (labels[:, 0] != lines.BLANK).all()


def test_batches_are_made_one_by_one(maker):
    found = list(lines.batches(maker, 3, 2, seed=1))
    assert len(found) == 2 and found[0][0].shape == (3, lines.HEIGHT, lines.WIDTH)
    again = list(lines.batches(maker, 3, 2, seed=1))
    np.testing.assert_array_equal(found[1][0], again[1][0])


def test_a_reader_trained_twice_has_the_same_bits(maker):
    found = []
    for _ in range(2):
        layers = [sn.Conv2D(len(lines.SIGNS), (32, 5), (32, 2), padding=((0, 0), (2, 2)))]
        layers += [sn.Reshape((-1, len(lines.SIGNS))), sn.Softmax()]
        model = sn.Sequential(layers, (lines.HEIGHT, lines.WIDTH, 1))
        model.compile("adam", sn.losses.CTC(blank=lines.BLANK))
        model.fit(lines.batches(maker, 4, 3, seed=0), steps_per_epoch=3, verbose=0)
        found.append(model.flat_params.tobytes())
    assert found[0] == found[1]
