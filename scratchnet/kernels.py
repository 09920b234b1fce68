"""Which backend computes, how many threads it uses, and the functions that both backends have.

    sn.kernels.set_threads(1)
    sn.kernels.im2col(x, (3, 3), (1, 1), (0, 0, 0, 0))

What stands here lives elsewhere: backend.py, ctc.py, engine/threads.py, layers/functions.py,
optimizer_steps.py, datasets/augmentation.py.
"""

from .backend import BACKENDS, backend, use_backend
from .ctc import ctc_loss
from .datasets.augmentation import smooth, warp
from .engine.threads import (
    compiles,
    instructions,
    on_compiling,
    one_blas_thread,
    one_thread,
    set_threads,
    threads,
)
from .layers.functions import (
    average_pool,
    average_pool_backward,
    col2im,
    im2col,
    max_pool,
    max_pool_backward,
    relu,
    relu_backward,
    sum_rows,
)
from .optimizer_steps import (
    adagrad_step,
    adam_step,
    average_step,
    lion_step,
    nadam_step,
    rmsprop_step,
    sgd_step,
)

#: the functions that have a compiled twin, with the same signature (a test holds this)
KERNELS = (
    "im2col",
    "col2im",
    "max_pool",
    "max_pool_backward",
    "average_pool",
    "average_pool_backward",
    "relu",
    "relu_backward",
    "sum_rows",
    "sgd_step",
    "adam_step",
    "average_step",
    "rmsprop_step",
    "adagrad_step",
    "nadam_step",
    "lion_step",
    "ctc_loss",
)

__all__ = [
    "BACKENDS",
    "KERNELS",
    "adagrad_step",
    "adam_step",
    "average_pool",
    "average_pool_backward",
    "average_step",
    "backend",
    "col2im",
    "compiles",
    "ctc_loss",
    "instructions",
    "im2col",
    "lion_step",
    "max_pool",
    "max_pool_backward",
    "nadam_step",
    "on_compiling",
    "one_blas_thread",
    "one_thread",
    "relu",
    "relu_backward",
    "rmsprop_step",
    "set_threads",
    "sgd_step",
    "smooth",
    "sum_rows",
    "threads",
    "use_backend",
    "warp",
]
