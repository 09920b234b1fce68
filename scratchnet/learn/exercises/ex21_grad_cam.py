"""21. Grad-CAM: where the network looked.

About 30 minutes. Lesson 11. The package's own: `gradcam` in scratchnet/microscope/heat_maps.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#explain

A convolution's output is a stack of k maps, and each is bright where its pattern was found. Which
of them speak for the class that was read? The backward pass knows.

    layers      a trained network, a list of layers in order, without the softmax
    x           one image, (1, h, w, c)
    label       the class that is asked about
    at          the maps are the output of layers[at - 1], the input of layers[at]: A (1, h', w', k)

1. Go forward through all layers, and keep A on the way. The last output are the scores,
   (1, classes).
2. The score of the class, s = scores[0, label], is the number to differentiate. Its gradient by the
   scores is 1 at the label and 0 elsewhere: that is dy.
3. Go backward with it, from the last layer down to layers[at], and no further. What arrives is
   dA = ds/dA, the shape of A.
4. alpha[k]   =  mean over the places i, j of dA[0, i, j, k]      how much map k speaks for it
   cam[i, j]  =  the sum over k of alpha[k] * A[0, i, j, k], and 0 where that is negative

The loss does not occur: the score is asked about before softmax and cross-entropy.

Source: Selvaraju et al. 2017, "Grad-CAM", eqs. 1 and 2.

    scratchnet learn check 21        scratchnet learn hint 21
"""

import numpy as np


def grad_cam(layers, x, label, at):
    """The map (h', w') of what speaks for that label."""
    # TODO: the four steps
    for layer in layers[:at]:
        x = layer.forward(x)
    maps = x  # (1, h', w', k)
    for layer in layers[at:]:
        x = layer.forward(x)
    dy = np.zeros_like(x)  # (1, classes)
    dy[0, label] = 1
    for layer in reversed(layers[at:]):
        dy = layer.backward(dy)
    alpha = dy[0].mean(axis=(0, 1))  # (h', w', k) -> (k,)
    return np.maximum((maps[0] * alpha).sum(axis=-1), 0)
    # END
