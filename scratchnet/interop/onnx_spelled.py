"""Activations that an ONNX graph spells out: several nodes that are one function of one number.

SiLU is written as Sigmoid and Mul, and other tools write GELU as Div, Erf, Add and two Mul, or as
a Pow and six more, in any order. So the nodes are not compared with a pattern. They are computed,
for numbers from -100 to 100, and what comes out is compared with the activations: where one agrees
to the digits of float32, that is what the file says.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers import GELU, Layer, SiLU, Softplus
from .onnx_graph import Node

#: what an activation is computed for
SAMPLES = np.array([-100.0, -40.0, *np.linspace(-12, 12, 193), 40.0, 100.0])
#: nodes of one activation
MOST_NODES = 16
#: part of a value, and of 1, by which two functions may differ: constants are kept in float32
TOLERANCE = 1e-6

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Div": np.divide,
    "Erf": np.vectorize(math.erf, otypes=[float]),
    "Exp": np.exp,
    "Greater": np.greater,
    "Log": np.log,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Pow": np.power,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Softplus": lambda x: np.logaddexp(x, 0),
    "Sub": np.subtract,
    "Tanh": np.tanh,
    "Where": np.where,
}

_SHARE = np.vectorize(math.erfc)(-SAMPLES / math.sqrt(2)) / 2
_INNER = math.sqrt(2 / math.pi) * (SAMPLES + 0.044715 * SAMPLES**3)
#: the activations that are found, and their values for SAMPLES
KNOWN: tuple[tuple[Callable[[], Layer], NDArray], ...] = (
    (SiLU, SAMPLES / (1 + np.exp(-SAMPLES))),
    (GELU, SAMPLES * _SHARE),
    (lambda: GELU("tanh"), SAMPLES * (1 + np.tanh(_INNER)) / 2),
    (Softplus, np.logaddexp(SAMPLES, 0)),
)


def spelled_out(
    nodes: Sequence[Node], value: str, constants: Mapping[str, NDArray], uses: Counter[str]
) -> tuple[Layer, int] | None:
    """The activation of `value` that the nodes begin with, and how many they are; or None.

    uses   how often each value is taken in the whole graph: nobody else may take what is between
    """
    found: dict[str, NDArray] = {value: SAMPLES}
    taken: Counter[str] = Counter()
    for count, node in enumerate(nodes[:MOST_NODES], 1):
        given = [_numbers(name, found, constants) for name in node.inputs]
        if node.op not in FUNCTIONS or node.attributes or any(a is None for a in given):
            return None
        taken.update(node.inputs)
        with np.errstate(all="ignore"):
            y = np.asarray(FUNCTIONS[node.op](*given))
        is_end = all(taken[name] == uses[name] for name in found)
        layer = _activation(y) if is_end else None
        if layer is not None:
            return layer, count
        found[node.outputs[0]] = y
    return None


def _numbers(
    name: str, found: Mapping[str, NDArray], constants: Mapping[str, NDArray]
) -> NDArray | None:
    """A value for all samples, or a constant that is one number."""
    if name in found:
        return found[name]
    constant = constants.get(name)
    if constant is None or constant.size != 1 or constant.dtype.kind not in "fiu":
        return None
    return constant.astype(np.float64).reshape(())


def _activation(y: NDArray) -> Layer | None:
    """The layer whose values for SAMPLES these are."""
    for make, values in KNOWN:
        if y.shape == values.shape and np.allclose(y, values, TOLERANCE, TOLERANCE):
            return make()
    return None
