"""The server: what it answers, whom it refuses, how it trains, starts and ends."""

import base64
import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from scratchnet.trace import copied
from serving import (
    ONE,
    array,
    canvas,
    command,
    connected,
    events,
    good,
    is_problem,
    png,
    process,
    served,
    wait_for,
)

import scratchnet as sn
from scratchnet import explain
from scratchnet.layers.registry import gradient_of
from scratchnet.web import limits, reading
from scratchnet.web.app import create_app
from scratchnet.web.state import THREADS

# -------------------------------------------------------------------------------------------- tools


@pytest.fixture(scope="module")
def mnist():
    return sn.datasets.mnist.load_data()


@pytest.fixture(scope="module")
def few(mnist):
    (x, y), (x_test, y_test) = mnist
    return (x[:1200], y[:1200]), (x_test[:100], y_test[:100])


@pytest.fixture(scope="module")
def model():
    return sn.architectures.pretrained()


@pytest.fixture(scope="module")
def images(mnist):
    return mnist[1][0]


@pytest.fixture(scope="module")
def server(few):
    with served(create_app(data=lambda: few)) as client:
        yield client


# ------------------------------------------------------------------------------------------ reading


def test_a_prepared_image_gets_the_library_s_own_answer(server, model, images):
    want = model.predict(images[0])[0]
    found = good(server.post("/api/predict", json={"pixels": images[0].tolist(), "prepared": True}))
    assert found["probabilities"] == want.tolist()
    assert (found["digit"], found["class"]) == (7, "7")
    assert found["confidence"] == want.max()
    assert found["pixels"] == images[0].tolist() and found["steps"] is None


def test_a_drawing_is_prepared_as_the_library_does(server, model, images):
    drawing = canvas(images[0])
    want = sn.pictures.prepare(drawing)
    body = {"pixels": drawing.tolist(), "steps": True}
    found = good(server.post("/api/predict", json=body))
    assert found["pixels"] == want.image.tolist()
    assert found["probabilities"] == model.predict(want.image)[0].tolist()
    assert [step["name"] for step in found["steps"]] == [step.name for step in want.steps]
    for step, wanted in zip(found["steps"], want.steps, strict=True):
        content = base64.b64decode(step["png"].removeprefix("data:image/png;base64,"))
        assert (np.asarray(Image.open(io.BytesIO(content))) == wanted.image).all()


@pytest.mark.parametrize("kind", limits.FORMATS)
def test_files_of_the_allowed_formats_are_read(server, images, kind):
    files = {"image": ("digit", png(canvas(images[0], 140), kind))}
    found = good(server.post("/api/predict/file", files=files, data={"steps": "true"}))
    assert found["digit"] == 7 and found["steps"][0]["caption"].startswith(kind)
    found = good(server.post("/api/sequence/file", files=files))
    assert (found["number"], found["width"], found["height"]) == ("7", 140, 140)


def test_where_no_digit_is_the_answer_says_so(server):
    blank = np.zeros((40, 40), int).tolist()
    found = good(server.post("/api/predict", json={"pixels": blank}))
    assert found["digit"] is None and "blank" in found["message"]
    found = good(server.post("/api/sequence", json={"pixels": blank}))
    assert found["number"] == "" and found["digits"] == [] and "blank" in found["message"]


def test_a_sequence_is_read_from_left_to_right(server, images):
    wide = np.hstack([images[1], images[3], images[0]])
    found = good(server.post("/api/sequence", json={"pixels": wide.tolist()}))
    assert found["number"] == "207" and found["lines"] == ["207"]
    assert [digit["class"] for digit in found["digits"]] == ["2", "0", "7"]
    assert (found["width"], found["height"]) == (84, 28)
    lefts = [digit["box"][0] for digit in found["digits"]]
    assert lefts == sorted(lefts) and all(len(digit["box"]) == 4 for digit in found["digits"])


@pytest.mark.slow
def test_32_threads_at_once_get_bitwise_what_one_gets(server, images):
    def ask(job):
        return server.post(job[0], json=job[1]).content

    jobs = []
    for i in range(6):
        jobs.append(("/api/predict", {"pixels": canvas(images[i], 70).tolist()}))
        jobs.append(("/api/predict", {"pixels": images[i].tolist(), "prepared": True}))
    jobs += [("/api/explain", {"pixels": images[i].tolist(), "method": "gradcam"}) for i in (1, 2)]
    alone = [ask(job) for job in jobs]
    start = threading.Barrier(32)

    def all_of_it(number):
        start.wait()
        return [ask(job) for job in jobs[number:] + jobs[:number]]

    with ThreadPoolExecutor(32) as pool:
        for number, found in enumerate(pool.map(all_of_it, range(32))):
            assert found == alone[number:] + alone[:number]


# ------------------------------------------------------------------------------------------- inside


def test_trace_is_the_library_s(server, model, images):
    found = good(server.post("/api/trace", json={"pixels": images[0].tolist(), "label": 3}))
    want = sn.trace(model, images[0], 3)
    assert (found["label"], found["digit"]) == (3, 7)
    assert found["loss"] == want.loss and found["probabilities"] == want.probabilities.tolist()
    assert [layer["name"] for layer in found["layers"]] == [at.name for at in want.layers]
    for layer, wanted in zip(found["layers"], want.layers, strict=True):
        np.testing.assert_array_equal(array(layer["output"]), wanted.output.astype("f4"))
        if wanted.dy is not None:
            np.testing.assert_array_equal(array(layer["dy"]), wanted.dy.astype("f4"))
        assert layer["rms"]["y"] == wanted.rms["output"] and layer["dead"] == wanted.dead
        if wanted.sources is not None:
            assert (array(layer["winners"]) == wanted.sources).all()
        for parameter in layer["parameters"]:
            grad = wanted.grads[parameter["name"]]
            np.testing.assert_array_equal(array(parameter["gradient"]), grad.astype("f4"))


def test_inside_a_residual_every_layer_says_whose_output_it_takes(few, images):
    row = [sn.Conv2D(3, 3, padding="same"), sn.ReLU()]
    layers = [sn.Residual(row), sn.Residual([sn.Conv2D(4, 1)], [sn.Conv2D(4, 1)])]
    net = sn.Sequential([sn.Conv2D(3, 5, 5), *layers, sn.Flatten(), sn.Dense(10)], (28, 28, 1))
    body = {"pixels": images[0].tolist(), "label": 3}
    with served(create_app({"net": net}, data=lambda: few)) as client:
        found = good(client.post("/api/trace", json=body))["layers"]
        where = {"pixels": body["pixels"], "layer": "residual", "index": [2, 2, 1]}
        summed = good(client.post("/api/trace/output", json=where))
        where = {**body, "layer": "residual_1.shortcut.conv2d", "index": [0, 0, 2, 1]}
        inner = good(client.post("/api/trace/parameter", json={**where, "parameter": "W"}))
    assert [(layer["name"], layer["input"]) for layer in found] == [
        ("conv2d", None),
        ("residual.main.conv2d", "conv2d"),
        ("residual.main.relu", "residual.main.conv2d"),
        ("residual", "conv2d"),
        ("residual_1.main.conv2d", "residual"),
        ("residual_1.shortcut.conv2d", "residual"),
        ("residual_1", "residual"),
        ("flatten", "residual_1"),
        ("dense", "flatten"),
    ]
    for layer in found:
        if layer["input"]:
            (before,) = [one for one in found if one["name"] == layer["input"]]
            assert layer["input_shape"] == before["output_shape"]
    assert [layer["parameters"] for layer in found if layer["kind"] == "Residual"] == [[], []]
    output = array(next(layer for layer in found if layer["name"] == "residual")["output"])
    assert summed["total"] == pytest.approx(output[2, 2, 1], rel=1e-6)
    assert inner["total"] == pytest.approx(inner["analytic"], rel=1e-9)


def test_gradients_of_20_random_parameters_equal_a_numeric_derivative(server, model, images, rng):
    net, x, label = copied(model, np.float64), images[0], 3

    def loss(entry, value):
        before, entry[...] = entry.copy(), value
        probability = net.forward(x)[0, label]
        entry[...] = before
        return -np.log(probability)

    numbers = rng.choice(net.flat_params.size, 20, replace=False)
    places = [(name, i) for name, a in net.arrays().items() for i in np.ndindex(a.shape)]
    for number in numbers:
        name, index = places[number]
        layer, _, key = name.partition(".")
        body = {"pixels": x.tolist(), "label": label, "layer": layer, "parameter": key}
        found = good(server.post("/api/trace/parameter", json={**body, "index": list(index)}))
        entry = net.arrays()[name][index].reshape(-1) if index == () else net.arrays()[name]
        entry = entry[tuple(slice(i, i + 1) for i in index)]
        value, h = entry.copy(), 1e-6
        numeric = float((loss(entry, value + h) - loss(entry, value - h)).item() / (2 * h))
        assert found["analytic"] == pytest.approx(numeric, rel=1e-5, abs=1e-8)
        assert found["numeric"] == pytest.approx(found["analytic"], rel=1e-5, abs=1e-8)
        assert found["total"] == pytest.approx(found["analytic"], rel=1e-9, abs=1e-12)


def test_an_output_is_the_sum_of_its_terms(server, model, images):
    body = {"pixels": images[0].tolist(), "layer": "conv2d_1", "index": [4, 5, 6]}
    found = good(server.post("/api/trace/output", json=body))
    patch, weights = array(found["patch"]), array(found["filter"])
    assert patch.shape == weights.shape == (3, 3, 32)
    assert found["bias"] + (patch * weights).sum() == pytest.approx(found["value"], rel=1e-4)
    assert len(found["terms"]) == 50 and found["others"]["count"] == 288 - 50
    parts = sum(term["product"] for term in found["terms"]) + found["others"]["sum"]
    assert found["bias"] + parts == pytest.approx(found["total"], rel=1e-9)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_a_step_lowers_the_loss_and_leaves_the_model_as_it_was(server, model, images, optimizer):
    body = {"pixels": images[0].tolist(), "label": 3, "optimizer": optimizer}
    found = good(server.post("/api/trace/step", json={**body, "learning_rate": 0.001}))
    assert found["after"]["loss"] < found["before"]["loss"]
    assert {change["layer"] for change in found["changes"]} >= {"conv2d", "dense"}
    again = good(server.post("/api/predict", json={"pixels": images[0].tolist(), "prepared": True}))
    assert again["probabilities"] == model.predict(images[0])[0].tolist()


@pytest.mark.parametrize("method", ["gradcam", "saliency", "occlusion"])
def test_explanations_are_the_library_s_scaled(server, model, images, method):
    body = {"pixels": images[0].tolist(), "method": method, "label": 2}
    found = good(server.post("/api/explain", json=body))
    want = getattr(explain, method)(model, images[0], 2)
    np.testing.assert_allclose(array(found["map"]) * found["largest"], want, rtol=1e-5, atol=1e-7)
    assert np.abs(array(found["map"])).max() == 1


def test_every_kind_of_layer_has_its_formula_and_a_window_where_it_has_one(few, images):
    row = [sn.Conv2D(3, (3, 2), padding="same"), sn.BatchNorm(), sn.ReLU(), sn.AveragePool2D(2)]
    row += [sn.Dropout(0.5), sn.MaxPool2D((3, 2)), sn.Residual([sn.ReLU()])]
    row += [sn.GlobalAveragePool2D(), sn.Flatten(), sn.Dense(10), sn.Softmax()]
    windows = {"conv2d": [3, 2], "averagepool2d": [2, 2], "maxpool2d": [3, 2]}
    windows["globalaveragepool2d"] = [4, 7]
    body = {"pixels": images[0].tolist()}
    net = sn.Sequential(row, (28, 28, 1))
    with served(create_app({"net": net}, data=lambda: few)) as client:
        described = good(client.get("/api/models"))[0]["layers"]
        layers = good(client.post("/api/trace", json=body))["layers"]
        for layer in layers:
            place = {"layer": layer["name"], "index": [s // 2 for s in layer["output_shape"]]}
            found = good(client.post("/api/trace/output", json={**body, **place}))
            assert found["window"] == windows.get(layer["name"])
    for found in layers, described:
        assert all(layer["formula"] == gradient_of(layer["kind"]) for layer in found)


# ----------------------------------------------------------------------------------------- refusing


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/api/predict", {"pixels": [[0, 0], [0]]}, 422, "rows of 2"),
        ("/api/predict", {"pixels": [[0, "1"]]}, 422, "number"),
        ("/api/predict", {"pixels": [[0, 256]]}, 422, "255"),
        ("/api/predict", {"pixels": []}, 422, "at least 1"),
        ("/api/predict", {"pixels": [[0] * 1025]}, 422, "1024"),
        ("/api/predict", {"pixels": [[0]], "prepared": True}, 422, "28"),
        ("/api/predict", {"pixels": ONE, "colour": 1}, 422, "colour"),
        ("/api/predict", {"pixels": ONE, "model": "none"}, 404, "mnist-cnn"),
        ("/api/trace", {"pixels": ONE, "label": 10}, 404, "0 to 9"),
        ("/api/trace/output", {"pixels": ONE, "layer": "x", "index": [0]}, 404, "conv2d"),
        ("/api/trace/output", {"pixels": ONE, "layer": "dense", "index": [64]}, 404, "64"),
        (
            "/api/trace/parameter",
            {"pixels": ONE, "layer": "relu", "parameter": "W", "index": [0]},
            404,
            "relu.W",
        ),
        ("/api/explain", {"pixels": ONE, "method": "gradcam", "layer": "dense"}, 404, "conv2d"),
        ("/api/explain", {"pixels": ONE, "method": "lime"}, 422, "gradcam"),
        ("/api/runs", {"learning_rate": 0}, 422, "greater than 0"),
        ("/api/runs", {"architecture": "gpt"}, 422, "lenet5"),
        ("/api/nothing", {}, 404, "Not Found"),
    ],
)
def test_mistakes_are_answered_in_one_line(server, path, body, status, says):
    assert says in is_problem(server.post(path, json=body), status)


@pytest.mark.parametrize("content", [b"{", b"", b"[]", b"\xff\xfe", b'{"pixels": [[1e999]]}'])
def test_what_is_no_json_is_refused(server, content):
    headers = {"content-type": "application/json"}
    is_problem(server.post("/api/predict", content=content, headers=headers), 422)
    # as other sites' pages could send it without asking first
    is_problem(server.post("/api/predict", content=json.dumps({"pixels": ONE})), 422)


def test_a_wrong_method_and_an_unknown_run(server):
    assert server.put("/api/predict").headers["allow"] == "POST"
    is_problem(server.put("/api/predict"), 405)
    is_problem(server.get("/api/runs/none"), 404)
    is_problem(server.get("/api/runs/none/events"), 404)
    is_problem(server.delete("/api/runs/none"), 404)
    is_problem(server.post("/api/runs/none/pause"), 404)


def bomb(width, height):
    """The start of a PNG that would have so many pixels."""
    head = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + head + zlib.crc32(head).to_bytes(4) + b"\0\0\0\1IDAT"


@pytest.mark.parametrize("path", ["/api/predict/file", "/api/sequence/file"])
@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"digit seven", 415, "PNG"),
        (b"", 415, "PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "PNG"),
        (bomb(8000, 8000), 413, "8000 x 8000"),
        (bomb(2**31 - 1, 2**31 - 1), 413, "40,000,000"),
        (png(np.eye(99, dtype=np.uint8))[:60], 422, "damaged"),
    ],
    ids=["text", "empty", "PostScript", "64 MP", "2^62", "cut off"],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_files_are_refused_before_they_are_decoded(server, path, content, status, says):
    answer = server.post(path, files={"image": ("x.png", content)})
    assert says in is_problem(answer, status)


def test_a_form_without_an_image_is_refused(server):
    is_problem(server.post("/api/predict/file", data={"steps": "true"}), 422)
    headers = {"content-type": "multipart/form-data; boundary=x"}
    is_problem(server.post("/api/predict/file", content=b"--y", headers=headers), 400)


def test_a_large_body_is_refused_by_its_length_and_while_it_streams(server):
    large = b"0" * (limits.MAX_BODY + 1)
    assert "10,485,760" in is_problem(server.post("/api/predict", content=large), 413)

    def parts():
        for _ in range(11):
            yield b"0" * 2**20

    assert "10,485,760" in is_problem(server.post("/api/predict", content=parts()), 413)
    good(server.get("/api/health"))


def test_a_body_that_does_not_come_is_not_awaited_for_ever(server, monkeypatch):
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)
    with connected(server) as line:
        line.sendall(b"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{")
        assert line.recv(99).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8000"])
def test_this_machine_s_names_are_served(server, host):
    good(server.get("/api/health", headers={"host": host}))


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost:x", "", "[::1", "192.168.0.7"]
)
def test_other_names_are_refused(server, host):
    for path in ("/api/health", "/", "/static/docs.js"):
        assert "Host" in is_problem(server.get(path, headers={"host": host}), 400)
    is_problem(server.post("/api/runs", json={}, headers={"host": host}), 400)


@pytest.mark.parametrize(
    ("given", "host", "fine"),
    [
        ("0.0.0.0", "192.168.0.7:80", True),
        ("0.0.0.0", "evil.example", False),
        ("::", "[fe80::1]:80", True),
        ("::1", "[::1]:80", True),
        ("box.local", "box.local:80", True),
        ("192.168.0.7", "192.168.0.8", False),
    ],
)
def test_the_given_host_is_served_and_with_any_address_all_addresses(given, host, fine):
    assert limits.Gate(None, [given])._is_ours(host) == fine


def test_pages_of_others_may_not_ask(server):
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        is_problem(server.post("/api/runs", json={}, headers={"origin": origin}), 403)
    own = str(server.base_url).rstrip("/")
    answer = server.get("/api/health", headers={"origin": own})
    good(answer)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    answer = server.options("/api/predict", headers={"access-control-request-method": "POST"})
    is_problem(answer, 405)


@pytest.mark.parametrize("path", ["/docs", "/static/docs.js", "/static/docs.css", "/api/x"])
def test_every_answer_has_a_strict_policy_and_nothing_comes_from_elsewhere(server, path):
    answer = server.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"""(https?:)?//[a-z]|<script>|style=|\son\w+=""", answer.text)


def test_the_description_is_whole(server):
    found = good(server.get("/openapi.json"))
    assert "HTTPValidationError" not in found["components"]["schemas"]
    assert {"/api/predict", "/api/trace", "/api/runs/{name}/events"} <= found["paths"].keys()


# ------------------------------------------------------------------------------ the queue, leaving


def test_a_full_queue_says_when_to_come_again(few):
    body = json.dumps({"pixels": ONE}).encode()
    head = b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: %d\r\n\r\n" % len(body)
    with served(create_app(data=lambda: few, pending=1)) as client, connected(client) as line:
        line.sendall(head + body[:9])
        wait_for(lambda: client.post("/api/predict", json={"pixels": ONE}).status_code == 503)
        answer = client.post("/api/predict", json={"pixels": ONE})
        is_problem(answer, 503)
        assert answer.headers["retry-after"] == "1"
        good(client.get("/api/health"))
        line.sendall(body[9:])
        assert line.recv(999).startswith(b"HTTP/1.1 200 ")
        wait_for(lambda: client.post("/api/predict", json={"pixels": ONE}).status_code == 200)


def test_who_leaves_before_the_end_of_the_body_gives_the_place_free(few):
    with served(create_app(data=lambda: few, pending=1)) as client:
        with connected(client) as line:
            line.sendall(b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\n")
            line.sendall(b"Content-Length: 99\r\n\r\n{")
            wait_for(lambda: client.post("/api/predict", json={"pixels": ONE}).status_code == 503)
        wait_for(lambda: client.post("/api/predict", json={"pixels": ONE}).status_code == 200)


def test_who_leaves_before_the_turn_is_not_computed_for(few, monkeypatch):
    go, asked = threading.Event(), []
    before = reading.predict

    def slow(turns, model, query):
        asked.append(query.model)
        go.wait(30)
        return before(turns, model, query)

    monkeypatch.setattr(reading, "predict", slow)
    app = create_app(data=lambda: few)
    with served(app) as client, ThreadPoolExecutor(THREADS) as pool:
        first = [
            pool.submit(client.post, "/api/predict", json={"pixels": ONE}) for _ in range(THREADS)
        ]
        wait_for(lambda: len(asked) == THREADS)
        with pytest.raises(httpx.ReadTimeout):
            client.post("/api/predict", json={"pixels": ONE, "model": "mnist-cnn"}, timeout=0.3)
        time.sleep(0.2)  # the server hears of it
        go.set()
        assert [job.result().status_code for job in first] == [200] * THREADS
        good(client.post("/api/predict", json={"pixels": ONE}))
        assert asked == [None] * (THREADS + 1)


# --------------------------------------------------------------------------------------------- runs


@pytest.fixture
def start(server):
    """Starts a run; it is gone after the test."""
    ids = []

    def begin(**settings):
        found = good(server.post("/api/runs", json={"images": 1000, **settings}), 201)
        ids.append(found["id"])
        return found["id"]

    yield begin
    for run in ids:
        server.delete(f"/api/runs/{run}")


def test_a_run_is_told_live_and_its_model_is_used_at_once(server, start, images):
    run = start(architecture="cnn-small", epochs=2, seed=3, learning_rate=0.003)
    heard = list(events(server, run))
    assert heard[0][0] == "state" and heard[0][1]["state"] == "running"
    kinds = [event for event, _ in heard]
    assert kinds.count("epoch") == 2 and {"progress", "filters"} <= set(kinds)
    event, last = heard[-1]
    assert (event, last["state"], last["model"], last["error"]) == ("state", "done", run, None)
    names = {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    assert last["history"].keys() == names
    assert last["history"]["loss"] == [data["loss"] for kind, data in heard if kind == "epoch"]
    assert last["history"]["val_accuracy"][1] > 0.5
    progress = next(data for kind, data in heard if kind == "progress")
    assert progress["gradient_norms"].keys() == {"conv2d", "dense", "dense_1"}
    filters = next(data for kind, data in heard if kind == "filters")
    assert array(filters["value"]).shape == (3, 3, 1, 32)

    assert run in [found["name"] for found in good(server.get("/api/models"))]
    body = {"pixels": images[0].tolist(), "prepared": True, "model": run}
    assert good(server.post("/api/predict", json=body))["digit"] == 7
    assert list(events(server, run)) == [("state", last)]
    is_problem(server.post(f"/api/runs/{run}/stop"), 409)
    assert server.delete(f"/api/runs/{run}").status_code == 204
    is_problem(server.post("/api/predict", json=body), 404)


def test_a_run_has_the_bits_of_a_plain_fit(server, start, few, images):
    run = start(architecture="mlp", epochs=1, seed=5)
    (x, y), _ = few
    net = sn.architectures.build("mlp", seed=5)
    net.compile(sn.Adam(0.001), "sparse_categorical_crossentropy", ["accuracy"])
    history = net.fit(x[:-120][:1000], y[:-120][:1000], 128, 1, verbose=0).history
    found = list(events(server, run))[-1][1]["history"]
    assert found["loss"] == history["loss"]
    want = net.evaluate(x[-120:], y[-120:], verbose=0)
    assert [found["val_loss"][0], found["val_accuracy"][0]] == pytest.approx(want)


def test_a_run_pauses_goes_on_and_stops_and_others_are_answered_meanwhile(server, start, images):
    run = start(architecture="cnn-small", epochs=100, batch_size=32)
    wait_for(lambda: good(server.get(f"/api/runs/{run}"))["batch"] > 0)
    body = {"pixels": images[0].tolist(), "prepared": True}
    for _ in range(20):
        assert good(server.post("/api/predict", json=body))["digit"] == 7
    assert good(server.get(f"/api/runs/{run}"))["state"] == "running"
    assert run in is_problem(server.post("/api/runs", json={}), 409)

    assert good(server.post(f"/api/runs/{run}/pause"))["state"] == "paused"
    time.sleep(0.3)
    before, after = (good(server.get(f"/api/runs/{run}")), time.sleep(0.2))
    after = good(server.get(f"/api/runs/{run}"))
    assert before == after and before["state"] == "paused"
    assert good(server.post(f"/api/runs/{run}/resume"))["state"] == "running"
    wait_for(lambda: good(server.get(f"/api/runs/{run}")) != {**after, "state": "running"})

    found = good(server.post(f"/api/runs/{run}/stop"))
    assert (found["state"], found["model"]) == ("stopped", run)
    assert good(server.post("/api/predict", json={**body, "model": run}))["digit"] is not None


def test_a_paused_run_can_be_deleted(server, start):
    run = start(architecture="mlp", epochs=100)
    good(server.post(f"/api/runs/{run}/pause"))
    assert server.delete(f"/api/runs/{run}").status_code == 204
    assert good(server.get("/api/runs")) == []


def no_data():
    raise sn.InputError("data: expected MNIST, found nothing")


def no_numbers():
    x = np.full((100, 28, 28), np.nan, np.float32)
    return (x, np.arange(100) % 10), (x, np.arange(100) % 10)


@pytest.mark.parametrize(
    ("data", "says"),
    [(no_data, "found nothing"), (no_numbers, "diverged"), (lambda: None, "inside the server")],
)
def test_a_run_that_fails_says_so_in_one_line(data, says):
    with served(create_app(data=data)) as client:
        run = good(client.post("/api/runs", json={"architecture": "mlp"}), 201)["id"]
        last = list(events(client, run))[-1][1]
        assert (last["state"], last["model"]) == ("failed", None)
        assert says in last["error"] and last["error"].isprintable()
        is_problem(client.post(f"/api/runs/{run}/pause"), 409)
        good(client.post("/api/runs", json={}), 201)  # the next one may start


def test_what_a_run_can_be_made_of(server):
    found = good(server.get("/api/architectures"))
    names = [row["name"] for row in found["architectures"]]
    assert names == list(sn.architectures.ARCHITECTURES)
    assert found["learning_rates"].keys() == set(found["optimizers"])
    assert found["defaults"]["architecture"] in names


# ------------------------------------------------------------------------------- with made-up input


def schemathesis(few, folder, *options):
    """Its command, with all its checks, on a server whose runs are over at once."""
    tiny = tuple((x[:10], y[:10]) for x, y in few)
    code = "from schemathesis.cli import schemathesis; schemathesis()"
    config = Path(__file__).with_name("schemathesis.toml")
    with served(create_app(data=lambda: tiny)) as client:
        command = [sys.executable, "-c", code, "--config-file", str(config), "run"]
        command += [f"{client.base_url}/openapi.json", "--checks", "all", *options]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Selected: 30/30" in done.stdout and "Tested: 30" in done.stdout


@pytest.mark.slow
def test_the_api_keeps_to_its_description(few, tmp_path):
    schemathesis(few, tmp_path, "--phases", "examples,fuzzing", "--max-examples", "4")


@pytest.mark.slow
def test_the_api_keeps_to_its_description_at_length(few, tmp_path):
    """As many examples an operation as SCRATCHNET_EXAMPLES says: 100 at length."""
    phases, most = "examples,coverage,fuzzing,stateful", os.environ.get("SCRATCHNET_EXAMPLES", "30")
    schemathesis(few, tmp_path, "--phases", phases, "--max-examples", most)


# -------------------------------------------------------------------------------------- the command


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal(number, tmp_path, model):
    model.save(tmp_path / "mine.safetensors")
    with process("--port", 0, tmp_path / "mine.safetensors") as (running, address):
        with httpx.Client(base_url=address, timeout=60) as client:
            names = [found["name"] for found in good(client.get("/api/models"))]
            assert names == ["mine", "mnist-cnn"]
            assert good(client.post("/api/predict", json={"pixels": ONE}))["digit"] == 1
            run = good(client.post("/api/runs", json={"epochs": 100}), 201)["id"]
            with client.stream("GET", f"/api/runs/{run}/events") as stream:
                lines = stream.iter_lines()
                assert next(lines) == "event: state"
                os.kill(running.pid, number)
                with contextlib.suppress(httpx.RemoteProtocolError):
                    list(lines)
        assert running.wait(30) == 0
        told = running.stderr.read().splitlines()  # in an empty cache, that kernels are compiled
        assert all("compiling kernels" in line for line in told)
        assert "Traceback" not in running.stdout.read()


def refused(*arguments):
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_a_port_in_use_is_told_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"found {port} in use" in refused("--port", port)


def test_a_wrong_host_and_a_wrong_model_are_told_in_one_line(tmp_path):
    assert "--host" in refused("--host", "no.such.host.invalid", "--port", 0)
    assert "192.0.2.1" in refused("--host", "192.0.2.1", "--port", 0)
    (tmp_path / "x.safetensors").write_bytes(b"x")
    assert "x.safetensors" in refused("--port", 0, tmp_path / "x.safetensors")


def test_without_the_extra_the_command_names_it():
    code = "import sys; sys.modules['uvicorn'] = None; sys.argv = ['scratchnet', 'serve']\n"
    code += "from scratchnet.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert 'pip install "scratchnet[serve]"' in line
