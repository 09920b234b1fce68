"""The page in a browser: how soon the network's maps follow a stroke, and how smoothly one hovers.

    python benchmarks/page.py [--strokes 30] [--seconds 5] [--priority 5]

It starts `scratchnet serve` and Chromium without a window, and sends the page a pointer's events:

    stroke   from the end of a stroke on the section Draw, a move in every frame, until the
             landscape of all of it is on the screen
    hover    frames while the pointer moves over the landscape of the section Network, and how long
             what the page does at each move takes

with --priority both run as real-time processes (Linux, root), and others' load does not count.
"""

import argparse
import contextlib
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

#: as shares of the pad: a 3
STROKE = [(0.3, 0.25), (0.5, 0.2), (0.66, 0.32), (0.45, 0.5), (0.68, 0.7), (0.5, 0.82), (0.3, 0.75)]
#: notes when a landscape was drawn, and when a frame later it was on the screen
WATCH = """() => {
  Object.assign(window, { drawn: 0, shown: 0 });
  document.querySelector("#pad").setPointerCapture = () => {}; // there is no real pointer
  const mark = performance.mark.bind(performance);
  performance.mark = (name, ...further) => {
    if (name === "landscape") {
      window.drawn = performance.now();
      requestAnimationFrame(() => requestAnimationFrame(() => (window.shown = performance.now())));
    }
    return mark(name, ...further);
  };
}"""
#: writes, five moves from point to point, one a frame; when all is quiet, resolves with the
#: milliseconds from the last of them until what it led to is on the screen
WRITE = """([points, shift]) => new Promise((done) => {
  const pad = document.querySelector("#pad");
  const box = pad.getBoundingClientRect();
  const send = (kind, [x, y]) => pad.dispatchEvent(new PointerEvent(kind, {
    clientX: box.left + x * box.width * shift, clientY: box.top + y * box.height,
    pointerId: 7, pointerType: "mouse", button: 0, bubbles: true,
  }));
  const all = points.slice(1).flatMap(([x, y], k) => [0.2, 0.4, 0.6, 0.8, 1].map((share) =>
    [points[k][0] + share * (x - points[k][0]), points[k][1] + share * (y - points[k][1])]));
  send("pointerdown", points[0]);
  let ended = null;
  const frame = () => {
    send("pointermove", all.shift());
    if (all.length) return requestAnimationFrame(frame);
    send("pointerup", points.at(-1));
    ended = performance.now();
    wait();
  };
  const wait = () => {
    if (performance.now() - Math.max(window.drawn, ended) < 700) return setTimeout(wait, 20);
    done(window.shown - ended);
  };
  requestAnimationFrame(frame);
})"""
#: moves over the maps once a frame, by events of its own, and counts
HOVER = """(seconds) => new Promise((done) => {
  const over = document.querySelector("#landscape .over");
  const box = over.getBoundingClientRect();
  const [start, frames, works] = [performance.now(), [], []];
  let before = null;
  const frame = (now) => {
    if (before !== null) frames.push(now - before);
    before = now;
    if (performance.now() - start > 1000 * seconds) return done({ frames, works });
    const k = frames.length;
    const at = { clientX: box.left + ((k * 37) % 1000) / 1000 * box.width,
                 clientY: box.top + (0.2 + ((k * 7) % 600) / 1000) * box.height,
                 pointerType: "mouse", bubbles: true };
    const begun = performance.now();
    over.dispatchEvent(new PointerEvent("pointermove", at));
    document.body.getBoundingClientRect(); // the layout that follows from it
    works.push(performance.now() - begun);
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""


def with_priority(command: Sequence[str], priority: int) -> list[str]:
    return [*(["chrt", "-r", str(priority)] if priority else []), *command]


@contextlib.contextmanager
def server(priority: int) -> Iterator[str]:
    """Its address."""
    command = [sys.executable, "-m", "scratchnet", "serve", "--port", "0"]
    with subprocess.Popen(
        with_priority(command, priority), stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            found = re.search(r"http://\S+", running.stdout.readline())
            assert found, "the server did not start"
            yield found[0]
        finally:
            running.terminate()


def opened(browser: Browser, address: str) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)
    page.goto(address)
    page.locator("#page-draw .samples button").nth(14).wait_for(state="attached")
    return page


def strokes(page: Page, count: int) -> list[float]:
    """Milliseconds from the end of each stroke until its landscape is on the screen."""
    page.evaluate(WATCH)
    found = []
    for number in range(count + 2):  # the first ones compile the page's code
        page.get_by_role("button", name="Clear").click()
        # never the same drawing: of that nothing is asked again
        shift = 1 + 0.05 * (number % 4) + 0.002 * number
        found.append(float(page.evaluate(WRITE, [STROKE, shift])))
    return found[2:]


def hover(page: Page, seconds: float) -> dict[str, list[float]]:
    page.goto(page.url.split("#")[0] + "#network")
    page.locator("#landscape .heads a").nth(5).wait_for()
    page.wait_for_timeout(1000)
    page.evaluate(HOVER, 1)
    found: dict[str, list[float]] = page.evaluate(HOVER, seconds)
    return found


def summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 1),
        "p95": round(ordered[math.ceil(0.95 * len(ordered)) - 1], 1),
        "most": round(ordered[-1], 1),
        "count": len(ordered),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--strokes", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--priority", type=int, default=0, help="real-time, as root; 0 for none")
    chosen = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with server(chosen.priority) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = opened(browser, address)
        if chosen.priority:
            raise_priority(chosen.priority)
        rows: dict[str, Any] = {"stroke, ms": summary(strokes(page, chosen.strokes))}
        moved = hover(page, chosen.seconds)
        rows["frame while hovering, ms"] = summary(moved["frames"])
        rows["work of a move, ms"] = summary(moved["works"])
        browser.close()
    for name, row in rows.items():
        print(f"{name:26} median {row['median']:7}   95 % below {row['p95']:7}   {row['count']}")
    print(json.dumps(rows))


def raise_priority(priority: int) -> None:
    """Of the browser's processes, which are children of this one's children."""
    for pid in _descendants_of(os.getpid()):
        subprocess.run(["chrt", "-a", "-r", "-p", str(priority), pid], check=False)


def _descendants_of(process: int) -> set[str]:
    found: set[str] = set()
    parents = [str(process)]
    while parents:
        ran = subprocess.run(
            ["pgrep", "-P", ",".join(parents)], capture_output=True, text=True, check=False
        )
        parents = [pid for pid in ran.stdout.split() if pid not in found]
        found |= set(parents)
    return found


if __name__ == "__main__":
    main()
