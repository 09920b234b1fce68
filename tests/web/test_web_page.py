"""The page in a real browser: what a student does with mouse and keyboard, and sees."""

import base64
import itertools
import re
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from browsing import STROKES, layers, needs_chromium, sample, shown_number, write
from PIL import Image
from playwright.sync_api import expect

import scratchnet as sn
from scratchnet.layers.registry import gradient_of

pytestmark = needs_chromium

# -------------------------------------------------------------------------------------------- tools


def png(width, height):
    """A black picture of one bit a pixel."""

    def chunk(name, content):
        sum_ = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", sum_)

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 7) // 8 + 1) * height)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# --------------------------------------------------------------------------------------------- draw


@pytest.mark.slow
def test_a_digit_drawn_with_the_mouse_is_read_while_it_is_drawn(visit):
    page = visit()
    pad, digit = page.locator("#pad"), page.locator("#digit")
    for name, strokes in STROKES.items():
        write(page, pad, strokes)
        expect(digit).to_have_text(name)
        expect(page.locator("#bars .best b")).to_have_text(name)
        expect(page.locator("#stages img")).to_have_count(9)
        page.get_by_role("button", name="Clear").click()
        expect(digit).to_have_text("–")


@pytest.mark.slow
def test_undo_takes_back_a_stroke(visit):
    page = visit()
    write(page, page.locator("#pad"), STROKES["1"])
    expect(page.locator("#digit")).to_have_text("1")
    write(page, page.locator("#pad"), [[(0.2, 0.2), (0.9, 0.8)]])
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#digit")).to_have_text("1")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#confidence")).to_have_text("nothing written yet")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["touch", "pen"])
def test_a_digit_is_drawn_with_a_finger_or_a_pen(visit, kind):
    page = visit(viewport={"width": 390, "height": 800}, has_touch=True)
    pad = page.locator("#pad")
    pad.scroll_into_view_if_needed()
    box, scrolled = pad.bounding_box(), page.evaluate("() => scrollY")
    devices = page.context.new_cdp_session(page)

    def event(name, x, y):
        if kind == "pen":
            name = {"Start": "Pressed", "Move": "Moved", "End": "Released"}[name]
            how = {"type": f"mouse{name}", "pointerType": "pen", "button": "left", "clickCount": 1}
            devices.send("Input.dispatchMouseEvent", {**how, "x": x, "y": y, "force": 0.5})
        else:
            points = [] if name == "End" else [{"x": x, "y": y}]
            how = {"type": f"touch{name}", "touchPoints": points}
            devices.send("Input.dispatchTouchEvent", how)

    kinds = "() => { kinds = []; document.querySelector('#pad').addEventListener('pointermove', "
    page.evaluate(f"{kinds} (event) => kinds.push(event.pointerType)) }}")
    for stroke in STROKES["7"]:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        event("Start", *points[0])
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            for share in (0.25, 0.5, 0.75, 1):
                event("Move", x0 + share * (x1 - x0), y0 + share * (y1 - y0))
        event("End", *points[-1])
    expect(page.locator("#digit")).to_have_text("7")
    assert set(page.evaluate("() => kinds")) == {kind}
    assert page.evaluate("() => scrollY") == scrolled  # the finger wrote, it did not scroll


#: a picture reaches the page as the browser would hand it over
HANDED_OVER = {
    "pasted": "new ClipboardEvent('paste', { clipboardData: files, bubbles: true })",
    "dropped": "new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true })",
}


@pytest.mark.parametrize("how", ["opened", *HANDED_OVER])
def test_an_image_is_taken(visit, how):
    page = visit()
    (_, _), (x, y) = sn.datasets.mnist.load_data()
    file = BytesIO()
    Image.fromarray(255 - np.kron(x[0], np.ones((8, 8), np.uint8))).save(file, "PNG")
    if how == "opened":
        picture = {"name": "seven.png", "mimeType": "image/png", "buffer": file.getvalue()}
        page.locator("#file").set_input_files(picture)
    else:
        page.evaluate(
            """base64 => {
              const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
              const files = new DataTransfer();
              files.items.add(new File([bytes], "seven.png", { type: "image/png" }));
              document.body.dispatchEvent(EVENT);
            }""".replace("EVENT", HANDED_OVER[how]),
            base64.b64encode(file.getvalue()).decode(),
        )
    expect(page.locator("#digit")).to_have_text(str(y[0]))
    expect(page.locator("#stages img")).to_have_count(9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"no picture\n" * 9),
        ("cut.png", png(28, 28)[:40]),
        ("huge.png", png(9000, 9000)),
    ],
    ids=["text", "cut", "huge"],
)
def test_a_bad_file_is_one_line_in_place(visit, name, content):
    page = visit(refused=r"status of 4(13|15|22)")
    sample(page, "Sample 3")
    page.locator("#file").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": content}
    )
    problem = page.locator("#draw-problem")
    expect(problem).to_be_visible()
    assert len(problem.inner_text().splitlines()) == 1
    assert len(problem.inner_text()) > 10
    expect(page.locator("#digit")).to_have_text("3")  # what was there still is
    sample(page, "Sample 5")
    expect(problem).to_be_hidden()


def test_a_blank_image_is_one_line_in_place(visit):
    page = visit()
    page.locator("#file").set_input_files(
        {"name": "blank.png", "mimeType": "image/png", "buffer": png(50, 50)}
    )
    expect(page.locator("#draw-problem")).to_be_visible()


@pytest.mark.slow
def test_the_digit_stays_when_the_page_is_loaded_again(visit):
    page = visit()
    sample(page, "Hard sample 5")
    page.goto(page.url.split("#")[0] + "#backward/dense")
    page.reload()
    expect(page.locator("[data-step=dense]")).to_be_visible()
    expect(page.locator("#label")).to_have_value("5")


def test_without_a_digit_the_sections_say_what_to_do(visit):
    page = visit("#backward/dense_1")
    empty = page.locator("#subject-empty")
    expect(empty).to_contain_text("no digit")
    empty.get_by_role("button", name="Sample 2", exact=True).click()
    expect(page.locator("[data-step=dense_1]")).to_be_visible()


# ----------------------------------------------------------------------------- forward and backward


def test_forward_shows_every_layer_and_the_sum_behind_a_value(visit):
    page = visit()
    sample(page, "Sample 4")
    page.get_by_role("link", name="Forward").click()
    cards = page.locator("#forward-layers [data-layer]")
    expect(cards).to_have_count(len(layers()))
    assert [cards.nth(i).get_attribute("data-layer") for i in range(cards.count())] == layers()

    for name in ("conv2d", "conv2d_1", "maxpool2d", "relu"):
        card = page.locator(f"[data-layer={name}]")
        card.locator("canvas").first.click(position={"x": 24, "y": 24})
        expect(card.locator(".result h3")).to_contain_text(f"{name}[")
        value = float(card.locator(".result h3").inner_text().split("=")[1].replace("−", "-"))
        total = shown_number(card.locator("dl .strong dd"))
        assert total == pytest.approx(value, rel=1e-4, abs=1e-6)
    page.locator("[data-layer=dense_1] .bars button").nth(4).click()
    expect(page.locator("[data-layer=dense_1] .result h3")).to_contain_text("dense_1[4]")


@pytest.mark.slow
def test_backward_steps_through_every_layer(visit):
    page = visit()
    sample(page, "Hard sample 4")
    page.get_by_role("link", name="Backward").click()
    expect(page.locator("[data-step=loss] .chosen td").nth(2)).to_have_text("1")
    cells = page.locator("[data-step=loss] .chosen td").all_inner_texts()
    probability, one_hot, dlogit = (float(cell.replace("−", "-")) for cell in cells[1:])
    assert dlogit == pytest.approx(probability - one_hot, abs=1e-3)

    kinds = {row.name: row.kind for row in sn.architectures.pretrained().rows()}
    page.locator("h1:visible").click()
    for name in reversed(layers()):
        page.keyboard.press("ArrowRight")
        card = page.locator(f"[data-step={name}]")
        expect(card).to_be_visible()
        expect(card.get_by_text("dx goes on")).to_be_visible()
        expect(card.get_by_text(gradient_of(kinds[name]))).to_be_visible()
        expect(page.locator("#steps [aria-current]")).to_have_text(name)
        if "maxpool" in name:
            expect(card.get_by_text("Where pooling sends the gradient")).to_be_visible()
    expect(page.locator("#step-down")).to_be_disabled()
    page.locator("#step-up").click()
    expect(page.locator(f"[data-step={layers()[1]}]")).to_be_visible()

    page.locator("#label").select_option("9")
    page.get_by_role("link", name="Backward").click()
    expect(page.locator("[data-step=loss] .chosen td").first).to_have_text("9")


@pytest.mark.slow
def test_analytic_and_numeric_agree_for_twenty_random_parameters(visit):
    page = visit()
    sample(page, "Hard sample 8")
    rng = np.random.default_rng(6)
    model = sn.architectures.pretrained()
    for name in ("conv2d", "conv2d_1", "dense", "dense_1"):
        page.goto(page.url.split("#")[0] + f"#backward/{name}")
        params = model.layers[layers().index(name)].params
        for key in ("W", "W", "W", "W", "b"):
            index = [int(rng.integers(size)) for size in params[key].shape]
            part = page.locator(f"[data-step={name}] [data-parameter={key}]")
            part.wait_for()
            for field, i in zip(part.locator("input").all(), index, strict=True):
                field.fill(str(i))
            part.get_by_role("button", name="Show").click()
            expect(part.locator(".result h3")).to_contain_text(f"{name}.{key}{index}")
            analytic = shown_number(part.locator(".analytic dd"))
            numeric = shown_number(part.locator(".numeric dd"))
            assert analytic == pytest.approx(numeric, rel=1e-4, abs=1e-8)
            expect(part.locator(".agree")).to_contain_text("they agree")


@pytest.mark.slow
def test_a_parameter_is_clicked(visit):
    page = visit()
    sample(page, "Hard sample 5")
    page.goto(page.url.split("#")[0] + "#backward/conv2d")
    part = page.locator("[data-parameter=W]")
    part.locator("canvas").nth(1).click(position={"x": 20, "y": 14})
    expect(part.locator(".agree")).to_contain_text("they agree")
    total = shown_number(part.locator("dl .strong dd"))
    assert total == pytest.approx(shown_number(part.locator(".numeric dd")), rel=1e-4, abs=1e-8)


@pytest.mark.slow
def test_an_optimizer_step_lowers_the_loss(visit):
    page = visit("#backward")
    page.goto(page.url.split("#")[0] + "#draw")
    sample(page, "Hard sample 4")
    page.get_by_role("link", name="Backward").click()
    page.get_by_role("button", name="Take the step").click()
    before, after = page.locator("#step-result .before"), page.locator("#step-result .after")
    expect(after).to_be_visible()
    assert 0 < shown_number(after) < shown_number(before)
    expect(page.locator("#step-result")).to_contain_text("conv2d.W")


def test_explain_draws_three_maps(visit):
    page = visit()
    sample(page, "Sample 7")
    page.get_by_role("link", name="Explain").click()
    for method, name in (
        ("gradcam", "Grad-CAM"),
        ("saliency", "Saliency"),
        ("occlusion", "Occlusion"),
    ):
        canvas = page.locator(f"[data-method={method}] canvas")
        expect(canvas).to_have_attribute("aria-label", f"{name} for class 7, over the digit")
        coloured = """canvas => canvas.getContext("2d").getImageData(0, 0, 280, 280).data
          .some((level, i, data) => i % 4 === 0 && level > data[i + 2] + 40)"""
        assert canvas.evaluate(coloured)
    page.locator("[data-method=gradcam] select").select_option("conv2d")
    expect(page.locator("[data-method=gradcam] .problem")).to_be_hidden()


# ------------------------------------------------------------------------------ train and sequences


@pytest.mark.slow
def test_a_training_is_watched_paused_stopped_and_used(visit):
    page = visit("#train")
    form = page.locator("#train-form")
    form.locator("[name=architecture]").select_option("lenet5")
    for name, value in {"images": 2000, "epochs": 100, "batch_size": 16}.items():
        form.locator(f"[name={name}]").fill(str(value))
    form.get_by_role("button", name="Start").click()
    state = page.locator("#train-state")
    expect(state).to_contain_text("Training: lenet5")
    expect(page.locator("#chart-norms .key li")).to_have_count(5)
    expect(page.locator("#chart-accuracy .key span").nth(1)).to_contain_text("0.")  # validated
    expect(page.locator("#train-filters canvas")).to_be_visible()
    form.get_by_role("button", name="Pause").click()
    expect(state).to_contain_text("Paused")
    page.reload()  # who comes back sees how it stands
    expect(state).to_contain_text("Paused")
    form.get_by_role("button", name="Resume").click()
    expect(state).to_contain_text("Training")
    form.get_by_role("button", name="Stop").click()
    expect(state).to_contain_text("Stopped")
    page.get_by_role("button", name="Read digits with it").click()
    expect(page.locator("#model")).to_have_value(re.compile("run-"))
    sample(page, "Sample 0")
    expect(page.locator("#digit")).to_have_text("0")


@pytest.mark.slow
def test_a_number_is_read_with_frames(visit):
    page = visit("#sequence")
    pad = page.locator("#wide-pad")
    for left, name in ((0.02, "1"), (0.34, "0"), (0.66, "7")):
        write(page, pad, STROKES[name], left=left)
    expect(page.locator("#number")).to_have_text("107")
    expect(page.locator("#boxes span")).to_have_count(3)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#number")).to_have_text("–")
    expect(page.locator("#boxes span")).to_have_count(0)


# --------------------------------------------------------------------------- keyboard, looks, width


@pytest.mark.slow
def test_everything_goes_by_keyboard(visit):
    page = visit()

    def tab_to(locator):
        for _ in range(80):
            page.keyboard.press("Tab")
            if locator.evaluate("node => node === document.activeElement"):
                return
        raise AssertionError(f"Tab does not reach {locator}")

    tab_to(page.locator("#page-draw").get_by_role("button", name="Hard sample 4"))
    page.keyboard.press("Enter")
    expect(page.locator("#digit")).to_have_text("9")  # it is misread
    page.locator("body").evaluate("() => document.activeElement.blur()")
    page.evaluate("() => getSelection().collapse(document.body, 0)")
    tab_to(page.get_by_role("link", name="Backward"))
    page.keyboard.press("Enter")
    expect(page.locator("[data-step=loss]")).to_be_visible()
    for name in ("softmax", "dense_1"):
        page.keyboard.press("ArrowRight")
        expect(page.locator(f"[data-step={name}]")).to_be_visible()
    tab_to(page.locator("[data-parameter=W] input").first)
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    expect(page.locator("[data-parameter=W] .agree")).to_contain_text("they agree")
    tab_to(page.get_by_role("button", name="Take the step"))
    page.keyboard.press("Enter")
    expect(page.locator("#step-result .after")).to_be_visible()


@pytest.mark.slow
def test_light_and_dark(visit):
    page = visit(color_scheme="dark")
    ground = "() => getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Switch between light and dark").click()
    light = page.evaluate(ground)
    assert dark != light
    page.reload()  # the choice stays
    assert page.evaluate(ground) == light
    assert visit(color_scheme="light").evaluate(ground) == light


@pytest.mark.slow
def test_on_a_phone_nothing_sticks_out(visit):
    page = visit(viewport={"width": 390, "height": 800}, has_touch=True)
    sample(page, "Hard sample 5")
    for place in ("draw", "forward", "backward/conv2d_1", "explain", "train", "sequence"):
        page.goto(page.url.split("#")[0] + f"#{place}")
        expect(page.locator("main section:visible h1")).to_be_visible()
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
