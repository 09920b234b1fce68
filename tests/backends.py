"""Both versions of every function that has a compiled twin: `reference` in NumPy, `compiled`."""

from types import SimpleNamespace

from scratchnet import kernels
from scratchnet.datasets import augmentation
from scratchnet.engine import augment, ctc, functions, steps

AUGMENTING = ("warp", "smooth")

reference = SimpleNamespace(
    **{name: getattr(kernels, name).__wrapped__ for name in kernels.KERNELS},
    **{name: getattr(augmentation, name).__wrapped__ for name in AUGMENTING},
)
compiled = SimpleNamespace(
    **{
        name: getattr({"step": steps, "loss": ctc}.get(name.split("_")[-1], functions), name)
        for name in kernels.KERNELS
    },
    **{name: getattr(augment, name) for name in AUGMENTING},
)
