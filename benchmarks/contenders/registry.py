"""All contenders by name, in the order of the tables. No framework is loaded by this."""

from .base import Contender
from .jax import Jax
from .keras import Keras, KerasXla
from .onnxruntime import OnnxRuntime
from .scratchnet import Scratchnet
from .torch import Torch, TorchChannelsLast, TorchCompile, TorchJit

CONTENDERS: dict[str, type[Contender]] = {
    "scratchnet": Scratchnet,
    "torch": Torch,
    "torch-channels-last": TorchChannelsLast,
    "torch-compile": TorchCompile,
    "torch-jit": TorchJit,
    "keras": Keras,
    "keras-xla": KerasXla,
    "jax": Jax,
    "onnxruntime": OnnxRuntime,
}
