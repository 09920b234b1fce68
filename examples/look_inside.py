"""Look inside the trained network while it reads one digit: forward, backward, and why.

`python look_inside.py` takes MNIST's first test image of an 8 and pretends that it were a 3: then
the gradient has something to say.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import scratchnet as sn


def main(digit: int = 8, label: int = 3, out: str = "trace.png", target: float = 1e-6) -> None:
    _, (x_test, y_test) = sn.datasets.mnist.load_data()
    image = x_test[y_test == digit][0]
    model = sn.architectures.pretrained()

    trace = sn.trace(model, image, label)
    print(trace.table())

    # the largest entry of a gradient, as the sum that it is, and one output value likewise
    gradient = trace.gradients["conv2d.W"]
    index = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
    explained = trace.explain("conv2d.W", index)
    print(f"\n{explained}\n\n{trace.explain_output('conv2d', (12, 11, index[-1]))}")
    # what a convolution hands back to one of its inputs, and the lines of code that do it
    print(f"\n{trace.explain_input('conv2d_1', (5, 7, 3)).text(most=5)}")
    print(f"\n{trace['conv2d_1'].steps('backward')}")
    print(f"\n{trace.step(sn.SGD(0.001))}")
    print(f"\n{sn.fool(model, image, label)}")

    sn.plots.save(trace.plot(), out)
    spread = sn.plots.histograms(trace.gradients, "Gradients", "gradient", log=True)
    sn.plots.save(spread, Path(out).with_name("gradients.png"))

    why = Figure(figsize=(8, 2.6), layout="constrained")
    left, middle, right = why.subplots(1, 3)
    sn.plots.heat(image, sn.explain.gradcam(model, image), "Grad-CAM", ax=left)
    sn.plots.heat(image, sn.explain.saliency(model, image), "Saliency", ax=middle)
    sn.plots.heat(image, sn.explain.occlusion(model, image), "Occlusion", ax=right)
    sn.plots.save(why, Path(out).with_name("why.png"))
    print(f"pictures: trace, gradients and why, beside {Path(out).resolve()}")

    error = abs(explained.gradient - explained.numeric) / abs(explained.numeric)
    assert error < target, f"expected a relative error below {target:g}, found {error:g}"


if __name__ == "__main__":
    main()
