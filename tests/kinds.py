"""One example of every kind of layer: how it is made, and the shape of its input."""

import scratchnet as sn

#: a layer of each kind, and an input's shape that it takes
EXAMPLES = {
    "Conv2D": (lambda: sn.Conv2D(3, (2, 3), (2, 1), "same"), (5, 4, 2)),
    "Conv2DTranspose": (lambda: sn.Conv2DTranspose(3, (2, 3), (2, 1), "same"), (5, 4, 2)),
    "DepthwiseConv2D": (lambda: sn.DepthwiseConv2D((2, 3), (2, 1), "same", 3), (5, 4, 2)),
    "ConnectedConv2D": (lambda: sn.ConnectedConv2D([[0, 1], [1], [0]], (2, 3)), (5, 4, 2)),
    "Subsampling2D": (lambda: sn.Subsampling2D((2, 3)), (5, 4, 2)),
    "ScaledTanh": (sn.ScaledTanh, (5, 4, 2)),
    "MaxPool2D": (lambda: sn.MaxPool2D(2), (5, 4, 2)),
    "AveragePool2D": (lambda: sn.AveragePool2D(2, 1, 1), (5, 4, 2)),
    "GlobalAveragePool2D": (sn.GlobalAveragePool2D, (5, 4, 2)),
    "GlobalMaxPool2D": (sn.GlobalMaxPool2D, (5, 4, 2)),
    "ZeroPadding2D": (lambda: sn.ZeroPadding2D(((1, 2), (0, 3))), (5, 4, 2)),
    "UpSampling2D": (lambda: sn.UpSampling2D((2, 3), "bilinear"), (5, 4, 2)),
    "Dense": (lambda: sn.Dense(3), (4,)),
    "Flatten": (sn.Flatten, (5, 4, 2)),
    "Reshape": (lambda: sn.Reshape((4, -1)), (5, 4, 2)),
    "ReLU": (sn.ReLU, (5, 4, 2)),
    "LeakyReLU": (lambda: sn.LeakyReLU(0.2), (5, 4, 2)),
    "ELU": (lambda: sn.ELU(0.7), (5, 4, 2)),
    "Sigmoid": (sn.Sigmoid, (5, 4, 2)),
    "Tanh": (sn.Tanh, (5, 4, 2)),
    "Softplus": (sn.Softplus, (5, 4, 2)),
    "SiLU": (sn.SiLU, (5, 4, 2)),
    "GELU": (sn.GELU, (5, 4, 2)),
    "LogSoftmax": (sn.LogSoftmax, (4,)),
    "Softmax": (sn.Softmax, (4,)),
    "Dropout": (lambda: sn.Dropout(0.5), (5, 4, 2)),
    "GaussianNoise": (lambda: sn.GaussianNoise(0.5), (5, 4, 2)),
    "BatchNorm": (sn.BatchNorm, (5, 4, 2)),
    "LayerNorm": (sn.LayerNorm, (5, 4, 2)),
    "Residual": (lambda: sn.Residual([sn.Conv2D(2, 3, padding=1), sn.ReLU()]), (5, 4, 2)),
}
