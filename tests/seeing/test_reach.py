"""Which inputs reach which outputs, held against the layers' own backward passes."""

import numpy as np
import pytest
from kinds import EXAMPLES

import scratchnet as sn
from scratchnet.microscope import reach as reaching
from scratchnet.microscope.inputs import copied


def built(layer, shape):
    return copied(sn.Sequential([layer], shape, seed=0), np.float64).layers[0]


def region(found, layer, place):
    """(h, w, c) of the input: where the reach says that this place of the output looks."""
    h, w, c = reaching.as_image(layer.input_shape)
    seen = np.zeros((h, w, c), bool)
    if found.in_order:
        seen.reshape(-1)[np.ravel_multi_index(place, reaching.as_image(layer.output_shape))] = True
        return seen
    i, j, k = place
    rows, columns = (
        np.arange(span.first, span.last + 1, span.step)
        for span in (found.rows[i], found.columns[j])
    )
    named = {"all": np.arange(c), "same": [k]}
    channels = named[found.channels] if isinstance(found.channels, str) else found.channels[k]
    seen[np.ix_(rows, columns, channels)] = True
    return seen


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_slope_lies_outside_of_what_a_layer_is_said_to_see(name, rng):
    make, shape = EXAMPLES[name]
    layer = built(make(), shape)
    found = reaching.reach(layer)
    if reaching.as_image(layer.output_shape) is None:  # no image: two axes
        assert found.in_order
        return
    size = reaching.as_image(layer.output_shape)
    for at in rng.choice(np.prod(size), min(6, np.prod(size)), replace=False):
        place = tuple(map(int, np.unravel_index(at, size)))
        layer.forward(rng.standard_normal((1, *layer.input_shape)))
        dy = np.zeros((1, *layer.output_shape))
        dy.reshape(size)[place] = 1
        slopes = layer.backward(dy)[0].reshape(reaching.as_image(layer.input_shape))
        assert not slopes[~region(found, layer, place)].any()


@pytest.mark.parametrize(
    "layer",
    [
        sn.Conv2D(3, (3, 2), strides=(2, 1), padding=1),
        sn.Conv2D(2, 3, dilation_rate=2, padding="same"),
        sn.AveragePool2D(2),
        sn.DepthwiseConv2D(3, depth_multiplier=2),
        sn.ConnectedConv2D([[0, 1], [2]], 2),
        sn.ZeroPadding2D(1),
        sn.GlobalAveragePool2D(),
        sn.Dense(4),
        sn.Softmax(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_that_uses_all_it_sees_sees_no_more(layer, rng):
    layer = built(layer, (5,) if type(layer) in (sn.Dense, sn.Softmax) else (7, 6, 3))
    found, size = reaching.reach(layer), reaching.as_image(layer.output_shape)
    for place in np.ndindex(size):
        layer.forward(rng.standard_normal((1, *layer.input_shape)))
        dy = np.zeros((1, *layer.output_shape))
        dy.reshape(size)[place] = 1
        slopes = layer.backward(dy)[0].reshape(reaching.as_image(layer.input_shape))
        assert ((slopes != 0) == region(found, layer, place)).all()


def test_an_own_layer_is_asked_like_the_others():
    class Blur(sn.Layer):
        def forward(self, x, training=False):
            y = x.copy()
            y[:, 1:] += x[:, :-1]
            return y

    found = reaching.reach(built(Blur(), (4, 3, 2)))
    assert [tuple(span) for span in found.rows] == [(0, 0, 1), (0, 1, 1), (1, 2, 1), (2, 3, 1)]
    assert found.channels == "same"


def test_inner_layers_are_found_by_the_name_that_they_have_in_a_trace():
    model = sn.architectures.build("resnet", (8, 8, 1))
    found = reaching.reaches(model)
    assert "residual_1.main.conv2d" in found and "residual_1.shortcut.batchnorm" in found
    assert found["residual_1.shortcut.conv2d"].rows[1] == (2, 2, 1)  # 1 x 1, every second pixel


def test_where_there_is_too_much_to_ask_about_everything_is_seen(monkeypatch):
    monkeypatch.setattr(reaching, "MOST_VALUES", 10)
    found = reaching.reach(built(sn.Conv2D(1, 3), (5, 5, 1)))
    assert set(found.rows) == {(0, 4, 1)} and found.channels == "all"
