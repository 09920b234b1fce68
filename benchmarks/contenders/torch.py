"""PyTorch: eager, with channels last in memory, with torch.compile, and with torch.jit.freeze."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import scratchnet as sn
from scratchnet.interop import torch as to_torch

from .base import BETAS, EPSILON, LR, Contender
from .networks import Array


class Torch(Contender):
    label, modules = "PyTorch eager", ("torch",)
    channels_last = compiled = frozen = False

    def network(self, model: sn.Sequential) -> Any:
        """The equal nn.Sequential, Softmax included, in the memory format of this contender."""
        import torch

        from .torch_faster import make_faster

        torch.set_num_threads(self.threads)
        self.format = torch.channels_last if self.channels_last else torch.contiguous_format
        net = to_torch.build(model)
        make_faster(net, model, self.channels_last)
        return net.to(memory_format=self.format)

    def images(self, x: Array) -> Any:
        """x as a tensor (n, c, h, w) in the memory format; a copy only where that is another."""
        import torch

        return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=self.format)

    def train(self, model: sn.Sequential, x: Array, y: NDArray, batch_size: int) -> None:
        import torch

        net = self.network(model)[:-1].train()  # cross_entropy has the Softmax
        adam = torch.optim.Adam(net.parameters(), LR, BETAS, EPSILON, fused=True)

        def loss_of(x: Any, y: Any) -> Any:
            return torch.nn.functional.cross_entropy(net(x), y)

        if self.compiled:
            loss_of = torch.compile(loss_of, dynamic=False)

        def step(x: Any, y: Any) -> Any:
            adam.zero_grad(set_to_none=True)
            loss = loss_of(x, y)
            loss.backward()
            adam.step()
            return loss.detach()

        self.step = step
        images = torch.from_numpy(x).permute(0, 3, 1, 2).clone(memory_format=self.format)
        self.cut(images, torch.from_numpy(y), batch_size)

    def predictor(self, model: sn.Sequential) -> Callable[[Array], Array]:
        import torch

        net = self.network(model).eval()
        if self.frozen:
            with torch.inference_mode():
                example = self.images(np.zeros((1, *model.input_shape), np.float32))
                net = torch.jit.optimize_for_inference(
                    torch.jit.freeze(torch.jit.trace(net, example))
                )
        run = torch.compile(net, dynamic=False) if self.compiled else net

        def predict(x: Array) -> Array:
            with torch.inference_mode():
                return run(self.images(x)).numpy()

        return predict


class TorchChannelsLast(Torch):
    label, channels_last = "PyTorch channels_last", True


class TorchCompile(TorchChannelsLast):
    label, compiled = "PyTorch torch.compile", True


class TorchJit(TorchChannelsLast):
    label, frozen, trains = "PyTorch torch.jit.freeze", True, False
