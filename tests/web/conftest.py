"""A browser for the tests of the page."""

import contextlib
import re
import subprocess
import sys

import pytest
from browsing import CHROMIUM, PATIENCE
from playwright.sync_api import expect, sync_playwright


@pytest.fixture(scope="module")
def address():
    """`scratchnet serve` on a free port."""
    command = [sys.executable, "-m", "scratchnet", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield re.search(r"http://\S+", server.stdout.readline())[0]
        finally:
            server.terminate()
            server.wait(30)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Opens pages, and holds that none complains or asks anybody outside.

    visit(hash="", refused=None, **context): `refused` matches the console's lines on the answers
    that a test asks for, such as 415.
    """
    expect.set_options(timeout=PATIENCE)
    with contextlib.ExitStack() as stack:
        complaints, asked = [], []

        def open_page(place="", refused=None, **context):
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(PATIENCE)

            def hear(message):
                expected = refused and re.search(refused, message.text)
                if message.type in ("error", "warning") and not expected:
                    complaints.append(message.text)

            page.on("console", hear)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(f"{address}/{place}")
            page.locator("#page-draw .samples button").nth(14).wait_for(state="attached")
            return page

        yield open_page
    assert complaints == []
    assert asked
    assert [url for url in asked if not url.startswith((f"{address}/", "data:", "blob:"))] == []
