"""What the server's tests share: an application really served, the command, its answers."""

import base64
import contextlib
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import uvicorn
from PIL import Image

from scratchnet.web.connections import Connection

#: a 1, in MNIST's form
ONE = [[255 * (4 <= y < 24 and 12 <= x < 16) for x in range(28)] for y in range(28)]


@contextlib.contextmanager
def served(app):
    """The application, really served, at an address of its own."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, http=Connection, log_level="warning", access_log=False)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60
        ) as client:
            yield client
    finally:
        app.state.closing.set()
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def good(answer, status=200):
    assert answer.status_code == status, answer.text
    return answer.json()


def array(found):
    values = np.frombuffer(base64.b64decode(found["data"]), "<f4")
    return values.reshape(found["shape"])


def is_problem(answer, status):
    """The answer is one line of JSON with that status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    line = answer.json()["error"]
    assert line and line.isprintable() and "Traceback" not in line
    return line


def png(image, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def canvas(image, side=56):
    return np.asarray(Image.fromarray(np.pad(image, 4)).resize((side, side)))


def connected(client):
    return socket.create_connection((client.base_url.host, client.base_url.port), timeout=30)


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def events(client, run):
    """(event, data) of a run's stream until it ends."""
    with client.stream("GET", f"/api/runs/{run}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        event = None
        for line in stream.iter_lines():
            key, _, value = line.partition(": ")
            if key == "event":
                event = value
            elif key == "data":
                yield event, json.loads(value)


def command(*arguments):
    return [sys.executable, "-m", "scratchnet", "serve", *map(str, arguments)]


@contextlib.contextmanager
def process(*arguments):
    """The command, once it says its address."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command(*arguments), **pipes) as running:
        try:
            line = running.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, line + running.stderr.read()
            yield running, found[0]
        finally:
            running.kill()
