"""Images in CSV files: Kaggle's form and its relatives, mistakes by their line, files beside it."""

import gzip
import warnings
import zipfile

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError
from scratchnet.datasets import idx, load_csv, table


def made(n=30, side=4, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (n, side, side), dtype=np.uint8)
    x[rng.random(x.shape) < 0.5] = 0
    return x, np.arange(n, dtype=np.uint8) % classes


def lines(x, y=None, header=True, separator=",", end="\n", at=0):
    """The text of a CSV file with these images; the label in column `at`."""
    rows = [[str(v) for v in image.ravel()] for image in x]
    names = [f"pixel{i}" for i in range(x[0].size)]
    if y is not None:
        for row, label in zip([names, *rows], ["label", *map(str, y)], strict=True):
            row.insert(at if at >= 0 else len(row), label)
    every = [names, *rows] if header else rows
    return end.join(separator.join(row) for row in every) + end


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def packed(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


# -------------------------------------------------------------------------------------------- forms

FORMS = {
    "Kaggle's": {},
    "without header": {"header": False},
    "Windows' lines": {"end": "\r\n"},
    "semicolons": {"separator": ";"},
    "tabs": {"separator": "\t"},
    "blanks": {"separator": ", "},
    "label last": {"at": -1},
}
SPELLINGS = {
    "as it is": lambda text: text,
    "no end of line": str.rstrip,
    "empty lines": lambda text: text.replace("\n", "\n\n", 3) + "\n \n",
    "byte order mark": lambda text: "\ufeff" + text,
    "decimal": lambda text: text.replace(",0", ",0.0"),
    "quoted": lambda text: text.replace(",0,", ',"0",'),
    "zeros before": lambda text: text.replace(",7", ",007"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(tmp_path, form):
    x, y = made()
    found, labels = load_csv(write(tmp_path / "a.csv", lines(x, y, **FORMS[form])))
    assert np.array_equal(found, x) and np.array_equal(labels, y)
    assert found.dtype == labels.dtype == np.uint8


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_read(tmp_path, spelling):
    x, y = made()
    text = SPELLINGS[spelling](lines(x, y))
    found, labels = load_csv(write(tmp_path / "a.csv", text))
    assert np.array_equal(found, x) and np.array_equal(labels, y)


@pytest.mark.parametrize("piece", [1, 7, 100, 1000])
def test_pieces_end_anywhere(tmp_path, piece, monkeypatch):
    monkeypatch.setattr(table, "PIECE", piece)
    x, y = made()
    for end in ("\n", "\r\n"):
        found, labels = load_csv(write(tmp_path / "a.csv", lines(x, y, end=end)))
        assert np.array_equal(found, x) and np.array_equal(labels, y)


@pytest.mark.parametrize(
    "header", ["label,1x1,1x2,1x3,1x4", "label,0,1,2,3", "what,a,b,c,d", "y,0,1,2,3"]
)
def test_headers_of_all_kinds(tmp_path, header):
    x, y = load_csv(write(tmp_path / "a.csv", f"{header}\n2,1,2,3,4\n1,5,6,7,255\n"))
    assert x.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 255]]] and y.tolist() == [2, 1]


def test_columns_that_pandas_numbers_are_a_header(tmp_path):
    x, y = made(5, side=17)
    text = ",".join(map(str, range(290))) + "\n" + lines(x, y, header=False)
    found, labels = load_csv(write(tmp_path / "a.csv", text))
    assert np.array_equal(found, x) and np.array_equal(labels, y)


@pytest.mark.parametrize("header", [True, False])
def test_images_without_labels(tmp_path, header):
    x, _ = made(side=5)
    found, labels = load_csv(write(tmp_path / "a.csv", lines(x, header=header)))
    assert np.array_equal(found, x) and labels is None


def test_mnists_size_and_the_numbers_of_numpy(tmp_path):
    (x, y), _ = sn.datasets.mnist.load_data()
    path = write(tmp_path / "train.csv", lines(x[:200], y[:200]))
    found, labels = load_csv(path)
    want = np.loadtxt(path, np.uint8, delimiter=",", skiprows=1)
    assert np.array_equal(found.reshape(200, -1), want[:, 1:])
    assert np.array_equal(labels, want[:, 0])


def test_packed_files_are_known_by_their_first_bytes(tmp_path):
    x, y = made()
    text = lines(x, y)
    paths = [
        write(tmp_path / "a.csv.gz", gzip.compress(text.encode())),
        write(tmp_path / "named-otherwise.csv", gzip.compress(text.encode())),
        packed(tmp_path / "a.csv.zip", {"a.csv": text, "__MACOSX/a.csv": "x"}),
        packed(tmp_path / "b.zip", {"train.csv": text, "test.csv": "0", "sample.csv": "1"}),
    ]
    for path in paths:
        found, labels = load_csv(path)
        assert np.array_equal(found, x) and np.array_equal(labels, y)


# ----------------------------------------------------------------------------------------- mistakes

ROW = "1," * 16 + "0"
#: what becomes of the lines, and the words that say it
BAD = [
    (lambda rows: [*rows[:8], rows[8] + ",3"], "line 9: expected 17 columns, .*found 18"),
    (lambda rows: [*rows[:8], "1,2,3", *rows[9:]], "line 9: expected 17 columns, .*found 3"),
    (lambda rows: [*rows, ROW.replace("1,0", "256,0")], "line 32, column 16: .*found '256'"),
    (lambda rows: [*rows[:3], "x" + ROW[1:]], "line 4, column 1: .*for a label, found 'x'"),
    (lambda rows: [*rows[:3], "-" + ROW], "line 4, column 1: .*label, found '-1'"),
    (lambda rows: [*rows[:3], ROW + ".5"], "line 4, column 17: .*for a pixel, found '0.5'"),
    (lambda rows: [*rows[:3], ROW[:-1]], "line 4, column 17: .*pixel, found ''"),
    (lambda rows: [*rows[:3], ROW[:-1] + "nan"], "line 4, column 17"),
    (lambda rows: [*rows[:3], ROW[:-1] + "1e5"], "line 4, column 17"),
    (lambda rows: [*rows[1:3], "a" + ROW], "line 3, column 1: .*label, found 'a1'"),
]


@pytest.mark.parametrize("number", range(len(BAD)))
@pytest.mark.parametrize("piece", [50, 1 << 20])
def test_a_bad_row_is_named_by_its_line(tmp_path, number, piece, monkeypatch):
    monkeypatch.setattr(table, "PIECE", piece)
    change, words = BAD[number]
    x, y = made()
    rows = change(lines(x, y).splitlines())
    with pytest.raises(InputError, match=words) as caught:
        load_csv(write(tmp_path / "a.csv", "\n".join(rows)))
    assert str(caught.value).startswith(str(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "expected a line for each image, found none"),
        (b"label,a,b,c,d\n", "expected a line for each image, found none"),
        (b"\n\n", "square image|found none"),
        (b"1,2,3\n", "square image, such as 28 x 28 = 784, found 3 columns"),
        (b"\x89PNG\r\n\x1a\n\0\0", "line 1: expected"),
        (b"PK\x03\x04 no zip", "line 1: expected"),
        (b"\x1f\x8b\x08 no gzip" + b"\0" * 30, "damaged|readable"),
        (gzip.compress(b"1,2\n" * 1000)[:-20], "damaged|readable"),
        (b"1" * 3000, "found 1 columns|line 1, column 1|label"),
    ],
    ids=range(9),
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, content, words):
    with pytest.raises(InputError, match=words) as caught:
        load_csv(write(tmp_path / "a.csv", content))
    assert "\n" not in str(caught.value)


def test_memory_is_bounded_whatever_the_file_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "MOST_LINE", 1000)
    monkeypatch.setattr(table, "MOST_UNPACKED", 500)
    monkeypatch.setattr(table, "PIECE", 100)
    with pytest.raises(InputError, match="lines of at most 1,000 bytes"):
        load_csv(write(tmp_path / "a.csv", gzip.compress(b"1," * 10**6)))
    with pytest.raises(InputError, match="at most 500 numbers"):
        load_csv(write(tmp_path / "a.csv", gzip.compress(b"1,2,3,4,5\n" * 10**5)))
    with pytest.raises(InputError, match="readable file|readable CSV"):
        load_csv(tmp_path / "none.csv")


@pytest.mark.parametrize("names", [[], ["a.csv", "b.csv"], ["a_train.csv", "b_train.csv"]])
def test_a_zip_with_another_number_of_files_is_refused(tmp_path, names):
    path = packed(tmp_path / "a.zip", dict.fromkeys([*names, "read.me"], "1,2"))
    with pytest.raises(InputError, match="expected one CSV file in it, or one named train"):
        load_csv(path)


# -------------------------------------------------------------------------------------- sets of two


@pytest.mark.parametrize("named", ["train", "test"])
@pytest.mark.parametrize("start, end", [("", ".csv"), ("mnist_", ".csv"), ("a-", ".csv.gz")])
def test_the_file_beside_it_is_what_is_tested_with(tmp_path, start, end, named):
    sets = {"train": made(seed=1), "test": made(9, seed=2, classes=5)}
    for part, (x, y) in sets.items():
        content = lines(x, y).encode()
        write(tmp_path / f"{start}{part}{end}", gzip.compress(content) if "gz" in end else content)
    found = sn.datasets.load(tmp_path / f"{start}{named}{end}")
    assert np.array_equal(found.x_train, sets["train"][0])
    assert np.array_equal(found.y_test, sets["test"][1])
    assert found.class_names == tuple("01234")


@pytest.mark.parametrize("form", ["files", "zip"])
def test_kaggles_test_file_without_labels_is_said_and_a_sixth_held_out(tmp_path, form):
    (x, y), (x_test, _) = made(), made(9)
    files = {"train.csv": lines(x, y), "test.csv": lines(x_test), "sample_submission.csv": "a,b\n"}
    if form == "zip":
        path = packed(tmp_path / "digits.zip", files)
    else:
        for name, text in files.items():
            path = write(tmp_path / name, text)
        path = tmp_path / "train.csv"
    with pytest.warns(sn.InputWarning, match="no labels in it.*a sixth of"):
        found = sn.datasets.load(path)
    assert len(found.x_test) == 3 and sorted(found.y_test) == [0, 1, 2]
    assert len(found.x_train) == 27
    every = np.concatenate([found.x_train, found.x_test])
    assert sorted(map(bytes, every)) == sorted(map(bytes, x))


def test_a_single_file_holds_a_sixth_out(tmp_path):
    x, y = made(60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sn.datasets.load(str(write(tmp_path / "letters.csv", lines(x, y))))
    assert np.bincount(found.y_test).tolist() == [3, 3, 3]
    assert np.array_equal(found.x_test, x[:9]) and np.array_equal(found.x_train, x[9:])


def test_sets_that_cannot_be_trained_with_are_refused(tmp_path):
    x, y = made()
    alone = write(tmp_path / "alone.csv", lines(x))
    with pytest.raises(InputError, match="expected a label, then the pixels"):
        sn.datasets.load(alone)
    write(tmp_path / "train.csv", lines(x, y))
    write(tmp_path / "test.csv", lines(*made(side=5)))
    with pytest.raises(InputError, match="images of one size"):
        sn.datasets.load(tmp_path / "train.csv")
    one = write(tmp_path / "one.csv", lines(x[:2], [0, 1]))
    with pytest.raises(InputError, match="two images of some class"):
        sn.datasets.load(one)
    with pytest.raises(InputError, match="expected a folder, a CSV file or one of"):
        sn.datasets.load(tmp_path / "nothing.csv")


# -------------------------------------------------------------------------------- memory-mapped IDX


def test_idx_files_can_stay_in_the_file(tmp_path):
    x, y = made()
    path = write(tmp_path / "x", idx.header(x.shape) + x.tobytes())
    found = idx.memory_map(path, 3)
    assert isinstance(found, np.memmap) and np.array_equal(found, x)
    model = sn.Sequential([sn.Flatten(), sn.Dense(3), sn.Softmax()], (4, 4, 1))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(found, y, verbose=0)
    for content, words in (
        (b"", "an empty file"),
        (path.read_bytes()[:-1], "expected 496 bytes"),
        (gzip.compress(path.read_bytes()), "not packed"),
        (b"\0\0\x0d\3" + b"\0" * 12, "IDX of unsigned bytes"),
        (idx.header((0, 4, 4)), "expected 16 bytes"),
    ):
        with pytest.raises(InputError, match=words):
            idx.memory_map(write(tmp_path / "bad", content), 3)
    with pytest.raises(InputError, match="readable"):
        idx.memory_map(tmp_path / "none", 3)
