"""Networks of the layers that pad, enlarge, reshape and look through windows of other kinds."""

import scratchnet as sn

#: name: (layers, the shape of an image)
ROWS = {
    "enlarged and framed": (
        lambda: [
            sn.ZeroPadding2D(((1, 0), (2, 1))),
            sn.Conv2D(3, 3, 2),
            sn.ReLU(),
            sn.UpSampling2D((2, 3)),
            sn.Conv2D(4, 2),
            sn.UpSampling2D((1, 2), "bilinear"),
            sn.GlobalMaxPool2D(),
            sn.Dense(4),
        ],
        (7, 6, 2),
    ),
    "windows with gaps": (
        lambda: [
            sn.Conv2D(5, 3, padding="same", dilation_rate=(2, 1)),
            sn.ReLU(),
            sn.Conv2D(16, (2, 3), padding=((1, 2), (0, 3)), dilation_rate=(3, 2), use_bias=False),
            sn.Conv2D(16, 3, dilation_rate=2, padding="same"),
            sn.ReLU(),
            sn.MaxPool2D(2),
            sn.Conv2D(3, 2, strides=2, dilation_rate=2),
            sn.GlobalAveragePool2D(),
            sn.Dense(4),
        ],
        (11, 9, 2),
    ),
    "transposed": (
        lambda: [
            sn.Conv2D(5, 3, 2, "same"),
            sn.ReLU(),
            sn.Conv2DTranspose(16, 3, 2, "same"),
            sn.ReLU(),
            sn.Conv2DTranspose(3, (2, 3), (3, 1), ((0, 1), (1, 0)), use_bias=False),
            sn.Conv2DTranspose(2, (1, 2), (2, 3)),
            sn.GlobalMaxPool2D(),
            sn.Dense(4),
        ],
        (6, 5, 2),
    ),
    "each channel by itself": (
        lambda: [
            sn.DepthwiseConv2D(3, 2, "same", 3),
            sn.ReLU(),
            sn.Conv2D(16, 1),
            sn.DepthwiseConv2D((2, 3), padding=((1, 0), (0, 2)), dilation_rate=(2, 1)),
            sn.BatchNorm(),
            sn.ReLU(),
            sn.DepthwiseConv2D(2, 3, use_bias=False),
            sn.GlobalAveragePool2D(),
            sn.Dense(4),
        ],
        (9, 10, 2),
    ),
    "of 1998": (
        lambda: [
            sn.ZeroPadding2D(1),
            sn.Conv2D(3, 3),
            sn.ScaledTanh(),
            sn.Subsampling2D(2),
            sn.ConnectedConv2D([[0, 2], [1], [2, 0, 1], [1, 2]], (2, 3)),
            sn.ScaledTanh(),
            sn.Subsampling2D((1, 2)),
            sn.Flatten(),
            sn.Dense(4),
        ],
        (9, 10, 1),
    ),
    "from a vector to images": (
        lambda: [
            sn.Flatten(),
            sn.Dense(30),
            sn.BatchNorm(),
            sn.LeakyReLU(),
            sn.Reshape((3, 2, -1)),
            sn.UpSampling2D(2, "bilinear"),
            sn.Conv2D(2, 3, padding="same"),
            sn.Reshape((4, -1)),
        ],
        (5, 4, 1),
    ),
}
