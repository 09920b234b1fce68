"""The network in one view, the guide, and the words, in a real browser."""

import re

import pytest
from browsing import STROKES, layers, needs_chromium, sample, write
from playwright.sync_api import expect

pytestmark = [needs_chromium, pytest.mark.slow]


# -------------------------------------------------------------------------------------- the network


def hover(page, x, y):
    box = page.locator("#landscape .over").bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_the_network_is_seen_at_once_and_asked_about(visit):
    page = visit()
    sample(page, "Hard sample 4")
    page.get_by_role("link", name="Network", exact=True).click()
    heads = page.locator("#landscape .heads a")
    expect(heads).to_have_count(len(layers()) + 1)
    assert heads.locator("b").all_inner_texts() == ["image", *layers()]
    readout = page.locator("#network-readout")
    hover(page, 0.05, 0.5)  # the middle of the image
    expect(readout).to_contain_text("image[")
    expect(readout).to_contain_text("of conv2d")
    expect(page.locator("#network-readout canvas")).to_have_count(1)

    stage = page.locator("#landscape")
    stage.focus()
    for name in layers()[:4]:
        page.keyboard.press("ArrowRight")
        expect(readout).to_contain_text(f"{name}[")
    expect(readout).to_contain_text("of maxpool2d, and so rows")
    expect(page.locator("#network-sum")).to_contain_text("conv2d_1[")
    page.keyboard.press("Enter")  # into the card, at the same value
    card = page.locator("[data-layer=conv2d_1]")
    expect(card.locator(".result h3")).to_contain_text("conv2d_1[")


def test_the_network_backward_says_which_dy_reach_a_value(visit):
    page = visit()
    sample(page, "Hard sample 4")
    page.goto(page.url.split("#")[0] + "#network/backward/relu")
    readout = page.locator("#network-readout")
    expect(readout).to_contain_text("dL/d relu[")
    expect(readout).to_contain_text("whose window it won")
    page.goto(page.url.split("#")[0] + "#network/backward/maxpool2d/5.5.0")
    expect(readout).to_contain_text("rows 3 to 5, columns 3 to 5, in all 64 maps of conv2d_1")
    page.get_by_role("button", name="Forward", exact=True).click()
    expect(readout).to_contain_text("It feeds rows 3 to 5, columns 3 to 5, in all 64 maps")


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_the_network_plays_from_the_image_to_the_loss_and_back(visit, motion):
    page = visit(reduced_motion=motion)
    sample(page, "Hard sample 4")
    page.goto(page.url.split("#")[0] + "#network")
    page.locator("#network-speed").select_option("4")
    page.get_by_role("button", name="Play", exact=True).click()
    caption = page.locator("#network-caption")
    expect(caption).to_contain_text("Forward 1 of 11, conv2d")
    expect(page.locator("#network-sum")).to_contain_text("conv2d[")
    time = page.locator("#network-time")
    if motion == "reduce":  # whole steps alone
        assert float(time.input_value()).is_integer()
    page.get_by_role("button", name="Pause", exact=True).click()
    time.focus()
    for _ in range(14):  # eleven layers and the loss, and the first may be under way
        page.keyboard.press("ArrowRight")
    expect(page.locator("#network-backward")).to_have_attribute("aria-pressed", "true")
    time.fill(time.get_attribute("max"))
    expect(caption).to_contain_text("Backward, all of it")


def test_on_a_phone_a_tap_points_and_the_rest_is_scrolled_to(visit):
    page = visit(viewport={"width": 390, "height": 800}, has_touch=True)
    sample(page, "Hard sample 4")
    page.goto(page.url.split("#")[0] + "#network")
    expect(page.locator("#landscape .heads a")).to_have_count(len(layers()) + 1)
    stage = page.locator("#landscape")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.touchscreen.tap(box["x"] + 55, box["y"] + 44 + (box["height"] - 44) / 2)
    expect(page.locator("#network-readout")).to_contain_text("image[")
    assert page.url.endswith("#network")  # a tap does not lead away, the button does
    assert stage.evaluate("node => node.scrollWidth") > 1000
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    page.locator("#network-readout").get_by_role("link", name="Spell it out").click()
    expect(page.locator("#page-forward h1")).to_be_visible()


def test_where_the_network_is_sure_the_page_says_how_little_there_is_to_blame(visit):
    page = visit()
    sample(page, "Sample 3")
    page.goto(page.url.split("#")[0] + "#network/backward")
    notice = page.locator("#network-dust")
    expect(notice).to_contain_text("There is little to blame: the network gives 3")
    expect(notice.get_by_role("button", name="Hard sample 4")).to_be_visible()
    notice.get_by_role("button", name=re.compile("Say it is a")).click()
    expect(notice).to_be_hidden()
    page.goto(page.url.split("#")[0] + "#backward")
    expect(page.locator("#backward-dust")).to_be_hidden()


def test_an_untrained_architecture_is_looked_into_with_its_shortcuts(visit):
    page = visit()
    sample(page, "Sample 3")
    page.goto(page.url.split("#")[0] + "#network/model=resnet/residual_1")
    expect(page.locator("#network-readout")).to_contain_text("residual_1[")
    expect(page.locator("#network-readout")).to_contain_text("of residual_1.shortcut.batchnorm")
    expect(page.locator("#model")).to_have_value("untrained-resnet")
    expect(page.locator("#landscape .heads .low")).to_have_count(4)


def test_the_landscape_goes_along_while_a_digit_is_written(visit):
    """The time is printed, not asserted: it is another one on every machine."""
    page = visit()
    page.evaluate("() => addEventListener('pointerup', () => performance.mark('up'), true)")
    took = []
    last = "name => performance.getEntriesByName(name).at(-1)?.startTime ?? -1"
    drawn = f"() => ({last})('landscape') > ({last})('up')"
    for _ in range(4):
        write(page, page.locator("#pad"), STROKES["7"])
        page.wait_for_function(drawn)
        took.append(page.evaluate(last, "landscape") - page.evaluate(last, "up"))
        page.get_by_role("button", name="Clear").click()
    print(f"from a stroke's end to the landscape: {[round(ms) for ms in took]} ms")
    expect(page.locator("#live")).to_be_hidden()


# ---------------------------------------------------------------------------------------- the guide


def test_the_first_visit_offers_the_first_tour_once(visit):
    page = visit()
    page.get_by_role("button", name="Not now").click()
    expect(page.locator("#first-tour")).to_be_hidden()
    page.reload()
    page.locator("#page-draw .samples button").nth(14).wait_for(state="attached")
    expect(page.locator("#first-tour")).to_be_hidden()


@pytest.mark.parametrize(
    ("tour", "steps"), [("pixel", 11), ("blame", 10), ("weight", 8), ("step", 8), ("train", 9)]
)
def test_a_tour_goes_from_its_first_step_to_its_last(visit, tour, steps):
    page = visit("#guide")
    page.locator(f"[data-tour={tour}]").click()
    panel, ring = page.locator("#tour"), page.locator("#tour-ring")
    for step in range(steps):
        expect(panel).to_have_attribute("data-ready", str(step))
        expect(panel.locator("h2")).to_contain_text(f"{step + 1} of {steps}")
        expect(ring).to_be_visible()
        if panel.locator(".question").count():
            expect(panel.locator(".answer")).to_be_empty()
            panel.locator(".question button").first.click()
            expect(panel.locator(".answer")).not_to_be_empty()
        panel.get_by_role("button", name="Done" if step == steps - 1 else "Next").click()
    expect(panel).to_be_hidden()
    expect(page.locator("#page-guide")).to_be_visible()


def test_words_are_explained_where_they_stand_and_on_a_page(visit):
    page = visit()
    sample(page, "Hard sample 4")
    page.goto(page.url.split("#")[0] + "#backward/conv2d")
    word = page.locator("[data-step=conv2d] .term[data-term=rms]")
    word.focus()
    tip = page.get_by_role("tooltip")
    expect(tip).to_contain_text("how large the numbers of an array are")
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    word.hover()
    tip.get_by_role("link", name="Glossary").click()
    expect(page.locator("#page-glossary .wanted")).to_contain_text("rms")


def test_several_digits_are_offered_as_a_number(visit):
    page = visit()
    for left in (0.02, 0.5):
        write(page, page.locator("#pad"), STROKES["1"], left=left, size=0.5)
    doubt = page.locator("#doubt")
    expect(doubt).to_contain_text("several digits")
    doubt.get_by_role("button", name="Read them as a number").click()
    expect(page.locator("#number")).to_have_text("11")


def test_a_digit_too_small_for_its_pen_is_warned_of(visit):
    page = visit()
    write(page, page.locator("#pad"), STROKES["0"], left=0.4, size=0.2)
    expect(page.locator("#small")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#small")).to_be_hidden()
    page.locator("#pen").select_option("thin")
    write(page, page.locator("#pad"), STROKES["0"], left=0.2, size=0.6)
    expect(page.locator("#digit")).to_have_text("0")
    expect(page.locator("#small")).to_be_hidden()


def test_a_picture_s_numbers_are_reached_by_arrow_keys(visit):
    page = visit()
    sample(page, "Hard sample 4")
    page.goto(page.url.split("#")[0] + "#forward/conv2d")
    card = page.locator("[data-layer=conv2d]")
    card.locator("canvas").first.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "Shift+ArrowRight"):
        page.keyboard.press(key)
    expect(card.locator(".readout").first).to_contain_text("[1, 2, 1] =")
    page.keyboard.press("Enter")
    expect(card.locator(".result h3")).to_contain_text("conv2d[1, 2, 1]")


def test_a_typed_learning_rate_stays_when_the_optimizer_changes(visit):
    page = visit("#train")
    rate, optimizer = (
        page.locator(f"#train-form [name={n}]") for n in ("learning_rate", "optimizer")
    )
    usual = rate.input_value()
    optimizer.select_option("sgd")
    expect(rate).not_to_have_value(usual)
    rate.fill("0.05")
    optimizer.select_option("adam")
    expect(rate).to_have_value("0.05")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_that_shuts_anybody_out(visit, theme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # what stands after a # is a section that is shown, and no link past something
    rules = {"rules": {"skip-link": {"enabled": False}}}
    page = visit(viewport={"width": width, "height": 900}, color_scheme=theme)
    sample(page, "Hard sample 4")
    places = ["draw", "network", "network/backward/relu", "forward", "backward/loss", "explain"]
    places += ["backward/conv2d", "what-if", "train", "sequence", "guide", "glossary"]
    found = {}

    def look(what):
        page.wait_for_load_state("networkidle")
        wrong = axe.run(page, options=rules).response["violations"]
        found[what] = [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in wrong]

    for place in places:
        page.goto(page.url.split("#")[0] + f"#{place}")
        expect(page.locator("main > section:visible h1")).to_be_visible()
        look(place)
    page.goto(page.url.split("#")[0] + "#guide/weight")
    for step in range(2):
        expect(page.locator("#tour")).to_have_attribute("data-ready", str(step))
        page.locator("#tour .primary").click()
    page.locator("#tour .question button").first.click()
    look("a tour's question, answered")
    page.goto(page.url.split("#")[0].rstrip("/") + "/docs")
    page.locator("#paths summary").first.click()
    look("the API's description")
    assert {what: wrong for what, wrong in found.items() if wrong} == {}
