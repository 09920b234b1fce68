"""What all tests share: Hypothesis settings, both backends, a seeded generator; the quick ones."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

import scratchnet as sn

# before Numba is loaded: two threads also where there is one core, or the thread tests say nothing
os.environ.setdefault("NUMBA_NUM_THREADS", "2")
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes, and a core for each
    os.environ.setdefault("SCRATCHNET_THREADS", "1")

settings.register_profile(
    "scratchnet",
    max_examples=12,
    deadline=None,  # the first call of a kernel compiles it
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # `backend` holds no state
)
settings.register_profile("thorough", settings.get_profile("scratchnet"), max_examples=1000)
#: where tests run again and again, and it is enough to know whether they fail: the same examples
#: each time, and a failing one not made smaller
settings.register_profile(
    "unshrunk",
    settings.get_profile("scratchnet"),
    max_examples=25,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
settings.register_profile("few", settings.get_profile("unshrunk"), max_examples=5)
settings.load_profile("scratchnet")  # `pytest --hypothesis-profile=thorough` for the other


#: `pytest -m quick`: what a change of a layer, a loop or the training breaks first. Under a minute.
QUICK = {
    "engine": ["kernels", "prepared"],
    "layers": ["layers", "losses", "optimizers"],
    "project": [
        "adding_a_layer",
        "completeness",
        "imports",
        "lessons",
        "mutations",
        "promises",
        "sizes",
    ],
    "saved": ["checkpoint", "export"],
    "seeing": ["trace"],
    "training": ["architectures", "callbacks", "model", "training"],
}


def is_quick(file):
    return file.stem.removeprefix("test_") in QUICK.get(file.parent.name, ())


def pytest_ignore_collect(collection_path, config):
    """With `-m quick` the other files are not even imported: that alone takes a process seconds."""
    others = collection_path.name.startswith("test_") and not is_quick(collection_path)
    return True if others and config.option.markexpr == "quick" else None


#: files with slow tests of several minutes: they begin first, so that no core waits for them
LONG = ["coverage", "mutations", "robust", "resume_cli", "same_bits"]


def pytest_collection_modifyitems(items):
    for item in items:
        if is_quick(item.path) and not item.get_closest_marker("slow"):
            item.add_marker("quick")
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in LONG)


@pytest.fixture(params=["reference", "numba"])
def backend(request):
    with sn.use_backend(request.param):
        yield request.param


@pytest.fixture
def rng():
    """For tests without Hypothesis; with it, draw a seed, or a failure can't be replayed."""
    return np.random.default_rng(20240229)
