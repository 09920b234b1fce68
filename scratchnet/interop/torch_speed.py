"""PyTorch's side of `scratchnet benchmark`: a process of its own, asked line by line.

Two libraries' threads in one process would take the cores from each other. A line of JSON comes in,
{"do": a method of `Desk`, ...its arguments}, and one goes out: {"answer": ...} or {"error": text}.
The networks are built from scratchnet's, initial weights included. Each gets the memory format in
which it is faster, and Adam in one fused pass. The whole comparison, in which PyTorch has further
settings and other frameworks take part, is in the repository's benchmarks/.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import architectures
from ..datasets import mnist
from .torch import build


class Desk:
    """What the process does when it is asked to: one method a command."""

    def __init__(self) -> None:
        import torch

        self.torch = torch
        self.x: Any = None

    def prepare(self, name: str, images: int, batch_size: int, threads: int) -> dict[str, Any]:
        """Choose the memory format; the losses of the first ten steps from the initial weights."""
        torch = self.torch
        torch.set_num_threads(threads)
        (x, y), _ = mnist.load_data()
        scaled = np.divide(x[:images, None], 255, dtype=np.float32)  # (n, 1, 28, 28)
        self.name, self.batch_size = name, batch_size
        self.images, self.labels = torch.from_numpy(scaled), torch.from_numpy(y.astype(np.int64))
        formats = {"channels first": torch.contiguous_format, "channels_last": torch.channels_last}
        seconds = {}
        for called, memory_format in formats.items():
            self.start(memory_format)
            losses = [float(self.step(*batch)) for batch in self.batches(10)]
            begun = time.perf_counter()
            for batch in self.batches(10):
                self.step(*batch)
            seconds[called] = time.perf_counter() - begun
        chosen = min(seconds, key=lambda called: seconds[called])
        self.start(formats[chosen])
        return {"losses": losses, "format": chosen}

    def start(self, memory_format: Any) -> None:
        """A new network and optimizer, in that memory format; `step` is one step of training."""
        torch = self.torch
        self.format = memory_format
        net: Any = build(architectures.build(self.name))
        net = net.to(memory_format=memory_format)
        self.net, logits = net, net[:-1].train()  # the loss has the Softmax
        adam = torch.optim.Adam(net.parameters(), 1e-3, (0.9, 0.999), 1e-7, fused=True)

        def step(x: Any, y: Any) -> Any:
            adam.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(logits(x), y)
            loss.backward()
            adam.step()
            return loss.detach()

        self.step: Callable[[Any, Any], Any] = step
        self.x = self.images.clone(memory_format=memory_format)

    def batches(self, most: int | None = None) -> Iterator[tuple[Any, Any]]:
        size = self.batch_size
        for number, i in enumerate(range(0, len(self.x), size)):
            if most is not None and number >= most:
                return
            yield self.x[i : i + size], self.labels[i : i + size]

    def epoch(self) -> float:
        """Seconds of one pass over the images."""
        begun = time.perf_counter()
        for x, y in self.batches():
            loss = self.step(x, y)
        float(loss)
        return time.perf_counter() - begun

    def one(self, calls: int) -> float:
        """The median of the seconds for one image, NumPy to NumPy."""
        times = []
        for call in range(calls + 20):
            image = self.images[call % len(self.images)][None].numpy()
            begun = time.perf_counter()
            self.predict(image)
            times.append(time.perf_counter() - begun)
        return float(np.median(times[20:]))

    def many(self, batch_size: int) -> float:
        """Seconds an image, in batches."""
        x = self.images.numpy()
        begun = time.perf_counter()
        for i in range(0, len(x), batch_size):
            self.predict(x[i : i + batch_size])
        return (time.perf_counter() - begun) / len(x)

    def predict(self, x: NDArray) -> NDArray:
        torch = self.torch
        with torch.inference_mode():
            net = self.net.eval()
            found = net(torch.from_numpy(x).contiguous(memory_format=self.format)).numpy()
            net.train()
        return found


def serve() -> None:
    """Obey the lines on standard input until it closes."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever the framework prints
    desk = Desk()
    for line in sys.stdin:
        task = json.loads(line)
        try:
            reply = {"answer": getattr(desk, task.pop("do"))(**task)}
        except Exception as error:  # the parent says it, and goes on without PyTorch
            text = (str(error).strip() or "no message").splitlines()[0]
            reply = {"error": f"{type(error).__name__}: {text}"}
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    serve()
