"""Made-up JSON bodies for every path that takes one.

The seed is fixed. SCRATCHNET_FUZZ_INPUTS says how many inputs, if not as many as here;
SCRATCHNET_FUZZ_SECONDS how long at most.
"""

import base64
import copy
import json
import os
import time

import httpx
import numpy as np
import pytest
from serving import ONE, good, served

import scratchnet as sn
from scratchnet.web.app import create_app

INPUTS = int(os.environ.get("SCRATCHNET_FUZZ_INPUTS", 2000))
SECONDS = float(os.environ.get("SCRATCHNET_FUZZ_SECONDS", 300))
SEED = 20240229

PACKED = {"width": 28, "height": 28, "data": base64.b64encode(bytes(sum(ONE, []))).decode()}
IMAGES = (ONE, PACKED)
#: for each path valid bodies, without their pixels
VALID = {
    "/api/predict": [{}, {"steps": True}, {"prepared": True, "model": "mnist-cnn"}],
    "/api/sequence": [{}, {"model": "mnist-cnn"}],
    "/api/models": [{"architecture": "cnn-small"}],
    "/api/landscape": [{}, {"label": 3, "model": None}],
    "/api/trace": [{}, {"label": 3, "model": None}],
    "/api/trace/output": [
        {"layer": "conv2d_1", "index": [4, 5, 6]},
        {"layer": "dense", "index": [7]},
        {"layer": "maxpool2d", "index": [1, 2, 3]},
    ],
    "/api/trace/parameter": [
        {"layer": "conv2d", "parameter": "W", "index": [0, 1, 0, 5]},
        {"layer": "dense_1", "parameter": "b", "index": [3], "label": 2},
    ],
    "/api/trace/input": [
        {"layer": "conv2d_1", "index": [4, 5, 6], "label": 3},
        {"layer": "dense", "index": [7]},
    ],
    "/api/trace/code": [{"layer": "conv2d", "direction": "backward"}, {"layer": "relu"}],
    "/api/what-if": [
        {"changes": [{"kind": "off", "layer": "conv2d", "unit": 3}], "look": "relu"},
        {"changes": [{"kind": "learn", "steps": 2}, {"kind": "paint", "pixels": ONE}]},
        {
            "changes": [
                {"kind": "set", "layer": "dense", "parameter": "b", "index": [3], "value": 1.5}
            ]
        },
    ],
    "/api/fool": [{"target": 3, "steps": 2}],
    "/api/trace/step": [{"optimizer": "adam", "learning_rate": 0.01}, {"label": 9}],
    "/api/explain": [
        {"method": "gradcam", "layer": "conv2d_1"},
        {"method": "saliency", "label": 4},
    ],
    "/api/runs": [{"architecture": "mlp", "epochs": 1, "seed": 3, "learning_rate": 0.1}],
    "/api/runs/none/title": [{"title": "mine"}],
    "/api/runs/none/digit": [{}],
    "/api/runs/none/pause": [{}],
    "/api/runs/none/resume": [{}],
    "/api/runs/none/stop": [{}],
    "/api/predict/file": [{}],
    "/api/sequence/file": [{}],
}
ODD = [
    *[None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 0.5, 1e308, -0.0, 255, 256],
    *["", "W", "0", "\x00", "é", "\u2028", "a" * 300, "mnist-cnn", "nan", "../x", "conv2d"],
    *[[], {}, [[]], [None], [0], [0] * 5, {"": 0}, [[0] * 28] * 28, [[255]], {"pixels": [[0]]}],
]
TOKENS = [
    *[b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\\u", b"\\ud800", b"\x00", b"\xff"],
    *[b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"-", b"null", b" ", b"\xef\xbb\xbf", b"[" * 99],
]


def places(value, path=()):
    """The places of all values inside, of a long list only some."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for i in range(0, len(value), 1 + len(value) // 4):
            yield from places(value[i], (*path, i))


def mutated(body, rng):
    """A body with one to three values replaced, taken away, or put in."""
    body = copy.deepcopy(body)
    for _ in range(rng.integers(1, 4)):
        found = [path for path in places(body) if path]
        if not found:
            return ODD[rng.integers(len(ODD))]
        # outer places as often as inner ones
        depth = rng.choice(sorted({len(path) for path in found}))
        found = [path for path in found if len(path) == depth]
        *outer, last = found[rng.integers(len(found))]
        inside = body
        for key in outer:
            inside = inside[key]
        odd, what = copy.deepcopy(ODD[rng.integers(len(ODD))]), rng.integers(4)
        if what == 0:
            del inside[last]
        elif what == 1 and isinstance(inside, dict):
            inside[str(odd)[:20]] = odd
        elif what == 1:
            inside.insert(last, odd)
        else:
            inside[last] = odd
    return body


def damaged(content, rng):
    """The bytes with some changed, taken away, doubled, or put in."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        i = int(rng.integers(len(content) + 1))
        n = int(rng.integers(1, 40))
        what = rng.integers(5)
        if what == 0:
            del content[i : i + n]
        elif what == 1:
            content[i:i] = content[i : i + n]
        elif what == 2:
            content[i:i] = TOKENS[rng.integers(len(TOKENS))]
        elif what == 3:
            content[i : i + 1] = rng.bytes(1)
        elif rng.random() < 0.2:
            del content[i:]
    return bytes(content)


def made_up(rng):
    """A path and the bytes of a body."""
    path = list(VALID)[rng.integers(len(VALID))]
    valid = VALID[path][rng.integers(len(VALID[path]))]
    if not path.startswith("/api/runs"):
        valid = {"pixels": IMAGES[rng.integers(2)], **valid}
    as_it_is, only_damaged, only_mutated, _ = rng.random(4) < 0.25
    body = valid if as_it_is or only_damaged else mutated(valid, rng)
    content = json.dumps(body).encode()
    return path, content if as_it_is or only_mutated else damaged(content, rng)


def strict(text):
    def refuse(name):
        raise ValueError(f"{name} in JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.slow
def test_whatever_the_body_is_the_answer_is_json_and_no_defect():
    (x, y), _ = sn.datasets.mnist.load_data()
    tiny = (x[:10], y[:10]), (x[:10], y[:10])
    rng, statuses = np.random.default_rng(SEED), {}
    end, wrong, number = time.monotonic() + SECONDS, [], 0
    with served(create_app(data=lambda: tiny)) as client:
        client.headers["content-type"] = "application/json"
        for number in range(1, INPUTS + 1):  # noqa: B007 - how many there were is of interest
            path, content = made_up(rng)
            what = path, content[:300], len(content)
            try:
                answer = client.post(path, content=content)
                strict(answer.text)
            except (httpx.HTTPError, ValueError) as error:
                wrong.append((*what, repr(error)))
                continue
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            if answer.status_code >= 500 and answer.status_code != 503:
                wrong.append((*what, answer.text))
            if number % 50 == 0:
                assert good(client.get("/api/health"))["status"] == "ok"
                strict(client.get("/api/models").text)
                strict(client.get("/api/runs").text)
            if time.monotonic() > end or len(wrong) > 9:
                break
    print(f"{number} inputs: {statuses}")
    assert not wrong
    assert {200, 404, 422} <= statuses.keys(), statuses  # and some got through
