"""ONNX Runtime on the graph that scratchnet exports."""

from collections.abc import Callable

import scratchnet as sn
from scratchnet.interop import onnx as to_onnx

from .base import Contender
from .networks import Array


class OnnxRuntime(Contender):
    label, modules, trains = "ONNX Runtime", ("onnx", "onnxruntime"), False

    def predictor(self, model: sn.Sequential) -> Callable[[Array], Array]:
        import onnx
        import onnxruntime

        network = to_onnx.to_onnx(model)
        onnx.checker.check_model(network)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        session = onnxruntime.InferenceSession(
            network.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return lambda x: session.run(None, {"input": x})[0]
