"""The server's speed: predict over HTTP on loopback, one after the other and many at once.

    python benchmarks/serve.py                    latency and requests a second
    python benchmarks/serve.py --soak 300         then twice that load for 300 seconds
    python benchmarks/serve.py --json serve.json

The server is the command `scratchnet serve` in a process of its own; the clients are threads here,
with plain sockets and ready-made requests, so that they take little of the same cores. Every answer
is compared with the one that the library gives; under the soak's load 503 is right, too.
"""

import argparse
import json
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import scratchnet as sn

IMAGES = 50


class Client:
    """One connection that is kept."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.line = socket.create_connection(address, timeout=60)
        self.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.line.makefile("rb")

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body."""
        self.line.sendall(request)
        status = int(self.file.readline().split()[1])
        length = 0
        while (header := self.file.readline()) != b"\r\n":
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, self.file.read(length)


def request(body: dict[str, Any]) -> bytes:
    content = json.dumps(body, separators=(",", ":")).encode()
    head = "POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def jobs() -> dict[str, list[tuple[bytes, list[float]]]]:
    """By kind: requests, and the probabilities that have to come."""
    model = sn.architectures.pretrained()
    _, (images, _) = sn.datasets.mnist.load_data()
    found: dict[str, list[tuple[bytes, list[float]]]] = {"prepared, 28 x 28": []}
    for image in images[:IMAGES]:
        body = {"pixels": image.tolist(), "prepared": True}
        found["prepared, 28 x 28"].append((request(body), model.predict(image)[0].tolist()))
    for side in (56, 280):
        kind = found[f"drawing, {side} x {side}"] = []
        for image in images[:IMAGES]:
            drawing = np.asarray(Image.fromarray(np.pad(image, 4)).resize((side, side)))
            prepared = sn.pictures.prepare(drawing).image
            wanted = model.predict(prepared)[0].tolist()
            kind.append((request({"pixels": drawing.tolist()}), wanted))
    return found


def check(answer: tuple[int, bytes], wanted: list[float], refusals: bool = False) -> bool:
    """Whether it was answered; ends the benchmark where the answer is wrong."""
    status, body = answer
    if status == 503 and refusals:
        return False
    if status != 200 or json.loads(body)["probabilities"] != wanted:
        sys.exit(f"expected {wanted}, found {status}: {body[:200]!r}")
    return True


def latency(address: tuple[str, int], kind: list[Any], calls: int) -> dict[str, float]:
    """Seconds a request, one after the other on one connection."""
    client, took = Client(address), []
    for number in range(calls + 20):
        ask, wanted = kind[number % len(kind)]
        started = time.perf_counter()
        answer = client.ask(ask)
        took.append(time.perf_counter() - started)
        check(answer, wanted)
    took = sorted(took[20:])
    return {"median": statistics.median(took), "p95": took[int(0.95 * len(took))]}


def load(
    address: tuple[str, int], kind: list[Any], clients: int, seconds: float, rate: float = 0
) -> tuple[int, int]:
    """Answers and refusals, from so many clients at once; rate: requests a second in all."""
    counts, failed = np.zeros((clients, 2), int), []
    end = time.perf_counter() + seconds

    def one(number: int) -> None:
        try:
            client, begun, sent = Client(address), time.perf_counter(), 0
            while (now := time.perf_counter()) < end:
                if rate and now < (due := begun + sent * clients / rate):
                    time.sleep(min(due, end) - now)
                    continue
                ask, wanted = kind[(number + sent) % len(kind)]
                counts[number, 0 if check(client.ask(ask), wanted, rate > 0) else 1] += 1
                sent += 1
        except BaseException as error:  # reported by the main thread
            failed.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(f"{type(failed[0]).__name__}: {failed[0]}")
    return int(counts[:, 0].sum()), int(counts[:, 1].sum())


def memory(pid: int) -> float:
    """Resident MiB (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def soak(
    address: tuple[str, int], kind: list[Any], seconds: float, most: float, pid: int
) -> dict[str, Any]:
    """Twice the requests a second that the server can answer, on twice the connections it lets in.

    Memory is read ten times; it is steady if the second half takes no more than 5 % over the first.
    """
    sizes, answered, refused = [], 0, 0
    for part in range(10):
        ok, no = load(address, kind, 128, seconds / 10, 2 * most)
        answered, refused = answered + ok, refused + no
        sizes.append(memory(pid))
        print(f"  {(part + 1) * seconds / 10:5.0f} s  {ok:7,} right  {no:7,} x 503", end="")
        print(f"  {sizes[-1]:.0f} MiB")
    steady = max(sizes[5:]) <= 1.05 * max(sizes[:5])
    return {
        "seconds": seconds,
        "right": answered,
        "refused": refused,
        "memory_mib": sizes,
        "steady": steady,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1000, help="for each median")
    parser.add_argument("--seconds", type=float, default=5, help="of full load")
    parser.add_argument("--clients", type=int, default=8, help="at full load")
    parser.add_argument(
        "--soak", type=float, default=0, metavar="SECONDS", help="at twice the load"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    kinds = jobs()
    command = [sys.executable, "-m", "scratchnet", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            host, port = re.search(r"http://([\d.]+):(\d+)", server.stdout.readline()).groups()
            report = measure(options, (host, int(port)), kinds, server.pid)
        finally:
            server.terminate()
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    if not report.get("soak", {}).get("steady", True):
        sys.exit("memory grew")


def measure(
    options: Any, address: tuple[str, int], kinds: dict[str, Any], pid: int
) -> dict[str, Any]:
    report: dict[str, Any] = {}
    for name, kind in kinds.items():
        found = report[name] = latency(address, kind, options.calls)
        ok, _ = load(address, kind, options.clients, options.seconds)
        found["requests_per_second"] = ok / options.seconds
        print(
            f"{name:20} median {1e3 * found['median']:6.2f} ms  p95 {1e3 * found['p95']:6.2f} ms",
            end="",
        )
        print(f"  {found['requests_per_second']:7,.0f} requests/s with {options.clients} clients")
    if options.soak:
        name = "drawing, 56 x 56"
        most = report[name]["requests_per_second"]
        print(f"{name}, {2 * most:,.0f} requests/s for {options.soak:g} s")
        report["soak"] = soak(address, kinds[name], options.soak, most, pid)
    return report


if __name__ == "__main__":
    main()
