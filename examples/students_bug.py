"""A student's bug, and how the gradient check finds it: a network that learns proves nothing.

The layer below is a Dense layer as it is written at two in the morning: "the loss is a mean over
the batch, so the gradients must be means, too". But the loss has divided by the batch size already,
and db = sum of dy over the batch. The network trains all the same, to an accuracy that nobody would
wonder about. Numeric against analytic, the one wrong line is found at once.
"""

import numpy as np

import scratchnet as sn
from scratchnet.gradcheck import check_layer


class StudentsDense(sn.Layer):
    """y = x @ W + b, with one mistake in `backward`."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    def shape_after(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.units,)

    def parameter_shapes(self, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        return {"W": (*input_shape, self.units), "b": (self.units,)}

    def initialize(self, rng: np.random.Generator) -> None:
        W = self.params["W"]
        W[:] = rng.normal(0, np.sqrt(2 / len(W)), W.shape)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.cache = x
        return x @ self.params["W"] + self.params["b"]  # (n, d) @ (d, units) -> (n, units)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        x = self.cache
        self.grads["W"][:] = x.T @ dy
        self.grads["b"][:] = dy.mean(axis=0)  # the mistake
        return dy @ self.params["W"].T


class RepairedDense(StudentsDense):
    """The same, with the sum that the derivation asks for."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = super().backward(dy)
        self.grads["b"][:] = dy.sum(axis=0)
        return dx


def accuracy_with(dense: type[StudentsDense], images: int, epochs: int) -> float:
    """Of a small network on MNIST's test images."""
    (x_train, y_train), (x_test, y_test) = sn.datasets.mnist.load_data()
    layers = [sn.Flatten(), dense(64), sn.ReLU(), dense(10), sn.Softmax()]
    model = sn.Sequential(layers, input_shape=(28, 28, 1))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train[:images], y_train[:images], epochs=epochs, verbose=0)
    return model.evaluate(x_test, y_test, batch_size=256, verbose=0)[1]


def checked(dense: type[StudentsDense]) -> sn.gradcheck.Report:
    """Numeric against analytic, for a small layer of that kind in float64."""
    rng = np.random.default_rng(0)
    layer = dense(4)
    layer.build((6,), rng, np.float64)
    return check_layer(layer, rng.standard_normal((8, 6)), rng)


def main(images: int = 20_000, epochs: int = 3, target: float = 0.94) -> None:
    accuracy = accuracy_with(StudentsDense, images, epochs)
    print(f"test accuracy with the bug: {accuracy:.2%}. Nothing to see here?\n")
    assert accuracy >= target, f"expected at least {target:.1%}, found {accuracy:.1%}"

    report = checked(StudentsDense)
    print(report)
    wrong = [check for check in report if not check.passed]
    assert [check.name for check in wrong] == ["b"], "expected the mistake in b alone"
    ratio = wrong[0].analytic / wrong[0].numeric
    print(f"\nW and x are right, b is not: analytic / numeric = {ratio:.4f}, one eighth.")
    print("The batch has 8 examples: a mean where a sum belongs. Repaired:\n")

    repaired = checked(RepairedDense)
    print(repaired)
    assert repaired.passed


if __name__ == "__main__":
    main()
