"""An autoencoder: 784 pixels through 16 numbers and back, better than the best linear map can.

The network is asked for its own input, and must pass it through a bottleneck: what comes out at the
end is what 16 numbers can say of a digit. With straight lines alone nothing beats the 16 principal
components (Eckart and Young 1936); with bends the network does.
"""

import numpy as np

import scratchnet as sn


def principal_components(x: np.ndarray, test: np.ndarray, k: int) -> np.ndarray:
    """The images (n, 784) `test` through the k directions in which x varies most, and back."""
    mean = x.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov(x - mean, rowvar=False))  # the largest come last
    components = directions[:, -k:]
    return (test - mean) @ components @ components.T + mean


def main(
    images: int = 60_000,
    epochs: int = 6,
    numbers: int = 16,
    target: float = 0.45,
    out: str = "autoencoder.png",
) -> None:
    (x_train, _), (x_test, _) = sn.datasets.mnist.load_data()
    x_train = x_train[:images]

    def wanted(x: np.ndarray) -> np.ndarray:  # bytes are scaled in x, but not in y
        return x[..., None] / np.float32(255)

    encoder = [
        *(sn.Conv2D(16, 3, strides=2, padding="same"), sn.ReLU()),
        *(sn.Conv2D(32, 3, strides=2, padding="same"), sn.ReLU()),
        *(sn.Flatten(), sn.Dense(numbers)),
    ]
    decoder = [
        *(sn.Dense(7 * 7 * 32), sn.ReLU(), sn.Reshape((7, 7, 32))),
        *(sn.Conv2DTranspose(16, 3, strides=2, padding="same"), sn.ReLU()),
        *(sn.Conv2DTranspose(1, 3, strides=2, padding="same"), sn.Sigmoid()),
    ]
    model = sn.Sequential([*encoder, *decoder], input_shape=(28, 28, 1), seed=0)
    model.compile(sn.Adam(0.002), "mean_squared_error")
    model.fit(x_train, wanted(x_train), batch_size=128, epochs=epochs)

    y = model.predict(x_test)
    flat = wanted(x_test).reshape(len(x_test), -1)
    straight = principal_components(wanted(x_train).reshape(len(x_train), -1), flat, numbers)
    error = float(np.square(y.reshape(flat.shape) - flat).mean())
    linear = float(np.square(straight - flat).mean())
    print(f"mean squared error on test digits: {error:.4f}; {numbers} components: {linear:.4f}")
    draw(flat, y, straight, numbers, out)
    assert error <= target * linear, f"expected at most {target:.0%} of {linear:.4f}"


def draw(x: np.ndarray, y: np.ndarray, straight: np.ndarray, numbers: int, out: str) -> None:
    """Ten digits, as they came, from the network, and from the components."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.3), layout="constrained")
    names = "original", "autoencoder", f"{numbers} components"
    for row, (name, rows) in enumerate(zip(names, (x, y, straight), strict=True)):
        for column, image in enumerate(rows[:10].reshape(-1, 28, 28)):
            axes = figure.add_subplot(3, 10, 10 * row + column + 1, xticks=[], yticks=[])
            axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
            if column == 0:
                axes.set_ylabel(name)
    figure.savefig(out)
    print(out)


if __name__ == "__main__":
    main()
