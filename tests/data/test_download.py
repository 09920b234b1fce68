"""Sets of images by name, from mirrors on this machine that do all that mirrors do wrong."""

import gzip
import hashlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import filelock
import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError
from scratchnet.datasets import catalogue, download, idx

#: for a process that starts in another folder
PATHS = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"


class Mirror(BaseHTTPRequestHandler):
    """The first part of the path says how to behave, the last which file is wanted."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802  http.server's name
        _, kind, name = self.path.split("/")
        whole, wanted = self.server.files.get(name), self.headers.get("Range")
        self.server.seen.append((kind, name, wanted))
        self.close_connection = True
        if kind == "silent":
            self.server.over.wait(30)
            return
        if kind in ("endless", "drip", "drip-headers"):
            self.without_end(kind, whole)
            return
        if kind == "refusing":
            self.answer(416, b"", {"Content-Range": f"bytes */{len(whole)}"} if wanted else {})
            return
        if kind == "missing" or whole is None:
            self.answer(404, HTML, {"Content-Type": "text/html"})
        elif kind == "html":
            self.answer(200, HTML, {"Content-Type": "text/html; charset=utf-8"})
        elif kind == "page":
            self.answer(200, HTML)
        elif kind == "wrong":
            self.answer(200, whole[::-1])
        elif kind == "encoded":
            self.answer(200, whole, {"Content-Encoding": "gzip"})
        elif kind == "rangeless" or (not wanted and kind == "good"):
            self.answer(200, whole)
        elif kind == "elsewhere":
            self.answer(206, whole, {"Content-Range": f"bytes 0-{len(whole) - 1}/{len(whole)}"})
        else:
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if start >= len(whole):
                self.answer(416, b"", {"Content-Range": f"bytes */{len(whole)}"})
                return
            span = {"Content-Range": f"bytes {start}-{len(whole) - 1}/{len(whole)}"}
            rest = whole[start:]
            self.answer(206 if wanted else 200, rest, span, sent=len(rest) // 2 if kind in
                        ("cut", "stall") else None)  # fmt: skip
            if kind == "stall":
                self.server.over.wait(30)

    def answer(self, status, body, headers=None, sent=None):
        self.send_response(status)
        for key, value in {"Content-Type": "application/gzip", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])
        self.wfile.flush()

    def without_end(self, kind, whole):
        """Whatever comes first is right; then more of it, or all too slowly."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\n\r\n"
        if kind == "drip-headers":
            head, whole = head[:20] + b"X-More: " * 1000, b""
        slow = head if kind == "drip-headers" else whole
        try:
            self.wfile.write(b"" if slow is head else head)
            while kind == "endless" and not self.server.over.is_set():
                self.wfile.write(whole)
            for byte in slow:
                self.wfile.write(bytes([byte]))
                if self.server.over.wait(0.05):
                    return
        except OSError:  # the other side has had enough
            pass

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server of `files`, which notes the requests that it has `seen`; `url(kind)` its mirrors."""
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    monkeypatch.setattr(download, "SPAN", 2.5)  # a busy machine is slow, too
    monkeypatch.setattr(download, "MOST_BYTES", 10**6)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.files, server.seen, server.over = {}, [], threading.Event()
    server.url = lambda kind: f"http://127.0.0.1:{server.server_port}/{kind}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def offline():
    """A mirror at a port where nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening: connections are refused
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"


@pytest.fixture
def fetch(server, tmp_path):
    """Fetch the file `data` of 300,000 bytes from mirrors of these kinds."""
    content = np.random.default_rng(0).bytes(300_000)
    server.files["data"] = content
    digest = hashlib.sha256(content).hexdigest()

    def fetch(*kinds):
        urls = [(kind if ":" in kind else server.url(kind)) + "data" for kind in kinds]
        path = download.fetch("data", digest, urls, tmp_path / "cache")
        assert path.read_bytes() == content
        assert not path.with_name("data.part").exists()
        return path

    return fetch


def kinds_seen(server):
    return [kind for kind, _, _ in server.seen]


# -------------------------------------------------------------------------------------- one file


def test_a_file_is_downloaded_once_and_said_so(fetch, server, monkeypatch):
    lines = []
    monkeypatch.setattr(download, "announce", lines.append)
    assert fetch("good") == fetch("good")
    assert kinds_seen(server) == ["good"]
    assert lines == [f"downloading data, 0.3 MB from 127.0.0.1:{server.server_port}"]


BAD = ["missing", "html", "page", "wrong", "cut", "stall", "silent"]
BAD += ["refusing", "endless", "drip", "drip-headers"]


@pytest.mark.parametrize("bad", BAD)
def test_the_next_mirror_helps_out(fetch, server, bad):
    fetch(bad, "good")
    assert set(kinds_seen(server)) == {bad, "good"}


def test_a_mirror_that_cannot_be_reached_is_passed_over(fetch, offline):
    fetch(offline, "good")


@pytest.mark.parametrize("bad", ["cut", "stall"])
def test_what_was_received_is_not_asked_for_again(fetch, server, bad):
    fetch(bad, "good")
    (first, (kind, _, wanted)) = server.seen
    assert (first, kind) == ((bad, "data", None), "good")
    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    assert 150_000 - download.PIECE < start <= 150_000  # of 300,000, half was sent


def test_a_part_outlives_the_process_that_was_killed(fetch, server, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/data.part").write_bytes(server.files["data"][:200_000])
    fetch("good")
    assert server.seen == [("good", "data", "bytes=200000-")]


def test_a_part_that_is_the_whole_is_taken(fetch, server, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/data.part").write_bytes(server.files["data"])
    fetch("good")
    assert len(server.seen) == 1


@pytest.mark.parametrize("size", [1000, 300_000, 400_000])
def test_a_damaged_part_costs_one_more_attempt_only(fetch, server, tmp_path, size):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/data.part").write_bytes(bytes(size))
    fetch("good")
    assert [wanted for _, _, wanted in server.seen] == [f"bytes={size}-", None]


@pytest.mark.parametrize("kind", ["rangeless", "encoded"])
def test_a_server_that_knows_no_ranges_sends_the_whole(fetch, tmp_path, kind):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/data.part").write_bytes(bytes(1000))
    fetch(kind)


def test_another_range_than_asked_for_is_refused(fetch, server, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/data.part").write_bytes(server.files["data"][:1000])
    fetch("elsewhere", "good")


def test_a_damaged_file_in_the_cache_is_replaced(fetch):
    path = fetch("good")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    fetch("good")


def test_two_at_once_download_once(fetch, server):
    threads = [threading.Thread(target=fetch, args=("good",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds_seen(server) == ["good"]
    fetch("good")


@pytest.mark.slow
def test_every_mirror_is_named_with_its_failure(fetch, offline):
    with pytest.raises(download.UnavailableError) as caught:
        fetch(offline, *BAD)
    message = str(caught.value)
    assert message.count("127.0.0.1:") == 1 + len(BAD)
    words = ["no connection", "HTTP 404", "an HTML page", "SHA-256", "broken off", "silent for"]
    words += ["HTTP 416", "more than 1,000,000 bytes", "fewer than 60,000 bytes in 2.5 s"]
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("bad", ["refusing", "page", "wrong", "html", "missing", "elsewhere"])
def test_a_good_part_outlives_a_mirror_that_is_not(fetch, server, tmp_path, bad):
    (tmp_path / "cache").mkdir()
    part = tmp_path / "cache/data.part"
    part.write_bytes(server.files["data"][:200_000])
    if bad == "elsewhere":
        server.files["data"] = server.files["data"][::-1]
    with pytest.raises(download.UnavailableError):
        fetch(bad)
    if bad == "elsewhere":
        server.files["data"] = server.files["data"][::-1]
    assert part.read_bytes() == server.files["data"][:200_000]
    fetch(bad, "good")
    assert server.seen[-1] == ("good", "data", "bytes=200000-")


def test_a_size_beyond_reason_is_not_begun_with(fetch, server, monkeypatch, tmp_path):
    monkeypatch.setattr(download, "MOST_BYTES", 299_999)
    with pytest.raises(download.UnavailableError, match="300,000 bytes, more than any"):
        fetch("good")
    assert {path.name for path in (tmp_path / "cache").iterdir()} <= {"data.lock"}


def test_an_endless_answer_leaves_nothing_on_the_disk(fetch, tmp_path):
    with pytest.raises(download.UnavailableError, match="more than 1,000,000 bytes"):
        fetch("endless")
    assert {path.name for path in (tmp_path / "cache").iterdir()} <= {"data.lock"}


def test_a_mirror_has_a_limit_in_all_and_its_part_is_kept(fetch, server, monkeypatch, tmp_path):
    monkeypatch.setattr(download, "LEAST", 0)
    monkeypatch.setattr(download, "MOST_SECONDS", 1.5)
    with pytest.raises(download.UnavailableError, match="not done after 1.5 s"):
        fetch("drip")
    assert 5 < (tmp_path / "cache/data.part").stat().st_size < 40
    fetch("good")
    assert server.seen[-1][2] != "bytes=0-" and server.seen[-1][2] is not None


def test_what_a_killed_download_left_is_used_or_removed(fetch, tmp_path):
    cache = tmp_path / "cache"
    (cache / "data.new").mkdir(parents=True)
    (cache / "data.new" / "tmpabcdefgh").write_bytes(bytes(1000))
    (cache / "data.whole").write_bytes(bytes(1000))
    (cache / "other.part").write_bytes(b"another download")
    fetch("good")
    assert {path.name for path in cache.iterdir()} <= {"data", "data.lock", "other.part"}


def test_a_download_that_is_killed_leaves_its_part_alone(server, tmp_path):
    code = "from scratchnet.datasets import download; from pathlib import Path\n"
    code += f"download.fetch('data', '0' * 64, [{server.url('stall')!r} + 'data'], Path('cache'))"
    server.files["data"] = bytes(300_000)
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=PATHS) as process:
        part = tmp_path / "cache/data.part"
        until = time.monotonic() + 30
        while not part.exists() or part.stat().st_size < 100_000:
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.02)
        process.kill()
    left = {path.name for path in (tmp_path / "cache").iterdir()}
    assert left - {"data.lock"} == {"data.part", "data.new"}


def test_a_second_process_says_that_it_waits(fetch, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(download, "announce", lines.append)
    (tmp_path / "cache").mkdir()
    other = filelock.FileLock(tmp_path / "cache/data.lock")
    other.acquire()
    thread = threading.Thread(target=fetch, args=("good",))
    thread.start()
    until = time.monotonic() + 30
    while not lines and time.monotonic() < until:
        time.sleep(0.02)
    assert lines == ["waiting for another process that downloads data"]
    assert not (tmp_path / "cache/data").exists()
    other.release()
    thread.join()
    assert len(lines) == 2 and lines[1].startswith("downloading data")


def test_a_complete_file_needs_no_folder_to_write_to(fetch, monkeypatch):
    fetch("good")
    monkeypatch.setattr(download, "_alone", None)
    fetch()


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def none(*_, **__):
        raise RuntimeError("no home")

    monkeypatch.delenv("SCRATCHNET_DATA", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", none)
    with pytest.raises(InputError, match="SCRATCHNET_DATA: expected"):
        download.folder()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        download.fetch("data", "0" * 64, [], tmp_path / "file" / "cache")


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.delenv("SCRATCHNET_DATA", raising=False)
    assert download.folder().parts[-2:] == ("scratchnet", "datasets")
    monkeypatch.setenv("SCRATCHNET_DATA", str(tmp_path))
    assert download.folder() == tmp_path


# -------------------------------------------------------------------------------- sets of images


def packed(array):
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.tobytes())


@pytest.fixture
def sets(server, monkeypatch, tmp_path):
    """The catalogue with small stand-ins for all files; returns the arrays by the set's name."""
    monkeypatch.setenv("SCRATCHNET_DATA", str(tmp_path / "cache"))
    rng = np.random.default_rng(1)
    arrays, members = {}, {}
    for name, online in catalogue.ONLINE.items():
        classes, first = len(online.class_names), online.first_label
        y = [np.arange(n, dtype=np.uint8) % classes + np.uint8(first) for n in (2 * classes, 60)]
        x = [rng.integers(0, 256, (len(part), 28, 28), dtype=np.uint8) for part in y]
        arrays[name] = x[0], y[0], x[1], y[1]
        content = dict(zip(online.files, map(packed, arrays[name]), strict=True))
        sums = {file: hashlib.sha256(data).hexdigest() for file, data in content.items()}
        folder = f"{name}-"  # Fashion-MNIST's and KMNIST's files have the same names
        server.files |= {folder + file: data for file, data in content.items()}
        mirrors = (server.url("missing") + folder, server.url("good") + folder)
        monkeypatch.setitem(
            catalogue.ONLINE, name, replace(online, files=sums, mirrors=mirrors, archives=())
        )
        members |= content if online.archives else {}
    with zipfile.ZipFile(out := BytesIO(), "w") as archive:
        for file, data in {"../../evil": b"no", "/etc/evil": b"no", **members}.items():
            archive.writestr(f"gzip/{file}" if file.endswith(".gz") else file, data)
    server.files["gzip.zip"] = out.getvalue()
    return arrays


def use_archives(monkeypatch, server, name, *kinds, digest=None):
    digest = digest or hashlib.sha256(server.files["gzip.zip"]).hexdigest()
    archives = tuple((f"{server.url(k)}gzip.zip", digest, f"{k}.zip") for k in kinds)
    missing = (server.url("missing"),)
    online = replace(catalogue.ONLINE[name], mirrors=missing, archives=archives)
    monkeypatch.setitem(catalogue.ONLINE, name, online)


def check(name, written):
    found = sn.datasets.load(name)
    online = catalogue.ONLINE[name]
    x_train, y_train, x_test, y_test = written
    if name.startswith("emnist"):  # rows and columns are exchanged in its files
        x_train, x_test = x_train.transpose(0, 2, 1), x_test.transpose(0, 2, 1)
    for got, wanted in zip(
        found.arrays(),
        (x_train, y_train - online.first_label, x_test, y_test - online.first_label),
        strict=True,
    ):
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == np.uint8
        assert got.flags.c_contiguous
    assert found.y_train.min() == 0
    assert found.y_train.max() + 1 == len(found.class_names)
    return found


@pytest.mark.parametrize("name", catalogue.ONLINE)
def test_a_set_comes_by_its_name(name, sets, server):
    check(name, sets[name])
    asked = len(server.seen)
    check(name, sets[name])  # from the cache
    assert len(server.seen) == asked == 8  # four files, the first mirror failed each time


def test_every_set_is_described_in_full():
    assert len(catalogue.ONLINE) == 5
    for online in catalogue.ONLINE.values():
        assert len(online.files) == len(set(online.files.values())) == 4
        sums = [*online.files.values(), *(archive[1] for archive in online.archives)]
        assert all(len(digest) == 64 and int(digest, 16) for digest in sums)
        assert len(online.mirrors) + len(online.archives) >= 2
        urls = [*online.mirrors, *(archive[0] for archive in online.archives)]
        assert all(url.startswith("https://") for url in urls)
        assert len(set(online.class_names)) == len(online.class_names)
    classes = {name: len(online.class_names) for name, online in catalogue.ONLINE.items()}
    assert (classes["emnist-letters"], classes["emnist-balanced"]) == (26, 47)


def test_emnist_comes_out_of_the_zip_and_nothing_else_does(sets, server, monkeypatch, tmp_path):
    for name in ("emnist-letters", "emnist-digits"):
        use_archives(monkeypatch, server, name, "html", "good")
        check(name, sets[name])
    assert kinds_seen(server).count("good") == 1  # the second set finds the zip in the cache
    kept = {path.name for path in (tmp_path / "cache/emnist").iterdir() if path.suffix != ".lock"}
    files = {
        f for name in ("emnist-letters", "emnist-digits") for f in catalogue.ONLINE[name].files
    }
    assert kept == files | {"good.zip"}
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]


@pytest.mark.parametrize("content", [b"not a zip", "no such member", "another member"])
def test_a_zip_that_does_not_hold_the_set_is_refused(sets, server, monkeypatch, content):
    if isinstance(content, str):
        with zipfile.ZipFile(out := BytesIO(), "w") as archive:
            for file in catalogue.ONLINE["emnist-digits"].files:
                archive.writestr(file if content == "another member" else f"{file}.txt", b"?")
        content = out.getvalue()
    server.files["gzip.zip"] = content
    use_archives(monkeypatch, server, "emnist-digits", "good")
    with pytest.raises(InputError, match="good.zip: expected"):
        sn.datasets.load("emnist-digits")


def test_without_a_network_the_command_says_what_it_tried(tmp_path, offline):
    code = (
        "import sys; from dataclasses import replace; from scratchnet import cli\n"
        "from scratchnet.datasets import catalogue\n"
        f"for name, online in catalogue.ONLINE.items():\n"
        f"    archives = tuple(({offline!r}, *a[1:]) for a in online.archives)\n"
        f"    catalogue.ONLINE[name] = replace(online, mirrors=({offline!r},), archives=archives)\n"
        "sys.argv = ['scratchnet', 'train', '--data', 'emnist-letters']\n"
        "cli.main()\n"
    )
    env = {**os.environ, "SCRATCHNET_DATA": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("scratchnet: emnist-letters: expected a mirror")
    assert line.count("no connection") == 3
    assert str(tmp_path / "cache/emnist") in line


def test_importing_the_package_loads_no_library_for_the_network():
    code = (
        "import sys, scratchnet.cli; print([m for m in ('pooch', 'requests') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_mnist_and_idx_files_come_as_sets_too(tmp_path):
    found = sn.datasets.load("mnist")
    assert found.x_train.shape == (60000, 28, 28)
    assert found.class_names == tuple("0123456789")
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 7, s, dtype=np.uint8) for s in [(9, 4, 4), (9,), (5, 4, 4), (5,)]]
    arrays[3][0] = 6
    for name, array in zip(idx.FILES, arrays, strict=True):
        (tmp_path / f"{name}.gz").write_bytes(packed(array))
    found = sn.datasets.load(tmp_path)
    for got, wanted in zip(found.arrays(), arrays, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert found.class_names == tuple("0123456")


def test_a_name_that_is_neither_set_nor_folder_lists_the_sets():
    with pytest.raises(InputError, match="mnsit.*fashion-mnist.*kmnist.*emnist-letters"):
        sn.datasets.load("mnsit")
