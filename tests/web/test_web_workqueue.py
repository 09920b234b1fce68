"""The server where Numba has only its simplest threading layer, as on a Mac without libomp."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from serving import good, process

import scratchnet as sn
from scratchnet.engine.threads import compiles

CLIENTS, EACH = 32, 4


@pytest.mark.slow
@pytest.mark.skipif(not compiles(), reason="there are no threads without the compiler")
def test_32_clients_beside_a_training_get_bitwise_what_one_gets(monkeypatch, tmp_path):
    """Two Python threads that enter this layer at once would end the process."""
    monkeypatch.setenv("NUMBA_THREADING_LAYER", "workqueue")
    monkeypatch.setenv("SCRATCHNET_THREADS", "2")
    (_, _), (images, _) = sn.datasets.mnist.load_data()
    sn.architectures.build("cnn-small", seed=1).save(tmp_path / "other.safetensors")
    bodies = [
        {"pixels": np.pad(images[i], 3 * (i % 2)).tolist(), "model": name}
        for i in range(EACH)
        for name in ("mnist-cnn", "other")
    ]

    def ask(body):
        return good_content(client.post("/api/predict", json=body))

    with (
        process("--port", 0, tmp_path / "other.safetensors") as (running, address),
        httpx.Client(base_url=address, timeout=120) as client,
    ):
        alone = [ask(body) for body in bodies]
        run = good(client.post("/api/runs", json={"architecture": "cnn-small", "epochs": 50}), 201)
        start = threading.Barrier(CLIENTS)

        def all_of_it(number):
            start.wait()
            at = number % len(bodies)
            return [ask(body) for body in bodies[at:] + bodies[:at]], at

        with ThreadPoolExecutor(CLIENTS) as pool:
            for found, at in pool.map(all_of_it, range(CLIENTS)):
                assert found == alone[at:] + alone[:at]
        told = good(client.get(f"/api/runs/{run['id']}"))
        assert told["state"] == "running" and told["batch"] > 0
        assert running.poll() is None


def good_content(answer):
    assert answer.status_code == 200, answer.text
    return answer.content
