"""What the comparisons share: the networks, who runs them, and a process for each.

    networks.py     the networks, their weights and data
    base.py         what a contender is
    scratchnet.py, torch.py, keras.py, jax.py, onnxruntime.py      the contenders
    measuring.py    what is measured, and how
    isa.py          all held to one instruction set
    process.py      a process for each contender; the parent asks them in turn
    options.py, report.py      the command line; tables, pictures, JSON

Every contender runs the same network, which `scratchnet.interop` builds from the model, weights
included (jax_network.py for JAX). It lives in its own process, so that no two thread pools fight,
and answers the parent line by line: the parent can interleave the contenders round by round. A
framework is imported in its own process only. Left out on purpose: GPUs, and dtypes other than
float32, in which all is timed.
"""

from .isa import ISAS, held
from .measuring import Watch
from .networks import MODELS, build, data, save_weights
from .options import add_isa, arguments, chosen, positive
from .process import Failed, Field, Worker
from .registry import CONTENDERS
from .report import save_bars, save_json, show_machine, show_table

__all__ = [
    "CONTENDERS",
    "ISAS",
    "MODELS",
    "Failed",
    "Field",
    "Watch",
    "Worker",
    "add_isa",
    "arguments",
    "build",
    "chosen",
    "data",
    "held",
    "positive",
    "save_bars",
    "save_json",
    "save_weights",
    "show_machine",
    "show_table",
]
