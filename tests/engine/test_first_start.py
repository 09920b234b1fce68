"""Compiling before a first training: all that it needs, and shared between processes."""

import json
import subprocess
import sys

import pytest

TRAIN = """
import json, sys
import numpy as np
from numba.core import event
import scratchnet as sn
from scratchnet import first_start

class Names(event.Listener):
    def on_start(self, event):
        names.append(event.data["dispatcher"].py_func.__name__)

    def on_end(self, event):
        pass

names = []
event.register("numba:compile", Names())
model = sn.architectures.build(sys.argv[1], seed=0)
model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
before = model.flat_params.copy()
told = []
count = first_start.compile_for(model, 32, told=lambda done, of: told.append((done, of)))
compiled = len(names)
names.clear()
untouched = bool((model.flat_params == before).all())
again = first_start.compile_for(model, 32)
rng = np.random.default_rng(0)
x, y = rng.integers(0, 256, (64, 28, 28), dtype=np.uint8), rng.integers(0, 10, 64).astype(np.uint8)
model.fit(x, y, batch_size=32, verbose=0)
found = dict(count=count, compiled=compiled, told=told, again=again, rest=names)
print(json.dumps(found | {"untouched": untouched}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn-bn"])
def test_a_training_finds_everything_compiled(name, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    command = [sys.executable, "-c", TRAIN, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["count"] > 3 and found["told"][0][1] == found["count"]
    assert found["rest"] == []  # fit compiles nothing more
    assert found["again"] == 0
    assert found["untouched"]
    kept = list(tmp_path.glob("kernels-*/*.kernel"))
    if name == "cnn-bn":  # long enough for another process to have compiled some
        assert len(kept) > found["compiled"]
