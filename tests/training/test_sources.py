"""Training from batches that come one by one, and from arrays in files larger than memory."""

import io

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError
from scratchnet.callbacks import BackupAndRestore


@pytest.fixture
def data(rng):
    x = rng.random((60, 4, 4, 1), dtype=np.float32)
    return x, rng.integers(0, 3, len(x))


def network(seed=0):
    layers = [sn.Conv2D(3, 3), sn.ReLU(), sn.Flatten(), sn.Dropout(0.2), sn.Dense(3), sn.Softmax()]
    model = sn.Sequential(layers, (4, 4, 1), seed=seed)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def fitted(*args, **how):
    model = network()
    history = model.fit(*args, **({"verbose": 0, "epochs": 3} | how)).history
    return model, history


class Pages:
    """A Keras-like Sequence of batches of ten."""

    def __init__(self, x, y, size=10):
        self.x, self.y, self.size = x, y, size
        self.asked, self.epochs = [], 0

    def __len__(self):
        return -(-len(self.x) // self.size)

    def __getitem__(self, i):
        if not 0 <= i < len(self):
            raise IndexError(i)
        self.asked.append(i)
        return tuple(a[i * self.size : (i + 1) * self.size] for a in (self.x, self.y))

    def on_epoch_end(self):
        self.epochs += 1


def endless(x, y, size=10):
    while True:
        for i in range(0, len(x), size):
            yield x[i : i + size], y[i : i + size]


def once(x, y, size=10):
    for i in range(0, len(x), size):
        yield x[i : i + size], y[i : i + size]


@pytest.mark.parametrize("form", ["Sequence", "list", "generator", "generator without end"])
def test_batches_in_order_train_as_the_arrays_do(data, form):
    x, y = data
    want, history = fitted(x, y, batch_size=10, shuffle=False, validation_data=data)
    source, how = {
        "Sequence": lambda: (Pages(x, y), {}),
        "list": lambda: ([*once(x, y)], {}),
        "generator": lambda: (Anew(x, y), {}),
        "generator without end": lambda: (endless(x, y), {"steps_per_epoch": 6}),
    }[form]()
    again = {"validation_data": endless(x, y), "validation_steps": 6}
    model, found = fitted(source, shuffle=False, **how, **again)
    assert np.array_equal(model.flat_params, want.flat_params)
    assert found.keys() == history.keys()
    for key in history:
        assert found[key] == pytest.approx(history[key], rel=1e-6)


class Anew:
    """An iterable that begins anew for every epoch, as PyTorch's DataLoader does."""

    def __init__(self, *data):
        self.data = data

    def __iter__(self):
        return once(*self.data)


def test_a_sequence_is_shuffled_by_batches_and_told_of_the_epochs_end(data):
    pages = Pages(*data)
    _, first = fitted(pages, epochs=2)
    one, two = pages.asked[1:7], pages.asked[7:]  # the first look is at number 0
    assert sorted(one) == sorted(two) == [*range(6)] and one != two
    assert pages.epochs == 2
    assert fitted(Pages(*data), epochs=2)[1] == first
    pages = Pages(*data)
    fitted(pages, steps_per_epoch=2, epochs=3)
    assert len(pages.asked) == 1 + 6


def test_steps_per_epoch_of_a_generator_go_on_and_begin_anew(data):
    x, y = data
    a, _ = fitted(x[:40], y[:40], batch_size=10, shuffle=False, epochs=1)
    a.fit(np.r_[x[40:], x[:20]], np.r_[y[40:], y[:20]], batch_size=10, shuffle=False, verbose=0)
    b, _ = fitted(Anew(x, y), steps_per_epoch=4, epochs=2)
    assert np.array_equal(a.flat_params, b.flat_params)


def test_steps_per_epoch_of_arrays_are_a_part_of_them(data):
    x, y = data
    model = network()
    model.fit(x, y, batch_size=10, steps_per_epoch=2, epochs=3, verbose=0)
    assert model.optimizer.iterations == 6
    with pytest.raises(InputError, match="steps_per_epoch: expected 1 to 6, found 7"):
        model.fit(x, y, batch_size=10, steps_per_epoch=7, verbose=0)


def test_evaluate_takes_batches_too(data):
    model, _ = fitted(*data)
    want = model.evaluate(*data, verbose=0)
    assert model.evaluate(Pages(*data), verbose=0) == pytest.approx(want)
    assert model.evaluate(once(*data), verbose=0) == pytest.approx(want)
    assert model.evaluate(endless(*data), steps=6, verbose=0) == pytest.approx(want)


def test_predict_takes_batches_with_and_without_labels(data):
    x, _ = data
    model, want = network(), network().predict(x)
    for batches in (Pages(*data), once(*data), Anew(*data), (part for part in np.split(x, 6))):
        assert np.array_equal(model.predict(batches), want)


def test_a_model_without_an_input_shape_is_built_by_the_first_batch(data):
    model = sn.Sequential([sn.Flatten(), sn.Dense(3), sn.Softmax()])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(once(*data), verbose=0)
    assert model.optimizer.iterations == 6


class Bar(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("steps", [None, 6])
def test_progress_is_shown_where_images_are_not_known(data, steps):
    shown = Bar()
    network().fit(
        endless(*data) if steps else once(*data), progress_file=shown, steps_per_epoch=steps
    )
    assert "epoch 1/1  loss" in shown.getvalue()


@pytest.mark.parametrize(
    "x, how, words",
    [
        (lambda d: once(*d), {"epochs": 2}, "batches for another epoch, found a generator that"),
        (lambda d: once(*d), {"steps_per_epoch": 7}, "7 batches an epoch, found .* ended after 6"),
        (lambda d: iter([]), {}, "at least one batch, found none"),
        (lambda d: [], {}, "at least one batch, found none"),
        (lambda d: Pages(*d), {"steps_per_epoch": 9}, "at most the 6 batches there are, found 9"),
        (lambda d: Pages(*d), {"steps_per_epoch": 0}, "steps: expected a whole number"),
        (lambda d: Pages(*d), {"validation_split": 0.5}, "validation_split: expected arrays"),
        (lambda d: d[0], {}, "y: expected labels for x"),
        (lambda d: "abc", {}, "y: expected labels for x"),
        (lambda d: [d[0]], {}, r"expected batches \(x, y\) or .*, found"),
        (lambda d: [(*d, d[1], d[1])], {}, r"\(x, y, sample_weight\), found 4 parts"),
        (lambda d: [(d[0], d[1][:3])], {}, "as many labels"),
        (lambda d: [(d[0][0], 1)], {}, "as many labels"),
    ],
)
def test_what_is_no_source_of_batches_is_named(data, x, how, words):
    with pytest.raises(InputError, match=words):
        network().fit(x(data), verbose=0, **how)


def test_an_argument_that_fit_does_not_know_is_refused(data):
    with pytest.raises(TypeError, match="unexpected keyword argument 'step_per_epoch'"):
        network().fit(*data, step_per_epoch=3)


@pytest.mark.parametrize("form", ["Sequence", "stream", "stream of unknown length"])
@pytest.mark.parametrize("crash", [4, 6, 9])
def test_a_training_on_batches_resumes_with_the_same_bits(data, tmp_path, form, crash):
    class Crashes(sn.Callback):
        def __init__(self, at):
            self.at, self.seen = at, 0

        def on_batch_end(self, batch, logs):
            self.seen += 1
            if self.seen == self.at:
                raise KeyboardInterrupt

    def trained(folder, at):
        source, how = {
            "Sequence": (Pages(*data), {}),
            "stream": (endless(*data), {"steps_per_epoch": 5}),
            "stream of unknown length": (Anew(*data), {}),
        }[form]
        callbacks = [Crashes(at), BackupAndRestore(folder, save_freq=1)]
        model, history = fitted(source, callbacks=callbacks, **how)
        return model.flat_params, history

    whole, history = trained(tmp_path / "a", None)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "b", crash)
    again, other = trained(tmp_path / "b", None)
    assert np.array_equal(whole, again) and history == other


def test_a_memory_mapped_array_is_read_batch_by_batch(data, tmp_path, monkeypatch):
    x, y = data
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    want, _ = fitted(x, y, batch_size=10, validation_split=0.2)
    sizes = []
    real = np.ndarray.take
    whole = np.ascontiguousarray

    def never_all(a, *args, **how):
        sizes.append(np.asarray(a).nbytes)
        return whole(a, *args, **how)

    monkeypatch.setattr(np, "ascontiguousarray", never_all)
    model, _ = fitted(mapped, y, batch_size=10, validation_split=0.2)
    assert np.array_equal(model.flat_params, want.flat_params)
    assert max(sizes, default=0) < x.nbytes and real is np.ndarray.take
    big = np.lib.format.open_memmap(tmp_path / "big.npy", "w+", np.uint8, (3 * 10**5, 64, 64, 1))
    model = sn.Sequential([sn.Flatten(), sn.Dense(2), sn.Softmax()], (64, 64, 1))
    model.compile("sgd", "sparse_categorical_crossentropy")
    labels = np.zeros(len(big), np.uint8)  # 1.2 GB in the file, of which hardly anything is there
    callbacks = [BackupAndRestore(tmp_path / "state")]
    model.fit(big, labels, steps_per_epoch=3, verbose=0, callbacks=callbacks)
    assert model.optimizer.iterations == 3
    assert (tmp_path / "big.npy").stat().st_blocks * 512 < 10**8  # nobody filled it
