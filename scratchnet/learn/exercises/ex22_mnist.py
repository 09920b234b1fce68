"""22. A network of your own reads digits.

About an hour. Lesson 8. The package's own: scratchnet/architectures.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#guide/train

Everything in here is yours: the layers, the loss, the optimizer, the loop. Put them together into a
convolutional network that reads at least 97 of 100 handwritten digits that it has never seen.

build     makes the network. Images come in as (n, 28, 28, 1), ten scores go out, (n, 10), without
          a softmax: that is in your loss. Write the shapes down, layer by layer: a 5 x 5 window
          with stride 2 and no padding makes 28 x 28 into 12 x 12, pooling by 2 makes that 6 x 6,
          and with 16 filters Flatten hands 6 * 6 * 16 = 576 numbers to a Dense.
fit       trains it. It is given the 60,000 images of the training set, as numbers from 0 to 1. Your
          optimizer, your learning rate, your batch size; one epoch can be enough.

The check gives it four minutes, in which every image goes forward and backward through loops that
you have written: a first network should be small. It must use your own Conv2D and MaxPool2D; one
convolution is enough. What you do beyond that, BatchNorm, Dropout, a Residual, is up to you. On the
test images it is used once, at the end, as it should be.

Flatten is written.

    scratchnet learn check 22        scratchnet learn hint 22
"""

from ex04_dense_backward import Dense
from ex05_relu import ReLU
from ex07_softmax_loss import SoftmaxCrossEntropy
from ex10_adam import Adam
from ex11_training import Network, train
from ex15_conv_backward import Conv2D
from ex16_max_pool import MaxPool2D


class Flatten:
    def __init__(self):
        self.params, self.grads, self.buffers = {}, {}, {}

    def forward(self, x, training=False):
        self.shape = x.shape
        return x.reshape(len(x), -1)  # (n, h, w, c) -> (n, h * w * c)

    def backward(self, dy):
        return dy.reshape(self.shape)


def build(rng):
    """Images (n, 28, 28, 1) -> scores (n, 10)"""
    # TODO: return a Network of a list of layers
    return Network(
        [
            Conv2D(1, 16, 5, 5, 2, 0, rng),  # (28, 28, 1) -> (12, 12, 16)
            ReLU(),
            MaxPool2D(2, 2),  # -> (6, 6, 16)
            Flatten(),  # -> (576,)
            Dense(576, 10, rng),
        ]
    )
    # END


def fit(network, x, y, rng):
    """Train it with images x (60000, 28, 28, 1) from 0 to 1, and labels y (60000,)."""
    # TODO: your train, with your loss and your optimizer
    train(network, SoftmaxCrossEntropy(), Adam(0.005), x, y, 1, 32, rng)
    # END
